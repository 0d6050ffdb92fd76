//! The loop: polls, hands each event to the room it belongs to, then does what is due by time.
//!
//! The poll is edge-triggered. Whoever stops before a socket is empty puts its token into `again`:
//! the next turn takes it up after all others had theirs.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};

use super::addresses::Addresses;
use super::client::{self, Client};
use super::figures;
use super::inside::upstream::{self, Pool};
use super::listener::Listener;
use super::render::DateText;
use super::slots::Slots;
use super::timers::Timers;
use super::{Settings, Shared, ingest_floor};
use crate::host::throttle::Throttle;
use crate::limits::{
    CERTIFICATE_LOOK, DOOR_KEPT_CONNECTIONS, DOOR_LINGER, DOOR_READ_BYTES, DOOR_WAIT, LOG_REFUSED_PER_MINUTE,
};

/// The loop turns at least this often: the heartbeat, and commands whose waking failed.
const TURN_MAX: Duration = Duration::from_millis(500);
const EVENTS_A_TURN: usize = 256;

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Waker,
    Listener(usize),
    Client(usize),
    Upstream(usize),
}

impl Source {
    pub(super) fn token(self) -> Token {
        let (kind, number) = match self {
            Self::Waker => (0, 0),
            Self::Listener(number) => (1, number),
            Self::Client(number) => (2, number),
            Self::Upstream(number) => (3, number),
        };
        Token(number * 4 + kind)
    }

    fn of(token: Token) -> Self {
        let number = token.0 / 4;
        match token.0 % 4 {
            0 => Self::Waker,
            1 => Self::Listener(number),
            2 => Self::Client(number),
            _ => Self::Upstream(number),
        }
    }
}

/// Lines that could repeat for ever.
pub(super) struct Throttles {
    pub(super) accept: Throttle,
    pub(super) full: Throttle,
    pub(super) address: Throttle,
    pub(super) upstream: Throttle,
    pub(super) rebuild: Throttle,
    pub(super) handshake: Throttle,
    pub(super) refused: Throttle,
}

impl Throttles {
    fn new() -> Self {
        let [accept, full, address, upstream, rebuild, handshake] =
            std::array::from_fn(|_| Throttle::default());
        let refused = Throttle::new(LOG_REFUSED_PER_MINUTE);
        Self { accept, full, address, upstream, rebuild, handshake, refused }
    }
}

/// All that the door's thread owns.
pub(super) struct EventLoop {
    pub(super) poll: Poll,
    pub(super) settings: Settings,
    pub(super) shared: Arc<Shared>,
    pub(super) rebuild: Sender<()>,
    pub(super) listeners: Vec<Listener>,
    /// Listeners that could not go on accepting are tried again then.
    pub(super) accept_again: Option<Instant>,
    /// Certificates are looked at again then, whether their end is near.
    certificates_at: Instant,
    /// The process has been out of descriptors and not yet got its reserve back.
    pub(super) is_tight: bool,
    pub(super) clients: Slots<Client>,
    pub(super) addresses: Addresses,
    /// This turn has made its one step of a TLS handshake.
    pub(super) has_shaken_hands: bool,
    pub(super) waits: Timers<{ client::wait::KINDS }>,
    pub(super) pool: Pool,
    /// Sources that have more to do; they get their next turn without a poll.
    pub(super) again: VecDeque<Source>,
    /// Every read goes here first, so that idle connections hold no buffers.
    pub(super) scratch: Box<[u8]>,
    /// Bytes of bodies and answers held, all connections together.
    pub(super) memory: usize,
    /// Bytes of the bodies that wait for an upstream connection.
    pub(super) waiting_bytes: usize,
    pub(super) is_closing: bool,
    pub(super) now: Instant,
    pub(super) date: DateText,
    pub(super) throttles: Throttles,
}

impl EventLoop {
    pub(super) fn new(
        listeners: Vec<Listener>,
        inner: PathBuf,
        settings: Settings,
        rebuild: Sender<()>,
        shared: Arc<Shared>,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.token())?);
        let Settings { head_timeout, body_timeout, idle_timeout, upstream_timeout, batch_timeout, .. } =
            settings;
        let waits =
            [idle_timeout, head_timeout, body_timeout, DOOR_WAIT, DOOR_WAIT, body_timeout, DOOR_LINGER];
        let addresses = Addresses::new(settings.max_connections_per_address);
        let ingest_max = settings.upstream_connections - DOOR_KEPT_CONNECTIONS;
        let event_loop = Self {
            poll,
            settings,
            shared,
            rebuild,
            listeners,
            accept_again: None,
            certificates_at: Instant::now() + CERTIFICATE_LOOK,
            is_tight: false,
            clients: Slots::new(),
            addresses,
            has_shaken_hands: false,
            waits: Timers::new(waits),
            pool: Pool::new(inner, ingest_max, upstream_timeout, batch_timeout),
            again: VecDeque::new(),
            scratch: vec![0; DOOR_READ_BYTES].into_boxed_slice(),
            memory: 0,
            waiting_bytes: 0,
            is_closing: false,
            now: Instant::now(),
            date: DateText::new(),
            throttles: Throttles::new(),
        };
        Ok((event_loop, waker))
    }

    /// Turns until told to stop. `ready` hears once, when clients are let in or can't be.
    pub(super) fn run(mut self, ready: &Sender<io::Result<()>>) {
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        let mut is_open = false;
        self.open_upstreams();
        while !self.shared.stopping.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, Some(self.sleep_for()))
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("BUG: the door can't poll its sockets: {error}");
                return;
            }
            self.now = Instant::now();
            self.has_shaken_hands = false;
            let again = self.again.len();
            for event in &events {
                self.on_event(event);
            }
            for _ in 0..again {
                let Some(source) = self.again.pop_front() else { break };
                self.on_again(source);
            }
            self.on_time();
            if !is_open && self.is_pool_open() {
                is_open = true;
                let _ = ready.try_send(self.listen());
            }
            if self.shared.closing.load(Ordering::Acquire) {
                self.close_listeners();
            }
            self.clients.end_turn();
            self.pool.connections.end_turn();
            self.publish();
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        for (number, listener) in self.listeners.iter_mut().enumerate() {
            let token = Source::Listener(number).token();
            self.poll.registry().register(listener, token, Interest::READABLE)?;
        }
        Ok(())
    }

    fn is_pool_open(&self) -> bool {
        self.pool.open_kept == DOOR_KEPT_CONNECTIONS
            && self.pool.open_ingest >= ingest_floor(self.pool.ingest_max)
            && self.pool.opening.is_none()
    }

    fn on_event(&mut self, event: &Event) {
        match Source::of(event.token()) {
            Source::Waker => {}
            Source::Listener(number) => self.accept(number),
            Source::Client(slot) => self.on_client_event(slot, event),
            Source::Upstream(slot) => self.on_upstream_event(slot, event),
        }
    }

    fn on_again(&mut self, source: Source) {
        match source {
            Source::Waker => {}
            Source::Listener(number) => self.accept(number),
            Source::Client(slot) => self.go_on(slot),
            Source::Upstream(slot) => self.pull(slot),
        }
    }

    fn go_on(&mut self, slot: usize) {
        if let Some(client) = self.clients.get_mut(slot) {
            client.is_again = false;
            self.advance(slot);
        }
    }

    fn on_time(&mut self) {
        while let Some((slot, wait)) = self.waits.expired(self.now) {
            self.on_client_timeout(slot, wait);
        }
        while let Some((slot, wait)) = self.pool.waits.expired(self.now) {
            self.on_upstream_timeout(slot, wait);
        }
        if self.accept_again.is_some_and(|at| at <= self.now) {
            self.accept_again = None;
            (0..self.listeners.len()).for_each(|number| self.accept(number));
        }
        if self.certificates_at <= self.now {
            self.certificates_at = self.now + CERTIFICATE_LOOK;
            self.listeners.iter().filter_map(Listener::certificates).for_each(|one| one.warn_of_end());
        }
        self.check_opening();
        self.open_upstreams();
    }

    fn sleep_for(&self) -> Duration {
        if !self.again.is_empty() {
            return Duration::ZERO;
        }
        let retry = self.pool.open_backoff.until.filter(|&until| until > self.now);
        let times = [self.waits.next(), self.pool.waits.next(), self.accept_again, retry];
        let next = times.into_iter().flatten().min();
        let left = next.map(|next| next.saturating_duration_since(Instant::now()));
        left.map_or(TURN_MAX, |left| left.min(TURN_MAX))
    }

    /// Bytes that are no longer held. A miscount must not make the door take itself for full.
    pub(super) fn release_memory(&mut self, bytes: usize) {
        debug_assert!(self.memory >= bytes, "BUG: more memory is released than was counted");
        self.memory = self.memory.saturating_sub(bytes);
    }

    fn publish(&self) {
        let counters = &self.shared.counters;
        let waiting = self.waits.len(client::wait::QUEUED_INGEST) + self.waits.len(client::wait::QUEUED_KEPT);
        figures::set(&counters.heartbeat_ms, self.shared.started.elapsed().as_millis() as usize);
        if let Some(answered) = self.pool.last_answer {
            let answered = answered.saturating_duration_since(self.shared.started);
            figures::set(&counters.answered_ms, answered.as_millis() as usize);
        }
        figures::set(&counters.connections, self.clients.len());
        let busy = [upstream::wait::BUSY, upstream::wait::BUSY_BATCH];
        figures::set(&counters.in_flight, busy.map(|kind| self.pool.waits.len(kind)).iter().sum());
        figures::set(&counters.waiting, waiting);
        figures::set(&counters.memory_bytes, self.memory);
        if let Some(certificates) = self.listeners.iter().find_map(Listener::certificates) {
            figures::set(
                &counters.tls_certificate_ends_s,
                usize::try_from(certificates.ends_at_s()).unwrap_or(0),
            );
        }
        figures::set(&counters.upstream_open, self.pool.connections.len());
        self.shared.drained.store(self.is_closing && self.clients.len() == 0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_their_source() {
        for source in [Source::Waker, Source::Listener(0), Source::Client(7), Source::Upstream(255)] {
            assert_eq!(Source::of(source.token()), source);
        }
    }
}
