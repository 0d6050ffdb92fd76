//! The one producer thread: takes what waits as a batch, writes it to Kafka or, when the broker is
//! away, to the spool, and settles each event with its own outcome.
//!
//! Invariants: only this thread writes live events; an event is settled once, and `Stored` only when
//! it is; the thread's longest wait is the sum of the stores' deadlines.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use log::{info, warn};

use crate::event::Event;
use crate::failover::{Advice, Edge, Switch};
use crate::health::{Health, KafkaState};
use crate::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, PRODUCER_TICK};
use crate::queue::{Outcome, Outlet, Settle, StoredIn, Submission, Taken};
use crate::stats::{self, Stats};
use crate::store::kafka::Connected;
use crate::store::link::Link;
use crate::store::spool::Spool;
use crate::store::{Batch, Standing, Store, StoreError};

/// The way to Kafka: whether to use it, and the client.
pub struct KafkaRoute {
    switch: Switch,
    link: Link<Connected>,
    client: Option<Box<dyn Store>>,
    proofs_seen: u64,
}

impl KafkaRoute {
    /// A route over `link` that is used once its first connection is made.
    #[must_use]
    pub fn new(switch: Switch, link: Link<Connected>) -> Self {
        Self { switch, link, client: None, proofs_seen: 0 }
    }
}

/// The producer's parts. [`Producer::run`] is its thread.
pub struct Producer {
    /// Where live events come from.
    pub outlet: Outlet,
    /// None: the spool is the events' home.
    pub kafka: Option<KafkaRoute>,
    /// The last resort.
    pub spool: Spool,
    /// Counters.
    pub stats: Arc<Stats>,
    /// What is known of the stores.
    pub health: Arc<Health>,
}

impl Producer {
    /// Serves until every inlet is gone and the queue is empty, then gives the Kafka link back to be closed.
    #[must_use]
    pub fn run(mut self) -> Option<Link<Connected>> {
        loop {
            self.health.beat(&self.health.producer);
            match self.outlet.take(PRODUCER_TICK, BATCH_EVENTS_MAX, BATCH_BYTES_MAX) {
                Taken::Round(round) => self.store(round),
                Taken::Nothing => self.tick(),
                Taken::Ended => return self.kafka.map(|kafka| kafka.link),
            }
        }
    }

    /// Stores a round and settles everyone who waits for it.
    fn store(&mut self, round: Vec<Submission>) {
        let mut events = Vec::with_capacity(round.iter().map(Submission::len).sum());
        let mut waiting: Vec<(usize, Box<dyn Settle>)> = Vec::with_capacity(round.len());
        for submission in round {
            let (mut own, settle) = submission.into_parts();
            waiting.push((own.len(), settle));
            events.append(&mut own);
        }
        let batch: Batch = events.into();
        let outcomes = self.write(&batch);
        self.count(&outcomes);
        let mut rest = &outcomes[..];
        for (len, settle) in waiting {
            let (own, others) = rest.split_at(len);
            settle.settle(own);
            rest = others;
        }
    }

    /// One outcome an event, by the first store that keeps it.
    fn write(&mut self, batch: &Batch) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut reason: Arc<str> = "kafka is down".into();
        let use_kafka = self.may_use_kafka();
        if let Some(kafka) = self.kafka.as_mut().filter(|_| use_kafka) {
            let results = kafka.client.as_mut().map(|client| client.write(batch)).unwrap_or_default();
            assert_eq!(
                results.len(),
                batch.len(),
                "BUG: a store gave another number of outcomes than events"
            );
            let rejected = note_results(&results, &mut outcomes);
            let lost = results.iter().find_map(|result| match result {
                Err(StoreError::Unavailable(why)) => Some(Arc::clone(why)),
                _ => None,
            });
            match lost {
                Some(why) => {
                    self.kafka_failed(&why);
                    reason = why;
                }
                None => self.kafka_succeeded(),
            }
            self.bury(batch, rejected, &mut outcomes);
        }
        self.spool_rest(batch, &reason, outcomes)
    }

    /// Gets the client in place and asks the switch.
    fn may_use_kafka(&mut self) -> bool {
        let backlog = self.spool.figures().held > 0;
        let Some(kafka) = &mut self.kafka else { return false };
        if kafka.client.is_none() {
            kafka.client = kafka.link.take().map(|connected| connected.store);
        }
        let proofs = self.health.proofs.load(Ordering::Acquire);
        if proofs != kafka.proofs_seen {
            kafka.proofs_seen = proofs;
            kafka.switch.proved();
        }
        match kafka.switch.advise(Instant::now(), kafka.client.is_some(), backlog) {
            Advice::Use => true,
            Advice::Skip => false,
            Advice::Wait(until) => {
                kafka.client = kafka.link.take_until(until).map(|connected| connected.store);
                if kafka.client.is_none() {
                    kafka.switch.not_connected(Instant::now());
                }
                kafka.client.is_some()
            }
        }
    }

    fn kafka_succeeded(&mut self) {
        let Some(kafka) = &mut self.kafka else { return };
        if let Some(Edge::Back(after)) = kafka.switch.succeeded(Instant::now()) {
            info!("kafka is back: events go there again after_s={:.1}", after.as_secs_f64());
            stats::add(&self.stats.kafka_back, 1);
        }
        self.health.set_kafka(KafkaState::Up, None);
    }

    fn kafka_failed(&mut self, why: &str) {
        let Some(kafka) = &mut self.kafka else { return };
        // Whatever went wrong, a fresh connection is the only one to trust.
        kafka.client = None;
        kafka.link.renew();
        kafka.proofs_seen = self.health.proofs.load(Ordering::Acquire);
        if let Some(Edge::Lost) = kafka.switch.failed(Instant::now()) {
            warn!("kafka is lost: events go to the spool until it is back cause={why:?}");
            stats::add(&self.stats.kafka_lost, 1);
        }
        self.health.set_kafka(KafkaState::Down, Some(why.to_owned()));
    }

    /// Keeps the events that Kafka refuses for their own sake.
    fn bury(&self, batch: &Batch, rejected: Vec<(usize, Arc<str>)>, outcomes: &mut [Option<Outcome>]) {
        if rejected.is_empty() {
            return;
        }
        let letters: Vec<(Event, Arc<str>)> =
            rejected.iter().map(|(index, why)| (batch[*index].clone(), Arc::clone(why))).collect();
        let outcome = match self.spool.dead_letter(&letters) {
            Ok(()) => Outcome::Stored(StoredIn::DeadLetter),
            Err(error) => {
                warn!("dead letters can't be kept count={} cause={:?}", letters.len(), error.to_string());
                Outcome::Refused(error.to_string().into())
            }
        };
        for (index, why) in rejected {
            let id = batch[index].ingest_id();
            warn!("kafka refuses an event, it is kept as a dead letter ingest_id={id} cause={why:?}");
            outcomes[index] = Some(outcome.clone());
        }
    }

    /// Puts what has no outcome yet into the spool.
    fn spool_rest(&self, batch: &Batch, reason: &str, outcomes: Vec<Option<Outcome>>) -> Vec<Outcome> {
        let left: Vec<usize> = (0..batch.len()).filter(|index| outcomes[*index].is_none()).collect();
        if left.is_empty() {
            return outcomes.into_iter().flatten().collect();
        }
        let part: Batch = match left.len() == batch.len() {
            true => Arc::clone(batch),
            false => left.iter().map(|index| batch[*index].clone()).collect(),
        };
        let (standing, reason) = match self.kafka {
            Some(_) => (Standing::Held, reason),
            None => (Standing::Home, "the spool is its home"),
        };
        let mut spooled = self.spool.append(&part, standing, reason).into_iter().map(|result| match result {
            Ok(()) => Outcome::Stored(StoredIn::Spool),
            Err(error) => Outcome::Refused(error.to_string().into()),
        });
        let fill = |outcome: Option<Outcome>| outcome.or_else(|| spooled.next());
        let outcomes: Vec<Outcome> = outcomes.into_iter().filter_map(fill).collect();
        assert_eq!(outcomes.len(), batch.len(), "BUG: an event has no outcome");
        outcomes
    }

    fn count(&self, outcomes: &[Outcome]) {
        let stats = &self.stats;
        stats::add(&stats.rounds, 1);
        let spooled = if self.kafka.is_some() { &stats.stored_held } else { &stats.stored_home };
        for outcome in outcomes {
            match outcome {
                Outcome::Stored(StoredIn::Kafka) => stats::add(&stats.stored_kafka, 1),
                Outcome::Stored(StoredIn::Spool) => stats::add(spooled, 1),
                Outcome::Stored(StoredIn::DeadLetter) => stats::add(&stats.stored_dead_letter, 1),
                Outcome::Refused(_) => {
                    stats::add(&stats.refused_unstored, 1);
                    stats::sub(&stats.accepted, 1);
                }
            }
        }
        stats::sub(&stats.in_flight, outcomes.len());
    }

    /// Nothing to write: fetches a client that is ready, and lets an idle one breathe.
    fn tick(&mut self) {
        let Some(kafka) = &mut self.kafka else { return };
        match &mut kafka.client {
            Some(client) => client.tick(),
            None => kafka.client = kafka.link.take().map(|connected| connected.store),
        }
    }
}

/// Notes acknowledged events, and gives back those that were refused for their own sake.
fn note_results(
    results: &[Result<(), StoreError>],
    outcomes: &mut [Option<Outcome>],
) -> Vec<(usize, Arc<str>)> {
    let mut rejected = Vec::new();
    for (index, result) in results.iter().enumerate() {
        match result {
            Ok(()) => outcomes[index] = Some(Outcome::Stored(StoredIn::Kafka)),
            Err(StoreError::Rejected(why)) => rejected.push((index, Arc::clone(why))),
            Err(StoreError::Unavailable(_)) => {}
        }
    }
    rejected
}
