//! The world outside a daemon: Kafka and Postgres as memory, each in a mood. The spool is the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::clock::VirtualClock;
use super::process::{Probers, Surroundings, Target};
use super::reference::{is_odd, is_poison, key_of};
use crate::delivery::link::{Connect, Link};
use crate::delivery::recovery::backlog::{Backlog, SpoolBacklog};
use crate::delivery::recovery::merge::Page;
use crate::event::Event;
use crate::host::clock::Clock;
use crate::store::spool::Spool;
use crate::store::{Batch, Cause, Connected, HeldRow, Refusal, Store, StoreError, StoredIn, WriteResult};
use crate::telemetry::health::{Health, Vitals};
use crate::telemetry::stats::Stats;

/// What a store does with a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    #[default]
    Works,
    /// It answers, and takes nothing.
    Down,
    /// Nobody can connect to it.
    Unreachable,
    /// It takes the events, and its answer is lost.
    Silent,
    /// The partition of this key has no leader.
    Without(u8),
}

impl Mood {
    /// Whether it takes nothing.
    pub(super) fn is_down(self) -> bool {
        matches!(self, Self::Down | Self::Unreachable)
    }
}

/// Where the process ends in the middle of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    BeforeKafka,
    AfterKafka,
    AfterPostgres,
    BeforeForwarded,
}

/// What is thrown where the process would end.
pub(super) struct Crashed;

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    pub(super) kafka: Mood,
    pub(super) postgres: Mood,
    pub(super) crash: Option<Crash>,
    /// Postgres goes down when it is to mark what was forwarded.
    pub(super) fails_at_release: bool,
    /// How long a write takes that is answered.
    pub(super) latency: Duration,
    /// How long an answer is waited for that does not come.
    pub(super) deadline: Duration,
    /// Every record, in order.
    pub(super) topic: Vec<u128>,
    /// When recovery had events acknowledged by Kafka, and how many.
    pub(super) recovered: Vec<(Instant, usize)>,
    /// Rows that wait, by sequence.
    pub(super) held: BTreeMap<i64, Event>,
    pub(super) dead: Vec<u128>,
    /// How often recovery has read a page of them.
    pub(super) pages: usize,
    known: BTreeSet<u128>,
}

pub(super) type SharedWorld = Arc<Mutex<World>>;

/// Everything works, and takes no time.
pub(super) fn world() -> SharedWorld {
    Arc::new(Mutex::new(World {
        kafka: Mood::Works,
        postgres: Mood::Works,
        crash: None,
        fails_at_release: false,
        latency: Duration::ZERO,
        deadline: Duration::ZERO,
        topic: Vec::new(),
        recovered: Vec::new(),
        held: BTreeMap::new(),
        dead: Vec::new(),
        pages: 0,
        known: BTreeSet::new(),
    }))
}

/// A crash leaves the world as it is, not poisoned.
pub(super) fn look(world: &SharedWorld) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn crash(world: &SharedWorld, here: Crash) {
    let due = look(world).crash == Some(here);
    if due {
        look(world).crash = None;
        resume_unwind(Box::new(Crashed));
    }
}

pub(super) fn id(event: &Event) -> u128 {
    event.ingest_id().as_u128()
}

fn down(what: &str) -> StoreError {
    StoreError::unavailable(Cause::Unreachable, what)
}

/// A daemon's way into the world, by its own clock.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) world: SharedWorld,
    pub(super) clock: Arc<VirtualClock>,
}

impl Network {
    fn look(&self) -> MutexGuard<'_, World> {
        look(&self.world)
    }

    /// The time that an exchange with a store in this mood takes.
    fn wait(&self, mood: Mood) {
        let world = self.look();
        self.clock.advance(match mood {
            Mood::Works | Mood::Without(_) => world.latency,
            Mood::Silent => world.deadline,
            Mood::Down | Mood::Unreachable => Duration::ZERO,
        });
    }
}

impl Surroundings for Network {
    fn clock(&self) -> &Arc<VirtualClock> {
        &self.clock
    }

    fn link(&self, target: Target, _: Option<&Arc<Vitals>>, probers: &mut Probers) -> Link<Connected> {
        probers.link(Dial(self.clone(), target))
    }

    fn backlogs(&self, spool: &Spool, _: &Health, _: &mut Probers) -> Vec<Box<dyn Backlog>> {
        let postgres = PostgresRows(Arc::clone(&self.world));
        vec![Box::new(SpoolBacklog::new(spool.clone())), Box::new(postgres)]
    }
}

/// Makes clients of either store for the live path, or recovery's of Kafka. That a connection is made proves
/// nothing.
pub(super) struct Dial(pub(super) Network, pub(super) Target);

impl Connect for Dial {
    type Client = Connected;

    fn connect(&mut self) -> Result<Connected, StoreError> {
        let Self(network, target) = self;
        let mood = match target {
            Target::Kafka | Target::KafkaForHeld => network.look().kafka,
            Target::Postgres => network.look().postgres,
        };
        if mood == Mood::Unreachable {
            return Err(down("connection refused"));
        }
        let network = network.clone();
        let store: Box<dyn Store> = match target {
            Target::Kafka => Box::new(Kafka { network, is_recovery: false }),
            Target::KafkaForHeld => Box::new(Kafka { network, is_recovery: true }),
            Target::Postgres => Box::new(Postgres(network)),
        };
        Ok(Connected { store, client: "played", notes: Vec::new() })
    }

    fn ended(&mut self, _: Result<&Connected, &StoreError>) {}
}

struct Kafka {
    network: Network,
    is_recovery: bool,
}

impl Store for Kafka {
    fn write(&mut self, batch: &Batch) -> Vec<WriteResult> {
        crash(&self.network.world, Crash::BeforeKafka);
        let mood = self.network.look().kafka;
        self.network.wait(mood);
        let mut world = self.network.look();
        let mut outcome = |event: &Event| {
            let id = id(event);
            match mood {
                Mood::Down | Mood::Unreachable => return Err(down("down")),
                Mood::Without(key) if key == key_of(id) => return Err(down("no leader")),
                _ if is_poison(id) => {}
                _ => world.topic.push(id),
            }
            match mood {
                Mood::Silent => Err(down("no answer")),
                _ if is_poison(id) => Err(StoreError::rejected(Refusal::TooLarge, "poison")),
                _ => Ok(()),
            }
        };
        let outcomes: Vec<_> = batch.iter().map(&mut outcome).collect();
        if self.is_recovery {
            let acked = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            world.recovered.push((self.network.clock.now(), acked));
        }
        drop(world);
        crash(&self.network.world, Crash::AfterKafka);
        outcomes
    }
}

struct Postgres(Network);

impl Store for Postgres {
    fn write(&mut self, batch: &Batch) -> Vec<WriteResult> {
        let mood = self.0.look().postgres;
        self.0.wait(mood);
        let mut world = self.0.look();
        let mut outcome = |event: &Event| {
            if mood.is_down() {
                return Err(down("down"));
            }
            if is_odd(id(event)) {
                return Err(StoreError::rejected(Refusal::ValueRefused, "odd"));
            }
            if world.known.insert(id(event)) {
                let seq = world.known.len() as i64;
                world.held.insert(seq, event.clone());
            }
            if mood == Mood::Silent { Err(down("no answer")) } else { Ok(()) }
        };
        let outcomes = batch.iter().map(&mut outcome).collect();
        drop(world);
        crash(&self.0.world, Crash::AfterPostgres);
        outcomes
    }

    fn keep_letters(&mut self, letters: &[(Event, Arc<str>)]) -> WriteResult {
        let mood = self.0.look().postgres;
        self.0.wait(mood);
        let mut world = self.0.look();
        if mood.is_down() {
            return Err(down("down"));
        }
        if letters.iter().any(|(event, _)| is_odd(id(event))) {
            return Err(StoreError::rejected(Refusal::ValueRefused, "odd"));
        }
        world.dead.extend(letters.iter().map(|(event, _)| id(event)));
        if mood == Mood::Silent { Err(down("no answer")) } else { Ok(()) }
    }
}

/// The backlog in Postgres, for the one daemon that there is.
pub(super) struct PostgresRows(pub(super) SharedWorld);

impl PostgresRows {
    fn reach(&self) -> Result<MutexGuard<'_, World>, StoreError> {
        let world = look(&self.0);
        if world.postgres == Mood::Works { Ok(world) } else { Err(down("down")) }
    }

    fn settle(&self) -> Result<MutexGuard<'_, World>, StoreError> {
        crash(&self.0, Crash::BeforeForwarded);
        if look(&self.0).fails_at_release {
            let mut world = look(&self.0);
            world.fails_at_release = false;
            world.postgres = Mood::Down;
        }
        self.reach()
    }
}

impl Backlog for PostgresRows {
    fn store(&self) -> StoredIn {
        StoredIn::Postgres
    }

    fn counters<'a>(&self, stats: &'a Stats) -> (&'a AtomicU64, &'a AtomicU64) {
        (&stats.recovered_postgres, &stats.recovered_postgres_dead_letter)
    }

    fn page(&mut self, after: i64, rows: usize, _: usize, _: Instant) -> Result<Page, StoreError> {
        // As the real one: while the server is down there is no page.
        let Ok(mut world) = self.reach() else { return Ok(Page::default()) };
        world.pages += 1;
        let behind = world.held.range(after + 1..).take(rows);
        let rows: Vec<HeldRow> =
            behind.map(|(seq, event)| HeldRow { seq: *seq, event: Ok(event.clone()) }).collect();
        Ok(Page { more: !rows.is_empty(), rows: rows.into() })
    }

    fn release(&mut self, seqs: Vec<i64>) -> WriteResult {
        let mut world = self.settle()?;
        world.held.retain(|seq, _| !seqs.contains(seq));
        Ok(())
    }

    fn dead_letter(&mut self, rows: Vec<(i64, Arc<str>)>) -> WriteResult {
        let mut world = self.settle()?;
        for (seq, _) in rows {
            if let Some(event) = world.held.remove(&seq) {
                world.dead.push(id(&event));
            }
        }
        Ok(())
    }
}
