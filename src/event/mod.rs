//! What an event is and how it is made from bytes. Pure: no I/O, no clock, no threads.
//!
//! Invariant: an [`Event`] holds bytes that validation made: it is built by [`Event::from_body`], or
//! by [`Event::restored`] from a row that once was. Nothing downstream checks again.

use bytes::Bytes;
use uuid::Uuid;

/// What the daemon, not the client, says of an event.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The event's own id, the same wherever it travels.
    pub ingest_id: Uuid,
    /// When it was received, milliseconds since 1970.
    pub received_at_ms: i64,
    /// The W3C trace context sent with it, already checked to be printable ASCII.
    pub traceparent: Option<Box<str>>,
}

/// One log event, valid, in its normal form.
#[derive(Clone, Debug)]
pub struct Event {
    arrival: Arrival,
    key: Bytes,
    payload: Bytes,
}

impl Event {
    /// The client's `request_id`: the record's key.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// The normalised event: the bytes that are stored and forwarded.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The event's own id.
    #[must_use]
    pub fn ingest_id(&self) -> Uuid {
        self.arrival.ingest_id
    }

    /// When it was received, milliseconds since 1970.
    #[must_use]
    pub fn received_at_ms(&self) -> i64 {
        self.arrival.received_at_ms
    }

    /// The W3C trace context that came with it.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.arrival.traceparent.as_deref()
    }

    /// Bytes that the event takes in a queue or a batch.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.key.len() + self.payload.len() + 128
    }

    /// An event as a store gave it back, after the store's own checksum held.
    #[must_use]
    pub fn restored(arrival: Arrival, key: Bytes, payload: Bytes) -> Self {
        Self { arrival, key, payload }
    }
}
