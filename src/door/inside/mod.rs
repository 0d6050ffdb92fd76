//! The way to the inner server: everything that exists only because `tiny_http` cannot be exposed to clients.
//!
//! The rest of the door sees [`Inside`] alone. It hands over whole requests ([`Parcel`]) and gets back
//! what became of each ([`Notice`]). Behind that front: `upstream` is one connection, `traffic` moves requests and
//! answers over them, `renew` opens, proves, pings and retires them and asks for a new server, `answer_reader` and
//! `parcel` are pure.
//!
//! Invariants
//! - One request at a time on each connection, never pipelined.
//! - A connection is opened alone, and takes requests only after its first answer.
//! - Each request that was taken is reported once, unless its client was forgotten.

mod answer_reader;
mod parcel;
mod renew;
#[cfg(test)]
mod tests;
mod traffic;
mod upstream;

use std::collections::VecDeque;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Instant;

use crossbeam_channel::Sender;
use mio::Registry;
use mio::event::Event;

pub(super) use self::answer_reader::InnerAnswer;
pub(super) use self::parcel::{Parcel, SentBy};
use self::renew::{Backoff, DescriptorReserve, FileIdentity, ingest_floor};
use self::upstream::{Doing, Upstream, wait};
use super::Settings;
use super::counters::DoorCounters;
use super::slots::Slots;
use super::timers::Timers;
use crate::host::throttle::Throttle;
use crate::limits::{
    DOOR_KEPT_CONNECTIONS, DOOR_OPEN_RETRY_FIRST, DOOR_OPEN_RETRY_MOST, DOOR_PING_INTERVAL,
    DOOR_PING_TIMEOUT, DOOR_READ_BYTES, DOOR_REBUILD_FIRST, DOOR_REBUILD_MOST, DOOR_RESERVED_DESCRIPTORS,
    DOOR_UPSTREAM_IDLE, UPSTREAM_CONNECTIONS_MAX,
};
use crate::telemetry::counters::set;
use crate::wire::routes::Lane;

/// How many there may be: one for ingest at the least, beside the kept ones.
pub(super) const CONNECTIONS: RangeInclusive<usize> = DOOR_KEPT_CONNECTIONS + 1..=UPSTREAM_CONNECTIONS_MAX;

/// The inner server, as the door reaches it.
#[derive(Debug)]
pub struct InnerServer {
    /// The socket on which it listens.
    pub path: PathBuf,
    /// Gets a message when the server does not answer, at growing intervals: its owner should then put a new one on
    /// the same path. The old one is not asked again; requests that it has may still be answered.
    pub rebuild: Sender<()>,
}

/// What became of a request, or what else the event loop has to do.
#[derive(Debug)]
pub(super) enum Notice {
    /// [`Inside::answer`] has the client's answer, until [`Inside::release`].
    Answered { client: usize, connection: usize },
    /// The connection broke before it took a byte of the request: it may be sent again.
    Returned { client: usize, parcel: Parcel },
    /// The connection broke, or the answer did not come in time. The request may have been served or not.
    Lost { client: usize },
    /// There may be more to read: [`Inside::go_on`] in the next turn.
    HasMore { connection: usize },
}

/// The pool of connections to the inner server.
pub(super) struct Inside {
    registry: Registry,
    server: InnerServer,
    upstreams: Slots<Upstream>,
    waits: Timers<{ wait::KINDS }>,
    notices: VecDeque<Notice>,
    scratch: Box<[u8]>,
    /// Bytes of the bodies in `upstreams`.
    held_bytes: usize,
    ingest_max: usize,
    open_kept: usize,
    open_ingest: usize,
    /// One at a time: the server's thread pool loses connections that come in a burst.
    opening: Option<usize>,
    open_backoff: Backoff,
    rebuild_backoff: Backoff,
    /// Counts the servers that were given up: a connection of an older generation takes no request.
    generation: u64,
    /// The socket file that connections lead to: a new server makes a new one.
    identity: Option<FileIdentity>,
    reserve: DescriptorReserve,
    /// When anything was last answered.
    last_answer: Option<Instant>,
    /// A new server was asked for, and none has answered since.
    is_in_doubt: bool,
    lost: usize,
    rebuilds: usize,
    lost_lines: Throttle,
    rebuild_lines: Throttle,
    now: Instant,
}

impl Inside {
    /// Nothing is open yet: see [`Inside::tend`].
    ///
    /// # Errors
    /// The settings leave no connection for ingest.
    pub(super) fn new(server: InnerServer, settings: &Settings, registry: Registry) -> io::Result<Self> {
        let connections = settings.options.upstream_connections;
        if !CONNECTIONS.contains(&connections) {
            let text = format!("the door needs {CONNECTIONS:?} connections to the inner server");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let lasts = [
            DOOR_UPSTREAM_IDLE,
            DOOR_PING_INTERVAL,
            DOOR_PING_TIMEOUT,
            settings.upstream_timeout,
            settings.batch_timeout,
        ];
        Ok(Self {
            registry,
            server,
            upstreams: Slots::new(),
            waits: Timers::new(lasts),
            notices: VecDeque::new(),
            scratch: vec![0; DOOR_READ_BYTES].into_boxed_slice(),
            held_bytes: 0,
            ingest_max: connections - DOOR_KEPT_CONNECTIONS,
            open_kept: 0,
            open_ingest: 0,
            opening: None,
            open_backoff: Backoff::new(DOOR_OPEN_RETRY_FIRST, DOOR_OPEN_RETRY_MOST),
            rebuild_backoff: Backoff::new(DOOR_REBUILD_FIRST, DOOR_REBUILD_MOST),
            generation: 0,
            identity: None,
            reserve: DescriptorReserve::default(),
            last_answer: None,
            is_in_doubt: false,
            lost: 0,
            rebuilds: 0,
            lost_lines: Throttle::default(),
            rebuild_lines: Throttle::default(),
            now: Instant::now(),
        })
    }

    /// The connections of the start are open and proven.
    pub(super) fn is_open(&self) -> bool {
        self.open_kept == DOOR_KEPT_CONNECTIONS
            && self.open_ingest >= ingest_floor(self.ingest_max)
            && self.opening.is_none()
    }

    /// Can [`Inside::send`] take a request of this lane?
    pub(super) fn has_room(&self, lane: Lane) -> bool {
        self.free(lane).is_some()
    }

    /// Takes a whole request over a free connection, whose number it returns. The buffers change hands: nothing is
    /// copied, and the client gets used ones for its next request. None: no connection is free, the client keeps it.
    pub(super) fn send(
        &mut self,
        client: usize,
        lane: Lane,
        is_batch: bool,
        parcel: &mut Parcel,
    ) -> Option<usize> {
        let number = self.free(lane)?;
        let upstream = self.upstreams.get_mut(number)?;
        upstream.doing = Doing::Serving { client };
        std::mem::swap(parcel, &mut upstream.parcel);
        self.held_bytes += upstream.parcel.counted;
        self.waits.set(number, if is_batch { wait::BUSY_BATCH } else { wait::BUSY }, self.now);
        self.push(number);
        Some(number)
    }

    /// The next of what happened. Every call that may make some is followed by taking them all.
    pub(super) fn next_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// What the client of this connection is answered. None: the server gave up on the request.
    pub(super) fn answer(&self, connection: usize) -> Option<InnerAnswer<'_>> {
        let answer = self.upstreams.get(connection)?.reader.answer()?;
        // The server's own answer has no body, a worker's has one: a worker dropped the request.
        let is_the_servers_own = answer.body.is_empty() && answer.status >= 400;
        (!is_the_servers_own).then_some(answer)
    }

    /// The answer was taken: the connection is free for the next request.
    pub(super) fn release(&mut self, connection: usize) {
        if self.upstreams.get(connection).is_some_and(|upstream| upstream.doing == Doing::Answered) {
            self.free_or_remove(connection);
        }
    }

    /// The client of this connection is gone. Its request goes on without it.
    pub(super) fn forget(&mut self, connection: usize) {
        if let Some(upstream) = self.upstreams.get_mut(connection)
            && matches!(upstream.doing, Doing::Serving { .. })
        {
            upstream.doing = Doing::Orphaned;
        }
    }

    /// The poll has something for a connection.
    pub(super) fn on_event(&mut self, connection: usize, event: &Event) {
        let Some(upstream) = self.upstreams.get(connection) else { return };
        if event.is_writable() && !upstream.is_sent() {
            self.push(connection);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.pull(connection);
        }
        if event.is_read_closed() {
            // The poll does not report the end again.
            self.notices.push_back(Notice::HasMore { connection });
        }
    }

    /// Reads on, where [`Notice::HasMore`] said so.
    pub(super) fn go_on(&mut self, connection: usize) {
        self.pull(connection);
    }

    /// A turn of the loop begins.
    pub(super) fn begin_turn(&mut self, now: Instant) {
        self.now = now;
    }

    /// Does what is due by time.
    pub(super) fn on_time(&mut self) {
        while let Some((number, kind)) = self.waits.expired(self.now) {
            self.on_timeout(number, kind);
        }
        self.check_opening();
    }

    /// When [`Inside::on_time`] has something to do.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        let retry = self.open_backoff.until().filter(|&until| until > self.now);
        [self.waits.next(), retry].into_iter().flatten().min()
    }

    /// A turn of the loop ends: no collected event is left.
    pub(super) fn end_turn(&mut self) {
        self.upstreams.end_turn();
    }

    /// Bytes of bodies held here.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The process is out of descriptors.
    pub(super) fn note_shortage(&mut self) {
        self.reserve.note_shortage();
    }

    /// The last descriptors are the inner server's, until it has answered: nobody else may take one.
    pub(super) fn needs_descriptors(&self) -> bool {
        self.reserve.is_tight() && self.opening.is_some()
    }

    /// Shows what was counted here.
    pub(super) fn publish(&self, counters: &DoorCounters, started: Instant) {
        if let Some(answered) = self.last_answer {
            let answered = answered.saturating_duration_since(started);
            set(&counters.answered_ms, answered.as_millis() as usize);
        }
        let busy = self.waits.len(wait::BUSY) + self.waits.len(wait::BUSY_BATCH);
        set(&counters.in_flight, busy);
        set(&counters.upstream_open, self.upstreams.len());
        set(&counters.upstream_lost, self.lost);
        set(&counters.rebuilds, self.rebuilds);
    }

    /// The free connection used last: the others may then be closed for being idle.
    fn free(&self, lane: Lane) -> Option<usize> {
        match lane {
            Lane::Ingest => self.waits.back(wait::FREE_INGEST),
            // Those are pinged, so all of them should take turns.
            Lane::Kept => self.waits.front(wait::FREE_KEPT),
        }
    }

    fn open_count(&mut self, lane: Lane) -> &mut usize {
        match lane {
            Lane::Ingest => &mut self.open_ingest,
            Lane::Kept => &mut self.open_kept,
        }
    }

    /// Bytes that are no longer held. A miscount must not make the door believe that it is full.
    fn let_go(&mut self, bytes: usize) {
        debug_assert!(self.held_bytes >= bytes, "BUG: more memory is released than was counted");
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }

    fn remove(&mut self, number: usize) {
        self.waits.clear(number);
        let Some(upstream) = self.upstreams.remove(number) else { return };
        self.let_go(upstream.parcel.counted);
        *self.open_count(upstream.lane) -= 1;
        if self.opening == Some(number) {
            self.opening = None;
            self.reserve.restore();
        }
    }
}

/// Descriptors that the connections to the inner server take at most: each has two ends in this process, and the
/// server copies its own.
pub(super) fn descriptors(connections: usize) -> usize {
    3 * connections + DOOR_RESERVED_DESCRIPTORS
}
