//! Starts everything in the order of need and stops it in reverse, within one deadline.

mod front;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use log::{info, warn};

use self::front::{Bound, Front, Needs};
use crate::commands::control::Control;
use crate::config::Config;
use crate::delivery::connect::StoreConnector;
use crate::delivery::link::Link;
use crate::delivery::pacing::Pace;
use crate::delivery::producer::Producer;
use crate::delivery::queue::{self, Inlet};
use crate::delivery::recovery::{Plan, Recovery};
use crate::delivery::rounds::Rounds;
use crate::delivery::route::Route;
use crate::host::clock::{Clock, SystemClock};
use crate::host::exit::{Exit, StartError};
use crate::host::reload::Reloads;
use crate::host::systemd::Pulse;
use crate::host::thread;
use crate::http::endpoints::{health, liveness};
use crate::limits::{SPOOL_CLOCK_TRUSTED_AFTER, STOP_LOOK, STOP_RESERVE_SHARE};
use crate::store::StoredIn;
use crate::store::spool::{self, OpenError, Spool};
use crate::store::{Connected, Standing, postgres};
use crate::telemetry::health::{Health, Vitals};
use crate::telemetry::stats::Stats;
use crate::telemetry::timings::Timings;

/// The recovery thread: what ends it when dropped, and what gives its link back.
type Running = (Sender<()>, JoinHandle<Link<Connected>>);

/// The running daemon. Fields are in the order of need.
pub struct App {
    health: Arc<Health>,
    spool: Spool,
    control: Option<Control>,
    recovery: Option<Running>,
    inlet: Inlet,
    producer: Producing,
    front: Front,
    reloads: Reloads,
}

impl App {
    /// Binds the sockets, opens the spool, starts every thread and lets clients in. Does not wait for a broker.
    /// `stopping` ends even the repair of a large damaged spool.
    ///
    /// # Errors
    /// What is unavailable or cannot be used.
    pub fn start(config: &Config, stopping: &Arc<AtomicBool>) -> Result<Self, StartError> {
        let mut reloads = Reloads::default();
        let bound = Bound::open(config, &mut reloads)?;
        let clock = SystemClock::shared();
        let spool = open_spool(config, stopping, &clock)?;
        let held_at_start = held_at_start(config, &spool);
        // Only now: an event that a command retries is not one from an earlier run.
        let control = open_control(config, &spool);
        let (has_kafka, has_postgres) = (config.kafka().is_some(), config.postgres().is_some());
        let health = Arc::new(Health::new(has_kafka, has_postgres, &clock));
        let (stats, timings) = (Arc::new(Stats::default()), Timings::default());
        let no_thread = |error| StartError::system("cannot start a thread", &error);

        let recovery = start_recovery(config, &spool, &stats, &health, &clock).map_err(no_thread)?;
        let (inlet, outlet) = queue::bounded(config.queue.queue_events, config.queue.queue_bytes);
        let routes = live_routes(config, &health, &clock).map_err(no_thread)?;
        let producer = Producer::new(
            Rounds::new(outlet),
            routes,
            spool.clone(),
            Arc::clone(&stats),
            Arc::clone(&health),
            timings.clone(),
            clock,
        );
        // Essential: every event passes it.
        let producer = thread::essential("producer", || producer.run()).map_err(no_thread)?;

        let front = bound.serve(
            config,
            &Needs {
                inlet: &inlet,
                spool: &spool,
                health: &health,
                stats: &stats,
                timings: &timings,
                held_at_start,
            },
        )?;
        Ok(Self { health, spool, control, recovery, inlet, producer, front, reloads })
    }

    /// The daemon's state, for the service manager.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        let (loops, state) = (self.front.context.clone(), self.front.context.clone());
        Pulse {
            moves: Box::new(move || loops.upgrade().is_none_or(|context| liveness::is_alive(&context))),
            status: Box::new(move || {
                state.upgrade().map(|context| health::sentence(&context)).unwrap_or_default()
            }),
        }
    }

    /// Reloads what was read from files.
    pub fn reload(&self) {
        self.reloads.run();
    }

    /// Takes no more requests, stores and answers what was taken, and ends every thread.
    ///
    /// Returns `Ok`, or `Software` when something had to be left behind.
    #[must_use]
    pub fn stop(mut self, within: Duration) -> Exit {
        let began = Instant::now();
        let until = began + within;
        let left = || until.saturating_duration_since(Instant::now());
        let step = |what: &str| info!("{what} ms={}", began.elapsed().as_millis());
        self.health.stop();
        self.front.close();
        step("stopping: no new connections");
        let answers_until = until - within / STOP_RESERVE_SHARE;
        if !self.front.wait_for_answers(answers_until) {
            warn!("stopping: some clients have no answer yet, they will send their requests again");
        }
        self.inlet.close();
        let mut clean = self.front.stop(left());
        drop(self.inlet);
        step("stopping: no more requests");
        let mut links = Vec::new();
        if let Some((stop, recovery)) = self.recovery {
            drop(stop);
            clean &= collect(recovery, left(), |link| links.push(link));
        }
        clean &= collect(self.producer, left(), |link| links.extend(link));
        for link in links {
            // A prober that is connecting holds no event: it ends with the process.
            let _ = link.close(left().min(STOP_LOOK));
        }
        step("stopping: nothing is in flight");
        clean &= self.control.is_none_or(|control| control.stop(left().max(STOP_LOOK)));
        clean &= self.spool.close(left().max(STOP_LOOK));
        step("stopped");
        if clean { Exit::Ok } else { Exit::Software }
    }
}

/// The producer's thread, which gives its links back.
type Producing = JoinHandle<Vec<Link<Connected>>>;

/// The end of a thread, and what it gives back. False: not in time, or it panicked.
fn collect<T>(handle: JoinHandle<T>, within: Duration, take: impl FnOnce(T)) -> bool {
    thread::join_within(handle, within).map(take).is_some()
}

fn open_spool(
    config: &Config,
    stopping: &Arc<AtomicBool>,
    clock: &Arc<dyn Clock>,
) -> Result<Spool, StartError> {
    let settings = spool::Settings {
        dir: config.data_dir(),
        max_bytes: config.spool_max_bytes(),
        keep: config.keep().home,
        clock: Arc::clone(clock),
        clock_trusted_after: SPOOL_CLOCK_TRUSTED_AFTER,
        instance: config.instance(),
        stopping: Arc::clone(stopping),
    };
    let spool = Spool::open(&settings).map_err(|error| {
        let exit = match error {
            OpenError::Newer(_) => Exit::Config,
            OpenError::Stopped(_) => Exit::Ok,
            OpenError::InUse(_) | OpenError::Unusable(_) => Exit::Unavailable,
        };
        StartError::new(exit, &error)
    })?;
    let (most, event) = (spool.figures().max_bytes, config.rules.max_event_bytes);
    if most < 8 * event as u64 {
        warn!(
            "the spool's disk is too small for events of MAX_EVENT_BYTES={event}: the spool may hold {most} bytes"
        );
    }
    Ok(spool)
}

/// Events that an earlier run of the daemon left to be sent.
fn held_at_start(config: &Config, spool: &Spool) -> u64 {
    let held = spool.figures().held;
    match config.kafka() {
        _ if held == 0 => {}
        Some(_) => info!("the spool holds events from an earlier run, they go to kafka held={held}"),
        None => {
            warn!("the spool holds events for kafka, but KAFKA_BROKERS is not set: they are kept held={held}")
        }
    }
    held
}

/// Without it the daemon runs, but commands cannot change the spool.
fn open_control(config: &Config, spool: &Spool) -> Option<Control> {
    Control::start(&config.data_dir(), spool.clone())
        .inspect_err(|error| {
            warn!("no control socket, so dead letters cannot be settled while the daemon runs: {error}")
        })
        .ok()
}

fn start_recovery(
    config: &Config,
    spool: &Spool,
    stats: &Arc<Stats>,
    health: &Arc<Health>,
    clock: &Arc<dyn Clock>,
) -> io::Result<Option<Running>> {
    let standing = standing_in_postgres(config);
    let (target, connector, vitals) = match (config.kafka(), config.postgres()) {
        (Some(kafka), _) => (StoredIn::Kafka, StoreConnector::kafka(kafka.clone()), &health.kafka),
        (None, Some(postgres)) => {
            (StoredIn::Postgres, StoreConnector::postgres(postgres.clone(), standing), &health.postgres)
        }
        (None, None) => return Ok(None),
    };
    let (stop, stopped) = crossbeam_channel::bounded(0);
    let recovery = Recovery::new(Plan {
        target,
        link: Link::start("probe-r", connector)?,
        spool,
        postgres: config.postgres().map(|settings| (settings, standing, config.keep())),
        postgres_rows: &health.postgres_rows,
        pace: Pace::new(config.recovery.recovery_rate),
        stats,
        vitals,
        stop: stopped,
        clock,
    })?;
    // Essential: without it held events would wait for ever.
    Ok(Some((stop, thread::essential("recovery", move || recovery.run())?)))
}

/// The stores behind the network, in order of preference.
fn live_routes(config: &Config, health: &Health, clock: &Arc<dyn Clock>) -> io::Result<Vec<Route>> {
    let mut routes = Vec::new();
    let mut add = |thread, store, connector: StoreConnector, address, first_wait, vitals: &Arc<Vitals>| {
        let link = Link::start(thread, connector.logging(store, address, vitals, clock))?;
        routes.push(Route::new(store, first_wait, link, Arc::clone(vitals), Arc::clone(clock)));
        io::Result::Ok(())
    };
    if let Some(settings) = config.kafka() {
        let address = format!("kafka brokers={} topic={}", settings.brokers.join(","), settings.topic);
        let connector = StoreConnector::kafka(settings.clone());
        add("kafka-probe", StoredIn::Kafka, connector, address, settings.deadline, &health.kafka)?;
    }
    if let Some(settings) = config.postgres() {
        let address = format!("postgres at={:?}", postgres::describe(&settings.url).unwrap_or_default());
        let connector = StoreConnector::postgres(settings.clone(), standing_in_postgres(config));
        add("pg-probe", StoredIn::Postgres, connector, address, settings.deadline, &health.postgres)?;
    }
    Ok(routes)
}

/// The standing of rows that live events make in PostgreSQL.
fn standing_in_postgres(config: &Config) -> Standing {
    if config.kafka().is_some() { Standing::Held } else { Standing::Home }
}
