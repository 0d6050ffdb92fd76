//! The event's id and time of receipt inside the value, for Kafka consumers that cannot read record headers.

use bytes::Bytes;
use uuid::Uuid;

use super::members::Members;
use super::schema::SCHEMA;
use super::text::write_json;

const NAMES: [&str; 2] = ["ingest_id", "received_at"];
/// The bytes that the two members add, at most.
const GROWTH: usize = 96;

/// `payload`, in its normal form, with both as its last members. Members of its own with these names are removed:
/// no reader should have to know which of two counts.
pub(super) fn embed(payload: &Bytes, ingest_id: Uuid, received_at: &str) -> Bytes {
    let is_named = |name: &str| memchr::memmem::find(payload, name.as_bytes()).is_some();
    let clean = if NAMES.iter().any(|name| is_named(name)) { without_names(payload) } else { None };
    let own = clean.as_deref().unwrap_or(payload);
    let mut out = Vec::with_capacity(own.len() + GROWTH);
    out.extend_from_slice(own.strip_suffix(b"}").unwrap_or(own));
    let members = format!(r#","ingest_id":"{ingest_id}","received_at":"{received_at}"}}"#);
    out.extend_from_slice(members.as_bytes());
    out.into()
}

/// The payload without its members of these names. `None`: it is not an object.
fn without_names(payload: &[u8]) -> Option<Vec<u8>> {
    let members = Members::of(payload)?;
    let mut out = Vec::with_capacity(payload.len());
    for (spec, token) in SCHEMA.iter().zip(members.tokens()) {
        let Some(token) = token else { continue };
        out.push(if out.is_empty() { b'{' } else { b',' });
        out.extend_from_slice(spec.label.as_bytes());
        out.extend_from_slice(token.as_bytes());
    }
    for (name, value) in members.unknown().filter(|(name, _)| !NAMES.contains(&&***name)) {
        out.push(b',');
        write_json(&**name, &mut out);
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'}');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_the_last_members_and_the_only_ones_of_their_names() {
        let own = r#"{"request_id":"r\n1","service":"s","env":"e","timestamp":"2025-11-18","action":"a","level":"info","message":"ingest_id","price":1.5"#;
        let tail = r#","ingest_id":"00000000-0000-0000-0000-000000000000","received_at":"2025-11-18T00:00:00.000Z"}"#;
        for (rest, kept) in [
            ("", ""),
            (r#","raw_data":{ "ingest_id": 1 }"#, r#","raw_data":{ "ingest_id": 1 }"#),
            (
                r#","a\"":[1.10],"ingest_id":"mine","b":{"received_at":2},"received_at":null"#,
                r#","a\"":[1.10],"b":{"received_at":2}"#,
            ),
        ] {
            let payload = Bytes::from(format!("{own}{rest}}}"));
            let embedded = embed(&payload, Uuid::nil(), "2025-11-18T00:00:00.000Z");
            assert_eq!(str::from_utf8(&embedded).unwrap(), format!("{own}{kept}{tail}"));
            assert!(embedded.len() <= payload.len() + GROWTH);
        }
    }
}
