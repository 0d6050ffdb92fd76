//! A whole request on its way inside, the queue of those that wait for room there, and what comes back.

use super::accept::no_room;
use super::client::{ClientState, Then, wait};
use super::event_loop::EventLoop;
use super::inside::Notice;
use super::tokens::Owner;
use crate::limits::{DOOR_WAITING_BYTES_MAX, DOOR_WAITING_MAX};
use crate::wire::reply::Reply;
use crate::wire::routes::{BodyKind, Lane};

impl EventLoop {
    /// A request is whole: completes it and sends it inside, or has it wait for room.
    pub(super) fn dispatch(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.request.whole_at = Some(self.now);
        let has_body = client.request.body != BodyKind::Dropped;
        client.parcel.finish(has_body);
        if !has_body {
            self.release_body(slot);
        }
        self.enqueue(slot);
        self.after_inside();
    }

    fn enqueue(&mut self, slot: usize) {
        if self.hand_over(slot) {
            return;
        }
        let Some(client) = self.clients.get_mut(slot) else { return };
        let kind = queue_of(client.request.lane);
        if self.waits.len(kind) >= DOOR_WAITING_MAX
            || self.waiting_bytes + client.parcel.counted > DOOR_WAITING_BYTES_MAX
        {
            return self.respond(slot, &too_many_wait(), Then::Keep);
        }
        client.state = ClientState::Queued;
        self.waiting_bytes += client.parcel.counted;
        self.waits.set(slot, kind, self.now);
    }

    /// Gives a whole request to the inside. `false`: there is no room, the client keeps it.
    fn hand_over(&mut self, slot: usize) -> bool {
        let Some(client) = self.clients.get_mut(slot) else { return false };
        let counted = client.parcel.counted;
        let (lane, is_batch) = (client.request.lane, client.request.body == BodyKind::Batch);
        let Some(connection) = self.inside.send(slot, lane, is_batch, &mut client.parcel) else {
            return false;
        };
        if client.state == ClientState::Queued {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(counted);
        }
        client.state = ClientState::Asking(connection);
        self.waits.clear(slot);
        self.release_memory(counted);
        true
    }

    /// To be called after everything that is done inside: takes the notices, gives free room to the requests that wait for
    /// it, and has more room made.
    pub(super) fn after_inside(&mut self) {
        loop {
            if let Some(notice) = self.inside.next_notice() {
                self.on_notice(notice);
            } else if !self.next_in_queue().is_some_and(|slot| self.hand_over(slot)) {
                break;
            }
        }
        self.inside.tend(self.waits.len(wait::QUEUED_INGEST) > 0);
    }

    fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Answered { client, connection } => {
                self.respond_from(client, connection);
                self.inside.release(connection);
            }
            Notice::Returned { client: slot, parcel } => {
                let Some(client) = self.clients.get_mut(slot) else { return };
                self.memory += parcel.counted;
                client.parcel = parcel;
                client.state = ClientState::Body;
                self.enqueue(slot);
            }
            Notice::Lost { client } => {
                let why = "the answer was lost; the event may have been stored or not: send it again with the same id";
                self.respond(client, &no_room(why), Then::Keep);
            }
            Notice::HasMore { connection } => self.again.push_back(Owner::Inside(connection)),
        }
    }

    /// The request that has waited longest for room that is there now.
    fn next_in_queue(&self) -> Option<usize> {
        let waiting = |lane| self.waits.front(queue_of(lane)).filter(|_| self.inside.has_room(lane));
        waiting(Lane::Kept).or_else(|| waiting(Lane::Ingest))
    }
}

/// 503: it has waited long enough for room inside, or too many wait already.
pub(super) fn too_many_wait() -> Reply {
    no_room("too many requests wait for storage; nothing was stored")
}

fn queue_of(lane: Lane) -> usize {
    match lane {
        Lane::Ingest => wait::QUEUED_INGEST,
        Lane::Kept => wait::QUEUED_KEPT,
    }
}
