//! What is sent together.

use std::io::Write;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::limits::SEND_BATCH_BYTES;

/// An event that is to be sent, and where its line stands.
pub(super) struct Item {
    pub(super) place: String,
    pub(super) body: Vec<u8>,
}

/// Events that wait for more.
#[derive(Default)]
pub(super) struct Batch {
    items: Vec<Item>,
    bytes: usize,
    since: Option<Instant>,
}

impl Batch {
    /// When the first of them came.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(super) fn has_room(&self, bytes: usize, events_max: usize) -> bool {
        self.items.is_empty() || (self.items.len() < events_max && self.bytes + bytes <= SEND_BATCH_BYTES)
    }

    pub(super) fn add(&mut self, item: Item) {
        self.since.get_or_insert_with(Instant::now);
        self.bytes += item.body.len();
        self.items.push(item);
    }

    /// All of them, in order.
    pub(super) fn take(&mut self) -> Vec<Item> {
        std::mem::take(self).items
    }
}

/// One event a line.
pub(super) fn gzip(items: &[Item]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for item in items {
        let written = encoder.write_all(&item.body).and_then(|()| encoder.write_all(b"\n"));
        written.expect("BUG: memory can't be written to");
    }
    encoder.finish().expect("BUG: memory can't be written to")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded_but_for_a_single_large_event() {
        let item = |bytes| Item { place: String::new(), body: vec![b'x'; bytes] };
        let mut batch = Batch::default();
        assert!(batch.has_room(2 * SEND_BATCH_BYTES, 1) && batch.since().is_none());
        batch.add(item(SEND_BATCH_BYTES - 10));
        assert!(batch.since().is_some());
        assert!(batch.has_room(10, 2) && !batch.has_room(11, 2) && !batch.has_room(1, 1));
        assert_eq!(batch.take().len(), 1);
        assert!(batch.since().is_none() && batch.has_room(SEND_BATCH_BYTES, 1));
    }
}
