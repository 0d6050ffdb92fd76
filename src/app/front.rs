//! What clients meet: the door, the inner server behind it, and what its endpoints work with.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Base;
use crate::config::Config;
use crate::delivery::queue::Inlet;
use crate::door::entrance::{self, Entrance};
use crate::door::{Door, SocketFile, Watch};
use crate::host::exit::StartError;
use crate::host::reload::Reloads;
use crate::host::thread;
use crate::http::idempotency::RememberedAnswers;
use crate::http::{Context, HttpServer};
use crate::telemetry::history::History;
use crate::telemetry::skews::Skews;
use crate::telemetry::timings::Timings;
use crate::wire::keys::Guard;

/// How much longer than a round may take a loop may stand still before an event could not be stored soon.
const SLOW_MARGIN: Duration = Duration::from_secs(2);
/// The same for the answer's time, before the loop counts as stuck.
const STUCK_MARGIN: Duration = Duration::from_secs(5);

/// The sockets, bound and not yet served.
pub(super) struct Bound {
    guard: Guard,
    entrance: Entrance,
}

impl Bound {
    /// Reads the API keys and binds the sockets; `reloads` gets what SIGHUP reloads of both.
    pub(super) fn open(config: &Config, reloads: &mut Reloads) -> Result<Self, StartError> {
        entrance::make_room(&config.door(&Guard::default(), &Timings::default()))?;
        let guard = Guard::open(&config.keys).map_err(|error| StartError::setting(&error))?;
        let entrance = entrance::open(&config.listen, reloads)?;
        guard.ring().into_iter().for_each(|ring| reloads.add(ring));
        Ok(Self { guard, entrance })
    }

    /// Starts the inner server, then the door, and lets clients in.
    pub(super) fn serve(self, config: &Config, base: &Base, inlet: &Inlet) -> Result<Front, StartError> {
        let Self { guard, entrance: Entrance { listeners, address, socket_file } } = self;
        let context = Arc::new(Context {
            inlet: inlet.clone(),
            gauge: inlet.gauge(),
            stats: Arc::clone(&base.stats),
            health: Arc::clone(&base.health),
            guard: guard.clone(),
            spool: base.spool.clone(),
            held_at_start: base.held_at_start,
            timings: base.timings.clone(),
            door: Watch::default(),
            max_connections: config.door.max_connections,
            instance: config.instance().into(),
            rules: config.rules,
            idempotency: Arc::new(RememberedAnswers::new(config.http.idempotency_window)),
            history: History::default(),
            recovery_rate: config.recovery.recovery_rate,
            skews: Skews::default(),
            batch: config.batch,
            slow_after: config.round_timeout() + SLOW_MARGIN,
            stuck_after: config.answer_timeout() + STUCK_MARGIN,
        });
        let (workers, requests) = (config.http.workers(), config.door.upstream_connections);
        let http = HttpServer::start(&config.data_dir(), workers, requests, Arc::clone(&context))
            .map_err(|error| StartError::system("cannot start the inner server", &error))?;
        let settings = config.door(&guard, &base.timings);
        let door = Door::start(listeners, http.inner(), settings, &context.door)
            .map_err(|error| StartError::system("cannot open the door", &error))?;
        entrance::log_addresses(&config.listen, &config.data_dir(), address, &guard);
        Ok(Front { http, door, socket_file, context: Arc::downgrade(&context) })
    }
}

/// The running door and inner server.
pub(super) struct Front {
    http: HttpServer,
    door: Door,
    socket_file: Option<SocketFile>,
    /// Not owned: the queue's inlets in it must go when the daemon stops.
    pub(super) context: Weak<Context>,
}

impl Front {
    /// No new connections from now on.
    pub(super) fn close(&mut self) {
        self.door.close_listeners();
        self.socket_file = None;
    }

    /// After [`Front::close`]: waits until each client has its answer. False: not all by `until`.
    #[must_use]
    pub(super) fn wait_for_answers(&self, until: Instant) -> bool {
        thread::wait_until(|| self.door.is_empty(), until)
    }

    /// Ends the door's thread and the workers. False: some did not end in time.
    #[must_use]
    pub(super) fn stop(self, within: Duration) -> bool {
        self.door.stop();
        self.http.stop(within)
    }
}
