//! The normal form: compact JSON, the schema's fields first, in schema order, then what else was sent,
//! in the order sent. Writing an event's normal form again gives the same bytes.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::members::Members;
use super::schema::{FIELDS, Field, SCHEMA};
use super::text::write_json;
use super::validate::FieldValue;
use crate::limits::{BATCH_PIECE_BYTES_MAX, BATCH_PIECE_BYTES_MIN};

/// Coerced numbers may be longer than what was sent (`1e18` as a quantity has 19 digits); nothing
/// else grows, so that this much over the body's size is always enough.
const GROWTH_MAX: usize = 48;

/// The key and the payload of an event. The key shares the payload's memory where it can.
pub(super) fn write(
    values: &[FieldValue<'_>; FIELDS],
    members: &Members<'_>,
    body_bytes: usize,
) -> (Bytes, Bytes) {
    let mut out = Vec::with_capacity(body_bytes + GROWTH_MAX);
    let key_end = render(values, members, &mut out);
    // The queue counts an event's bytes: white space of the body must not be held in secret.
    if out.capacity() - out.len() > out.len() / 8 + GROWTH_MAX {
        out.shrink_to_fit();
    }
    with_key(values, key_end, out.into())
}

/// What the events of one batch are written to, one behind the other: apart they would cost each two allocations
/// here, and as much on the thread that lets go of them.
#[derive(Debug)]
pub struct BatchBuffer {
    one: Vec<u8>,
    piece: BytesMut,
    piece_bytes: usize,
}

impl BatchBuffer {
    /// For a batch whose body has about so many bytes.
    #[must_use]
    pub fn new(body_bytes: usize) -> Self {
        let piece_bytes = body_bytes.clamp(BATCH_PIECE_BYTES_MIN, BATCH_PIECE_BYTES_MAX);
        Self { one: Vec::new(), piece: BytesMut::new(), piece_bytes }
    }

    /// As [`write()`], into the shared memory.
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

/// Writes the payload; returns where the value of `request_id` ends in it.
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
            // Borrowed from the body, so without escapes there, so without need of them here.
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
