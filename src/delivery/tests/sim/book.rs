//! What was promised, where everything has come to, and which promises were broken.
//!
//! An event is known by its number, which ends its id.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::cluster::AHEAD_MAX_MS;
use super::faults::Fault;
use crate::event::Event;
use crate::store::StoredIn;

/// Where an event was accepted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Destination {
    /// A topic of a cluster.
    Topic(usize, u8),
    /// A Postgres server, as its home.
    Server(usize),
    /// The spool of a shop, as its home.
    Spool(usize),
}

/// Which promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Broken {
    /// An acknowledged event is nowhere.
    Lost,
    /// It was at its destination, and was removed before its time.
    Removed,
    /// It went where it was not accepted for.
    Strayed,
    /// It is a dead letter for another reason than its own.
    DeadLettered,
    /// Everything works, and it does not move.
    Stuck,
    /// What people read is kinder than the facts.
    Kinder,
    /// What waited of one key did not keep its order.
    Order,
    /// A store that works takes nothing, because what nobody uses is in the way.
    Starved,
    /// The ledger does not balance.
    Unbalanced,
    /// An event that nobody sent.
    Unsent,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) broken: Broken,
    /// The known fault that explains it.
    pub(super) fault: Option<Fault>,
    pub(super) text: String,
}

/// An event that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) shop: usize,
    pub(super) destination: Destination,
    pub(super) key: u64,
    /// The server that its shop uses.
    pub(super) server: Option<usize>,
    /// Its id says nothing of its age.
    pub(super) is_hashed: bool,
    /// Kafka will not have it as it is, and Postgres will not.
    pub(super) is_poison: bool,
    pub(super) is_odd: bool,
    /// By the clock of the daemon, which may be wrong.
    pub(super) received_ms: i64,
    /// Where it was stored when it was answered, and when that was, by the right time.
    pub(super) answered: Option<(StoredIn, i64)>,
    pub(super) has_arrived: bool,
    /// No promise about it is left to be checked.
    pub(super) is_settled: bool,
    /// Verdicts were checked about it, and found wrong.
    pub(super) is_unsaid: bool,
    /// What a store did to it.
    pub(super) hint: Option<Fault>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) sent: HashMap<u64, Sent>,
    /// Answered events that have not arrived.
    pub(super) open: BTreeSet<u64>,
    pub(super) findings: Vec<Finding>,
    /// When a held event last arrived there.
    pub(super) moved_ms: HashMap<Destination, i64>,
    /// How long each shop keeps events at home, as it is set now.
    pub(super) keeps: HashMap<usize, Duration>,
    /// What waits of each key of each shop, in the order in which it was sent.
    waiting: HashMap<(usize, u64), VecDeque<u64>>,
}

/// An id as the daemon makes them (version 7), or as it derives them from an `Idempotency-Key` (version 8).
pub(super) fn id(number: u64, received_ms: i64, derived: Option<u64>) -> u128 {
    const VARIANT: u64 = 1 << 63;
    let high = match derived {
        None => received_ms.unsigned_abs() << 16 | 0x7000,
        Some(random) => random & !0xf000 | 0x8000,
    };
    u128::from(high) << 64 | u128::from(VARIANT | number)
}

pub(super) fn number_of(id: uuid::Uuid) -> u64 {
    id.as_u128() as u64 & u64::MAX >> 2
}

pub(super) fn number(event: &Event) -> u64 {
    number_of(event.ingest_id())
}

impl Book {
    pub(super) fn sends(&mut self, number: u64, sent: Sent) {
        self.sent.insert(number, sent);
    }

    /// It is answered 202.
    pub(super) fn answers(&mut self, number: u64, place: StoredIn, now_ms: i64) {
        let sent = self.sent.get_mut(&number).expect("it was sent");
        sent.answered = Some((place, now_ms));
        if sent.has_arrived || sent.is_settled {
            return;
        }
        if place == StoredIn::Spool && matches!(sent.destination, Destination::Spool(_)) {
            sent.has_arrived = true;
            return;
        }
        self.open.insert(number);
        if matches!(place, StoredIn::Spool | StoredIn::Postgres) {
            self.waiting.entry((sent.shop, sent.key)).or_default().push_back(number);
        }
    }

    /// A store has it, as its destination.
    pub(super) fn arrives(&mut self, number: u64, at: Destination, is_recovered: bool, now_ms: i64) {
        let Some(sent) = self.sent.get_mut(&number) else {
            return self.find(Broken::Unsent, None, None, format!("{number} at {at:?}"));
        };
        if sent.destination != at {
            let fault = match (sent.destination, at) {
                (Destination::Topic(..), Destination::Topic(..))
                | (Destination::Server(_), Destination::Server(_)) => Fault::F28,
                _ => Fault::F27,
            };
            let text = format!("{number} of {sent:?} is at {at:?}");
            return self.find(Broken::Strayed, Some(fault), Some(number), text);
        }
        if !std::mem::replace(&mut sent.has_arrived, true) {
            self.open.remove(&number);
            if sent.answered.is_some() {
                self.check_order(number, now_ms);
            }
        }
        if is_recovered {
            self.moved_ms.insert(at, now_ms);
        }
    }

    /// Nothing that was sent before it and waits is left behind. What waits in one store keeps its order; across
    /// stores that is known to fail (F40).
    fn check_order(&mut self, number: u64, now_ms: i64) {
        let sent = &self.sent[&number];
        let (place, destination, is_hashed) = (sent.answered, sent.destination, sent.is_hashed);
        let server = sent.server;
        let Some(queue) = self.waiting.get_mut(&(sent.shop, sent.key)) else { return };
        let is_over = |one: &u64| {
            let sent = &self.sent[one];
            let is_refused = sent.is_poison || sent.is_odd && matches!(destination, Destination::Server(_));
            sent.has_arrived || sent.is_settled || is_refused
        };
        while queue.front().is_some_and(|first| *first != number && is_over(first)) {
            queue.pop_front();
        }
        let Some(at) = queue.iter().position(|one| *one == number) else { return };
        let left = |one: &&u64| !is_over(one) && self.sent[*one].destination == destination;
        let overtaken = queue.iter().take(at).find(left).copied();
        if let Some(overtaken) = overtaken {
            let older = &self.sent[&overtaken];
            // A refused time keeps back its own record, and not the others of its write.
            let is_ahead = older.received_ms > now_ms + AHEAD_MAX_MS;
            let is_elsewhere = older.answered.map(|one| one.0) != place.map(|one| one.0);
            let is_across = is_elsewhere || older.server != server;
            let text = format!("{number} (hashed: {is_hashed}, {place:?}) overtakes {overtaken}: {older:?}");
            let fault = match is_across {
                true => Some(Fault::F40),
                false => older.hint.or(if is_ahead { Some(Fault::WrongClock) } else { None }),
            };
            self.find(Broken::Order, fault, Some(overtaken), text);
        }
    }

    /// Its reason is explained by what a store did.
    pub(super) fn hint(&mut self, number: u64, fault: Fault) {
        if let Some(sent) = self.sent.get_mut(&number) {
            sent.hint = Some(fault);
        }
    }

    /// What a shop has put into a file that has lost its name.
    pub(super) fn hint_lost_file(&mut self, shop: usize) {
        let in_spool = |sent: &Sent| {
            sent.answered.is_some_and(|(place, _)| matches!(place, StoredIn::Spool | StoredIn::DeadLetter))
        };
        for number in &self.open {
            let sent = self.sent.get_mut(number).expect("it was sent");
            if sent.shop == shop && in_spool(sent) {
                sent.hint = Some(Fault::F33);
            }
        }
    }

    /// Nothing is promised about it any more.
    pub(super) fn settle(&mut self, number: u64) {
        self.open.remove(&number);
        if let Some(sent) = self.sent.get_mut(&number) {
            sent.is_settled = true;
        }
    }

    /// A promise is broken, once for each event.
    pub(super) fn find(&mut self, broken: Broken, fault: Option<Fault>, number: Option<u64>, text: String) {
        if let Some(number) = number
            && self.sent.get(&number).is_some_and(|sent| sent.is_settled)
        {
            return;
        }
        if let Some(number) = number {
            self.settle(number);
        }
        self.findings.push(Finding { broken, fault, text });
    }

    /// What people read about it is wrong.
    pub(super) fn find_kinder(&mut self, fault: Option<Fault>, number: u64, text: String) {
        let sent = self.sent.get_mut(&number).expect("it was sent");
        if !std::mem::replace(&mut sent.is_unsaid, true) {
            self.findings.push(Finding { broken: Broken::Kinder, fault, text });
        }
    }
}
