//! Tests of the whole path of a body: what is refused (each row of the contract), what is stored, whole answers in
//! files, and properties of random bodies.

mod answers;
mod golden;
mod normal_form;
mod properties;

use uuid::Uuid;

use super::{Arrival, Event, Refusal, Rules};

/// Every field of a good event and its JSON, in schema order.
pub(super) const FIELDS: [(&str, &str); 15] = [
    ("request_id", r#""r-1""#),
    ("service", r#""till""#),
    ("env", r#""prod""#),
    ("timestamp", r#""2025-11-18T17:21:35.750Z""#),
    ("action", r#""sale""#),
    ("level", r#""info""#),
    ("message", r#""Sold""#),
    ("user_id", r#""u-7""#),
    ("product_id", r#""p-9""#),
    ("price", "12.5"),
    ("quantity", "3"),
    ("error_code", r#""E1""#),
    ("stack", r#""at till""#),
    ("app_version", r#""1.2.3""#),
    ("raw_data", r#"{"a":[1]}"#),
];

const REQUIRED: [&str; 7] = ["request_id", "service", "env", "timestamp", "action", "level", "message"];

pub(super) const RULES: Rules = Rules { max_event_bytes: 400 * 1024, redact_pan: true };

pub(super) fn arrival() -> Arrival {
    Arrival::new(Uuid::nil(), 1_763_486_495_750)
}

pub(super) fn from_body(body: &[u8]) -> Result<Event, Refusal> {
    Event::from_body(body, arrival(), RULES)
}

/// The payload made from a body that must be good.
pub(super) fn payload(body: &str) -> String {
    let event = from_body(body.as_bytes()).unwrap_or_else(|refusal| panic!("{body}: {refusal}"));
    String::from_utf8(event.payload().to_vec()).unwrap()
}

pub(super) fn object(members: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>) -> String {
    let members: Vec<_> =
        members.into_iter().map(|(name, json)| format!("\"{}\":{}", name.as_ref(), json.as_ref())).collect();
    format!("{{{}}}", members.join(","))
}

/// A good event with all fields, one of which has the JSON `json`.
pub(super) fn full_with(field: &str, json: &str) -> String {
    object(FIELDS.map(|(name, good)| (name, if name == field { json } else { good })))
}

/// A good event with all fields but one.
fn full_without(field: &str) -> String {
    object(FIELDS.into_iter().filter(|(name, _)| *name != field))
}

/// A good event with the required fields, followed by `rest` (with its leading comma).
pub(super) fn minimal_with(rest: &str) -> String {
    let required = object(FIELDS.into_iter().filter(|(name, _)| REQUIRED.contains(name)));
    format!("{}{rest}}}", required.strip_suffix('}').unwrap())
}
