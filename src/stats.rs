//! Counters since start, and the ledger: what became of every distinct event.
//!
//! Counting is by relaxed atomics: each is exact once its event is settled, and they agree with each
//! other at every quiet moment.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Declares the counters once: as atomics, and as the snapshot that is shown.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// The daemon's counters.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[doc = $doc])+ pub $name: AtomicU64),+ }

        /// The counters at one moment.
        #[derive(Clone, Debug, Serialize)]
        pub struct Snapshot { $($(#[doc = $doc])+ pub $name: u64),+ }

        impl Stats {
            /// Reads every counter.
            #[must_use]
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.load(Ordering::Relaxed)),+ }
            }
        }
    };
}

counters! {
    /// Events taken by the queue that no store has refused: answered 202, or about to be.
    accepted,
    /// Of these, still on their way to a store.
    in_flight,
    /// Requests answered 422 or 413 for what they contain.
    refused_invalid,
    /// Requests answered 503 because the queue was full or the daemon was stopping.
    refused_full,
    /// Events answered 503 because no store took them.
    refused_unstored,
    /// Requests answered 500: bugs.
    internal_errors,
    /// Events acknowledged by Kafka at once.
    stored_kafka,
    /// Events committed in Postgres.
    stored_postgres,
    /// Events committed in the spool to wait for Kafka.
    stored_held,
    /// Events committed in the spool as their home.
    stored_home,
    /// Events that Kafka will not have as they are, kept as dead letters.
    stored_dead_letter,
    /// Held events that Kafka acknowledged later.
    recovered,
    /// Held events that Kafka will not have as they are, moved to the dead letters.
    recovered_dead_letter,
    /// Rounds that the producer wrote.
    rounds,
}

/// Adds to a counter.
pub fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

/// Takes from a counter.
pub fn sub(counter: &AtomicU64, n: usize) {
    counter.fetch_sub(n as u64, Ordering::Relaxed);
}

/// Both sides of the balance, by distinct event:
/// `held_at_start + accepted = sent_to_kafka + home + held_now + dead_letters + in_flight`.
#[derive(Clone, Debug, Serialize)]
pub struct Ledger {
    /// Held events found in the spool at start.
    pub held_at_start: u64,
    /// Events accepted since start.
    pub accepted: u64,
    /// Events acknowledged by Kafka since start, at once or later.
    pub sent_to_kafka: u64,
    /// Events stored since start whose home is the spool.
    pub home: u64,
    /// Held events that the spool counts now.
    pub held_now: u64,
    /// Events that became dead letters since start.
    pub dead_letters: u64,
    /// Events between queue and store.
    pub in_flight: u64,
    /// Whether the two sides agree now; under load the counters are read one after the other.
    pub balanced: bool,
}

impl Ledger {
    /// The balance of these counters and of what the spool holds.
    #[must_use]
    pub fn of(counters: &Snapshot, held_at_start: u64, held_now: u64) -> Self {
        let mut ledger = Self {
            held_at_start,
            accepted: counters.accepted,
            sent_to_kafka: counters.stored_kafka + counters.recovered,
            home: counters.stored_home,
            held_now,
            dead_letters: counters.stored_dead_letter + counters.recovered_dead_letter,
            in_flight: counters.in_flight,
            balanced: false,
        };
        let out =
            ledger.sent_to_kafka + ledger.home + ledger.held_now + ledger.dead_letters + ledger.in_flight;
        ledger.balanced = ledger.held_at_start + ledger.accepted == out;
        ledger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_balances_only_when_every_event_is_somewhere() {
        let stats = Stats::default();
        add(&stats.accepted, 10);
        add(&stats.stored_kafka, 4);
        add(&stats.stored_held, 3);
        add(&stats.recovered, 2);
        add(&stats.stored_dead_letter, 1);
        add(&stats.in_flight, 2);
        assert!(Ledger::of(&stats.snapshot(), 5, 6).balanced);
        assert!(!Ledger::of(&stats.snapshot(), 5, 5).balanced);
    }
}
