//! The door: owns the public sockets. One thread, one event loop over the listeners, all client connections and the
//! connections to the inner server.
//!
//! It reads one whole request within limits, judges its head by the table shared with `http/`, sends it inside in
//! canonical form, reads the whole answer, and only then writes it to its client. So the inner server sees only
//! well-formed requests of bounded size, from a bounded number of connections, whose other end always reads: it could
//! not defend itself against anything else.
//!
//! Invariants
//! - Nothing a client sends, or does not send, or does not read, costs more than its own connection.
//! - One request at a time on each client connection.
//! - Connections, buffers, waits and retries are bounded: by [`Settings`] or in `limits.rs`.
//!
//! `event_loop` turns; `accept` takes connections in and makes room; `serve` reads a request, `forward` sends it
//! inside, `respond` writes its answer. `inside` is the way to the inner server, with everything that exists only
//! because that server cannot be exposed. `listener`, `stream`, `handshake`, `tls`, `certificates`, `local` are where
//! bytes come from. `head`, `target`, `framing`, `render` are pure; `client` holds a connection's state; `addresses`,
//! `slots`, `timers` hold many.

mod accept;
mod addresses;
mod certificates;
mod client;
mod counters;
pub mod entrance;
mod event_loop;
mod forward;
mod framing;
#[cfg(fuzzing)]
pub mod fuzz;
mod handshake;
mod head;
mod inside;
mod listener;
mod local;
mod options;
mod render;
mod respond;
mod serve;
mod slots;
mod stream;
mod target;
mod timers;
mod tls;
mod tokens;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};

pub use self::certificates::{CertificateFiles, Certificates};
use self::counters::DoorCounters;
pub use self::counters::{DoorFigures, REFUSALS};
use self::event_loop::EventLoop;
pub use self::inside::InnerServer;
pub use self::listener::Listener;
pub use self::local::SocketFile;
pub use self::options::{ListenOptions, Options, TlsOptions};
use crate::host::thread;
use crate::limits::{DOOR_REFUSED_CONNECTIONS_MAX, DOOR_START_TIMEOUT};
use crate::telemetry::timings::Histogram;
use crate::wire::keys::Guard;

/// For the poll (two), the waker, a listener per address family, the Unix socket, the inner listener; some to spare.
const OWN_DESCRIPTORS: usize = 12;

/// What the door needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What clients may take up.
    pub options: Options,
    /// How long the inner server may take for an answer.
    pub upstream_timeout: Duration,
    /// And for the answer to a batch.
    pub batch_timeout: Duration,
    /// The largest body with one event, as sent.
    pub body_bytes_max: usize,
    /// Which key admits to what.
    pub guard: Guard,
    /// The largest body with many events.
    pub batch_bytes_max: usize,
    /// Gets the time from the last byte of each ingest request to its answer.
    pub answers: Histogram,
}

impl Settings {
    /// File descriptors that the door and the inner server need at most.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        let clients = self.options.max_connections + DOOR_REFUSED_CONNECTIONS_MAX;
        clients + inside::descriptors(self.options.upstream_connections) + OWN_DESCRIPTORS
    }
}

/// What the door's thread and its handles share, without locks.
#[derive(Debug)]
struct DoorState {
    started: Instant,
    counters: DoorCounters,
    closing: AtomicBool,
    stopping: AtomicBool,
    is_empty: AtomicBool,
}

/// Reads the door's figures from another thread.
#[derive(Clone, Debug)]
pub struct Watch(Arc<DoorState>);

impl Default for Watch {
    /// For a door that has not started yet.
    fn default() -> Self {
        Self(Arc::new(DoorState {
            started: Instant::now(),
            counters: DoorCounters::default(),
            closing: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            is_empty: AtomicBool::new(false),
        }))
    }
}

impl Watch {
    /// The door's figures now.
    #[must_use]
    pub fn figures(&self) -> DoorFigures {
        self.0.counters.snapshot()
    }

    /// How long ago the door's loop last turned.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.since(self.figures().heartbeat_ms)
    }

    /// How long ago the inner server, whose workers make the answers, last gave one.
    #[must_use]
    pub fn server_silence(&self) -> Duration {
        self.since(self.figures().answered_ms)
    }

    fn since(&self, ms: u64) -> Duration {
        self.0.started.elapsed().saturating_sub(Duration::from_millis(ms))
    }
}

/// The running door.
#[derive(Debug)]
pub struct Door {
    shared: Arc<DoorState>,
    waker: Arc<mio::Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// Starts the thread and returns when the inner server has answered on the first connections to it; only then are
    /// clients let in. `watch` sees the door from then on.
    ///
    /// # Errors
    /// A setting that leaves no room, a socket that cannot be polled, an inner server that does not answer.
    pub fn start(
        listeners: Vec<Listener>,
        server: InnerServer,
        settings: Settings,
        watch: &Watch,
    ) -> io::Result<Self> {
        if settings.options.max_connections == 0 {
            let text = "the door needs at least 1 client connection";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let shared = Arc::clone(&watch.0);
        let text = format!(
            "the inner server on {} did not answer within {} s",
            server.path.display(),
            DOOR_START_TIMEOUT.as_secs()
        );
        let (event_loop, waker) = EventLoop::new(listeners, server, settings, Arc::clone(&shared))?;
        let (ready, is_ready) = bounded(1);
        // Essential: it owns every client.
        let thread = thread::essential("door", move || event_loop.run(&ready))?;
        let door = Self { shared, waker, thread: Some(thread) };
        match is_ready.recv_timeout(DOOR_START_TIMEOUT) {
            Ok(Ok(())) => Ok(door),
            Ok(Err(error)) => Err(error),
            Err(RecvTimeoutError::Timeout) => Err(io::Error::new(io::ErrorKind::TimedOut, text)),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("BUG: the door's thread ended")),
        }
    }

    /// The door's figures now.
    #[must_use]
    pub fn figures(&self) -> DoorFigures {
        self.shared.counters.snapshot()
    }

    /// First step of a stop: no new connections; idle ones are closed; requests that began are
    /// finished and answered with `Connection: close`.
    pub fn close_listeners(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.wake();
    }

    /// After [`Door::close_listeners`]: does every client have its answer, and is its connection closed?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty.load(Ordering::Acquire)
    }

    /// Ends the thread, whatever is still open, and joins it.
    pub fn stop(mut self) {
        self.end();
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            // The loop checks by itself, once per turn.
            log::debug!("the door cannot be woken: {error}");
        }
    }

    fn end(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("BUG: the door's thread panicked");
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.end();
    }
}
