//! The events of one request.

use std::io::Write;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::limits::SEND_BATCH_BYTES;

/// An event that is to be sent, and the place of its line.
pub(super) struct OutgoingEvent {
    pub(super) place: String,
    pub(super) body: Vec<u8>,
}

/// Events that wait for more, to be sent together.
#[derive(Default)]
pub(super) struct Outgoing {
    events: Vec<OutgoingEvent>,
    bytes: usize,
    since: Option<Instant>,
}

impl Outgoing {
    /// When the first of them came.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(super) fn has_room(&self, bytes: usize, events_max: usize) -> bool {
        self.events.is_empty() || (self.events.len() < events_max && self.bytes + bytes <= SEND_BATCH_BYTES)
    }

    pub(super) fn add(&mut self, event: OutgoingEvent) {
        self.since.get_or_insert_with(Instant::now);
        self.bytes += event.body.len();
        self.events.push(event);
    }

    /// All of them, in order.
    pub(super) fn take(&mut self) -> Vec<OutgoingEvent> {
        std::mem::take(self).events
    }
}

/// One event per line.
pub(super) fn gzip(events: &[OutgoingEvent]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for event in events {
        let written = encoder.write_all(&event.body).and_then(|()| encoder.write_all(b"\n"));
        written.expect("BUG: cannot write to memory");
    }
    encoder.finish().expect("BUG: cannot write to memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded_but_for_a_single_large_event() {
        let event = |bytes| OutgoingEvent { place: String::new(), body: vec![b'x'; bytes] };
        let mut batch = Outgoing::default();
        assert!(batch.has_room(2 * SEND_BATCH_BYTES, 1) && batch.since().is_none());
        batch.add(event(SEND_BATCH_BYTES - 10));
        assert!(batch.since().is_some());
        assert!(batch.has_room(10, 2) && !batch.has_room(11, 2) && !batch.has_room(1, 1));
        assert_eq!(batch.take().len(), 1);
        assert!(batch.since().is_none() && batch.has_room(SEND_BATCH_BYTES, 1));
    }
}
