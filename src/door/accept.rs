//! Accepting connections, and making room for them.

use std::io;
use std::time::Duration;

use mio::{Interest, Token};

use super::client::{Client, ClientState, Then, wait};
use super::event_loop::EventLoop;
use super::stream::{Peer, Stream};
use super::tokens::Owner;
use crate::limits::DOOR_REFUSED_CONNECTIONS_MAX;
use crate::telemetry::counters::add;
use crate::wire::reply::{Reply, retry_between};

/// Connections accepted before other sockets get their turn.
const ACCEPTS_A_TURN: usize = 64;
/// Turns that empty a full backlog of the usual length.
const BACKLOG_TURNS: usize = 64;
/// After an accept that failed because something is short; until then clients wait in the listener's backlog.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Connections tried until one is really idle.
const EVICTION_TRIES: usize = 16;

impl EventLoop {
    /// Accepts the connections that wait at a listener.
    pub(super) fn accept(&mut self, number: usize) {
        for _ in 0..ACCEPTS_A_TURN {
            if self.inside.needs_descriptors() {
                self.accept_again = self.now.checked_add(ACCEPT_RETRY);
                return;
            }
            let Some(listener) = self.listeners.get(number) else { return };
            match listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    self.on_accept_error(&error);
                    if !self.make_room() {
                        self.accept_again = self.now.checked_add(ACCEPT_RETRY);
                        return;
                    }
                }
            }
        }
        self.again.push_back(Owner::Listener(number));
    }

    fn on_accept_error(&mut self, error: &io::Error) {
        self.inside.note_shortage();
        add(&self.shared.counters.accept_errors, 1);
        if let Some(suppressed) = self.throttles.accept.pass(self.now) {
            log::warn!(
                "cannot accept a connection: {error}; idle ones are closed and new ones wait meanwhile; \
                 raise the limit of open files or lower MAX_CONNECTIONS{suppressed}"
            );
        }
    }

    fn admit(&mut self, stream: Stream, peer: Peer) {
        // Those that linger have their answer already.
        let in_use = self.clients.len() - self.waits.len(wait::LINGERING);
        let is_full = in_use >= self.settings.options.max_connections && !self.evict();
        let most = self.settings.options.max_connections + DOOR_REFUSED_CONNECTIONS_MAX;
        if self.clients.len() >= most && !self.end_lingering() {
            self.shared.counters.refused.add(503);
            return;
        }
        add(&self.shared.counters.accepted, 1);
        let slot = self.clients.insert(Client::new(stream, peer));
        let token: Token = Owner::Client(slot).token();
        let Some(client) = self.clients.get_mut(slot) else { return };
        if self.poll.registry().register(&mut client.stream, token, Interest::READABLE).is_err() {
            self.close(slot);
            return;
        }
        self.waits.set(slot, wait::IDLE, self.now);
        if let Some(why) = self.refusal(slot, is_full) {
            self.turn_away(slot, why);
        }
    }

    /// Why a new connection cannot stay.
    fn refusal(&mut self, slot: usize, is_full: bool) -> Option<&'static str> {
        if is_full {
            if let Some(suppressed) = self.throttles.full.pass(self.now) {
                let count = self.settings.options.max_connections;
                log::warn!(
                    "all {count} client connections (MAX_CONNECTIONS) are busy with a request: new ones are answered 503{suppressed}"
                );
            }
            return Some("all connections are in use; nothing was stored");
        }
        let client = self.clients.get_mut(slot)?;
        let Peer::Address(address) = client.peer else { return None };
        client.is_counted = self.addresses.enter(address);
        if client.is_counted {
            return None;
        }
        add(&self.shared.counters.refused_by_address, 1);
        if let Some(suppressed) = self.throttles.address.pass(self.now) {
            log::warn!(
                "an address uses all the connections that it may have (MAX_CONNECTIONS_PER_ADDRESS): new ones are \
                 answered 503 peer={}{suppressed}",
                client.peer
            );
        }
        Some("your address uses all the connections that it may have; nothing was stored")
    }

    fn turn_away(&mut self, slot: usize, why: &'static str) {
        if self.clients.get(slot).is_some_and(|client| client.stream.is_tls()) {
            // An answer would need a handshake first, and there may be many such connections.
            self.shared.counters.refused.add(503);
            return self.close(slot);
        }
        self.respond(slot, &no_room(why), Then::Linger);
    }

    /// Frees a descriptor. `false` when all connections are busy with a request.
    fn make_room(&mut self) -> bool {
        self.evict() || self.end_lingering()
    }

    /// Closes the connection that has been idle longest. `false` when none is idle.
    fn evict(&mut self) -> bool {
        for _ in 0..EVICTION_TRIES {
            let Some(slot) = self.waits.front(wait::IDLE) else { break };
            if self.close_if_idle(slot) {
                add(&self.shared.counters.evicted, 1);
                return true;
            }
        }
        false
    }

    /// Closes the connection that has lingered longest. `false` when none lingers.
    fn end_lingering(&mut self) -> bool {
        let Some(slot) = self.waits.front(wait::LINGERING) else { return false };
        self.close(slot);
        true
    }

    /// Closes an idle connection, unless a request has arrived at its socket: then that is served.
    fn close_if_idle(&mut self, slot: usize) -> bool {
        let Some(client) = self.clients.get_mut(slot) else { return false };
        client.readable = true;
        self.advance(slot);
        match self.clients.get(slot).map(|client| client.state) {
            Some(ClientState::Idle) => {
                self.close(slot);
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    /// First step of a stop.
    pub(super) fn close_listeners(&mut self) {
        if std::mem::replace(&mut self.is_closing, true) {
            return;
        }
        // Clients that have connected by now are served.
        for _ in 0..BACKLOG_TURNS {
            (0..self.listeners.len()).for_each(|number| self.accept(number));
        }
        self.again.retain(|owner| !matches!(owner, Owner::Listener(_)));
        self.accept_again = None;
        for mut listener in std::mem::take(&mut self.listeners) {
            let _ = self.poll.registry().deregister(&mut listener);
        }
        for slot in self.clients.numbers() {
            match self.clients.get(slot).map(|client| client.state) {
                Some(ClientState::Idle) => _ = self.close_if_idle(slot),
                // There is no request yet.
                Some(ClientState::Handshake) => self.close(slot),
                _ => {}
            }
        }
    }
}

/// 503 because there is no room, with a `Retry-After` that differs from client to client.
pub(super) fn no_room(why: &'static str) -> Reply {
    Reply::unavailable(why, retry_after_s())
}

/// 1 to 5 seconds: clients that were refused together should not come back together.
fn retry_after_s() -> u32 {
    retry_between(1, 5)
}

/// The connection broke before it was accepted; the next one need not.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_come_back_at_different_times() {
        let waits: std::collections::BTreeSet<u32> = (0..1_000).map(|_| retry_after_s()).collect();
        assert_eq!(waits.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }
}
