//! Counters since start, and the ledger: what became of every distinct event. A counter is exact once its event has its
//! outcome.

use serde::Serialize;
use utoipa::ToSchema;

pub use super::counters::{add, sub};
use crate::store::spool::Figures;
use crate::telemetry::counters::counters;

counters! {
    /// The daemon's counters.
    pub Stats,
    /// The counters at one moment.
    Snapshot,
    /// Events that the queue took and no store refused: answered 202, or soon to be.
    accepted,
    /// Those of them that are not stored yet.
    in_flight,
    /// Card numbers masked in events that the queue took.
    cards_masked,
    /// Requests answered 422 or 413 for what they contain.
    refused_invalid,
    /// Items of batches refused for what they contain.
    refused_items,
    /// Repeats of a request with an `Idempotency-Key` that got its first answer again.
    repeats_answered,
    /// Repeats answered 409 because the first request is still being stored.
    repeats_in_flight,
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
    /// Events that Kafka refuses as they are, kept as dead letters.
    stored_dead_letter,
    /// Events held in the spool that their destination acknowledged later.
    recovered,
    /// Events held in the spool that Kafka refuses as they are, moved to the dead letters.
    recovered_dead_letter,
    /// Events held in Postgres, by this daemon or another, that Kafka acknowledged later.
    recovered_postgres,
    /// Those that Kafka refuses as they are.
    recovered_postgres_dead_letter,
    /// Rounds that the producer wrote.
    rounds,
}

/// Both sides of the balance, by distinct event: `held_at_start + accepted + committed_late + retried =
/// sent_to_kafka + in_postgres + home + held_now + dead_letters + in_flight + repeated + lost`.
/// It follows an event until Kafka has it, or Postgres, which several daemons may share.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Ledger {
    /// Held events found in the spool at start.
    pub held_at_start: u64,
    /// Events accepted since start.
    pub accepted: u64,
    /// Events answered 503 because the spool's disk hung or failed, but which the spool holds.
    pub committed_late: u64,
    /// Dead letters retried since start, which wait for Kafka again.
    pub retried: u64,
    /// Events acknowledged by Kafka since start, at once or from the spool.
    pub sent_to_kafka: u64,
    /// Events committed in Postgres since start, to wait for Kafka there.
    pub in_postgres: u64,
    /// Events stored since start in their home: Postgres or the spool, without Kafka.
    pub home: u64,
    /// Held events in the spool now.
    pub held_now: u64,
    /// Events that became dead letters since start.
    pub dead_letters: u64,
    /// Events between queue and store.
    pub in_flight: u64,
    /// Events sent again with an id that the spool already has: one row.
    pub repeated: u64,
    /// Held events lost with a damaged file.
    pub lost: u64,
    /// Whether the two sides are equal now. Under load they may differ for a moment, because the counters are read one after
    /// the other.
    pub balanced: bool,
}

impl Ledger {
    /// The balance of these counters and the spool's figures.
    #[must_use]
    pub fn of(counters: &Snapshot, has_kafka: bool, held_at_start: u64, spool: &Figures) -> Self {
        let (at_home, waiting) = match has_kafka {
            true => (0, counters.stored_postgres),
            false => (counters.stored_postgres + counters.recovered, 0),
        };
        let mut ledger = Self {
            held_at_start,
            accepted: counters.accepted,
            committed_late: spool.late,
            retried: spool.retried,
            sent_to_kafka: counters.stored_kafka + if has_kafka { counters.recovered } else { 0 },
            in_postgres: waiting,
            home: counters.stored_home + at_home,
            held_now: spool.held,
            dead_letters: counters.stored_dead_letter + counters.recovered_dead_letter,
            in_flight: counters.in_flight,
            repeated: spool.repeated,
            lost: spool.lost,
            balanced: false,
        };
        let kept = ledger.in_postgres + ledger.home + ledger.held_now + ledger.dead_letters;
        let out = ledger.sent_to_kafka + kept + ledger.in_flight + ledger.repeated + ledger.lost;
        let came = ledger.held_at_start + ledger.accepted + ledger.committed_late + ledger.retried;
        ledger.balanced = came == out;
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
        let spool = |held| Figures { held, ..Figures::default() };
        assert!(Ledger::of(&stats.snapshot(), true, 5, &spool(6)).balanced);
        assert!(!Ledger::of(&stats.snapshot(), true, 5, &spool(5)).balanced);
        for (late, repeated, lost, held) in [(2, 0, 0, 8), (0, 2, 0, 4), (0, 0, 2, 4), (4, 1, 2, 7)] {
            let spool = Figures { late, repeated, lost, ..spool(held) };
            let ledger = Ledger::of(&stats.snapshot(), true, 5, &spool);
            assert!(ledger.balanced, "{ledger:?}");
        }
        let spool_after_retry = Figures { retried: 1, ..spool(7) };
        assert!(Ledger::of(&stats.snapshot(), true, 5, &spool_after_retry).balanced);
        add(&stats.accepted, 3);
        add(&stats.stored_postgres, 3);
        assert_eq!(Ledger::of(&stats.snapshot(), true, 5, &spool(6)).in_postgres, 3);
        let at_home = Ledger::of(&stats.snapshot(), false, 5, &spool(6));
        assert!(at_home.balanced && at_home.home == 5, "{at_home:?}");
    }
}
