//! A client's request, from its first byte until it is whole or refused.
//!
//! `advance` is the only way on: it takes what has been received as far as it goes, with at most one read per turn and at
//! most one request per turn.

use std::sync::Arc;

use mio::event::Event;

use super::Settings;
use super::accept::no_room;
use super::client::{Client, ClientState, Then, wait};
use super::event_loop::EventLoop;
use super::framing::{BodyReader, Framing};
use super::head::{Head, Parsed, Whole, parse};
use super::inside::SentBy;
use super::render;
use super::stream::Peer;
use super::tokens::Owner;
use crate::limits::{DOOR_DROPPED_BODY_BYTES_MAX, DOOR_EMPTY_LINES_MAX, DOOR_MEMORY_BYTES_MAX};
use crate::telemetry::counters::add;
use crate::wire::keys;
use crate::wire::reply::Reply;
use crate::wire::routes::{self, BodyKind, Route};

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Advance {
    /// It cannot go on without more bytes.
    NeedsBytes,
    /// It went on to the next state.
    Moved,
    /// The connection waits for something other than bytes now, or has ended.
    Halted,
}

/// What the bytes at the beginning of a request are.
#[derive(Debug)]
enum Begun {
    /// The head is not whole.
    NotYet,
    /// The body may come. `waits`: the client waits for 100 Continue.
    Accepted { waits: bool },
    /// The answer is known.
    Refused(Reply, Then),
}

impl EventLoop {
    pub(super) fn on_client_event(&mut self, slot: usize, event: &Event) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        // A Unix socket reports at once that the client has gone; what it sent before may be an event.
        if event.is_error() || (event.is_write_closed() && client.peer != Peer::Local) {
            // A reset: no answer can reach the client.
            self.close(slot);
            return;
        }
        client.ending |= event.is_read_closed();
        client.readable |= event.is_readable() || event.is_read_closed();
        if event.is_writable() {
            self.on_writable(slot);
        }
        self.advance(slot);
    }

    /// Goes on with a connection until it has to wait.
    pub(super) fn advance(&mut self, slot: usize) {
        let mut may_read = true;
        loop {
            let Some(client) = self.clients.get(slot) else { return };
            let step = match client.state {
                ClientState::Idle | ClientState::Head => self.take_head(slot),
                ClientState::Body => self.take_pending_body(slot),
                ClientState::Handshake | ClientState::Lingering { .. } => Advance::NeedsBytes,
                ClientState::Queued | ClientState::Asking(_) | ClientState::Writing(_) => return,
            };
            let Some(client) = self.clients.get_mut(slot) else { return };
            match step {
                Advance::Halted => return,
                Advance::Moved => {}
                Advance::NeedsBytes if client.ended => return self.on_end(slot),
                Advance::NeedsBytes if !client.readable => return,
                Advance::NeedsBytes if !may_read || self.must_wait_for_handshakes(slot) => {
                    return self.advance_again(slot);
                }
                Advance::NeedsBytes => {
                    may_read = false;
                    if self.read(slot) == Advance::Halted {
                        return;
                    }
                }
            }
        }
    }

    /// Goes on with a connection in the next turn, once, however often this is called.
    pub(super) fn advance_again(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        if !std::mem::replace(&mut client.is_again, true) {
            self.again.push_back(Owner::Client(slot));
        }
    }

    fn read(&mut self, slot: usize) -> Advance {
        let Some(client) = self.clients.get_mut(slot) else { return Advance::Halted };
        let read = client.read(&mut self.scratch);
        if client.stream.is_tls() || client.stream.is_refused_bare() {
            self.watch_tls(slot, read.as_ref().err());
        }
        let Some(client) = self.clients.get_mut(slot) else { return Advance::Halted };
        let count = match read {
            Ok(0) if matches!(client.state, ClientState::Writing(_)) => return Advance::Halted,
            Ok(0) => return Advance::Moved,
            Ok(count) => count,
            Err(_) => {
                self.close(slot);
                return Advance::Halted;
            }
        };
        match client.state {
            ClientState::Body => return self.take_read_body(slot, count),
            ClientState::Lingering { left } if left > count => {
                client.state = ClientState::Lingering { left: left - count }
            }
            ClientState::Lingering { .. } => {
                self.close(slot);
                return Advance::Halted;
            }
            _ => client.pending.extend_from_slice(&self.scratch[..count]),
        }
        Advance::Moved
    }

    /// The client will send no more.
    fn on_end(&mut self, slot: usize) {
        match self.clients.get(slot).map(|client| client.state) {
            Some(ClientState::Body) => {
                self.respond(
                    slot,
                    &Reply::bad_request("the connection ended before the body did"),
                    Then::Close,
                );
            }
            _ => self.close(slot),
        }
    }

    fn take_head(&mut self, slot: usize) -> Advance {
        let Some(client) = self.clients.get_mut(slot) else { return Advance::Halted };
        if !skip_empty_lines(client) {
            self.respond(slot, &Reply::bad_request("empty lines instead of a request"), Then::Linger);
            return Advance::Halted;
        }
        let Some(&last) = client.pending.last() else { return Advance::NeedsBytes };
        if client.pending == b"\r" {
            // Half of an empty line.
            return Advance::NeedsBytes;
        }
        if client.state == ClientState::Idle {
            client.state = ClientState::Head;
            client.parsed_len = 0;
            self.waits.set(slot, wait::HEAD, self.now);
        }
        // While the end has not arrived, parse again only when the length has doubled: enough to refuse nonsense early.
        let new = client.parsed_len.saturating_sub(3)..;
        let fresh = client.pending.get(new).unwrap_or_default();
        let has_end = last == b'\n' || memchr::memmem::find(fresh, b"\n\r\n").is_some();
        if !has_end && client.pending.len() < client.parsed_len * 2 {
            return Advance::NeedsBytes;
        }
        client.parsed_len = client.pending.len();
        let mut pending = std::mem::take(&mut client.pending);
        let (taken, begun) = match parse(&pending) {
            Parsed::Partial => (0, Begun::NotYet),
            Parsed::Refused(reply) => (0, Begun::Refused(reply, Then::Linger)),
            Parsed::Whole(whole) => {
                let len = whole.len;
                let (skipped, begun) = self.begin(slot, whole, &pending[len..]);
                (len + skipped, begun)
            }
        };
        pending.drain(..taken);
        if let Some(client) = self.clients.get_mut(slot) {
            client.pending = pending;
        }
        match begun {
            Begun::NotYet => Advance::NeedsBytes,
            Begun::Accepted { waits: true } => self.send_continue(slot),
            Begun::Accepted { waits: false } => Advance::Moved,
            Begun::Refused(reply, then) => {
                self.respond(slot, &reply, then);
                Advance::Halted
            }
        }
    }

    /// A head is whole: judges it, in the order of the contract. `rest` is what was received after it: returns also how many
    /// bytes of that are a body to be skipped.
    fn begin(&mut self, slot: usize, whole: Whole<'_>, rest: &[u8]) -> (usize, Begun) {
        add(&self.shared.counters.requests, 1);
        let Some(client) = self.clients.get_mut(slot) else { return (0, Begun::NotYet) };
        client.parsed_len = 0;
        client.empty_lines = 0;
        let request = &mut client.request;
        request.request_id.push_str(whole.request_id.unwrap_or_default());
        request.is_head = whole.is_head;
        let head = match whole.verdict {
            Ok(head) => head,
            Err(reply) => return (0, Begun::Refused(reply, Then::Linger)),
        };
        request.is_http10 = head.is_http10;
        request.closes = self.is_closing || !head.keep_alive;
        match admit(&head, &self.settings) {
            Ok(Admitted { route, limit, client: name }) => {
                request.lane = route.lane;
                request.body = route.body;
                request.body_limit = limit;
                let sent_by = SentBy { peer: client.peer, name: name.as_ref().map(|client| client.name()) };
                client.parcel.begin(route, &head, &request.request_id, &sent_by);
                client.reader = BodyReader::new(head.framing, limit);
                client.state = ClientState::Body;
                self.waits.set(slot, wait::BODY, self.now);
                let waits = head.expects_continue && rest.is_empty() && !client.reader.is_done();
                (0, Begun::Accepted { waits })
            }
            Err(reply) => {
                let path = head.target.path.as_deref().unwrap_or_default();
                request.asked = Some((head.method.to_owned(), path.to_owned()));
                // A body that has arrived already is skipped; one that has not is not waited for.
                match head.framing {
                    Framing::Empty => (0, Begun::Refused(reply, Then::Keep)),
                    Framing::Length(length) if length <= rest.len() as u64 => {
                        (usize::try_from(length).unwrap_or(0), Begun::Refused(reply, Then::Keep))
                    }
                    _ => (0, Begun::Refused(reply, Then::Linger)),
                }
            }
        }
    }

    fn send_continue(&mut self, slot: usize) -> Advance {
        let Some(client) = self.clients.get_mut(slot) else { return Advance::Halted };
        client.out.extend_from_slice(render::CONTINUE);
        let is_out = client.write();
        client.out.clear();
        client.written = 0;
        // A client whose socket cannot take 25 more bytes has not read its earlier answers.
        if matches!(is_out, Ok(true)) {
            return Advance::Moved;
        }
        self.close(slot);
        Advance::Halted
    }

    fn take_pending_body(&mut self, slot: usize) -> Advance {
        let Some(client) = self.clients.get_mut(slot) else { return Advance::Halted };
        let mut pending = std::mem::take(&mut client.pending);
        let result = client.take_body(&pending);
        let taken = result.as_ref().map_or(pending.len(), |(taken, _)| *taken);
        pending.drain(..taken);
        client.pending = pending;
        self.after_body_bytes(slot, result.map(|(_, grown)| grown))
    }

    fn take_read_body(&mut self, slot: usize, count: usize) -> Advance {
        let Some(client) = self.clients.get_mut(slot) else { return Advance::Halted };
        let input = &self.scratch[..count];
        let result = client.take_body(input);
        if let Ok((taken, _)) = &result {
            client.pending.extend_from_slice(&input[*taken..]);
        }
        self.after_body_bytes(slot, result.map(|(_, grown)| grown))
    }

    fn after_body_bytes(&mut self, slot: usize, grown: Result<usize, Reply>) -> Advance {
        let Some(client) = self.clients.get_mut(slot) else { return Advance::Halted };
        let reply = match grown {
            Ok(grown) => {
                self.memory += grown;
                client.parcel.counted += grown;
                let is_done = client.reader.is_done();
                if self.memory() <= DOOR_MEMORY_BYTES_MAX {
                    if !is_done {
                        return Advance::NeedsBytes;
                    }
                    self.dispatch(slot);
                    return Advance::Halted;
                }
                no_room("the bodies of other requests fill the memory set aside for them; nothing was stored")
            }
            Err(reply) => reply,
        };
        self.respond(slot, &reply, Then::Linger);
        Advance::Halted
    }
}

/// A head that is admitted.
struct Admitted {
    route: &'static Route,
    /// The largest body, in bytes.
    limit: usize,
    /// Who sends it, where a key says so.
    client: Option<Arc<keys::KeyHolder>>,
}

/// Judges a head: 404, 405, 401, 413.
///
/// # Errors
/// The reply that refuses it.
fn admit(head: &Head<'_>, settings: &Settings) -> Result<Admitted, Reply> {
    let path = head.target.path.as_deref().ok_or_else(Reply::not_found)?;
    let route = routes::find(head.method, path)?;
    let client = settings
        .guard
        .admit(route.access, head.api_key)
        .map_err(|why| Reply::unauthorized(why, route.access))?;
    let limit = match route.body {
        BodyKind::Dropped => DOOR_DROPPED_BODY_BYTES_MAX,
        BodyKind::Event => settings.body_bytes_max,
        BodyKind::Batch => settings.batch_bytes_max,
    };
    match head.framing {
        Framing::Length(length) if length > limit as u64 => Err(Reply::too_large("the body", limit)),
        _ => Ok(Admitted { route, limit, client }),
    }
}

/// A few empty lines before a request line are tolerated: some clients end a body with one. `false`: too many.
fn skip_empty_lines(client: &mut Client) -> bool {
    let lines = client.pending.chunks_exact(2).take_while(|pair| *pair == b"\r\n").count();
    client.empty_lines += lines;
    client.pending.drain(..lines * 2);
    client.empty_lines <= DOOR_EMPTY_LINES_MAX
}
