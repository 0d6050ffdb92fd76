//! The daemon's ledger: by distinct event, everything that came in is somewhere.

use std::time::Duration;

use serde_json::Value;

use super::daemon::Daemon;

/// Declares the members of `"ledger"` in `GET /stats` once.
macro_rules! ledger {
    ($($name:ident),+) => {
        /// The daemon's ledger at one moment.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct Ledger { $(pub(crate) $name: u64),+ }

        impl Ledger {
            pub(crate) fn from_stats(stats: &Value) -> Self {
                let figure = |name: &str| {
                    stats["ledger"][name]
                        .as_u64()
                        .unwrap_or_else(|| panic!("no count in ledger.{name} of /stats: {stats}"))
                };
                Self { $($name: figure(stringify!($name))),+ }
            }
        }
    };
}

ledger!(
    held_at_start,
    accepted,
    committed_late,
    retried,
    sent_to_kafka,
    in_postgres,
    home,
    held_now,
    dead_letters,
    in_flight,
    repeated,
    lost
);

impl Ledger {
    pub(crate) fn of(daemon: &Daemon) -> Self {
        Self::from_stats(&daemon.stats())
    }

    /// When nothing is under way any more: an answer may be read before it is counted.
    pub(crate) fn settled(daemon: &Daemon, limit: Duration) -> Self {
        let settled = daemon.wait_for("/stats", limit, |stats| Self::from_stats(stats).in_flight == 0);
        Self::from_stats(&settled)
    }

    pub(crate) fn balances(&self) -> bool {
        let came = self.held_at_start + self.accepted + self.committed_late + self.retried;
        let kept = self.in_postgres + self.home + self.held_now + self.dead_letters;
        came == self.sent_to_kafka + kept + self.in_flight + self.repeated + self.lost
    }
}
