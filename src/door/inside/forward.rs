//! A request's way inside and its answer's way back, over the pool of upstream connections.

use mio::Interest;
use mio::event::Event;

use super::upstream::{Job, wait};
use crate::door::accept::no_room;
use crate::door::client::{State, Then, wait as client_wait};
use crate::door::event_loop::{EventLoop, Source};
use crate::door::figures;
use crate::door::render;
use crate::limits::{DOOR_WAITING_BYTES_MAX, DOOR_WAITING_MAX};
use crate::wire::routes::{Body, Lane};

/// Upstream connections that may turn out dead under one request, before it took a byte of it.
const TRIES_MAX: u8 = 3;

impl EventLoop {
    /// A request is whole: completes its head and sends it inside.
    pub(in crate::door) fn dispatch(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.request.whole_at = Some(self.now);
        let forwards_body = client.request.body != Body::Dropped;
        render::forward_end(&mut client.forward, forwards_body.then_some(client.body.len()));
        if !forwards_body {
            self.release_body(slot);
        }
        self.enqueue(slot);
    }

    fn enqueue(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let lane = client.request.lane;
        if let Some(upstream) = self.pool.free(lane) {
            self.assign(slot, upstream);
            return;
        }
        let kind = queue_of(lane);
        if self.waits.len(kind) >= DOOR_WAITING_MAX
            || self.waiting_bytes + client.counted_body > DOOR_WAITING_BYTES_MAX
        {
            self.respond(
                slot,
                &no_room("too many requests wait for storage; nothing was stored"),
                Then::Keep,
            );
            return;
        }
        client.state = State::Queued;
        self.waiting_bytes += client.counted_body;
        self.waits.set(slot, kind, self.now);
        self.open_upstreams();
    }

    /// Gives a whole request to a free connection. The buffers change hands, nothing is copied.
    fn assign(&mut self, slot: usize, to: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let Some(upstream) = self.pool.connections.get_mut(to) else { return };
        if client.state == State::Queued {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(client.counted_body);
        }
        client.state = State::Asking(to);
        upstream.job = Job::Busy(Some(slot));
        std::mem::swap(&mut client.forward, &mut upstream.head);
        std::mem::swap(&mut client.body, &mut upstream.body);
        std::mem::swap(&mut client.counted_body, &mut upstream.counted_body);
        let kind = if client.request.body == Body::Batch { wait::BUSY_BATCH } else { wait::BUSY };
        self.waits.clear(slot);
        self.pool.waits.set(to, kind, self.now);
        self.push(to);
    }

    /// Writes a request on.
    pub(in crate::door) fn push(&mut self, slot: usize) {
        let Some(upstream) = self.pool.connections.get_mut(slot) else { return };
        let written = upstream.write().and_then(|()| {
            if upstream.is_sent() {
                let counted = upstream.drop_body();
                self.memory = self.memory.saturating_sub(counted);
            }
            // A Unix socket tells of room after each read of its other end: only who needs to asks.
            if upstream.polls_writable == upstream.is_sent() {
                upstream.polls_writable = !upstream.is_sent();
                let interest = Interest::READABLE;
                let interest = if upstream.polls_writable { interest | Interest::WRITABLE } else { interest };
                let token = Source::Upstream(slot).token();
                return self.poll.registry().reregister(&mut upstream.stream, token, interest);
            }
            Ok(())
        });
        match written {
            Ok(()) => self.finish_if_whole(slot),
            Err(error) => self.lose(slot, &error.to_string()),
        }
    }

    pub(in crate::door) fn on_upstream_event(&mut self, slot: usize, event: &Event) {
        let Some(upstream) = self.pool.connections.get(slot) else { return };
        if event.is_writable() && !upstream.is_sent() {
            self.push(slot);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.pull(slot);
        }
        if event.is_read_closed() {
            // The poll won't tell of the end again.
            self.again.push_back(Source::Upstream(slot));
        }
    }

    /// Reads an answer on.
    pub(in crate::door) fn pull(&mut self, slot: usize) {
        let Some(upstream) = self.pool.connections.get_mut(slot) else { return };
        match upstream.read(&mut self.scratch) {
            Ok(has_more) => {
                if has_more {
                    self.again.push_back(Source::Upstream(slot));
                }
                self.finish_if_whole(slot);
            }
            Err(why) => self.lose(slot, &why),
        }
    }

    /// An answer that came before its request was written whole has to wait for that: the
    /// connection's next request must not follow half a body.
    fn finish_if_whole(&mut self, slot: usize) {
        let Some(upstream) = self.pool.connections.get_mut(slot) else { return };
        if !upstream.reader.is_whole() || !upstream.is_sent() {
            return;
        }
        self.pool.last_answer = Some(self.now);
        match upstream.job {
            Job::Free | Job::Busy(None) => {}
            Job::Pinging => self.pool.rebuild_backoff.reset(),
            Job::Proving => {
                self.pool.opening = None;
                self.pool.open_backoff.reset();
                self.is_tight = !self.pool.reserve.fill();
                if std::mem::take(&mut self.pool.is_in_doubt) {
                    log::info!("the HTTP server inside answers again");
                }
            }
            Job::Busy(Some(client)) => self.respond_from(client, slot),
        }
        self.settle(slot);
        self.open_upstreams();
    }

    /// A connection has done its job: gives it the next one.
    fn settle(&mut self, slot: usize) {
        let Some(upstream) = self.pool.connections.get_mut(slot) else { return };
        let lane = upstream.lane;
        let is_usable = upstream.reset() && upstream.generation == self.pool.generation;
        let counted = std::mem::take(&mut upstream.counted_body);
        self.release_memory(counted);
        if !is_usable {
            self.remove(slot);
        } else if let Some(client) = self.waits.front(queue_of(lane)) {
            self.assign(client, slot);
        } else {
            self.pool.waits.set(slot, free_of(lane), self.now);
        }
    }

    /// A connection is of no use any more. Its client, if it has one, is told.
    pub(in crate::door) fn lose(&mut self, slot: usize, why: &str) {
        let Some(upstream) = self.pool.connections.get_mut(slot) else { return };
        figures::add(&self.shared.counters.upstream_lost);
        if let Some(suppressed) = self.throttles.upstream.pass(self.now) {
            let job = upstream.job;
            log::warn!("a connection to the HTTP server inside was lost while {job}: {why}{suppressed}");
        }
        let is_proving = upstream.job == Job::Proving;
        if let Job::Busy(Some(client)) = upstream.job {
            let untouched = upstream.written == 0;
            if untouched && self.take_back(client, slot) {
                self.remove(slot);
                self.enqueue(client);
                return;
            }
            let reply = no_room(
                "no answer from inside; the event may have been stored or not: send it again with the same id",
            );
            self.respond(client, &reply, Then::Keep);
        }
        self.remove(slot);
        if is_proving {
            self.pool.open_backoff.grow(self.now);
        }
        self.open_upstreams();
    }

    /// The request that a dead connection did not take a byte of goes back to its client.
    fn take_back(&mut self, client: usize, from: usize) -> bool {
        let Some(client) = self.clients.get_mut(client) else { return false };
        let Some(upstream) = self.pool.connections.get_mut(from) else { return false };
        if client.request.tries >= TRIES_MAX {
            return false;
        }
        client.request.tries += 1;
        client.state = State::Body;
        std::mem::swap(&mut client.forward, &mut upstream.head);
        std::mem::swap(&mut client.body, &mut upstream.body);
        std::mem::swap(&mut client.counted_body, &mut upstream.counted_body);
        true
    }

    pub(in crate::door) fn remove(&mut self, slot: usize) {
        self.pool.waits.clear(slot);
        let Some(upstream) = self.pool.connections.remove(slot) else { return };
        self.release_memory(upstream.counted_body);
        *self.pool.open_count(upstream.lane) -= 1;
        if self.pool.opening == Some(slot) {
            self.pool.opening = None;
            self.is_tight = !self.pool.reserve.fill();
        }
    }
}

fn queue_of(lane: Lane) -> usize {
    match lane {
        Lane::Ingest => client_wait::QUEUED_INGEST,
        Lane::Kept => client_wait::QUEUED_KEPT,
    }
}

fn free_of(lane: Lane) -> usize {
    match lane {
        Lane::Ingest => wait::FREE_INGEST,
        Lane::Kept => wait::FREE_KEPT,
    }
}
