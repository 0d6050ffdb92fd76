//! The one producer thread: takes what waits as a batch, writes it to the first store that works
//! (Kafka, Postgres, the spool), and settles each event with its own outcome.
//!
//! With much waiting it has the next round begun while it waits for the outcome of the one before.
//!
//! Invariants: only this thread writes live events; an event is settled once, and `Stored` only when
//! it is; rounds are settled in their order, and at most one is begun ahead; a round's longest wait is
//! the sum of the stores' deadlines, those behind Kafka twice if Kafka refuses an event for its own sake.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;

use crate::delivery::link::Link;
use crate::delivery::queue::Outcome;
use crate::delivery::rounds::{self, Next, Rounds};
use crate::delivery::route::Route;
use crate::event::Event;
use crate::host::throttle::Throttle;
use crate::limits::PRODUCER_TICK;
use crate::store::StoredIn;
use crate::store::spool::Spool;
use crate::store::{Batch, Connected, Standing, StoreError, WriteResult};
use crate::telemetry::health::Health;
use crate::telemetry::stats::{self, Stats};
use crate::telemetry::timings::Timings;

/// The producer's parts. [`Producer::run`] is its thread.
pub struct Producer {
    /// Where live events come from.
    pub rounds: Rounds,
    /// The stores behind the network, in order of preference. None: the spool is the events' home.
    pub routes: Vec<Route>,
    /// The last resort.
    pub spool: Spool,
    /// Counters.
    pub stats: Arc<Stats>,
    /// The thread's sign of life.
    pub health: Arc<Health>,
    /// How long writes take.
    pub timings: Timings,
    /// Lines about dead letters.
    pub letter_lines: Throttle,
}

/// A round that is being written: what is known of each of its events.
struct Round {
    batch: Batch,
    outcomes: Vec<Option<Outcome>>,
    /// Why the first store that was tried did not keep what is left.
    reason: Option<Arc<str>>,
}

impl Producer {
    /// Serves until every inlet is gone and the queue is empty, then gives the links back to be closed.
    #[must_use]
    pub fn run(mut self) -> Vec<Link<Connected>> {
        while self.turn(PRODUCER_TICK) {}
        self.routes.into_iter().map(Route::into_link).collect()
    }

    /// Stores one round, or looks after idle clients when none came within `wait`. False: the end.
    pub(crate) fn turn(&mut self, wait: Duration) -> bool {
        self.health.beat(&self.health.producer);
        match self.rounds.next(wait) {
            Next::Round(round) => self.store(round),
            Next::Nothing => self.routes.iter_mut().for_each(Route::tick),
            Next::Ended => return false,
        }
        true
    }

    /// Stores a round and settles everyone who waits for it.
    fn store(&mut self, round: rounds::Round) {
        if let Some(kafka) = self.routes.first_mut().filter(|first| first.takes_ahead())
            && let Some(next) = self.rounds.look_ahead()
        {
            kafka.begin(&round.batch);
            kafka.begin(next);
        }
        let outcomes = self.write(Arc::clone(&round.batch));
        self.count(&outcomes);
        let given_up = self.rounds.settle(round, &outcomes);
        self.count_refused(given_up);
    }

    /// One outcome an event, by the first store that keeps it.
    fn write(&mut self, batch: Batch) -> Vec<Outcome> {
        let mut round = Round { outcomes: vec![None; batch.len()], batch, reason: None };
        // With events held, recovery tries Kafka with one of those; nobody else tries Postgres.
        // A spool that can't give or take rows can't prove anything: then live events try Kafka themselves.
        let figures = self.spool.figures();
        let held = figures.held > 0 && figures.writable && !figures.full;
        for index in 0..self.routes.len() {
            let left = round.left();
            if left.is_empty() {
                break;
            }
            let route = &mut self.routes[index];
            let is_first_choice = index == 0;
            if !route.is_open(held && is_first_choice) {
                continue;
            }
            let began = Instant::now();
            let results = route.write(&round.part(&left));
            let place = route.place();
            if results.iter().any(Result::is_ok) {
                self.timings.stored(place, began.elapsed());
            }
            let mut rejected = Vec::new();
            for (at, result) in left.into_iter().zip(results) {
                match result {
                    Ok(()) => round.outcomes[at] = Some(Outcome::Stored(place)),
                    // What Postgres refuses for its own sake goes on to the spool, and from there to Kafka.
                    Err(StoreError::Rejected(_, why)) if place == StoredIn::Kafka => rejected.push((at, why)),
                    Err(StoreError::Rejected(_, why) | StoreError::Unavailable(_, why)) => {
                        round.reason.get_or_insert(why);
                    }
                }
            }
            self.bury(&mut round, rejected);
        }
        self.spool_rest(round)
    }

    /// Keeps the events that Kafka refuses for their own sake.
    fn bury(&mut self, round: &mut Round, rejected: Vec<(usize, Arc<str>)>) {
        if rejected.is_empty() {
            return;
        }
        let letters: Vec<(Event, Arc<str>)> =
            rejected.iter().map(|(at, why)| (round.batch[*at].clone(), Arc::clone(why))).collect();
        let (outcome, fate) = match self.keep_letters(&letters) {
            Ok(()) => (Outcome::Stored(StoredIn::DeadLetter), "it is kept as a dead letter".to_owned()),
            Err(error) => {
                let said = format!("it can't be kept: {error}");
                (error.into(), said)
            }
        };
        for (at, why) in rejected {
            round.outcomes[at] = Some(outcome.clone());
            if let Some(suppressed) = self.letter_lines.pass(Instant::now()) {
                let id = round.batch[at].ingest_id();
                warn!("kafka refuses an event, {fate} ingest_id={id} cause={why:?}{suppressed}");
            }
        }
    }

    /// In the spool, beside which no server needs to be up; where that can't be, in Postgres.
    fn keep_letters(&mut self, letters: &[(Event, Arc<str>)]) -> WriteResult {
        let mut kept = self.spool.dead_letter(letters);
        for route in self.routes.iter_mut().filter(|route| route.place() != StoredIn::Kafka) {
            let Err(before) = kept else { break };
            let both =
                |error: StoreError| StoreError::unavailable(error.cause(), format!("{before}; {error}"));
            kept = route.keep_letters(letters).map_err(both);
        }
        kept
    }

    /// Puts what has no outcome yet into the spool.
    fn spool_rest(&self, round: Round) -> Vec<Outcome> {
        let left = round.left();
        let events = round.batch.len();
        if left.is_empty() {
            return round.outcomes.into_iter().flatten().collect();
        }
        let (standing, otherwise) = match self.routes.is_empty() {
            true => (Standing::Home, "the spool is its home"),
            false => (Standing::Held, "the stores before the spool are down"),
        };
        let reason = round.reason.as_deref().unwrap_or(otherwise);
        let began = Instant::now();
        let results = self.spool.append(&round.part(&left), standing, reason);
        if results.iter().any(Result::is_ok) {
            self.timings.stored(StoredIn::Spool, began.elapsed());
        }
        let mut spooled = results.into_iter().map(|result| match result {
            Ok(()) => Outcome::Stored(StoredIn::Spool),
            Err(error) => error.into(),
        });
        let fill = |outcome: Option<Outcome>| outcome.or_else(|| spooled.next());
        let outcomes: Vec<Outcome> = round.outcomes.into_iter().filter_map(fill).collect();
        assert_eq!(outcomes.len(), events, "BUG: an event has no outcome");
        outcomes
    }

    fn count(&self, outcomes: &[Outcome]) {
        let stats = &self.stats;
        stats::add(&stats.rounds, 1);
        self.timings.round.was(outcomes.len());
        let spooled = if self.routes.is_empty() { &stats.stored_home } else { &stats.stored_held };
        let mut refused = 0;
        for outcome in outcomes {
            match outcome {
                Outcome::Stored(StoredIn::Kafka) => stats::add(&stats.stored_kafka, 1),
                Outcome::Stored(StoredIn::Postgres) => stats::add(&stats.stored_postgres, 1),
                Outcome::Stored(StoredIn::Spool) => stats::add(spooled, 1),
                Outcome::Stored(StoredIn::DeadLetter) => stats::add(&stats.stored_dead_letter, 1),
                Outcome::Refused(..) => refused += 1,
            }
        }
        stats::sub(&stats.in_flight, outcomes.len() - refused);
        self.count_refused(refused);
    }

    fn count_refused(&self, events: usize) {
        stats::add(&self.stats.refused_unstored, events);
        stats::sub(&self.stats.accepted, events);
        stats::sub(&self.stats.in_flight, events);
    }
}

impl Round {
    /// Places of the events that no store has taken yet.
    fn left(&self) -> Vec<usize> {
        (0..self.outcomes.len()).filter(|at| self.outcomes[*at].is_none()).collect()
    }

    /// The events at these places, as a batch.
    fn part(&self, places: &[usize]) -> Batch {
        match places.len() == self.batch.len() {
            true => Arc::clone(&self.batch),
            false => places.iter().map(|at| self.batch[*at].clone()).collect(),
        }
    }
}
