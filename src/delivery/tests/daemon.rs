//! One process: what [`crate::app`] builds, without its threads. Each part is stepped when it is due.
//!
//! The spool's writer alone has its thread, and real files; it is stepped by commands, whose answers are waited for.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::reference::{Places, Unsettled, key_of};
use super::world::{Dial, Mood, Network, PostgresRows, Target, id, look};
use crate::delivery::link::{self, Link, Prober};
use crate::delivery::pacing::Pace;
use crate::delivery::producer::{Producer, Turn};
use crate::delivery::queue::{self, Inlet, Outcome, Settle, Submission};
use crate::delivery::recovery::backlog::{Backlog, SpoolBacklog};
use crate::delivery::recovery::{Plan, Recovery, Step};
use crate::delivery::rounds::Rounds;
use crate::delivery::route::Route;
use crate::event::{Arrival, Event};
use crate::host::clock::Clock;
use crate::limits::{CONNECT_LOOK, PRODUCER_TICK, SPOOL_TICK};
use crate::store::spool::{Reader, Settings, Spool};
use crate::store::{Connected, StoredIn};
use crate::telemetry::health::Health;
use crate::telemetry::stats::{self, Ledger, Stats};
use crate::telemetry::timings::Timings;

/// Steps of recovery without a change, after which there will be none.
const STILL: usize = 8;
/// As many for a broker whose answers are lost.
const STEPS_SILENT: usize = 12;
/// Enough for everything that a sequence can leave behind.
const STEPS_MAX: usize = 2_000;
/// Real time, for what is waited for.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// What a daemon is set to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Whether Kafka and Postgres are configured.
    pub(super) has_stores: bool,
    pub(super) recovery_rate: u32,
    pub(super) spool_bytes: u64,
    pub(super) keep: Duration,
    pub(super) clock_trusted_after: Duration,
    /// How often the spool's upkeep is looked at: each second in a real daemon, which costs a long test much.
    pub(super) upkeep_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            has_stores: true,
            recovery_rate: 0,
            spool_bytes: 64 << 20,
            keep: Duration::from_secs(30 * 86_400),
            clock_trusted_after: Duration::from_secs(3_600),
            upkeep_every: SPOOL_TICK,
        }
    }
}

/// See the module.
pub(super) struct Daemon {
    producer: Producer,
    pub(super) recovery: Recovery,
    probers: Vec<(Prober<Dial>, Option<Instant>)>,
    producer_due: Instant,
    recovery_due: Instant,
    upkeep_due: Instant,
    upkeep_every: Duration,
    has_stores: bool,
    network: Network,
    inlet: Inlet,
    stats: Arc<Stats>,
    pub(super) health: Arc<Health>,
    pub(super) spool: Spool,
    reader: Reader,
    held_at_start: u64,
}

impl Daemon {
    pub(super) fn start(folder: &Path, network: &Network, options: &Options) -> Self {
        let clock: Arc<dyn Clock> = Arc::clone(&network.clock) as _;
        let settings = Settings {
            dir: folder.to_owned(),
            max_bytes: Some(options.spool_bytes),
            keep: options.keep,
            clock: Arc::clone(&clock),
            clock_trusted_after: options.clock_trusted_after,
            instance: "till-7".to_owned(),
            stopping: Arc::default(),
            destination: None,
        };
        let spool = Spool::open(&settings).expect("the spool opens");
        let stats = Arc::new(Stats::default());
        let health = Arc::new(Health::new(options.has_stores, options.has_stores, &clock));
        let mut probers = Vec::new();
        let mut dial = |target| -> Link<Connected> {
            let (link, prober) = link::pair(Dial(network.clone(), target));
            probers.push((prober, None));
            link
        };
        let mut routes = Vec::new();
        if options.has_stores {
            for (place, target, vitals) in [
                (StoredIn::Kafka, Target::Kafka, &health.kafka),
                (StoredIn::Postgres, Target::Postgres, &health.postgres),
            ] {
                routes.push(Route::new(place, SOON, dial(target), Arc::clone(vitals), Arc::clone(&clock)));
            }
        }
        let (inlet, outlet) = queue::bounded(1_000, 1 << 20);
        let (_, stop) = crossbeam_channel::bounded(0);
        let mut recovery = Recovery::new(Plan {
            target: StoredIn::Kafka,
            link: dial(Target::KafkaForHeld),
            spool: &spool,
            postgres: None,
            postgres_rows: &health.postgres_rows,
            pace: Pace::new(options.recovery_rate),
            stats: &stats,
            vitals: &health.kafka,
            stop,
            clock: &clock,
        })
        .expect("no thread is needed");
        recovery.backlogs = backlogs(&spool, network);
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
        Self {
            producer,
            recovery,
            probers,
            producer_due: now,
            recovery_due: now,
            upkeep_due: now,
            upkeep_every: options.upkeep_every,
            has_stores: options.has_stores,
            network: network.clone(),
            inlet,
            stats,
            health,
            reader: spool.reader().expect("the spool is there"),
            held_at_start: spool.figures().held,
            spool,
        }
    }

    fn now(&self) -> Instant {
        self.network.clock.now()
    }

    /// Every part that is due does its next step.
    pub(super) fn step(&mut self) {
        self.connect();
        if self.producer_due <= self.now() {
            self.producer_turn();
        }
        if self.has_stores && self.recovery_due <= self.now() {
            let pause = self.recovery.turn();
            self.recovery_due = self.now() + pause;
        }
        if self.upkeep_due <= self.now() {
            self.upkeep();
        }
        self.connect();
    }

    /// When a part is due next.
    pub(super) fn next_at(&self) -> Instant {
        let parts =
            [Some(self.producer_due), self.has_stores.then_some(self.recovery_due), Some(self.upkeep_due)];
        let probers = self.probers.iter().map(|(_, due)| *due);
        parts.into_iter().chain(probers).flatten().min().expect("the producer is always due")
    }

    /// Lives until then.
    pub(super) fn run_until(&mut self, until: Instant) {
        loop {
            self.step();
            let next = self.next_at();
            if next > until {
                return self.network.clock.advance_to(until);
            }
            self.network.clock.advance_to(next);
        }
    }

    /// Probers serve what is requested, unless they have just failed.
    fn connect(&mut self) {
        for (prober, due) in &mut self.probers {
            if due.is_none_or(|due| due <= self.network.clock.now()) {
                let pause = prober.step();
                *due = pause.map(|pause| self.network.clock.now() + pause);
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
    fn upkeep(&mut self) {
        for _ in 0..2 {
            // No row is meant.
            let _ = self.spool.release(Vec::new());
        }
        self.upkeep_due = self.now() + self.upkeep_every;
    }

    /// Every event's outcome: the real producer's turn.
    pub(super) fn post(&mut self, batch: &[u128]) -> Vec<Option<StoredIn>> {
        self.connect();
        let answers = Arc::new(Mutex::new(Vec::new()));
        stats::add(&self.stats.accepted, batch.len());
        stats::add(&self.stats.in_flight, batch.len());
        let received_at_ms = self.network.clock.record_ms();
        // Two requests share a round.
        for half in batch.chunks(batch.len().div_ceil(2)) {
            let events = half.iter().map(|id| event(*id, received_at_ms)).collect();
            let submission = Submission::new(events, Box::new(Waiting(Arc::clone(&answers))));
            self.inlet.offer(submission).expect("there is room");
        }
        while let Turn::Waits(_) = self.producer_turn() {
            self.network.clock.advance(CONNECT_LOOK);
            self.connect();
        }
        std::mem::take(&mut *answers.lock().unwrap())
    }

    /// Steps of recovery until nothing is held, or nothing moves any more. No time passes.
    pub(super) fn drain(&mut self) {
        let mut still = 0;
        let mut seen = self.places();
        let mut steps = 0;
        // After a failure it may pass over what it holds row by row.
        while still < STILL + 2 * (seen.postgres.len() + seen.spool.len()) {
            steps += 1;
            if look(&self.network.world).kafka == Mood::Silent && steps > STEPS_SILENT {
                // What it takes without an answer is sent for ever.
                return;
            }
            assert!(steps < STEPS_MAX, "no end of it");
            self.connect();
            if let Step::Empty = self.recovery.step() {
                self.recovery.passes.finish(self.now());
                return;
            }
            let now = self.places();
            still = if now == seen { still + 1 } else { 0 };
            seen = now;
        }
    }

    /// Held rows of the spool: sequence and event.
    pub(super) fn spooled(&mut self) -> Vec<(i64, u128)> {
        let rows = self.reader.held_after(0, 100_000, 1 << 30).unwrap();
        rows.into_iter().map(|row| (row.seq, id(&row.event.unwrap()))).collect()
    }

    pub(super) fn places(&mut self) -> Places {
        let spool = self.spooled().into_iter().map(|row| row.1).collect();
        let world = look(&self.network.world);
        Places {
            topic: world.topic.clone(),
            postgres: world.held.values().map(id).collect(),
            spool,
            dead: world.dead.len() + self.spool.figures().dead_letters as usize,
        }
    }

    /// Rows that could not leave their stores yet.
    pub(super) fn unsettled(&mut self) -> Unsettled {
        let spooled = self.spooled();
        let seqs = |backlog: usize| {
            let leaving = self.recovery.leaving.as_ref();
            let acked = leaving.into_iter().flat_map(move |rows| rows.acked[backlog].iter().copied());
            acked.chain(leaving.into_iter().flat_map(move |rows| rows.dead[backlog].iter().map(|row| row.0)))
        };
        Unsettled {
            in_spool: seqs(0).map(|seq| spooled.iter().find(|row| row.0 == seq).unwrap().1).collect(),
            in_postgres: seqs(1).map(|seq| id(&look(&self.network.world).held[&seq])).collect(),
        }
    }

    pub(super) fn assert_balanced(&self) {
        let spool = self.spool.figures();
        let ledger = Ledger::of(&self.stats.snapshot(), self.has_stores, self.held_at_start, &spool);
        assert!(ledger.balanced, "{ledger:?}");
    }

    pub(super) fn end(self) {
        assert!(self.spool.close(SOON));
    }
}

struct Waiting(Arc<Mutex<Vec<Option<StoredIn>>>>);

impl Settle for Waiting {
    fn settle(self: Box<Self>, outcomes: &[Outcome]) {
        let place = |outcome: &Outcome| match outcome {
            Outcome::Stored(place) => Some(*place),
            Outcome::Refused(..) => None,
        };
        self.0.lock().unwrap().extend(outcomes.iter().map(place));
    }
}

fn backlogs(spool: &Spool, network: &Network) -> Vec<Box<dyn Backlog>> {
    let postgres = PostgresRows(Arc::clone(&network.world));
    vec![Box::new(SpoolBacklog::new(spool.clone())), Box::new(postgres)]
}

fn event(number: u128, received_at_ms: i64) -> Event {
    let key = format!("key-{}", key_of(number));
    let arrival = Arrival::new(uuid::Uuid::from_u128(number), received_at_ms);
    let payload = format!(r#"{{"request_id":"{key}"}}"#);
    Event::restored(arrival, key.into(), payload.into())
}
