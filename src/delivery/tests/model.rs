//! Random operations on the real threads' code, turn by turn, compared with the reference (F25): after each one
//! everything must be where the reference has it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::daemon::{Options, SOON};
use super::reference::{KEYS, Model, Places};
use super::site::Site;
use super::world::{Crash, Crashed, Mood, look};
use super::{Random, with_seeds};
use crate::store::StoredIn;

const SEQUENCES: u64 = 200;
const OPERATIONS: u64 = 30;
/// More than any store is left alone for.
const REST: Duration = Duration::from_secs(6);

#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// So many events at once.
    Post(u64),
    Kafka(Mood),
    Postgres(Mood),
    /// Time passes.
    Rest,
    Drain,
    /// Postgres goes down when a drain marks there what was forwarded.
    DrainUnmarked,
    /// From here to the next start the spool takes and gives back nothing.
    SpoolEnds,
    Restart,
    CrashInPost(Crash, u64),
    CrashInDrain(Crash),
}

impl Random {
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
            16 => Operation::DrainUnmarked,
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
pub(super) struct Run {
    site: Site,
    model: Model,
}

impl Run {
    pub(super) fn new(name: &str) -> Self {
        Self { site: Site::open(name, Options::default()), model: Model::new() }
    }

    pub(super) fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Post(count) => drop(self.post(count)),
            Operation::Kafka(mood) => {
                self.model.kafka = mood;
                self.site.set_kafka(mood);
            }
            Operation::Postgres(mood) => {
                self.model.postgres = mood;
                self.site.set_postgres(mood);
            }
            Operation::Rest => {
                self.site.clock.advance(REST);
                self.model.rest();
            }
            Operation::Drain => self.drain(),
            Operation::DrainUnmarked => {
                look(&self.site.world).fails_at_release = true;
                self.drain();
                look(&self.site.world).fails_at_release = false;
            }
            Operation::SpoolEnds => {
                assert!(self.site.daemon().spool.close(SOON));
                self.model.spool_is_open = false;
            }
            Operation::Restart => self.restart(),
            Operation::CrashInPost(at, count) => self.crash_in_post(at, count),
            Operation::CrashInDrain(at) => self.crash_in_drain(at),
        }
        self.compare();
    }

    fn post(&mut self, count: u64) -> Vec<Option<StoredIn>> {
        let expected = self.model.post(&self.site.coming(count));
        let outcomes = self.site.post(count);
        assert_eq!(outcomes, expected, "outcomes");
        outcomes
    }

    /// Of one more event.
    pub(super) fn next_outcome(&mut self) -> Option<StoredIn> {
        self.post(1)[0]
    }

    fn drain(&mut self) {
        let armed = look(&self.site.world).fails_at_release;
        let proofs = self.proofs();
        self.site.daemon().drain();
        let interrupted = armed && !look(&self.site.world).fails_at_release;
        let proven = self.proofs() > proofs;
        self.drained(interrupted, proven);
    }

    fn proofs(&mut self) -> u64 {
        self.site.daemon().health.kafka.proofs.load(Ordering::Acquire)
    }

    /// The reference drains too; where chance or an interruption had a say, it takes what was found. `proven`: recovery
    /// had an answer.
    fn drained(&mut self, interrupted: bool, proven: bool) {
        let before = (self.model.places.clone(), self.model.unsettled.clone(), self.model.proof || proven);
        if !self.model.drain() || interrupted {
            (self.model.places, self.model.unsettled, self.model.proof) = before;
            self.model.postgres = look(&self.site.world).postgres;
            self.adopt(&[]);
        }
    }

    fn adopt(&mut self, new: &[u128]) {
        let daemon = self.site.daemon();
        let (found, unsettled) = (daemon.places(), daemon.unsettled());
        self.model.adopt(found, unsettled, new);
    }

    fn restart(&mut self) {
        self.site.restart();
        self.model.restart();
    }

    fn crash_in_post(&mut self, at: Crash, count: u64) {
        look(&self.site.world).crash = Some(at);
        let batch = self.site.batch(count);
        let ended = catch_unwind(AssertUnwindSafe(|| self.site.daemon().post(&batch)));
        look(&self.site.world).crash = None;
        match ended {
            Ok(outcomes) => {
                assert_eq!(outcomes, self.model.post(&batch), "outcomes of {batch:?}");
                self.site.note(&batch, &outcomes);
            }
            Err(thrown) => self.recover_from(thrown, &batch),
        }
    }

    fn crash_in_drain(&mut self, at: Crash) {
        look(&self.site.world).crash = Some(at);
        let proofs = self.proofs();
        let ended = catch_unwind(AssertUnwindSafe(|| self.site.daemon().drain()));
        look(&self.site.world).crash = None;
        match ended {
            Ok(()) => {
                let proven = self.proofs() > proofs;
                self.drained(false, proven);
            }
            Err(thrown) => self.recover_from(thrown, &[]),
        }
    }

    /// A new process finds what the old one left.
    fn recover_from(&mut self, thrown: Box<dyn std::any::Any + Send>, under_way: &[u128]) {
        assert!(thrown.is::<Crashed>(), "a panic that nobody asked for");
        self.restart();
        self.site.copies = true;
        self.adopt(under_way);
    }

    fn compare(&mut self) {
        let sorted = |mut places: Places| {
            places.topic.sort_unstable();
            places
        };
        assert_eq!(sorted(self.site.daemon().places()), sorted(self.model.places.clone()));
        self.site.daemon().assert_balanced();
    }

    /// Everything works again: all that was answered is in Kafka or a dead letter, in order.
    pub(super) fn finish(mut self) {
        for operation in [
            Operation::Restart,
            Operation::Kafka(Mood::Works),
            Operation::Postgres(Mood::Works),
            Operation::Rest,
            Operation::Drain,
        ] {
            self.apply(operation);
        }
        self.site.assert_kept();
        self.site.close();
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let mut run = Run::new("model");
    let mut done = Vec::new();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..OPERATIONS {
            done.push(random.operation());
            run.apply(done[done.len() - 1]);
        }
        run.finish();
    }));
    if let Err(thrown) = ended {
        eprintln!("it fails after {done:?}");
        resume_unwind(thrown);
    }
}

#[test]
fn random_sequences_end_where_the_reference_has_them() {
    with_seeds("random sequences", SEQUENCES, run);
}

/// The oldest rows were passed over in the outage, and the end of the outage is noticed with a later one.
#[test]
fn rows_that_were_passed_over_in_an_outage_are_not_overtaken_after_it() {
    use Operation::{Drain, Kafka, Post, Postgres, Rest};
    let mut run = Run::new("overtaken");
    for operation in [
        Kafka(Mood::Down),
        Post(3),
        Post(2),
        Post(6),
        Postgres(Mood::Down),
        Post(4),
        Post(6),
        Post(4),
        Drain,
        Kafka(Mood::Works),
        Rest,
        Postgres(Mood::Works),
        Post(2),
        Drain,
    ] {
        run.apply(operation);
    }
    run.finish();
}
