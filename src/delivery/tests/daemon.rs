//! One process: what [`crate::app`] builds, without its threads: a turn is a call.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::fakes::{Dial, Mood, PostgresRows, Shared, Target, id, look};
use super::reference::{Places, Undecided, key_of};
use crate::delivery::failover::Switch;
use crate::delivery::link::Link;
use crate::delivery::pacing::Pace;
use crate::delivery::producer::Producer;
use crate::delivery::queue::{self, Inlet, Outcome, Settle, Submission};
use crate::delivery::recovery::source::{Source, SpoolBacklog};
use crate::delivery::recovery::{Plan, Recovery, Step};
use crate::delivery::rounds::Rounds;
use crate::delivery::route::Route;
use crate::event::{Arrival, Event};
use crate::host::clock;
use crate::host::throttle::Throttle;
use crate::limits::RELEASED_MS;
use crate::store::StoredIn;
use crate::store::spool::{Reader, Settings, Spool};
use crate::telemetry::health::Health;
use crate::telemetry::stats::{self, Ledger, Stats};
use crate::telemetry::timings::Timings;

/// Steps of recovery without a change, after which there will be none.
const STILL: usize = 8;
/// As many for a broker whose answers are lost.
const STEPS_SILENT: usize = 12;
/// Enough for everything that a sequence can leave behind.
const STEPS_MAX: usize = 2_000;
pub(super) const SOON: Duration = Duration::from_secs(20);

/// One process: what [`crate::app`] builds, without its threads.
pub(super) struct Daemon {
    producer: Producer,
    pub(super) recovery: Recovery,
    inlet: Inlet,
    stats: Arc<Stats>,
    pub(super) spool: Spool,
    reader: Reader,
    held_at_start: u64,
}

impl Daemon {
    pub(super) fn start(folder: &Path, world: &Shared) -> Self {
        let settings = Settings {
            dir: folder.to_owned(),
            max_bytes: Some(64 << 20),
            keep: Duration::from_secs(86_400),
            clock_settles: Duration::from_secs(60),
            instance: "till-7".to_owned(),
            stopping: Arc::default(),
        };
        let spool = Spool::open(&settings).expect("the spool opens");
        let (stats, health) = (Arc::new(Stats::default()), Arc::new(Health::new(true, true)));
        let dial = |name: &str, target| Link::start(name, Dial(Arc::clone(world), target)).unwrap();
        let route = |place, name, target, vitals: &Arc<_>| {
            Route::new(place, Switch::new(clock::now(), SOON), dial(name, target), Arc::clone(vitals))
        };
        let routes = vec![
            route(StoredIn::Kafka, "m-kafka", Target::Kafka, &health.kafka),
            route(StoredIn::Postgres, "m-postgres", Target::Postgres, &health.postgres),
        ];
        let (inlet, outlet) = queue::bounded(1_000, 1 << 20);
        let (_, stop) = crossbeam_channel::bounded(0);
        let mut recovery = Recovery::new(Plan {
            target: StoredIn::Kafka,
            link: dial("m-recovery", Target::Kafka),
            spool: &spool,
            postgres: None,
            postgres_rows: &health.postgres_rows,
            pace: Pace::new(0),
            stats: &stats,
            vitals: &health.kafka,
            stop,
        })
        .unwrap();
        recovery.sources = sources(&spool, world);
        let producer = Producer {
            rounds: Rounds::new(outlet),
            routes,
            spool: spool.clone(),
            stats: Arc::clone(&stats),
            health: Arc::clone(&health),
            letter_lines: Throttle::new(1),
            timings: Timings::default(),
        };
        let (reader, held_at_start) = (spool.reader().unwrap(), spool.figures().held);
        Self { producer, recovery, inlet, stats, spool, reader, held_at_start }
    }

    /// Every event's outcome: the real producer's turn.
    pub(super) fn post(&mut self, batch: &[u128]) -> Vec<Option<StoredIn>> {
        self.producer.routes.iter_mut().for_each(Route::connect);
        let answers = Arc::new(Mutex::new(Vec::new()));
        stats::add(&self.stats.accepted, batch.len());
        stats::add(&self.stats.in_flight, batch.len());
        // Two requests share a round.
        for half in batch.chunks(batch.len().div_ceil(2)) {
            let events = half.iter().map(|id| event(*id)).collect();
            let submission = Submission::new(events, Box::new(Waiting(Arc::clone(&answers))));
            self.inlet.offer(submission).expect("there is room");
        }
        assert!(self.producer.turn(Duration::ZERO));
        std::mem::take(&mut *answers.lock().unwrap())
    }

    /// Steps of recovery until nothing is held, or nothing moves any more.
    pub(super) fn drain(&mut self, world: &Shared) {
        let mut still = 0;
        let mut seen = self.places(world);
        let mut steps = 0;
        // After a failure it may pass over what it holds row by row.
        while still < STILL + 2 * (seen.postgres.len() + seen.spool.len()) {
            steps += 1;
            if look(world).kafka == Mood::Silent && steps > STEPS_SILENT {
                // What it takes without an answer is sent for ever.
                return;
            }
            assert!(steps < STEPS_MAX, "no end of it");
            while self.recovery.client.is_none() {
                let connected = self.recovery.link.take_until(Instant::now() + SOON);
                self.recovery.client = connected.map(|connected| connected.store);
            }
            if let Step::Empty = self.recovery.step() {
                self.recovery.drain.finish();
                return;
            }
            let now = self.places(world);
            still = if now == seen { still + 1 } else { 0 };
            seen = now;
        }
    }

    /// Held rows of the spool: sequence and event.
    fn spooled(&mut self) -> Vec<(i64, u128)> {
        let rows = self.reader.held_after(0, 100_000, 1 << 30).unwrap();
        rows.into_iter().map(|row| (row.seq, id(&row.event.unwrap()))).collect()
    }

    pub(super) fn places(&mut self, world: &Shared) -> Places {
        let spool = self.spooled().into_iter().map(|row| row.1).collect();
        let world = look(world);
        Places {
            topic: world.topic.clone(),
            postgres: world.held.values().map(id).collect(),
            spool,
            dead: world.dead.len() + self.spool.figures().dead_letters as usize,
        }
    }

    /// What recovery could not tell a store.
    pub(super) fn undecided(&mut self, world: &Shared) -> Undecided {
        let spooled = self.spooled();
        let seqs = |source: usize| {
            let fate = self.recovery.unsettled.as_ref();
            let acked = fate.into_iter().flat_map(move |fate| fate.acked[source].iter().copied());
            acked.chain(fate.into_iter().flat_map(move |fate| fate.buried[source].iter().map(|row| row.0)))
        };
        Undecided {
            in_spool: seqs(0).map(|seq| spooled.iter().find(|row| row.0 == seq).unwrap().1).collect(),
            in_postgres: seqs(1).map(|seq| id(&look(world).held[&seq])).collect(),
        }
    }

    pub(super) fn assert_balanced(&self) {
        let spool = self.spool.figures();
        let ledger = Ledger::of(&self.stats.snapshot(), true, self.held_at_start, &spool);
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

fn sources(spool: &Spool, world: &Shared) -> Vec<Box<dyn Source>> {
    vec![Box::new(SpoolBacklog::new(spool.clone())), Box::new(PostgresRows(Arc::clone(world)))]
}

fn event(number: u128) -> Event {
    let key = format!("key-{}", key_of(number));
    let arrival = Arrival {
        ingest_id: uuid::Uuid::from_u128(number),
        received_at_ms: RELEASED_MS,
        traceparent: None,
        x_request_id: None,
    };
    let payload = format!(r#"{{"request_id":"{key}"}}"#);
    Event::restored(arrival, key.into(), payload.into())
}
