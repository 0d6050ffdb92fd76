//! The one producer thread: takes what waits as a batch, writes it to the first store that works
//! (Kafka, Postgres, the spool), and settles each event with its own outcome.
//!
//! With much waiting it has the next round begun while it waits for the outcome of the one before.
//!
//! Invariants: only this thread writes live events; an event is settled once, and `Stored` only when
//! it is; rounds are settled in their order, and at most one is begun ahead; a round's longest wait is
//! the sum of the stores' deadlines, those behind Kafka twice if Kafka refuses an event for its own sake;
//! `Producer::turn` never waits for a connection, its thread does.

use std::sync::Arc;
use std::time::Duration;

use log::warn;

use crate::delivery::failover::Advice;
use crate::delivery::link::Link;
use crate::delivery::queue::Outcome;
use crate::delivery::rounds::{Next, Round, Rounds};
use crate::delivery::route::Route;
use crate::event::Event;
use crate::host::clock::Clock;
use crate::host::throttle::Throttle;
use crate::limits::{CONNECT_LOOK, LOG_EDGES_PER_MINUTE, PRODUCER_LOOK, PRODUCER_TICK};
use crate::store::StoredIn;
use crate::store::spool::Spool;
use crate::store::{Batch, Connected, Standing, StoreError, WriteResult};
use crate::telemetry::health::Health;
use crate::telemetry::stats::{self, Stats};
use crate::telemetry::timings::Timings;

/// The producer. [`Producer::run`] is its thread.
pub struct Producer {
    rounds: Rounds,
    /// The stores behind the network, in order of preference. None: the spool is the events' home.
    routes: Vec<Route>,
    /// The last resort.
    spool: Spool,
    stats: Arc<Stats>,
    health: Arc<Health>,
    timings: Timings,
    letter_lines: Throttle,
    clock: Arc<dyn Clock>,
    /// The round in hand, while a store's first connection is being made.
    writing: Option<Writing>,
}

/// A round that is being written: what is known of each of its events.
struct Writing {
    round: Round,
    outcomes: Vec<Option<Outcome>>,
    /// The route that is asked next.
    next: usize,
    /// Why the first store that was tried did not keep what is left.
    reason: Option<Arc<str>>,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Turn {
    /// There may be more to do.
    Done,
    /// A round is in hand, and the first connection of this route is being made.
    Waits(usize),
    /// Every inlet is gone and everything is stored.
    Ended,
}

impl Producer {
    /// A producer of these parts; without `routes` the spool is the events' home.
    #[must_use]
    pub fn new(
        rounds: Rounds,
        routes: Vec<Route>,
        spool: Spool,
        stats: Arc<Stats>,
        health: Arc<Health>,
        timings: Timings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let letter_lines = Throttle::new(LOG_EDGES_PER_MINUTE);
        Self { rounds, routes, spool, stats, health, timings, letter_lines, clock, writing: None }
    }

    /// Serves until every inlet is gone and the queue is empty, then gives the links back to be closed.
    #[must_use]
    pub fn run(mut self) -> Vec<Link<Connected>> {
        loop {
            // The return of the store that is preferred is to be noticed soon.
            let waits = self.routes.first().is_some_and(|first| !first.is_up());
            match self.turn(if waits { PRODUCER_LOOK } else { PRODUCER_TICK }) {
                Turn::Done => {}
                Turn::Waits(route) => self.routes[route].wait(CONNECT_LOOK),
                Turn::Ended => return self.routes.into_iter().map(Route::into_link).collect(),
            }
        }
    }

    /// Stores one round, or looks after idle clients when none came within `wait`.
    pub(in crate::delivery) fn turn(&mut self, wait: Duration) -> Turn {
        self.health.beat(&self.health.producer);
        let writing = match self.writing.take() {
            Some(writing) => writing,
            None => match self.rounds.next(wait) {
                Next::Round(round) => self.begin(round),
                Next::Nothing => {
                    let held = self.leaves_trials_to_recovery();
                    for (index, route) in self.routes.iter_mut().enumerate() {
                        route.tick(held && index == 0);
                    }
                    return Turn::Done;
                }
                Next::Ended => return Turn::Ended,
            },
        };
        self.store(writing)
    }

    /// A round in hand. With much waiting the next one is begun as well.
    fn begin(&mut self, round: Round) -> Writing {
        if let Some(kafka) = self.routes.first_mut().filter(|first| first.takes_ahead())
            && let Some(next) = self.rounds.look_ahead()
        {
            kafka.begin(&round.batch);
            kafka.begin(next);
        }
        Writing { outcomes: vec![None; round.batch.len()], round, next: 0, reason: None }
    }

    /// Stores the round and settles everyone who waits for it.
    fn store(&mut self, mut writing: Writing) -> Turn {
        if let Some(route) = self.write(&mut writing) {
            self.writing = Some(writing);
            return Turn::Waits(route);
        }
        self.spool_rest(&mut writing);
        let outcomes: Vec<Outcome> = writing.outcomes.into_iter().flatten().collect();
        assert_eq!(outcomes.len(), writing.round.batch.len(), "BUG: an event has no outcome");
        self.count(&outcomes);
        let given_up = self.rounds.settle(writing.round, &outcomes);
        self.count_refused(given_up);
        Turn::Done
    }

    /// Writes to one store after the other until each event has an outcome. Some: this route's first connection is
    /// being made, and is worth waiting for.
    fn write(&mut self, writing: &mut Writing) -> Option<usize> {
        let held = self.leaves_trials_to_recovery();
        while writing.next < self.routes.len() {
            let left = writing.left();
            if left.is_empty() {
                return None;
            }
            let index = writing.next;
            let is_first_choice = index == 0;
            match self.routes[index].advise(held && is_first_choice) {
                Advice::Use => self.write_to(index, writing, left),
                Advice::Skip => {}
                Advice::Wait => return Some(index),
            }
            writing.next += 1;
        }
        None
    }

    /// With events held, recovery tries Kafka with one of those; nobody else tries Postgres.
    /// A spool that cannot give or take rows cannot prove anything: then live events try Kafka themselves.
    fn leaves_trials_to_recovery(&self) -> bool {
        let figures = self.spool.figures();
        figures.held > 0 && figures.writable && !figures.full
    }

    /// Writes the events at the places `left` to one store.
    fn write_to(&mut self, index: usize, writing: &mut Writing, left: Vec<usize>) {
        let began = self.clock.now();
        let route = &mut self.routes[index];
        let results = route.write(&writing.part(&left));
        let place = route.place();
        if results.iter().any(Result::is_ok) {
            self.timings.stored(place, self.clock.now() - began);
        }
        let mut rejected = Vec::new();
        for (at, result) in left.into_iter().zip(results) {
            match result {
                Ok(()) => writing.outcomes[at] = Some(Outcome::Stored(place)),
                // What Postgres refuses for its own sake goes on to the spool, and from there to Kafka.
                Err(StoreError::Rejected(_, why)) if place == StoredIn::Kafka => rejected.push((at, why)),
                Err(StoreError::Rejected(_, why) | StoreError::Unavailable(_, why)) => {
                    writing.reason.get_or_insert(why);
                }
            }
        }
        self.dead_letter(writing, rejected);
    }

    /// Keeps the events that Kafka refuses for their own sake.
    fn dead_letter(&mut self, writing: &mut Writing, rejected: Vec<(usize, Arc<str>)>) {
        if rejected.is_empty() {
            return;
        }
        let letters: Vec<(Event, Arc<str>)> =
            rejected.iter().map(|(at, why)| (writing.round.batch[*at].clone(), Arc::clone(why))).collect();
        let (outcome, kept) = match self.keep_letters(&letters) {
            Ok(()) => (Outcome::Stored(StoredIn::DeadLetter), "it is kept as a dead letter".to_owned()),
            Err(error) => {
                let kept = format!("it cannot be kept: {error}");
                (error.into(), kept)
            }
        };
        for (at, why) in rejected {
            writing.outcomes[at] = Some(outcome.clone());
            if let Some(suppressed) = self.letter_lines.pass(self.clock.now()) {
                let id = writing.round.batch[at].ingest_id();
                warn!("kafka refuses an event, {kept} ingest_id={id} cause={why:?}{suppressed}");
            }
        }
    }

    /// In the spool, for which no server needs to be up; where that is not possible, in Postgres.
    fn keep_letters(&mut self, letters: &[(Event, Arc<str>)]) -> WriteResult {
        let mut kept = self.spool.keep_letters(letters);
        for route in self.routes.iter_mut().filter(|route| route.place() != StoredIn::Kafka) {
            let Err(before) = kept else { break };
            let both =
                |error: StoreError| StoreError::unavailable(error.cause(), format!("{before}; {error}"));
            kept = route.keep_letters(letters).map_err(both);
        }
        kept
    }

    /// Puts what has no outcome yet into the spool.
    fn spool_rest(&self, writing: &mut Writing) {
        let left = writing.left();
        if left.is_empty() {
            return;
        }
        let (standing, otherwise) = match self.routes.is_empty() {
            true => (Standing::Home, "the spool is its home"),
            false => (Standing::Held, "the stores before the spool are down"),
        };
        let reason = writing.reason.as_deref().unwrap_or(otherwise);
        let began = self.clock.now();
        let results = self.spool.append(&writing.part(&left), standing, reason);
        if results.iter().any(Result::is_ok) {
            self.timings.stored(StoredIn::Spool, self.clock.now() - began);
        }
        for (at, result) in left.into_iter().zip(results) {
            writing.outcomes[at] = Some(match result {
                Ok(()) => Outcome::Stored(StoredIn::Spool),
                Err(error) => error.into(),
            });
        }
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

impl Writing {
    /// Places of the events that no store has taken yet.
    fn left(&self) -> Vec<usize> {
        (0..self.outcomes.len()).filter(|at| self.outcomes[*at].is_none()).collect()
    }

    /// The events at these places, as a batch.
    fn part(&self, places: &[usize]) -> Batch {
        let batch = &self.round.batch;
        match places.len() == batch.len() {
            true => Arc::clone(batch),
            false => places.iter().map(|at| batch[*at].clone()).collect(),
        }
    }
}
