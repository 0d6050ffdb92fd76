//! Starts everything in the order of need and stops it in reverse, within one deadline.

mod delivery;
mod front;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use log::{info, warn};

use self::delivery::Delivery;
use self::front::{Bound, Front};
use crate::commands::control::Control;
use crate::config::Config;
use crate::host::clock::{Clock, SystemClock};
use crate::host::exit::{Exit, StartError};
use crate::host::reload::Reloads;
use crate::host::systemd::Pulse;
use crate::http::endpoints::{health, liveness};
use crate::limits::{SPOOL_CLOCK_TRUSTED_AFTER, STOP_LOOK, STOP_RESERVE_SHARE};
use crate::store::Destination;
use crate::store::spool::{self, OpenError, Spool};
use crate::telemetry::health::Health;
use crate::telemetry::stats::Stats;
use crate::telemetry::timings::Timings;

/// The running daemon. Fields are in the order of need.
pub struct App {
    base: Base,
    control: Option<Control>,
    delivery: Delivery,
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
        let base = Base::open(config, stopping)?;
        // Only now: an event that a command retries is not one from an earlier run.
        let control = open_control(config, &base.spool);
        let delivery = Delivery::start(config, &base)
            .map_err(|error| StartError::system("cannot start a thread", &error))?;
        let front = bound.serve(config, &base, &delivery.inlet)?;
        Ok(Self { base, control, delivery, front, reloads })
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
        self.base.health.stop();
        self.front.close();
        step("stopping: no new connections");
        if !self.front.wait_for_answers(until - within / STOP_RESERVE_SHARE) {
            warn!("stopping: some clients have no answer yet, they will send their requests again");
        }
        self.delivery.inlet.close();
        let mut clean = self.front.stop(left());
        step("stopping: no more requests");
        clean &= self.delivery.stop(left);
        step("stopping: nothing is in flight");
        clean &= self.control.is_none_or(|control| control.stop(left().max(STOP_LOOK)));
        clean &= self.base.spool.close(left().max(STOP_LOOK));
        step("stopped");
        if clean { Exit::Ok } else { Exit::Software }
    }
}

/// What delivery and front both work with: the spool, the figures, the clock.
struct Base {
    spool: Spool,
    /// Events that an earlier run of the daemon left to be sent.
    held_at_start: u64,
    health: Arc<Health>,
    stats: Arc<Stats>,
    timings: Timings,
    /// Where events go that have to wait for Kafka.
    destination: Option<Destination>,
    clock: Arc<dyn Clock>,
}

impl Base {
    fn open(config: &Config, stopping: &Arc<AtomicBool>) -> Result<Self, StartError> {
        let clock = SystemClock::shared();
        let destination = config.kafka().map(|kafka| Destination::new(&kafka.topic));
        let spool = open_spool(config, stopping, &clock, destination.clone())?;
        let (has_kafka, has_postgres) = (destination.is_some(), config.postgres().is_some());
        let held_at_start = spool.figures().held;
        match held_at_start {
            0 => {}
            held if has_kafka => {
                info!("the spool holds events from an earlier run, they go to kafka held={held}");
            }
            held => {
                warn!(
                    "the spool holds events for kafka, but KAFKA_BROKERS is not set: they are kept held={held}"
                );
            }
        }
        let health = Arc::new(Health::new(has_kafka, has_postgres, &clock));
        let (stats, timings) = (Arc::default(), Timings::default());
        Ok(Self { spool, held_at_start, health, stats, timings, destination, clock })
    }
}

fn open_spool(
    config: &Config,
    stopping: &Arc<AtomicBool>,
    clock: &Arc<dyn Clock>,
    destination: Option<Destination>,
) -> Result<Spool, StartError> {
    let settings = spool::Settings {
        dir: config.data_dir(),
        max_bytes: config.spool_max_bytes(),
        keep: config.keep().home,
        clock: Arc::clone(clock),
        clock_trusted_after: SPOOL_CLOCK_TRUSTED_AFTER,
        instance: config.instance(),
        destination,
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
        warn!("the spool may hold only {most} bytes, too few for events of MAX_EVENT_BYTES={event}");
    }
    Ok(spool)
}

/// Without it the daemon runs, but commands cannot change the spool.
fn open_control(config: &Config, spool: &Spool) -> Option<Control> {
    Control::start(&config.data_dir(), spool.clone())
        .inspect_err(|error| {
            warn!("no control socket, so dead letters cannot be settled while the daemon runs: {error}")
        })
        .ok()
}
