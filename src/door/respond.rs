//! The answer to a client, until its last byte is sent, and what follows it: the next request, or the end of the
//! connection.

use mio::Interest;

use super::accept::no_room;
use super::client::{Client, ClientState, Then, wait};
use super::event_loop::EventLoop;
use super::forward::too_many_wait;
use super::render::{self, Manner};
use super::stream::Peer;
use super::tokens::Owner;
use crate::limits::{DOOR_LINGER_BYTES_MAX, DOOR_MEMORY_BYTES_MAX};
use crate::telemetry::refused::RefusedRequest;
use crate::wire::reply::Reply;
use crate::wire::routes::Lane;

impl EventLoop {
    /// Answers with a reply that the door makes itself. What follows it is as `then` or the request says.
    pub(super) fn respond(&mut self, slot: usize, reply: &Reply, then: Then) {
        self.shared.counters.refused.add(reply.status());
        self.log_refused(slot, reply);
        self.release_body(slot);
        let is_closing = self.is_closing;
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.request.closes |= then != Then::Keep || is_closing;
        let mut out = std::mem::take(&mut client.out);
        let manner = manner(client, self.date.at(self.now));
        render::reply(&mut out, reply, &manner);
        client.out = out;
        self.write_out(slot, then);
    }

    /// Logs a refused request: a till with an old key, a wrong path or too large an event, somebody who tries keys. The
    /// administrator wants to know which client it is. What the daemon itself lacks is logged where it is noticed.
    fn log_refused(&mut self, slot: usize, reply: &Reply) {
        let Some(client) = self.clients.get(slot).filter(|_| reply.status() < 500) else { return };
        let Some(suppressed) = self.throttles.refused.pass(self.now) else { return };
        let request = &client.request;
        let (method, path) =
            request.asked.as_ref().map_or(("-", "-"), |(method, path)| (method.as_str(), path.as_str()));
        let refused = RefusedRequest {
            status: reply.status(),
            why: reply.why(),
            method,
            path,
            peer: &client.peer.to_string(),
            client: "-",
            x_request_id: Some(&*request.request_id).filter(|id| !id.is_empty()).unwrap_or("-"),
            traceparent: "-",
        };
        refused.log(&suppressed);
        // A request that would bring no event comes from a browser or a program that only looks.
        if !matches!(method, "GET" | "HEAD") {
            refused.keep();
        }
    }

    /// Answers with what came back from inside over this connection.
    pub(super) fn respond_from(&mut self, slot: usize, connection: usize) {
        let (is_closing, memory) = (self.is_closing, self.memory());
        let Some(client) = self.clients.get_mut(slot) else { return };
        let Some(answer) = self.inside.answer(connection) else {
            self.respond(slot, &Reply::internal(), Then::Keep);
            return;
        };
        if memory + answer.body.len() > DOOR_MEMORY_BYTES_MAX {
            let why = "answers that other clients do not read fill the memory set aside for them";
            self.respond(slot, &no_room(why), Then::Keep);
            return;
        }
        client.request.closes |= is_closing;
        let mut out = std::mem::take(&mut client.out);
        let manner = manner(client, self.date.at(self.now));
        render::answer(&mut out, &answer, &manner);
        client.out = out;
        self.write_out(slot, Then::Keep);
    }

    fn write_out(&mut self, slot: usize, then: Then) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        if let (Some(at), Lane::Ingest) = (client.request.whole_at, client.request.lane) {
            self.settings.answers.took(self.now.saturating_duration_since(at));
        }
        let may_send_more = !client.pending.is_empty() || (client.readable && !client.ended);
        let then = match then {
            Then::Keep if client.request.closes && may_send_more => Then::Linger,
            Then::Keep if client.request.closes => Then::Close,
            then => then,
        };
        client.state = ClientState::Writing(then);
        client.counted_out = client.out.len();
        self.memory += client.counted_out;
        self.waits.set(slot, wait::WRITING, self.now);
        self.flush(slot);
    }

    /// Goes on writing, and does what follows when everything is sent.
    pub(super) fn flush(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        match client.write() {
            Ok(true) => {}
            Ok(false) => return self.poll_writable(slot),
            Err(_) => return self.close(slot),
        }
        let counted = std::mem::take(&mut client.counted_out);
        client.out.clear();
        client.written = 0;
        client.shrink();
        let ClientState::Writing(then) = client.state else { return };
        self.release_memory(counted);
        self.after_answer(slot, then);
    }

    /// From now on the poll reports when the client's socket has room.
    pub(super) fn poll_writable(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        if std::mem::replace(&mut client.polls_writable, true) {
            return;
        }
        let (token, both) = (Owner::Client(slot).token(), Interest::READABLE | Interest::WRITABLE);
        if self.poll.registry().reregister(&mut client.stream, token, both).is_err() {
            self.close(slot);
        }
    }

    fn after_answer(&mut self, slot: usize, then: Then) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        match then {
            Then::Close => self.close(slot),
            Then::Keep => {
                client.state = ClientState::Idle;
                client.request.reset();
                self.waits.set(slot, wait::IDLE, self.now);
                if !client.pending.is_empty() || client.readable || client.ended {
                    self.advance_again(slot);
                }
            }
            Then::Linger => {
                client.pending = Vec::new();
                client.state = ClientState::Lingering { left: DOOR_LINGER_BYTES_MAX };
                self.waits.set(slot, wait::LINGERING, self.now);
                if client.stream.shutdown_write().is_err() {
                    return self.close(slot);
                }
                self.advance_again(slot);
            }
        }
    }

    pub(super) fn on_client_timeout(&mut self, slot: usize, kind: usize) {
        let is_handshake =
            self.clients.get(slot).is_some_and(|client| client.state == ClientState::Handshake);
        match kind {
            wait::HEAD if is_handshake => {
                self.on_failed_handshake(slot, "it took too long");
                self.close(slot);
            }
            wait::HEAD => {
                self.respond(slot, &Reply::timeout("the request head did not arrive in time"), Then::Linger)
            }
            wait::BODY => {
                self.respond(slot, &Reply::timeout("the request body did not arrive in time"), Then::Linger)
            }
            wait::QUEUED_INGEST | wait::QUEUED_KEPT => {
                self.respond(slot, &too_many_wait(), Then::Keep);
            }
            _ => self.close(slot),
        }
    }

    /// Forgets the body of a request.
    pub(super) fn release_body(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let counted = client.parcel.drop_body();
        if client.state == ClientState::Queued {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(counted);
        }
        self.release_memory(counted);
    }

    /// Ends a connection. A request that is inside goes on without it.
    pub(super) fn close(&mut self, slot: usize) {
        self.release_body(slot);
        self.waits.clear(slot);
        let Some(mut client) = self.clients.remove(slot) else { return };
        client.stream.say_goodbye();
        if let (true, Peer::Address(address)) = (client.is_counted, client.peer) {
            self.addresses.leave(address);
        }
        self.release_memory(client.counted_out);
        if let ClientState::Asking(connection) = client.state {
            self.inside.forget(connection);
        }
    }
}

fn manner<'a>(client: &'a Client, date: &'a str) -> Manner<'a> {
    let request = &client.request;
    Manner {
        closes: request.closes,
        is_http10: request.is_http10,
        is_head: request.is_head,
        request_id: &request.request_id,
        date,
    }
}
