//! The normal form: compact JSON, the schema's fields first, in schema order, then what else was sent,
//! in the order sent. Writing an event's normal form again gives the same bytes.

use std::borrow::Cow;

use bytes::Bytes;

use super::members::Members;
use super::schema::{FIELDS, Field, SCHEMA};
use super::text::write_json;
use super::validate::Value;

/// Coerced numbers may be longer than what was sent (`1e18` as a quantity has 19 digits); nothing
/// else grows, so that this much over the body's size is always enough.
const GROWTH_MAX: usize = 48;

/// The key and the payload of an event. The key shares the payload's memory where it can.
pub(super) fn write(
    values: &[Value<'_>; FIELDS],
    members: &Members<'_>,
    body_bytes: usize,
) -> (Bytes, Bytes) {
    let mut out = Vec::with_capacity(body_bytes + GROWTH_MAX);
    let mut key_end = 0;
    for (index, (spec, value)) in SCHEMA.iter().zip(values).enumerate() {
        if *value == Value::Absent {
            continue;
        }
        out.push(if out.is_empty() { b'{' } else { b',' });
        out.extend_from_slice(spec.label.as_bytes());
        write_value(value, &mut out);
        if index == Field::RequestId as usize {
            key_end = out.len();
        }
    }
    write_unknown(members, &mut out);
    out.push(b'}');
    // The queue counts an event's bytes: white space of the body must not be held in secret.
    if out.capacity() - out.len() > out.len() / 8 + GROWTH_MAX {
        out.shrink_to_fit();
    }
    let payload = Bytes::from(out);
    let key = match &values[Field::RequestId as usize] {
        Value::Verbatim(token) => payload.slice(key_end - token.len() + 1..key_end - 1),
        Value::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
        value => unreachable!("BUG: request_id is required to be a string, and was judged as {value:?}"),
    };
    (key, payload)
}

fn write_value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Absent => {}
        Value::Verbatim(json) => out.extend_from_slice(json.as_bytes()),
        Value::Text(text) => write_json(text, out),
        Value::Float(number) => write_json(number, out),
        Value::Integer(number) => write_json(number, out),
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
