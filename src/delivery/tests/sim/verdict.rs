//! What people read, compared with the facts, and which known fault explains that what waits does not move.

use super::book::{Broken, Destination, Sent};
use super::cluster::AHEAD_MAX_MS;
use super::faults::Fault;
use super::outside::{Outside, look};
use super::server::{Mood as ServerMood, Server};
use super::shop::Shop;
use super::town::Town;
use crate::delivery::tests::world::Mood;
use crate::host::clock::Clock;
use crate::limits::RECOVERY_BLOCKED_MAX;

/// What has waited for so long without a move does not move.
const MOVES_MS: i64 = 300_000;
/// A server refuses a connection for so long before that counts.
const STARVED_MS: i64 = 120_000;

impl Town {
    /// "Well" only when every answered event is at its destination, or on its way and moving.
    pub(super) fn check_verdict(&mut self, shop: usize) {
        let process = self.shops[shop].process();
        let figures = process.spool.figures();
        if !process.health.is_well(&figures) || process.health.refuses(&figures) {
            self.shops[shop].well_since_ms = None;
            return;
        }
        let now_ms = self.time.true_ms();
        let well_since_ms = *self.shops[shop].well_since_ms.get_or_insert(now_ms);
        let mut found = Vec::new();
        {
            let outside = look(&self.outside);
            for number in &outside.book.open {
                let sent = &outside.book.sent[number];
                let Some((_, answered_ms)) = sent.answered else { continue };
                let moved_ms = outside.book.moved_ms.get(&sent.destination).copied().unwrap_or(0);
                if sent.shop == shop
                    && !sent.is_unsaid
                    && now_ms - moved_ms.max(answered_ms).max(well_since_ms) > MOVES_MS
                {
                    found.push((*number, self.explain(&outside, *number)));
                }
            }
        }
        let mut outside = look(&self.outside);
        for (number, fault) in found {
            let text = format!("all is well, and {number} waits: {}", self.describe(&outside, number));
            outside.book.find_kinder(fault, number, text);
        }
        for (events, fault) in [
            (std::mem::take(&mut self.shops[shop].taken), Fault::F33),
            (std::mem::take(&mut self.shops[shop].letters), Fault::QuietLetters),
        ] {
            if events > 0 {
                let text = format!("all is well, and shop {shop} has {events}: {fault:?}");
                outside.book.find(Broken::Kinder, Some(fault), None, text);
            }
        }
    }

    /// Tills were just refused: so would the next one.
    pub(super) fn check_ready(&mut self, shop: usize) {
        let process = self.shops[shop].process();
        let figures = process.spool.figures();
        if !process.health.refuses(&figures) {
            let states = (process.health.kafka.state(), process.health.postgres.state());
            let text = format!("shop {shop} is ready, and has refused an event: {states:?}, {figures:?}");
            let mut outside = look(&self.outside);
            let server = self.shops[shop].settings.postgres.map(|at| &outside.servers[at]);
            let fault = server.is_some_and(|server| server.has_strange_column).then_some(Fault::F37);
            outside.book.find(Broken::Kinder, fault, None, text);
        }
    }

    /// With everything working, what can be sent was sent.
    pub(super) fn check_stuck(&mut self) {
        let mut found = Vec::new();
        {
            let outside = look(&self.outside);
            for number in &outside.book.open {
                if self.is_reachable(&outside, *number) {
                    found.push((*number, self.explain(&outside, *number)));
                }
            }
        }
        for (number, fault) in found {
            let mut outside = look(&self.outside);
            let text = format!("everything works, and {number} waits: {}", self.describe(&outside, number));
            outside.book.find(Broken::Stuck, fault, Some(number), text);
        }
        self.note_findings();
    }

    /// Whether a daemon that has it, or can have it, is set to its destination.
    fn is_reachable(&self, outside: &Outside, number: u64) -> bool {
        let destination = outside.book.sent[&number].destination;
        self.shops.iter().any(|shop| {
            let reaches = match destination {
                Destination::Topic(cluster, topic) => shop.settings.kafka == Some((cluster, topic)),
                Destination::Server(server) => {
                    shop.settings.kafka.is_none() && shop.settings.postgres == Some(server)
                }
                Destination::Spool(_) => false,
            };
            let in_server =
                shop.settings.postgres.is_some_and(|server| outside.servers[server].holds(number));
            reaches && (in_server || shop.view.held.contains(&number))
        })
    }

    /// What is known of an event that waits.
    pub(super) fn describe(&self, outside: &Outside, number: u64) -> String {
        let holder = self.shops.iter().find(|shop| shop.view.held.contains(&number)).map(|shop| shop.id);
        let moods: Vec<Mood> = outside.clusters.iter().map(|cluster| cluster.mood).collect();
        let servers: Vec<String> = outside.servers.iter().map(|one| one.describe(number)).collect();
        let shops: Vec<String> = self.shops.iter().map(Shop::describe).collect();
        let sent = &outside.book.sent[&number];
        format!("{sent:?} in the spool of {holder:?}, {moods:?}, {servers:?}, {shops:?}")
    }

    /// A known fault because of which it waits.
    fn explain(&self, outside: &Outside, number: u64) -> Option<Fault> {
        let sent = &outside.book.sent[&number];
        let holder = self.shops.iter().find(|shop| shop.view.held.contains(&number));
        match (sent.destination, holder) {
            (Destination::Spool(_), _) => None,
            (Destination::Topic(..), Some(shop)) => self.explain_spool(outside, sent, shop.id),
            (Destination::Topic(..), None) => self.explain_server(outside, sent, number),
            (Destination::Server(server), _) => {
                let settings = self.shops[sent.shop].settings;
                match outside.servers[server].mood() {
                    _ if settings.kafka.is_some() || settings.postgres.is_none() => Some(Fault::F27),
                    _ if settings.postgres != Some(server) => Some(Fault::F28),
                    ServerMood::Works => outside.servers[server].is_full().then_some(Fault::F43),
                    _ => Some(Fault::Stale),
                }
            }
        }
    }

    /// It waits for a topic in a shop's spool.
    fn explain_spool(&self, outside: &Outside, sent: &Sent, shop: usize) -> Option<Fault> {
        let shop = &self.shops[shop];
        let Some(kafka) = shop.settings.kafka else { return Some(Fault::F27) };
        if Destination::Topic(kafka.0, kafka.1) != sent.destination {
            return Some(Fault::F28);
        }
        if shop.leaving().is_some() {
            return Some(Fault::F34);
        }
        if shop.has_lost_files {
            return Some(Fault::F33);
        }
        self.explain_cluster(outside, sent, kafka.0, shop.id)
    }

    /// It waits for a topic in a server.
    fn explain_server(&self, outside: &Outside, sent: &Sent, number: u64) -> Option<Fault> {
        let at = outside.servers.iter().position(|server| server.holds(number))?;
        let settings = self.shops[sent.shop].settings;
        let Some((cluster, topic)) = settings.kafka else { return Some(Fault::F27) };
        if settings.postgres != Some(at) {
            return Some(Fault::F36);
        }
        if Destination::Topic(cluster, topic) != sent.destination {
            return Some(Fault::F28);
        }
        if self.shops.iter().any(|shop| shop.has_lost_files) {
            return Some(Fault::F33);
        }
        let server = &outside.servers[at];
        if server.mood() != ServerMood::Works {
            return Some(Fault::F35);
        }
        let Some(drainer) = server.drainer() else {
            return if server.is_full() {
                Some(Fault::F43)
            } else {
                self.explain_cluster(outside, sent, cluster, sent.shop)
            };
        };
        let Some(kafka) = self.shops[drainer].settings.kafka else { return Some(Fault::F29) };
        if self.shops[drainer].leaving().is_some() {
            return Some(Fault::F34);
        }
        if outside.clusters[kafka.0].mood != Mood::Works && drainer != sent.shop {
            return Some(Fault::F29);
        }
        if Destination::Topic(kafka.0, kafka.1) != sent.destination {
            return Some(Fault::F28);
        }
        self.explain_cluster(outside, sent, kafka.0, drainer)
    }

    /// Its drainer reads it, and has it in mind for the right topic.
    fn explain_cluster(
        &self,
        outside: &Outside,
        sent: &Sent,
        cluster: usize,
        sender: usize,
    ) -> Option<Fault> {
        let cluster = &outside.clusters[cluster];
        // A clock that is ahead now dates everything so, and the broker refuses it.
        let is_clock_ahead = self.shops[sender].clock.wall_ms() > self.time.true_ms() + AHEAD_MAX_MS;
        if cluster.mood != Mood::Works || is_clock_ahead {
            return Some(Fault::Stale);
        }
        let is_ahead = |sent: &Sent| {
            sent.received_ms > self.time.true_ms() + AHEAD_MAX_MS && !cluster.policy.is_append_time
        };
        // What is ahead holds up its own key, and too much of it everything; also what was found out before.
        let in_spools = self.shops.iter().flat_map(|shop| &shop.view.held).copied();
        let held = in_spools.chain(outside.servers.iter().flat_map(Server::held));
        let ahead: Vec<&Sent> =
            held.map(|number| &outside.book.sent[&number]).filter(|sent| is_ahead(sent)).collect();
        let is_behind = ahead.iter().any(|one| one.key == sent.key) || ahead.len() > RECOVERY_BLOCKED_MAX;
        is_behind.then_some(Fault::F32)
    }

    /// No daemon stays without a connection because of connections that only stand by.
    pub(super) fn check_sessions(&mut self) {
        let now_ms = self.time.true_ms();
        let mut guard = look(&self.outside);
        let outside = &mut *guard;
        for (at, server) in outside.servers.iter_mut().enumerate() {
            let shops = self.shops.iter().filter(|shop| shop.settings.postgres == Some(at)).count();
            let starves = server.mood() == ServerMood::Works && server.sessions_max >= shops;
            let starved = server.refused_since_ms.iter().find(|(_, since)| now_ms - **since > STARVED_MS);
            if let Some((shop, _)) = starved.filter(|_| starves) {
                let text = format!("shop {shop} gets none of {} sessions", server.sessions_max);
                outside.book.find(Broken::Starved, Some(Fault::F43), None, text);
                server.refused_since_ms.clear();
            }
        }
    }
}
