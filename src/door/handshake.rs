//! TLS connections between their first byte and their first request.
//!
//! A handshake may take as long as a head. Each of its steps may need a signature, half a millisecond on a small machine:
//! therefore a turn of the loop makes one step, and the other clients are served in between.

use super::client::{ClientState, Then, wait};
use super::event_loop::EventLoop;
use crate::telemetry::counters::add;
use crate::wire::reply::Reply;

impl EventLoop {
    /// Must this connection wait for the next turn before it reads, because of other handshakes?
    pub(super) fn must_wait_for_handshakes(&mut self, slot: usize) -> bool {
        let Some(client) = self.clients.get(slot) else { return false };
        if !client.stream.is_tls() || !(client.stream.is_handshaking() || client.stream.is_untouched()) {
            return false;
        }
        std::mem::replace(&mut self.has_shaken_hands, true)
    }

    /// After a read: follows the state of the connection's TLS.
    pub(super) fn watch_tls(&mut self, slot: usize, error: Option<&std::io::Error>) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        if client.stream.is_refused_bare() {
            if client.state == ClientState::Idle {
                let reply = Reply::bad_request("this port speaks TLS: use https://");
                self.respond(slot, &reply, Then::Linger);
            }
            return;
        }
        let is_handshaking = client.stream.is_handshaking();
        let waits_to_write = client.stream.has_unwritten();
        match client.state {
            ClientState::Idle | ClientState::Handshake if error.is_some() && is_handshaking => {
                let cause = error.map(ToString::to_string).unwrap_or_default();
                self.on_failed_handshake(slot, &cause);
            }
            ClientState::Idle if is_handshaking => {
                client.state = ClientState::Handshake;
                self.waits.set(slot, wait::HEAD, self.now);
            }
            ClientState::Handshake if !is_handshaking => {
                client.state = ClientState::Idle;
                self.waits.set(slot, wait::IDLE, self.now);
                add(&self.shared.counters.tls_handshakes, 1);
            }
            _ => {}
        }
        if waits_to_write {
            self.poll_writable(slot);
        }
    }

    /// Counts and logs a handshake that failed.
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
        if matches!(client.state, ClientState::Writing(_)) {
            return self.flush(slot);
        }
        match client.stream.flush() {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => self.close(slot),
            _ => {}
        }
    }
}
