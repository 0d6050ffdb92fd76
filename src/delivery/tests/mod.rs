//! A model test of producer, failover and recovery together: random operations on the real threads' code,
//! turn by turn, against a reference of plain rules (F25).
//!
//! Kafka and Postgres are scripted, the spool is real, the clock of the routes is set. After each operation
//! everything must be where the reference has it. A failure prints its seed; `LOGS_INGEST_SEED` takes it
//! back, `LOGS_INGEST_LONG` makes many more.

mod combinations;
mod daemon;
mod fakes;
mod reference;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::daemon::{Daemon, SOON};
use self::fakes::{Crash, Crashed, Mood, Shared, look, world};
use self::reference::{KEYS, Model, Places, key_of};
use crate::host::clock;
use crate::store::StoredIn;

const SEQUENCES: u64 = 200;
const SEQUENCES_LONG: u64 = 20_000;
const OPERATIONS: u64 = 30;
/// More than any store is left alone for.
const REST: Duration = Duration::from_secs(6);

#[derive(Clone, Copy, Debug)]
enum Operation {
    /// So many events at once.
    Post(u64),
    Kafka(Mood),
    Postgres(Mood),
    /// Time passes.
    Rest,
    Drain,
    /// Postgres goes down when a drain tells it what was forwarded.
    DrainUntold,
    /// From here to the next start the spool takes and gives back nothing.
    SpoolEnds,
    Restart,
    CrashInPost(Crash, u64),
    CrashInDrain(Crash),
}

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn operation(&mut self) -> Operation {
        let without = Mood::Without(self.below(KEYS) as u8);
        match self.below(20) {
            0..=6 => Operation::Post(1 + self.below(6)),
            7..=8 => {
                Operation::Kafka(self.pick(&[Mood::Works, Mood::Works, Mood::Down, Mood::Silent, without]))
            }
            9..=10 => Operation::Postgres(self.pick(&[Mood::Works, Mood::Down, Mood::Silent])),
            11..=13 => Operation::Rest,
            14..=15 => Operation::Drain,
            16 => Operation::DrainUntold,
            17 if self.below(3) == 0 => Operation::SpoolEnds,
            17 => Operation::Restart,
            18 => {
                let at = self.pick(&[Crash::BeforeKafka, Crash::AfterKafka, Crash::AfterPostgres]);
                Operation::CrashInPost(at, 1 + self.below(6))
            }
            _ => {
                let at = self.pick(&[Crash::BeforeKafka, Crash::AfterKafka, Crash::BeforeForwarded]);
                Operation::CrashInDrain(at)
            }
        }
    }
}

/// A sequence under way.
struct Run {
    folder: PathBuf,
    world: Shared,
    daemon: Option<Daemon>,
    model: Model,
    next: u128,
    now: Instant,
    /// Where the events that were answered are, by their answer.
    answered: Vec<(u128, StoredIn)>,
    /// An answer of Kafka's was lost, or the process died with one: copies are allowed.
    copies: bool,
}

impl Run {
    fn new(name: &str) -> Self {
        let folder = memory().join(format!("logs-ingest-model-{}-{name}", std::process::id()));
        let (world, now) = (world(), Instant::now());
        clock::tests::SET.set(Some(now));
        let daemon = Some(Daemon::start(&folder, &world));
        let model = Model::new();
        Self { folder, world, daemon, model, next: 1, now, answered: Vec::new(), copies: false }
    }

    fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("it runs")
    }

    fn batch(&mut self, count: u64) -> Vec<u128> {
        let first = self.next;
        self.next += u128::from(count);
        (first..self.next).collect()
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Post(count) => drop(self.post(count)),
            Operation::Kafka(mood) => {
                (self.model.kafka, look(&self.world).kafka) = (mood, mood);
                self.copies |= mood == Mood::Silent;
            }
            Operation::Postgres(mood) => {
                (self.model.postgres, look(&self.world).postgres) = (mood, mood);
                // What is in both stores is sent by both.
                self.copies |= mood == Mood::Silent;
            }
            Operation::Rest => {
                self.now += REST;
                clock::tests::SET.set(Some(self.now));
                self.model.rest();
            }
            Operation::Drain => self.drain(),
            Operation::DrainUntold => {
                look(&self.world).fails_at_release = true;
                self.drain();
                look(&self.world).fails_at_release = false;
            }
            Operation::SpoolEnds => {
                assert!(self.daemon().spool.close(SOON));
                self.model.spool_is_open = false;
            }
            Operation::Restart => self.restart(),
            Operation::CrashInPost(at, count) => self.crash_in_post(at, count),
            Operation::CrashInDrain(at) => self.crash_in_drain(at),
        }
        self.compare();
    }

    fn post(&mut self, count: u64) -> Vec<Option<StoredIn>> {
        let batch = self.batch(count);
        let outcomes = self.daemon().post(&batch);
        assert_eq!(outcomes, self.model.post(&batch), "outcomes of {batch:?}");
        self.note(&batch, &outcomes);
        outcomes
    }

    fn note(&mut self, batch: &[u128], outcomes: &[Option<StoredIn>]) {
        let answered = batch.iter().zip(outcomes);
        self.answered.extend(answered.filter_map(|(id, outcome)| Some((*id, (*outcome)?))));
    }

    /// Of one more event.
    fn next_outcome(&mut self) -> Option<StoredIn> {
        self.post(1)[0]
    }

    fn drain(&mut self) {
        let world = Arc::clone(&self.world);
        let armed = look(&world).fails_at_release;
        self.daemon().drain(&world);
        let interrupted = armed && !look(&world).fails_at_release;
        self.drained(interrupted);
    }

    /// The reference drains too; where chance or an interruption had a say, it takes what was found.
    fn drained(&mut self, interrupted: bool) {
        let before = (self.model.places.clone(), self.model.undecided.clone());
        if !self.model.drain() || interrupted {
            (self.model.places, self.model.undecided) = before;
            self.model.postgres = look(&self.world).postgres;
            self.adopt(&[]);
        }
    }

    fn adopt(&mut self, new: &[u128]) {
        let daemon = self.daemon.as_mut().expect("it runs");
        let (found, undecided) = (daemon.places(&self.world), daemon.undecided(&self.world));
        self.model.adopt(found, undecided, new);
    }

    fn restart(&mut self) {
        // What Kafka has and a store could not be told is sent again.
        self.copies |= self.daemon().recovery.unsettled.is_some();
        self.daemon.take().expect("it runs").end();
        self.daemon = Some(Daemon::start(&self.folder, &self.world));
        self.model.restart();
    }

    fn crash_in_post(&mut self, at: Crash, count: u64) {
        look(&self.world).crash = Some(at);
        let batch = self.batch(count);
        let daemon = self.daemon.as_mut().expect("it runs");
        let ended = catch_unwind(AssertUnwindSafe(|| daemon.post(&batch)));
        look(&self.world).crash = None;
        match ended {
            Ok(outcomes) => {
                assert_eq!(outcomes, self.model.post(&batch), "outcomes of {batch:?}");
                self.note(&batch, &outcomes);
            }
            Err(thrown) => self.recover_from(thrown, &batch),
        }
    }

    fn crash_in_drain(&mut self, at: Crash) {
        look(&self.world).crash = Some(at);
        let world = Arc::clone(&self.world);
        let daemon = self.daemon.as_mut().expect("it runs");
        let ended = catch_unwind(AssertUnwindSafe(|| daemon.drain(&world)));
        look(&self.world).crash = None;
        match ended {
            Ok(()) => self.drained(false),
            Err(thrown) => self.recover_from(thrown, &[]),
        }
    }

    /// A new process finds what the old one left.
    fn recover_from(&mut self, thrown: Box<dyn std::any::Any + Send>, under_way: &[u128]) {
        assert!(thrown.is::<Crashed>(), "a panic that nobody asked for");
        self.restart();
        self.copies = true;
        self.adopt(under_way);
    }

    fn compare(&mut self) {
        let daemon = self.daemon.as_mut().expect("it runs");
        let sorted = |places: &Places| {
            let mut places = places.clone();
            places.topic.sort_unstable();
            places
        };
        assert_eq!(sorted(&daemon.places(&self.world)), sorted(&self.model.places));
        daemon.assert_balanced();
    }

    /// Everything works again: all that was answered is in Kafka or a dead letter, in order.
    fn finish(mut self) {
        for operation in [
            Operation::Restart,
            Operation::Kafka(Mood::Works),
            Operation::Postgres(Mood::Works),
            Operation::Rest,
            Operation::Drain,
        ] {
            self.apply(operation);
        }
        let found = &self.model.places;
        assert!(found.spool.is_empty() && found.postgres.is_empty(), "{found:?}");
        let topic = look(&self.world).topic.clone();
        let first = |id: u128| topic.iter().position(|at| *at == id);
        for (id, place) in &self.answered {
            let is_there = first(*id).is_some() || reference::is_poison(*id);
            assert!(is_there, "{id}, stored in {place:?}, is lost");
        }
        let distinct: BTreeSet<&u128> = topic.iter().collect();
        assert!(self.copies || distinct.len() == topic.len(), "copies that nothing explains: {topic:?}");
        if !self.copies {
            self.assert_order(&first);
        }
        self.daemon.take().expect("it runs").end();
        clock::tests::SET.set(None);
        std::fs::remove_dir_all(&self.folder).unwrap();
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
}

/// Where an fsync costs nothing: what the disk keeps is not the question here.
fn memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let mut run = Run::new(&seed.to_string());
    let mut done = Vec::new();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..OPERATIONS {
            done.push(random.operation());
            run.apply(done[done.len() - 1]);
        }
        run.finish();
    }));
    if let Err(thrown) = ended {
        eprintln!("LOGS_INGEST_SEED={seed} fails after {done:?}");
        std::panic::resume_unwind(thrown);
    }
}

#[test]
fn random_sequences_end_where_the_reference_has_them() {
    if let Some(seed) = std::env::var("LOGS_INGEST_SEED").ok().and_then(|text| text.parse().ok()) {
        return run(seed);
    }
    let first = uuid::Uuid::now_v7().as_u64_pair().1;
    let many = if std::env::var_os("LOGS_INGEST_LONG").is_some() { SEQUENCES_LONG } else { SEQUENCES };
    println!("LOGS_INGEST_SEED from {first}, {many} sequences");
    (0..many).for_each(|n| run(first.wrapping_add(n)));
}
