//! Scripted stores: Kafka and Postgres as memory, each in a mood. The spool is the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::reference::{is_odd, is_poison, key_of};
use crate::delivery::link::Connect;
use crate::delivery::recovery::merge::Page;
use crate::delivery::recovery::source::Source;
use crate::event::Event;
use crate::store::{Batch, Cause, Connected, HeldRow, Refusal, Store, StoreError, WriteResult};
use crate::telemetry::stats::Stats;

/// What a store does with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Works,
    /// It takes nothing.
    Down,
    /// It takes the events, and its answer is lost.
    Silent,
    /// The partition of this key has no leader.
    Without(u8),
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

/// The world outside the daemon. It outlives crashes.
#[derive(Debug)]
pub(super) struct World {
    pub(super) kafka: Mood,
    pub(super) postgres: Mood,
    pub(super) crash: Option<Crash>,
    /// Postgres goes down when it is told what was forwarded.
    pub(super) fails_at_release: bool,
    /// Every record, in order.
    pub(super) topic: Vec<u128>,
    /// Rows that wait, by sequence.
    pub(super) held: BTreeMap<i64, Event>,
    pub(super) dead: Vec<u128>,
    known: BTreeSet<u128>,
}

pub(super) type Shared = Arc<Mutex<World>>;

pub(super) fn world() -> Shared {
    Arc::new(Mutex::new(World {
        kafka: Mood::Works,
        postgres: Mood::Works,
        crash: None,
        fails_at_release: false,
        topic: Vec::new(),
        held: BTreeMap::new(),
        dead: Vec::new(),
        known: BTreeSet::new(),
    }))
}

/// A crash leaves the world as it is, not poisoned.
pub(super) fn look(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn crash(world: &Shared, here: Crash) {
    let due = look(world).crash == Some(here);
    if due {
        look(world).crash = None;
        resume_unwind(Box::new(Crashed));
    }
}

pub(super) fn id(event: &Event) -> u128 {
    event.ingest_id().as_u128()
}

fn away(what: &str) -> StoreError {
    StoreError::unavailable(Cause::Unreachable, what)
}

/// A client of either store for the live path, or recovery's of Kafka. Connecting always works: it proves
/// nothing.
pub(super) struct Dial(pub(super) Shared, pub(super) Target);

#[derive(Clone, Copy)]
pub(super) enum Target {
    Kafka,
    Postgres,
}

impl Connect for Dial {
    type Client = Connected;

    fn connect(&mut self) -> Result<Connected, StoreError> {
        let world = Arc::clone(&self.0);
        let store: Box<dyn Store> = match self.1 {
            Target::Kafka => Box::new(Kafka(world)),
            Target::Postgres => Box::new(Postgres(world)),
        };
        Ok(Connected { store, client: "scripted", notes: Vec::new() })
    }

    fn ended(&mut self, _: Result<&Connected, &StoreError>) {}
}

struct Kafka(Shared);

impl Store for Kafka {
    fn write(&mut self, batch: &Batch) -> Vec<WriteResult> {
        crash(&self.0, Crash::BeforeKafka);
        let mut world = look(&self.0);
        let mood = world.kafka;
        let mut outcome = |event: &Event| {
            let id = id(event);
            match mood {
                Mood::Down => return Err(away("down")),
                Mood::Without(key) if key == key_of(id) => return Err(away("no leader")),
                _ if is_poison(id) => {}
                _ => world.topic.push(id),
            }
            match mood {
                Mood::Silent => Err(away("no answer")),
                _ if is_poison(id) => Err(StoreError::rejected(Refusal::TooLarge, "poison")),
                _ => Ok(()),
            }
        };
        let outcomes = batch.iter().map(&mut outcome).collect();
        drop(world);
        crash(&self.0, Crash::AfterKafka);
        outcomes
    }
}

struct Postgres(Shared);

impl Store for Postgres {
    fn write(&mut self, batch: &Batch) -> Vec<WriteResult> {
        let mut world = look(&self.0);
        let mood = world.postgres;
        let mut outcome = |event: &Event| {
            if mood == Mood::Down {
                return Err(away("down"));
            }
            if is_odd(id(event)) {
                return Err(StoreError::rejected(Refusal::ValueRefused, "odd"));
            }
            if world.known.insert(id(event)) {
                let seq = world.known.len() as i64;
                world.held.insert(seq, event.clone());
            }
            if mood == Mood::Silent { Err(away("no answer")) } else { Ok(()) }
        };
        let outcomes = batch.iter().map(&mut outcome).collect();
        drop(world);
        crash(&self.0, Crash::AfterPostgres);
        outcomes
    }

    fn keep_letters(&mut self, letters: &[(Event, Arc<str>)]) -> WriteResult {
        let mut world = look(&self.0);
        let mood = world.postgres;
        if mood == Mood::Down {
            return Err(away("down"));
        }
        if letters.iter().any(|(event, _)| is_odd(id(event))) {
            return Err(StoreError::rejected(Refusal::ValueRefused, "odd"));
        }
        world.dead.extend(letters.iter().map(|(event, _)| id(event)));
        if mood == Mood::Silent { Err(away("no answer")) } else { Ok(()) }
    }
}

/// The backlog in Postgres, for the one daemon that there is.
pub(super) struct PostgresRows(pub(super) Shared);

impl PostgresRows {
    fn reach(&self) -> Result<MutexGuard<'_, World>, StoreError> {
        let world = look(&self.0);
        if world.postgres == Mood::Works { Ok(world) } else { Err(away("down")) }
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

impl Source for PostgresRows {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn counters<'a>(&self, stats: &'a Stats) -> (&'a AtomicU64, &'a AtomicU64) {
        (&stats.recovered_postgres, &stats.recovered_postgres_dead_letter)
    }

    fn page(&mut self, after: i64, rows: usize, _: usize) -> Result<Page, StoreError> {
        // As the real one: a server that is away has no page.
        let Ok(world) = self.reach() else { return Ok(Page::default()) };
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

    fn bury(&mut self, seqs: Vec<(i64, Arc<str>)>) -> WriteResult {
        let mut world = self.settle()?;
        for (seq, _) in seqs {
            if let Some(event) = world.held.remove(&seq) {
                world.dead.push(id(&event));
            }
        }
        Ok(())
    }
}
