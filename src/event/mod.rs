//! What an event is and how it is made from bytes. Pure: no I/O, no clock, no threads.
//!
//! Invariant: an [`Event`] holds bytes that validation made. It comes from a body ([`Event::from_body`]), or from a
//! stored row that once did ([`Event::from_row`]). Nothing downstream checks again.
//!
//! A body passes `scan` (is all of it strict JSON?), `redact` (masks card numbers), `members` (serde finds the
//! top-level members), `validate` (checks each field by its row in `schema`, with `timestamp` and `numbers`) and
//! `normal` (writes the bytes that are stored). `refusal` says what is wrong. `items` cuts a batch into bodies;
//! `columns` reads a payload for tables; `embed` puts an event's id into its value.

mod columns;
mod embed;
mod items;
mod members;
mod normal;
mod numbers;
mod redact;
mod refusal;
mod scan;
mod schema;
mod text;
mod timestamp;
mod validate;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use clap::ArgAction;
use uuid::Uuid;

pub use columns::{Columns, Labels};
pub use items::{BatchRules, Form, Items, ItemsError, is_one_value};
pub use normal::BatchBuffer;
pub use redact::mask_text;
pub use refusal::{Detail, Loc, Refusal};
pub use schema::{FIELDS, Kind, LEVELS, SCHEMA, Spec};
pub use timestamp::instant_ms;

use crate::setting::{size, switch};
use members::Members;
use refusal::Problem;
use validate::FieldValue;

/// What the daemon, not the client, adds to an event.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The event's own id, the same wherever it travels.
    pub ingest_id: Uuid,
    /// When it was received, milliseconds since 1970.
    pub received_at_ms: i64,
    /// The W3C trace context sent with it, a valid one.
    pub traceparent: Option<Box<str>>,
    /// The client's own name of its request, printable ASCII.
    pub x_request_id: Option<Box<str>>,
    /// The client's name, by its API key.
    pub client: Option<Arc<str>>,
    /// The name of the daemon that took it.
    pub instance: Option<Arc<str>>,
}

/// What the settings say about every event.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Events")]
#[group(skip)]
pub struct Rules {
    /// Whether card numbers in events are masked before they are stored or sent on: on or off. The log never shows them
    #[arg(long, env, default_value = "on", value_name = "SWITCH", value_parser = switch(), action = ArgAction::Set)]
    pub redact_pan: bool,
    /// Largest event: its key, value and headers together, as stored (1KiB to 16MiB)
    #[arg(long, env, default_value = "400KiB", value_name = "SIZE", value_parser = size(1 << 10..=16 << 20))]
    pub max_event_bytes: usize,
}

impl Rules {
    /// The limit of a body: a quarter more than that of an event, because of white space and escapes.
    #[must_use]
    pub fn body_bytes_max(self) -> usize {
        self.max_event_bytes + self.max_event_bytes / 4
    }
}

/// One log event, valid, in its normal form.
#[derive(Clone, Debug)]
pub struct Event {
    arrival: Arrival,
    key: Bytes,
    payload: Bytes,
    cards_masked: u32,
    skew_ms: Option<i64>,
}

/// The length of the longest skew.
const SKEW_DIGITS_MAX: usize = "-9223372036854775808".len();

impl Arrival {
    /// Of a client that sent nothing but its event.
    #[must_use]
    pub fn new(ingest_id: Uuid, received_at_ms: i64) -> Self {
        Self {
            ingest_id,
            received_at_ms,
            traceparent: None,
            x_request_id: None,
            client: None,
            instance: None,
        }
    }

    /// The record headers that not every event has, by name.
    fn sent(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("traceparent", self.traceparent.as_deref()),
            ("x-request-id", self.x_request_id.as_deref()),
            ("client", self.client.as_deref()),
            ("instance", self.instance.as_deref()),
        ]
    }

    /// The bytes of the record headers, names and values, on brokers that have them.
    fn header_bytes(&self) -> usize {
        const FIXED: usize = "ingest_id".len()
            + uuid::fmt::Hyphenated::LENGTH
            + "received_at".len()
            + "2025-11-18T17:21:35.750Z".len()
            + "content-type".len()
            + "application/json".len()
            + "skew_ms".len()
            + SKEW_DIGITS_MAX;
        let bytes = |(name, value): (&str, Option<&str>)| value.map_or(0, |value| name.len() + value.len());
        FIXED + self.sent().into_iter().map(bytes).sum::<usize>()
    }
}

impl Event {
    /// The event in a body, in its normal form.
    ///
    /// # Errors
    /// What is wrong: one fault of the whole body, or every wrong field, or that key, payload and record headers
    /// together are larger than the rules allow.
    pub fn from_body(body: &[u8], arrival: Arrival, rules: Rules) -> Result<Self, Refusal> {
        Self::judged(body, arrival, rules, normal::write)
    }

    /// The same for an item of a batch, whose events share a buffer.
    ///
    /// # Errors
    /// As [`Event::from_body`].
    pub fn from_item(
        item: &[u8],
        arrival: Arrival,
        rules: Rules,
        buffer: &mut BatchBuffer,
    ) -> Result<Self, Refusal> {
        Self::judged(item, arrival, rules, |values, members, _| buffer.write(values, members))
    }

    /// `write` makes key and payload of valid fields; it gets the length of the text that they are from.
    fn judged(
        body: &[u8],
        arrival: Arrival,
        rules: Rules,
        write: impl FnOnce(&[FieldValue<'_>; FIELDS], &Members<'_>, usize) -> (Bytes, Bytes),
    ) -> Result<Self, Refusal> {
        let text = strict_json(body)?;
        // Before the members are read, so that nothing made of them has a card number in it.
        let masked = if rules.redact_pan { redact::mask_json(text) } else { None };
        let (text, cards_masked) = masked.as_ref().map_or((text, 0), |masked| (&*masked.json, masked.cards));
        // Cannot fail as far as is known, because the scan is stricter. If it does, the client's JSON is refused.
        let members: Members<'_> =
            serde_json::from_str(text).map_err(|_| Problem::JsonInvalid.refusal(Loc::Offset(0)))?;
        let values = validate::validate(&members).map_err(Refusal::Invalid)?;
        let skew_ms = skew_ms(&members, arrival.received_at_ms);
        let (key, payload) = write(&values, &members, text.len());
        if key.len() + payload.len() + arrival.header_bytes() > rules.max_event_bytes {
            return Err(Refusal::TooLarge { limit_bytes: rules.max_event_bytes });
        }
        Ok(Self { arrival, key, payload, cards_masked, skew_ms })
    }

    /// The same event under another id.
    #[must_use]
    pub fn identified(mut self, ingest_id: Uuid) -> Self {
        self.arrival.ingest_id = ingest_id;
        self
    }

    /// The client's `request_id`: the record's key.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// The event in its normal form: the bytes that are stored and forwarded.
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

    /// The W3C trace context sent with it.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.arrival.traceparent.as_deref()
    }

    /// The client's own name of the request that brought it.
    #[must_use]
    pub fn x_request_id(&self) -> Option<&str> {
        self.arrival.x_request_id.as_deref()
    }

    /// The client's name, by its API key.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.arrival.client.as_deref()
    }

    /// The name of the daemon that took it.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.arrival.instance.as_deref()
    }

    /// What the daemon added to it.
    #[must_use]
    pub fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// The record headers that not every event has, by name.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.arrival.sent().into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// How many card numbers were masked in it.
    #[must_use]
    pub fn cards_masked(&self) -> u32 {
        self.cards_masked
    }

    /// Milliseconds from the event's own time to its receipt: how far the sender's clock is behind, or how long the
    /// event travelled. Negative for a clock that is ahead. `None`: it has no valid time, which only damage does.
    #[must_use]
    pub fn skew_ms(&self) -> Option<i64> {
        self.skew_ms
    }

    /// The name of the service that sent it.
    #[must_use]
    pub fn service(&self) -> Option<Cow<'_, str>> {
        columns::text_after(&self.payload, b",\"service\":")
    }

    /// The payload with the event's id and time of receipt as its last members, for consumers that cannot read record
    /// headers. Members of its own with these names are removed.
    #[must_use]
    pub fn payload_with_id(&self, received_at: &str) -> Bytes {
        embed::embed(&self.payload, self.arrival.ingest_id, received_at)
    }

    /// The bytes that the event counts for in a queue or a batch.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.key.len() + self.payload.len() + 128
    }

    /// The event of a stored row. The caller checks the row's checksum, if it has one. `None`: the payload was not
    /// made by validation, so the row is damaged.
    #[must_use]
    pub fn from_row(arrival: Arrival, payload: Bytes) -> Option<Self> {
        let members = Members::of(&payload)?;
        let key = match Columns::of_members(&members)?.request_id? {
            // A slice: the key shares the payload's memory.
            Cow::Borrowed(text) => payload.slice_ref(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        let skew_ms = skew_ms(&members, arrival.received_at_ms);
        Some(Self { arrival, key, payload, cards_masked: 0, skew_ms })
    }

    /// The same for a row whose checksum matches, and which has its skew: in the normal form the key stands first, so
    /// that the payload need not be parsed.
    #[must_use]
    pub fn from_checked_row(arrival: Arrival, payload: Bytes, skew_ms: Option<i64>) -> Option<Self> {
        const START: &[u8] = b"{\"request_id\":";
        let Some(rest) = payload.strip_prefix(START) else { return Self::from_row(arrival, payload) };
        let key = match text::decode_first(str::from_utf8(rest).ok()?)? {
            Cow::Borrowed(text) => payload.slice_ref(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        Some(Self { arrival, key, payload, cards_masked: 0, skew_ms })
    }

    /// An event of parts that the caller knows to belong together: a copy of an event, or any bytes in a test.
    #[must_use]
    pub fn restored(arrival: Arrival, key: Bytes, payload: Bytes) -> Self {
        let skew_ms = Members::of(&payload).and_then(|members| skew_ms(&members, arrival.received_at_ms));
        Self { arrival, key, payload, cards_masked: 0, skew_ms }
    }
}

/// From the event's own time to its receipt. Never a reason to refuse it.
fn skew_ms(members: &Members<'_>, received_at_ms: i64) -> Option<i64> {
    let timestamp = members.token(schema::Field::Timestamp).and_then(text::decode)?;
    timestamp::instant_ms(&timestamp).map(|instant| received_at_ms.saturating_sub(instant))
}

/// The `request_id` in a body that is refused, so that its sender can find it. `None`: it has no readable one.
#[must_use]
pub fn request_id_in(body: &[u8]) -> Option<String> {
    let members: Members<'_> = serde_json::from_str(strict_json(body).ok()?).ok()?;
    members.token(schema::Field::RequestId).and_then(text::decode).map(Cow::into_owned)
}

/// The body as text, without its byte order mark, if it is an object in strict JSON.
fn strict_json(body: &[u8]) -> Result<&str, Refusal> {
    if body.is_empty() {
        return Err(Problem::Missing.refusal(Loc::Body));
    }
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let text = str::from_utf8(body).map_err(|_| {
        let good = body.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        Problem::JsonInvalid.refusal(Loc::Offset(good.chars().count()))
    })?;
    scan::scan(text).map_err(|offset| Problem::JsonInvalid.refusal(Loc::Offset(offset)))?;
    if text.trim_start().starts_with('{') { Ok(text) } else { Err(Problem::NotAnObject.refusal(Loc::Body)) }
}
