//! One daemon in its world, what it has promised, and whether the promises are kept.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::clock::VirtualClock;
use super::daemon::{Daemon, Options};
use super::reference::{KEYS, is_odd, is_poison, key_of};
use super::world::{Mood, Network, SharedWorld, look, world};
use crate::host::clock::Clock;
use crate::store::StoredIn;

/// See the module.
pub(super) struct Site {
    folder: PathBuf,
    pub(super) options: Options,
    pub(super) world: SharedWorld,
    pub(super) clock: Arc<VirtualClock>,
    daemon: Option<Daemon>,
    next: u128,
    /// Whether every store takes every event.
    pub(super) is_plain: bool,
    /// Where the events that were answered are, by their answer.
    pub(super) answered: Vec<(u128, StoredIn)>,
    /// Events that no store took: their senders have to send them again.
    pub(super) refused: Vec<u128>,
    /// An answer of Kafka's was lost, or the process died with one: copies are allowed.
    pub(super) copies: bool,
}

impl Site {
    pub(super) fn open(name: &str, options: Options) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = memory().join(format!("logs-ingest-{name}-{}-{count}", std::process::id()));
        let mut site = Self {
            folder,
            options,
            world: world(),
            clock: Arc::new(VirtualClock::new()),
            daemon: None,
            next: 1,
            is_plain: false,
            answered: Vec::new(),
            refused: Vec::new(),
            copies: false,
        };
        site.start();
        site
    }

    /// A new process.
    pub(super) fn start(&mut self) {
        let network = Network { world: Arc::clone(&self.world), clock: Arc::clone(&self.clock) };
        self.daemon = Some(Daemon::start(&self.folder, &network, &self.options));
    }

    pub(super) fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("it runs")
    }

    /// An orderly stop, and a new start.
    pub(super) fn restart(&mut self) {
        // What Kafka has and could not leave its store is sent again.
        self.copies |= self.daemon().recovery.as_ref().is_some_and(|recovery| recovery.leaving.is_some());
        self.daemon.take().expect("it runs").end();
        self.start();
    }

    pub(super) fn set_kafka(&mut self, mood: Mood) {
        look(&self.world).kafka = mood;
        self.copies |= mood == Mood::Silent;
    }

    pub(super) fn set_postgres(&mut self, mood: Mood) {
        look(&self.world).postgres = mood;
        // What is in both stores is sent by both.
        self.copies |= mood == Mood::Silent;
    }

    /// The next events.
    pub(super) fn batch(&mut self, count: u64) -> Vec<u128> {
        let batch = self.coming(count);
        self.next = batch.last().expect("a batch is not empty") + 1;
        batch
    }

    /// The same, without taking them.
    pub(super) fn coming(&self, count: u64) -> Vec<u128> {
        let wanted = |id: &u128| !self.is_plain || !(is_poison(*id) || is_odd(*id));
        (self.next..).filter(wanted).take(count as usize).collect()
    }

    pub(super) fn post(&mut self, count: u64) -> Vec<Option<StoredIn>> {
        let batch = self.batch(count);
        let outcomes = self.daemon().post(&batch);
        self.note(&batch, &outcomes);
        outcomes
    }

    pub(super) fn note(&mut self, batch: &[u128], outcomes: &[Option<StoredIn>]) {
        for (id, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                Some(place) => self.answered.push((*id, *place)),
                None => self.refused.push(*id),
            }
        }
    }

    /// Nobody sends anything for this time.
    pub(super) fn run_for(&mut self, time: Duration) {
        let until = self.clock.now() + time;
        self.daemon().run_until(until);
    }

    /// An event each time that `every` has passed.
    pub(super) fn sell_for(&mut self, time: Duration, every: Duration) {
        let until = self.clock.now() + time;
        while self.clock.now() < until {
            self.post(1);
            let next = (self.clock.now() + every).min(until);
            self.daemon().run_until(next);
        }
    }

    /// Both stores work, until nothing is held any more. Returns how long that took.
    pub(super) fn recover_within(&mut self, most: Duration) -> Duration {
        self.set_kafka(Mood::Works);
        self.set_postgres(Mood::Works);
        let began = self.clock.now();
        while self.held() > 0 {
            let (held, took) = (self.held(), self.clock.now() - began);
            assert!(took < most, "{held} are held after {took:?}");
            let next = self.daemon().next_at();
            self.daemon().run_until(next);
        }
        self.clock.now() - began
    }

    /// Events that wait for Kafka.
    pub(super) fn held(&mut self) -> usize {
        let in_spool = self.daemon().spool.figures().held as usize;
        look(&self.world).held.len() + in_spool
    }

    /// With nothing left to wait for: all that was answered is in Kafka or a dead letter, in order, and once unless
    /// something explains copies.
    pub(super) fn assert_kept(&mut self) {
        let places = self.daemon().places();
        assert!(places.spool.is_empty() && places.postgres.is_empty(), "{places:?}");
        let mut first = BTreeMap::new();
        for (at, id) in places.topic.iter().enumerate() {
            first.entry(*id).or_insert(at);
        }
        for (id, place) in &self.answered {
            assert!(first.contains_key(id) || is_poison(*id), "{id}, stored in {place:?}, is lost");
        }
        assert!(first.keys().all(|id| (1..self.next).contains(id)), "events from nowhere");
        assert!(self.copies || first.len() == places.topic.len(), "copies that nothing explains");
        if !self.copies {
            self.assert_order(&|id| first.get(&id).copied());
        }
        self.daemon().assert_balanced();
    }

    /// What waited in one store keeps its order per key.
    fn assert_order(&self, first: &dyn Fn(u128) -> Option<usize>) {
        for store in [StoredIn::Spool, StoredIn::Postgres] {
            for key in 0..KEYS as u8 {
                let of_key = |(id, place): &&(u128, StoredIn)| *place == store && key_of(*id) == key;
                let waited = self.answered.iter().filter(of_key);
                let order: Vec<usize> = waited.filter_map(|(id, _)| first(*id)).collect();
                assert!(order.is_sorted(), "key {key} in {store:?}: {order:?}");
            }
        }
    }

    pub(super) fn close(mut self) {
        self.daemon.take().expect("it runs").end();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Where an fsync costs nothing: what the disk keeps is not the question here.
pub(super) fn memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}
