//! The daemon's books: by distinct event, everything that came in is somewhere.

use std::time::Duration;

use serde_json::Value;

use super::daemon::Daemon;

/// The members of `"ledger"` in `GET /stats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) held_at_start: u64,
    pub(crate) accepted: u64,
    pub(crate) sent_to_kafka: u64,
    pub(crate) home: u64,
    pub(crate) held_now: u64,
    pub(crate) dead_letters: u64,
    pub(crate) in_flight: u64,
}

impl Ledger {
    pub(crate) fn of(daemon: &Daemon) -> Self {
        Self::from_stats(&daemon.stats())
    }

    /// When nothing is under way any more: an answer may be read before it is counted.
    pub(crate) fn settled(daemon: &Daemon, limit: Duration) -> Self {
        let settled = daemon.wait_for("/stats", limit, |stats| Self::from_stats(stats).in_flight == 0);
        Self::from_stats(&settled)
    }

    pub(crate) fn from_stats(stats: &Value) -> Self {
        let figure = |name: &str| {
            stats["ledger"][name]
                .as_u64()
                .unwrap_or_else(|| panic!("no count in ledger.{name} of /stats: {stats}"))
        };
        Self {
            held_at_start: figure("held_at_start"),
            accepted: figure("accepted"),
            sent_to_kafka: figure("sent_to_kafka"),
            home: figure("home"),
            held_now: figure("held_now"),
            dead_letters: figure("dead_letters"),
            in_flight: figure("in_flight"),
        }
    }

    pub(crate) fn balances(&self) -> bool {
        let came = self.held_at_start + self.accepted;
        came == self.sent_to_kafka + self.home + self.held_now + self.dead_letters + self.in_flight
    }
}
