//! One process: what [`crate::app`] builds, without its threads. Each part is stepped when it is due.
//!
//! The spool's writer alone has its thread, and real files; it is stepped by commands, whose answers are waited for.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::clock::VirtualClock;
use crate::delivery::link::{self, Connect, Link, Prober};
use crate::delivery::pacing::Pace;
use crate::delivery::producer::{Producer, Turn};
use crate::delivery::queue::{self, Inlet, Outcome, Settle, Submission};
use crate::delivery::recovery::backlog::Backlog;
use crate::delivery::recovery::{Plan, Recovery};
use crate::delivery::rounds::Rounds;
use crate::delivery::route::Route;
use crate::event::{Arrival, Event};
use crate::host::clock::Clock;
use crate::limits::{CONNECT_LOOK, PRODUCER_TICK, SPOOL_TICK};
use crate::store::spool::{OpenError, Settings, Spool};
use crate::store::{Connected, StoredIn};
use crate::telemetry::health::{Health, Vitals};
use crate::telemetry::stats::{self, Ledger, Stats};
use crate::telemetry::timings::Timings;

/// Real time, for what is waited for.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// What a daemon is set to.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) has_kafka: bool,
    pub(super) has_postgres: bool,
    pub(super) recovery_rate: u32,
    pub(super) spool_bytes: u64,
    pub(super) keep: Duration,
    pub(super) clock_trusted_after: Duration,
    /// How often the spool's upkeep is looked at: each second in a real daemon, which costs a long test much.
    pub(super) upkeep_every: Duration,
    pub(super) instance: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            has_kafka: true,
            has_postgres: true,
            recovery_rate: 0,
            spool_bytes: 64 << 20,
            keep: Duration::from_secs(30 * 86_400),
            clock_trusted_after: Duration::from_secs(3_600),
            upkeep_every: SPOOL_TICK,
            instance: "till-7",
        }
    }
}

/// Which connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Kafka,
    KafkaForHeld,
    Postgres,
}

/// A prober of any kind.
pub(super) trait Probe {
    fn step(&mut self) -> Option<Duration>;
}

impl<C: Connect> Probe for Prober<C> {
    fn step(&mut self) -> Option<Duration> {
        Self::step(self)
    }
}

/// The probers of a process, and when each may act next.
#[derive(Default)]
pub(super) struct Probers(Vec<(Box<dyn Probe>, Option<Instant>)>);

impl Probers {
    /// A link whose prober is stepped with the process.
    pub(super) fn link<C: Connect + 'static>(&mut self, connector: C) -> Link<C::Client> {
        let (link, prober) = link::pair(connector);
        self.0.push((Box::new(prober), None));
        link
    }
}

/// The world as one process reaches it.
pub(super) trait Surroundings: Send + Sync {
    fn clock(&self) -> &Arc<VirtualClock>;

    /// A link to a store. The live path's prober reports to `vitals`, if they are given.
    fn link(&self, target: Target, vitals: Option<&Arc<Vitals>>, probers: &mut Probers) -> Link<Connected>;

    /// Where events wait.
    fn backlogs(&self, spool: &Spool, health: &Health, probers: &mut Probers) -> Vec<Box<dyn Backlog>>;

    /// Called when a request is answered.
    fn answered(&self) {}
}

/// What became of a batch: `None` was refused. Answers that were not given are absent.
pub(super) type Answers = Arc<Mutex<Vec<Option<StoredIn>>>>;

/// See the module.
pub(super) struct Process {
    producer: Producer,
    pub(super) recovery: Option<Recovery>,
    probers: Probers,
    producer_due: Instant,
    recovery_due: Instant,
    upkeep_due: Instant,
    upkeep_every: Duration,
    clock: Arc<VirtualClock>,
    around: Arc<dyn Surroundings>,
    inlet: Inlet,
    pub(super) stats: Arc<Stats>,
    pub(super) health: Arc<Health>,
    pub(super) spool: Spool,
    has_kafka: bool,
    held_at_start: u64,
}

impl Process {
    /// As `app::Base::open` and `app::delivery::Delivery::start` do it.
    pub(super) fn start(
        folder: &Path,
        around: Arc<dyn Surroundings>,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let virtual_clock = Arc::clone(around.clock());
        let clock: Arc<dyn Clock> = Arc::clone(&virtual_clock) as _;
        let settings = Settings {
            dir: folder.to_owned(),
            max_bytes: Some(options.spool_bytes),
            keep: options.keep,
            clock: Arc::clone(&clock),
            clock_trusted_after: options.clock_trusted_after,
            instance: options.instance.to_owned(),
            stopping: Arc::default(),
            destination: None,
        };
        let spool = Spool::open(&settings)?;
        let stats = Arc::new(Stats::default());
        let (has_kafka, has_postgres) = (options.has_kafka, options.has_postgres);
        let health = Arc::new(Health::new(has_kafka, has_postgres, &clock));
        let mut probers = Probers::default();
        let mut routes = Vec::new();
        for (configured, place, target, vitals) in [
            (has_kafka, StoredIn::Kafka, Target::Kafka, &health.kafka),
            (has_postgres, StoredIn::Postgres, Target::Postgres, &health.postgres),
        ] {
            if configured {
                let link = around.link(target, Some(vitals), &mut probers);
                routes.push(Route::new(place, SOON, link, Arc::clone(vitals), Arc::clone(&clock)));
            }
        }
        let recovery = (has_kafka || has_postgres).then(|| {
            let (target, connection, vitals) = match has_kafka {
                true => (StoredIn::Kafka, Target::KafkaForHeld, &health.kafka),
                false => (StoredIn::Postgres, Target::Postgres, &health.postgres),
            };
            let mut recovery = Recovery::new(Plan {
                target,
                link: around.link(connection, None, &mut probers),
                spool: &spool,
                postgres: None,
                postgres_rows: &health.postgres_rows,
                pace: Pace::new(options.recovery_rate),
                stats: &stats,
                vitals,
                stop: crossbeam_channel::bounded(0).1,
                clock: &clock,
            })
            .expect("no thread is needed");
            recovery.backlogs = around.backlogs(&spool, &health, &mut probers);
            recovery
        });
        let (inlet, outlet) = queue::bounded(2_000, 10 << 20);
        let producer = Producer::new(
            Rounds::new(outlet),
            routes,
            spool.clone(),
            Arc::clone(&stats),
            Arc::clone(&health),
            Timings::default(),
            Arc::clone(&clock),
        );
        let now = clock.now();
        Ok(Self {
            producer,
            recovery,
            probers,
            producer_due: now,
            recovery_due: now,
            upkeep_due: now,
            upkeep_every: options.upkeep_every,
            clock: virtual_clock,
            around,
            inlet,
            stats,
            health,
            held_at_start: spool.figures().held,
            has_kafka,
            spool,
        })
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Every part that is due does its next step.
    pub(super) fn step(&mut self) {
        self.connect();
        if self.producer_due <= self.now() {
            self.producer_turn();
        }
        if self.recovery_due <= self.now()
            && let Some(recovery) = &mut self.recovery
        {
            let pause = recovery.turn();
            self.recovery_due = self.now() + pause;
        }
        if self.upkeep_due <= self.now() {
            self.upkeep();
        }
        self.connect();
    }

    /// When a part is due next.
    pub(super) fn next_at(&self) -> Instant {
        let recovery = self.recovery.is_some().then_some(self.recovery_due);
        let parts = [Some(self.producer_due), recovery, Some(self.upkeep_due)];
        let probers = self.probers.0.iter().map(|(_, due)| *due);
        parts.into_iter().chain(probers).flatten().min().expect("the producer is always due")
    }

    /// Lives until then.
    pub(super) fn run_until(&mut self, until: Instant) {
        loop {
            self.step();
            let next = self.next_at();
            if next > until {
                return self.clock.advance_to(until);
            }
            self.clock.advance_to(next);
        }
    }

    /// Probers serve what is requested, unless they have just failed.
    pub(super) fn connect(&mut self) {
        for (prober, due) in &mut self.probers.0 {
            if due.is_none_or(|due| due <= self.clock.now()) {
                let pause = prober.step();
                *due = pause.map(|pause| self.clock.now() + pause);
            }
        }
    }

    fn producer_turn(&mut self) -> Turn {
        let turn = self.producer.turn(Duration::ZERO);
        let pause = if let Turn::Waits(_) = turn { CONNECT_LOOK } else { PRODUCER_TICK };
        self.producer_due = self.now() + pause;
        turn
    }

    /// The writer tends its file behind the answer to any command, and before it serves the next one.
    pub(super) fn upkeep(&mut self) {
        for _ in 0..2 {
            // No row is meant.
            let _ = self.spool.release(Vec::new());
        }
        self.upkeep_due = self.now() + self.upkeep_every;
    }

    /// Every event's outcome: the real producer's turn.
    pub(super) fn post(&mut self, events: Vec<Event>, answers: &Answers) {
        self.connect();
        stats::add(&self.stats.accepted, events.len());
        stats::add(&self.stats.in_flight, events.len());
        // Two requests share a round.
        for half in events.chunks(events.len().div_ceil(2)) {
            let waiting = Waiting(Arc::clone(answers), Arc::clone(&self.around));
            let submission = Submission::new(half.to_vec(), Box::new(waiting));
            self.inlet.offer(submission).expect("there is room");
        }
        let (asked, until) = (events.len(), self.now() + SOON);
        while answers.lock().unwrap().len() < asked {
            if let Turn::Waits(_) = self.producer_turn() {
                assert!(self.now() < until, "the producer waits for ever");
                self.clock.advance(CONNECT_LOOK);
                self.connect();
            }
        }
    }

    pub(super) fn ledger(&self) -> Ledger {
        let spool = self.spool.figures();
        Ledger::of(&self.stats.snapshot(), self.has_kafka, self.held_at_start, &spool)
    }

    pub(super) fn assert_balanced(&self) {
        let ledger = self.ledger();
        assert!(ledger.balanced, "{ledger:?}");
    }

    pub(super) fn end(self) {
        assert!(self.spool.close(SOON));
    }
}

struct Waiting(Answers, Arc<dyn Surroundings>);

impl Settle for Waiting {
    fn settle(self: Box<Self>, outcomes: &[Outcome]) {
        self.1.answered();
        let place = |outcome: &Outcome| match outcome {
            Outcome::Stored(place) => Some(*place),
            Outcome::Refused(..) => None,
        };
        self.0.lock().unwrap().extend(outcomes.iter().map(place));
    }
}

/// An event as validation makes it, of a till that sends `key` as its `request_id`.
pub(super) fn event(id: u128, key: u64, received_at_ms: i64) -> Event {
    let key = format!("key-{key}");
    let arrival = Arrival::new(uuid::Uuid::from_u128(id), received_at_ms);
    let payload = format!(r#"{{"request_id":"{key}"}}"#);
    Event::restored(arrival, key.into(), payload.into())
}
