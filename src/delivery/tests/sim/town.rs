//! Shops on shared clusters and servers, the time that passes for all of them, and what is checked after each move.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::book::{Book, Broken, Destination, Finding, Sent, id};
use super::cluster::Cluster;
use super::faults::Fault;
use super::outside::{Fuse, Outside, Settings, look};
use super::server::{Mood as ServerMood, Server};
use super::shop::Shop;
use crate::delivery::tests::Random;
use crate::delivery::tests::clock::Time;
use crate::delivery::tests::process::{Answers, event};
use crate::delivery::tests::world::{Crashed, Mood};
use crate::host::clock::Clock;

pub(super) const CLUSTERS: usize = 2;
pub(super) const SERVERS: usize = 2;
/// Sessions of a server that is large enough.
pub(super) const SESSIONS: usize = 100;
/// Steps in a row without an end.
const STEPS_MAX: u32 = 100_000;
/// Steps follow each other closely for so long after time was skipped.
const CLOSELY: Duration = Duration::from_secs(8);
/// Every so many events is one that Kafka refuses, and one that Postgres refuses.
const POISON: u64 = 41;
const ODD: u64 = 43;

/// What tills send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sale {
    pub(super) shop: usize,
    pub(super) events: u64,
    /// With an `Idempotency-Key`: the id is derived.
    pub(super) is_hashed: bool,
    /// Different values of `request_id`.
    pub(super) keys: u64,
    /// Some of them are such that a store refuses them.
    pub(super) may_be_refused: bool,
}

/// See the module.
pub(super) struct Town {
    pub(super) outside: Arc<Mutex<Outside>>,
    pub(super) time: Arc<Time>,
    pub(super) shops: Vec<Shop>,
    next: u64,
    /// How often each known fault was met, and in which way.
    pub(super) found: BTreeMap<(Fault, Broken), u64>,
    /// What nothing explains.
    pub(super) unknown: Vec<Finding>,
    /// Processes that were killed at one of their steps.
    pub(super) crashes: u64,
    /// Of those, logs that were torn.
    pub(super) torn: u64,
}

impl Town {
    pub(super) fn open(shops: &[Settings]) -> Self {
        let time = Time::new();
        let outside = Arc::new(Mutex::new(Outside {
            time: Arc::clone(&time),
            clusters: (0..CLUSTERS).map(|_| Cluster::default()).collect(),
            servers: (0..SERVERS).map(|_| Server::new(SESSIONS)).collect(),
            book: Book::default(),
            fuse: None,
        }));
        let opened = shops.iter().enumerate().map(|(id, one)| Shop::open(id, *one, &outside, &time));
        let shops = opened.collect();
        let (found, unknown) = (BTreeMap::new(), Vec::new());
        Self { outside, time, shops, next: 1, found, unknown, crashes: 0, torn: 0 }
    }

    /// Tills send events to one shop, all at once.
    pub(super) fn sell(&mut self, sale: Sale, random: &mut Random, cut: Option<u64>) {
        let shop = &self.shops[sale.shop];
        let destination = match shop.settings {
            Settings { kafka: Some((cluster, topic)), .. } => Destination::Topic(cluster, topic),
            Settings { postgres: Some(server), .. } => Destination::Server(server),
            _ => Destination::Spool(sale.shop),
        };
        let received_ms = shop.clock.record_ms();
        let first = self.next;
        self.next += sale.events;
        let mut events = Vec::new();
        for number in first..self.next {
            let derived = sale.is_hashed.then(|| random.below(u64::MAX));
            let key = random.below(sale.keys);
            let sent = Sent {
                shop: sale.shop,
                destination,
                key,
                server: shop.settings.postgres,
                is_hashed: sale.is_hashed,
                is_poison: sale.may_be_refused && number.is_multiple_of(POISON),
                is_odd: sale.may_be_refused && number.is_multiple_of(ODD),
                received_ms,
                answered: None,
                has_arrived: false,
                is_settled: false,
                is_unsaid: false,
                hint: None,
            };
            look(&self.outside).book.sends(number, sent);
            events.push(event(id(number, received_ms, derived), key, received_ms));
        }
        let answers: Answers = Arc::default();
        let process = self.shops[sale.shop].process();
        let ended = catch_unwind(AssertUnwindSafe(|| process.post(events, &answers)));
        let now_ms = self.time.true_ms();
        let answers = answers.lock().unwrap();
        let mut is_refused = false;
        for (number, answer) in (first..).zip(answers.iter()) {
            let book = &mut look(&self.outside).book;
            match answer {
                Some(place) => book.answers(number, *place, now_ms),
                None => is_refused |= !book.sent[&number].is_poison && !book.sent[&number].is_odd,
            }
        }
        if is_refused && ended.is_ok() {
            self.check_ready(sale.shop);
        }
        if let Err(thrown) = ended {
            // What was answered before the end is durable.
            self.revive(sale.shop, thrown, cut.filter(|_| answers.is_empty()));
        }
    }

    fn revive(&mut self, shop: usize, thrown: Box<dyn std::any::Any + Send>, cut: Option<u64>) {
        if !thrown.is::<Crashed>() {
            resume_unwind(thrown);
        }
        self.crashes += 1;
        self.hint_lost_files();
        self.torn += u64::from(self.shops[shop].revive(cut));
    }

    fn hint_lost_files(&mut self) {
        for shop in self.shops.iter().filter(|shop| shop.has_lost_files) {
            look(&self.outside).book.hint_lost_file(shop.id);
        }
    }

    /// Lets something happen in the middle of a shop's work.
    pub(super) fn light(&mut self, fuse: Fuse) {
        look(&self.outside).fuse = Some(fuse);
    }

    /// What has not happened by now does not happen.
    pub(super) fn quench(&mut self) {
        look(&self.outside).fuse = None;
    }

    /// All that every daemon has to do in this time, at its time.
    pub(super) fn run(&mut self, span: Duration) {
        let until = self.time.now() + span;
        for step in 0.. {
            assert!(step < STEPS_MAX, "no end of it");
            for shop in 0..self.shops.len() {
                let process = self.shops[shop].process();
                if let Err(thrown) = catch_unwind(AssertUnwindSafe(|| process.step())) {
                    self.revive(shop, thrown, None);
                }
            }
            let next = self.shops.iter_mut().map(|shop| shop.process().next_at()).min();
            let next = next.expect("there are shops").min(until);
            self.time.advance(next.saturating_duration_since(self.time.now()));
            if self.time.now() >= until {
                break;
            }
        }
        look(&self.outside).tend();
    }

    /// Hours and days, in so many parts, of which each begins with time in which no machine does anything.
    pub(super) fn pass(&mut self, span: Duration, parts: u32) {
        for _ in 0..parts {
            self.time.advance((span / parts).saturating_sub(CLOSELY));
            look(&self.outside).tend();
            self.run(CLOSELY);
            self.shops.iter_mut().for_each(|shop| shop.process().upkeep());
            self.check();
        }
    }

    /// Somebody removes a shop's spool. What was only there is gone by his doing; what follows is not.
    pub(super) fn lose_files(&mut self, shop: usize) {
        self.check();
        let view = &self.shops[shop].view;
        let gone: Vec<u64> = view.held.iter().chain(&view.home).chain(&view.dead).copied().collect();
        let mut outside = look(&self.outside);
        for number in gone {
            if outside.book.sent[&number].answered.is_some() {
                self.shops[shop].taken += 1;
            }
            outside.book.settle(number);
        }
        drop(outside);
        self.shops[shop].lose_files();
        self.shops[shop].read();
    }

    /// Everything works again, everybody means what he meant at first, and there is time enough.
    pub(super) fn heal(&mut self) {
        self.quench();
        {
            let mut outside = look(&self.outside);
            for cluster in &mut outside.clusters {
                (cluster.mood, cluster.policy) = (Mood::Works, super::cluster::Policy::default());
            }
            for server in &mut outside.servers {
                server.set_mood(ServerMood::Works);
                (server.ahead_ms, server.sessions_max) = (0, SESSIONS);
                (server.has_strange_column, server.drops_rows) = (false, false);
            }
        }
        for shop in &mut self.shops {
            shop.clock.set_ahead(0);
            shop.restart(shop.intended);
        }
        self.run(Duration::from_secs(30));
        self.pass(Duration::from_secs(3_600), 3);
        self.check();
        self.check_stuck();
    }

    /// The three promises.
    pub(super) fn check(&mut self) {
        for shop in 0..self.shops.len() {
            let removed = self.shops[shop].read();
            self.check_home(shop, removed);
        }
        self.hint_lost_files();
        self.check_places();
        for shop in 0..self.shops.len() {
            self.check_verdict(shop);
            let ledger = self.shops[shop].process().ledger();
            if !ledger.balanced {
                let text = format!("shop {shop}: {ledger:?}");
                look(&self.outside).book.find(Broken::Unbalanced, None, None, text);
            }
        }
        self.check_sessions();
        self.note_findings();
    }

    /// Nothing has gone wrong but what is known to.
    pub(super) fn assert_explained(&self) {
        let texts: Vec<String> = self
            .unknown
            .iter()
            .map(|one| format!("{:?} {:?}: {}", one.broken, one.fault, one.text))
            .collect();
        let few = &texts[..texts.len().min(3)];
        assert!(texts.is_empty(), "nothing known explains these {}:\n{}", texts.len(), few.join("\n"));
    }

    pub(super) fn note_findings(&mut self) {
        for finding in std::mem::take(&mut look(&self.outside).book.findings) {
            match finding.fault {
                Some(fault) if fault.known().stands => {
                    *self.found.entry((fault, finding.broken)).or_default() += 1;
                }
                _ => self.unknown.push(finding),
            }
        }
    }

    /// Every event that was answered is somewhere.
    fn check_places(&mut self) {
        let mut guard = look(&self.outside);
        let outside = &mut *guard;
        for number in outside.book.open.clone() {
            let sent = outside.book.sent[&number].clone();
            let waits = self.shops.iter().any(|shop| shop.view.held.contains(&number))
                || outside.servers.iter().any(|server| server.holds(number));
            if waits {
                continue;
            }
            let is_dead = self.shops.iter().any(|shop| shop.view.dead.contains(&number))
                || outside.servers.iter().any(|server| server.dead.contains(&number));
            if is_dead && (sent.is_poison || sent.is_odd) {
                outside.book.settle(number);
                self.shops[sent.shop].letters += 1;
                continue;
            }
            let broken = if is_dead { Broken::DeadLettered } else { Broken::Lost };
            let text = format!("{number}: {}", self.describe(outside, number));
            outside.book.find(broken, sent.hint, Some(number), text);
        }
    }

    /// Rows that left their home in the spool were old enough.
    fn check_home(&mut self, shop: usize, removed: Vec<u64>) {
        let now_ms = self.time.true_ms();
        let mut outside = look(&self.outside);
        for number in removed {
            let sent = outside.book.sent[&number].clone();
            let Some((_, stored_ms)) = sent.answered else { continue };
            // A wrong clock that has run evenly for an hour is trusted, and so are the dates that it made.
            let clock_ms = self.shops[shop].clock.wall_ms();
            let is_right =
                clock_ms.abs_diff(now_ms) < 60_000 && sent.received_ms.abs_diff(stored_ms) < 60_000;
            if is_right && now_ms - stored_ms < self.shops[shop].keep().as_millis() as i64 {
                let fault = self.shops[shop].has_lost_files.then_some(Fault::F33);
                let text = format!("{number} left its home after {} ms: {sent:?}", now_ms - stored_ms);
                outside.book.find(Broken::Removed, fault, Some(number), text);
            }
        }
    }
}
