//! TLS connections between their first byte and their first request.
//!
//! A handshake has the time for a head. Each of its steps may cost a signature, half a millisecond on a small
//! machine, so that a turn of the loop makes one and everyone else is served in between.

use super::client::{State, Then, wait};
use super::event_loop::EventLoop;
use crate::telemetry::counters::add;
use crate::wire::reply::Reply;

impl EventLoop {
    /// Whether a connection that has to read must wait for the next turn, because of others' handshakes.
    pub(super) fn must_wait_for_handshakes(&mut self, slot: usize) -> bool {
        let Some(client) = self.clients.get(slot) else { return false };
        if !client.stream.is_tls() || !(client.stream.is_handshaking() || client.stream.is_untouched()) {
            return false;
        }
        std::mem::replace(&mut self.has_shaken_hands, true)
    }

    /// After a read: where the connection's TLS is now.
    pub(super) fn watch_tls(&mut self, slot: usize, error: Option<&std::io::Error>) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        if client.stream.is_refused_bare() {
            if client.state == State::Idle {
                let reply = Reply::bad_request("this port speaks TLS: use https://");
                self.respond(slot, &reply, Then::Linger);
            }
            return;
        }
        let is_handshaking = client.stream.is_handshaking();
        let waits_to_write = client.stream.has_unwritten();
        match client.state {
            State::Idle | State::Handshake if error.is_some() && is_handshaking => {
                let cause = error.map(ToString::to_string).unwrap_or_default();
                self.on_failed_handshake(slot, &cause);
            }
            State::Idle if is_handshaking => {
                client.state = State::Handshake;
                self.waits.set(slot, wait::HEAD, self.now);
            }
            State::Handshake if !is_handshaking => {
                client.state = State::Idle;
                self.waits.set(slot, wait::IDLE, self.now);
                add(&self.shared.counters.tls_handshakes, 1);
            }
            _ => {}
        }
        if waits_to_write {
            self.poll_writable(slot);
        }
    }

    /// Counts and tells of a handshake that came to nothing.
    pub(super) fn on_failed_handshake(&mut self, slot: usize, cause: &str) {
        add(&self.shared.counters.tls_failures, 1);
        let Some(client) = self.clients.get(slot) else { return };
        if let Some(suppressed) = self.throttles.handshake.pass(self.now) {
            let peer = client.peer;
            log::info!("a TLS handshake failed peer={peer} cause={cause:?}{suppressed}");
        }
    }

    /// The socket takes bytes again.
    pub(super) fn on_writable(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        if matches!(client.state, State::Writing(_)) {
            return self.flush(slot);
        }
        match client.stream.flush() {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => self.close(slot),
            _ => {}
        }
    }
}
