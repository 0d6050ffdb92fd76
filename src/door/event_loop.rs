//! The loop: polls, hands each event to its owner, then does what is due by time.
//!
//! The poll is edge-triggered: it reports once that a socket has something to read. An owner that stops before its socket
//! is empty goes into `again`, and goes on in the next turn, after the others.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use mio::event::Event;
use mio::{Events, Interest, Poll, Waker};

use super::addresses::Addresses;
use super::client::{self, Client};
use super::inside::{InnerServer, Inside};
use super::listener::Listener;
use super::render::DateText;
use super::slots::Slots;
use super::timers::Timers;
use super::tokens::Owner;
use super::{DoorState, Options, Settings};
use crate::host::throttle::Throttle;
use crate::limits::{CERTIFICATE_LOOK, DOOR_LINGER, DOOR_READ_BYTES, DOOR_WAIT, LOG_REFUSED_PER_MINUTE};
use crate::telemetry::counters::set;

/// The loop turns at least this often, for the heartbeat, and in case that it could not be woken for a command.
const TURN_MAX: Duration = Duration::from_millis(500);
const EVENTS_A_TURN: usize = 256;

/// For log lines that could repeat without end.
pub(super) struct Throttles {
    pub(super) accept: Throttle,
    pub(super) full: Throttle,
    pub(super) address: Throttle,
    pub(super) handshake: Throttle,
    pub(super) refused: Throttle,
}

impl Throttles {
    fn new() -> Self {
        let [accept, full, address, handshake] = std::array::from_fn(|_| Throttle::default());
        let refused = Throttle::new(LOG_REFUSED_PER_MINUTE);
        Self { accept, full, address, handshake, refused }
    }
}

/// All that the door's thread owns.
pub(super) struct EventLoop {
    pub(super) poll: Poll,
    pub(super) settings: Settings,
    pub(super) shared: Arc<DoorState>,
    pub(super) listeners: Vec<Listener>,
    /// When listeners that could not go on accepting are tried again.
    pub(super) accept_again: Option<Instant>,
    /// When the end of the certificates is checked again.
    certificates_at: Instant,
    pub(super) clients: Slots<Client>,
    pub(super) addresses: Addresses,
    /// This turn has made the one step of a TLS handshake that it may make.
    pub(super) has_shaken_hands: bool,
    pub(super) waits: Timers<{ client::wait::KINDS }>,
    pub(super) inside: Inside,
    /// Owners that have more to do: the next turn comes without waiting for the poll.
    pub(super) again: VecDeque<Owner>,
    /// Every read goes here first, so that idle connections hold no buffers.
    pub(super) scratch: Box<[u8]>,
    /// Bytes of bodies and answers held for clients, all connections together; see [`EventLoop::memory`].
    pub(super) memory: usize,
    /// Bytes of the bodies that wait for room inside.
    pub(super) waiting_bytes: usize,
    pub(super) is_closing: bool,
    pub(super) now: Instant,
    pub(super) date: DateText,
    pub(super) throttles: Throttles,
}

impl EventLoop {
    pub(super) fn new(
        listeners: Vec<Listener>,
        server: InnerServer,
        settings: Settings,
        shared: Arc<DoorState>,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Owner::Waker.token())?);
        let Options { max_connections_per_address, head_timeout, body_timeout, idle_timeout, .. } =
            settings.options;
        let waits =
            [idle_timeout, head_timeout, body_timeout, DOOR_WAIT, DOOR_WAIT, body_timeout, DOOR_LINGER];
        let addresses =
            Addresses::new((max_connections_per_address > 0).then_some(max_connections_per_address));
        let inside = Inside::new(server, &settings, poll.registry().try_clone()?)?;
        let event_loop = Self {
            poll,
            settings,
            shared,
            listeners,
            accept_again: None,
            certificates_at: Instant::now() + CERTIFICATE_LOOK,
            clients: Slots::new(),
            addresses,
            has_shaken_hands: false,
            waits: Timers::new(waits),
            inside,
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

    /// Turns until the door is stopped. `ready` gets one message: clients are let in, or why they cannot be.
    pub(super) fn run(mut self, ready: &Sender<io::Result<()>>) {
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        let mut is_open = false;
        self.after_inside();
        while !self.shared.stopping.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, Some(self.sleep_for()))
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("BUG: the door cannot poll its sockets: {error}");
                return;
            }
            self.now = Instant::now();
            self.inside.begin_turn(self.now);
            self.has_shaken_hands = false;
            let again = self.again.len();
            for event in &events {
                self.on_event(event);
            }
            for _ in 0..again {
                let Some(owner) = self.again.pop_front() else { break };
                self.on_again(owner);
            }
            self.on_time();
            if !is_open && self.inside.is_open() {
                is_open = true;
                let _ = ready.try_send(self.listen());
            }
            if self.shared.closing.load(Ordering::Acquire) {
                self.close_listeners();
            }
            self.clients.end_turn();
            self.inside.end_turn();
            self.publish();
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        for (number, listener) in self.listeners.iter_mut().enumerate() {
            let token = Owner::Listener(number).token();
            self.poll.registry().register(listener, token, Interest::READABLE)?;
        }
        Ok(())
    }

    fn on_event(&mut self, event: &Event) {
        match Owner::of(event.token()) {
            Owner::Waker => {}
            Owner::Listener(number) => self.accept(number),
            Owner::Client(slot) => self.on_client_event(slot, event),
            Owner::Inside(connection) => {
                self.inside.on_event(connection, event);
                self.after_inside();
            }
        }
    }

    fn on_again(&mut self, owner: Owner) {
        match owner {
            Owner::Waker => {}
            Owner::Listener(number) => self.accept(number),
            Owner::Client(slot) => self.go_on(slot),
            Owner::Inside(connection) => {
                self.inside.go_on(connection);
                self.after_inside();
            }
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
        if self.accept_again.is_some_and(|at| at <= self.now) {
            self.accept_again = None;
            (0..self.listeners.len()).for_each(|number| self.accept(number));
        }
        if self.certificates_at <= self.now {
            self.certificates_at = self.now + CERTIFICATE_LOOK;
            self.listeners.iter().filter_map(Listener::certificates).for_each(|one| one.warn_of_end());
        }
        self.inside.on_time();
        self.after_inside();
    }

    fn sleep_for(&self) -> Duration {
        if !self.again.is_empty() {
            return Duration::ZERO;
        }
        let times = [self.waits.next(), self.inside.next_timer(), self.accept_again];
        let next = times.into_iter().flatten().min();
        let left = next.map(|next| next.saturating_duration_since(Instant::now()));
        left.map_or(TURN_MAX, |left| left.min(TURN_MAX))
    }

    /// Bytes of bodies and answers held, all connections together.
    pub(super) fn memory(&self) -> usize {
        self.memory + self.inside.held_bytes()
    }

    /// Bytes that are no longer held for a client. A miscount must not make the door believe that it is full.
    pub(super) fn release_memory(&mut self, bytes: usize) {
        debug_assert!(self.memory >= bytes, "BUG: more memory is released than was counted");
        self.memory = self.memory.saturating_sub(bytes);
    }

    fn publish(&self) {
        let counters = &self.shared.counters;
        let waiting = self.waits.len(client::wait::QUEUED_INGEST) + self.waits.len(client::wait::QUEUED_KEPT);
        set(&counters.heartbeat_ms, self.shared.started.elapsed().as_millis() as usize);
        set(&counters.connections, self.clients.len());
        set(&counters.waiting, waiting);
        set(&counters.memory_bytes, self.memory());
        self.inside.publish(counters, self.shared.started);
        if let Some(certificates) = self.listeners.iter().find_map(Listener::certificates) {
            set(&counters.tls_certificate_ends_s, usize::try_from(certificates.ends_at_s()).unwrap_or(0));
        }
        self.shared.is_empty.store(self.is_closing && self.clients.len() == 0, Ordering::Release);
    }
}
