//! The normal form: compact JSON, the fields of the schema first, in schema order, then the unknown members in the
//! order sent. The normal form of a normal form is the same bytes.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::members::Members;
use super::schema::{FIELDS, Field, SCHEMA};
use super::text::write_json;
use super::validate::FieldValue;
use crate::limits::{BATCH_PIECE_BYTES_MAX, BATCH_PIECE_BYTES_MIN};

/// Room beyond the size of the body that is always enough: only coerced numbers grow (`1e18` as a quantity has 19
/// digits).
const GROWTH_MAX: usize = 48;

/// The key and the payload of an event. The key is a slice of the payload, unless it has escapes there.
pub(super) fn write(
    values: &[FieldValue<'_>; FIELDS],
    members: &Members<'_>,
    body_bytes: usize,
) -> (Bytes, Bytes) {
    let mut out = Vec::with_capacity(body_bytes + GROWTH_MAX);
    let key_end = render(values, members, &mut out);
    // The queue counts the payload's length: the room that white space of the body took must not stay allocated.
    if out.capacity() - out.len() > out.len() / 8 + GROWTH_MAX {
        out.shrink_to_fit();
    }
    with_key(values, key_end, out.into())
}

/// The memory that the events of one batch share, one behind the other. Apart, each would cost two allocations here and
/// two frees on the thread that drops it.
#[derive(Debug)]
pub struct BatchBuffer {
    one: Vec<u8>,
    piece: BytesMut,
    piece_bytes: usize,
}

impl BatchBuffer {
    /// For a batch whose body has about this many bytes.
    #[must_use]
    pub fn new(body_bytes: usize) -> Self {
        let piece_bytes = body_bytes.clamp(BATCH_PIECE_BYTES_MIN, BATCH_PIECE_BYTES_MAX);
        Self { one: Vec::new(), piece: BytesMut::new(), piece_bytes }
    }

    /// Like [`write()`], into the shared memory.
    pub(super) fn write(
        &mut self,
        values: &[FieldValue<'_>; FIELDS],
        members: &Members<'_>,
    ) -> (Bytes, Bytes) {
        self.one.clear();
        let key_end = render(values, members, &mut self.one);
        if self.piece.capacity() < self.one.len() {
            self.piece = BytesMut::with_capacity(self.piece_bytes.max(self.one.len()));
        }
        self.piece.extend_from_slice(&self.one);
        with_key(values, key_end, self.piece.split().freeze())
    }
}

/// Writes the payload. Returns where the value of `request_id` ends in it.
fn render(values: &[FieldValue<'_>; FIELDS], members: &Members<'_>, out: &mut Vec<u8>) -> usize {
    let mut key_end = 0;
    for (index, (spec, value)) in SCHEMA.iter().zip(values).enumerate() {
        if *value == FieldValue::Absent {
            continue;
        }
        out.push(if out.is_empty() { b'{' } else { b',' });
        out.extend_from_slice(spec.label.as_bytes());
        write_value(value, out);
        if index == Field::RequestId as usize {
            key_end = out.len();
        }
    }
    write_unknown(members, out);
    out.push(b'}');
    key_end
}

fn with_key(values: &[FieldValue<'_>; FIELDS], key_end: usize, payload: Bytes) -> (Bytes, Bytes) {
    let key = match &values[Field::RequestId as usize] {
        FieldValue::Verbatim(token) => payload.slice(key_end - token.len() + 1..key_end - 1),
        FieldValue::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
        value => unreachable!("BUG: request_id is required to be a string, and was judged as {value:?}"),
    };
    (key, payload)
}

fn write_value(value: &FieldValue<'_>, out: &mut Vec<u8>) {
    match value {
        FieldValue::Absent => {}
        FieldValue::Verbatim(json) => out.extend_from_slice(json.as_bytes()),
        FieldValue::Text(text) => write_json(text, out),
        FieldValue::Float(number) => write_json(number, out),
        FieldValue::Integer(number) => write_json(number, out),
    }
}

fn write_unknown(members: &Members<'_>, out: &mut Vec<u8>) {
    for (name, value) in members.unknown() {
        out.push(b',');
        match name {
            // Borrowed from the body, so it has no escapes there and needs none here.
            Cow::Borrowed(name) => {
                out.push(b'"');
                out.extend_from_slice(name.as_bytes());
                out.push(b'"');
            }
            Cow::Owned(name) => write_json(name, out),
        }
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
}
