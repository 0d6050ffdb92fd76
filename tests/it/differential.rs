//! The daemon beside the service that it stands in for: FastAPI and Pydantic, from PyPI, built from the
//! contract's words (`tests/differential/service.py`). Thousands of generated requests; the same status,
//! the same items in the same order, the same event.
//!
//! A seed is printed and taken back. Where the contract departs from what Python does, [`DEPARTURES`] has
//! the body and the reason.

mod generate;
mod service;

use std::collections::HashMap;

use serde_json::Value;

use self::generate::Generator;
use self::service::Service;
use crate::support::daemon::Daemon;
use crate::support::events::Body;
use crate::support::http::{INGEST, Response};
use crate::support::random::Seed;
use crate::support::stores::rows;

const REQUESTS: usize = 6_000;
const REQUESTS_LONG: usize = 200_000;
/// Between two looks at what is stored: so many events are compared at once.
const ROUND: usize = 2_000;

/// What the contract says otherwise than Python, on purpose: a field, a token, the contract's type, and why.
const DEPARTURES: &[(&str, &str, &str, &str)] = &[
    ("price", r#""1_000.5""#, "float_parsing", "underscores in numbers are Python's, no till means them"),
    ("quantity", r#""1_000""#, "int_parsing", "underscores in numbers are Python's, no till means them"),
    (
        "quantity",
        "123456789012345678901234",
        "int_parsing_size",
        "no store has a column for more than 64 bits",
    ),
];

#[test]
fn thousands_of_requests_are_judged_as_fastapi_and_pydantic_judge_them() {
    let requests = if std::env::var_os("LOGS_INGEST_LONG").is_some() { REQUESTS_LONG } else { REQUESTS };
    let service = Service::start();
    let daemon = Daemon::builder().env("REDACT_PAN", "off").start();
    let (mut theirs, mut ours) = (service.client(), daemon.client());
    let mut generator = Generator::new(Seed::new());
    let (mut accepted, mut refused) = (HashMap::new(), 0);
    for number in 1..=requests {
        let body = generator.body();
        let (want, got) = (theirs.post_event(&body), ours.post_event(&body));
        let shown = String::from_utf8_lossy(&body);
        assert_eq!(got.status, want.status, "{shown}\nours: {}\ntheirs: {}", got.text(), want.text());
        if want.status == 202 {
            let id = got.header("X-Ingest-Id").expect("an id").to_owned();
            accepted.insert(id, (want.json(), shown.into_owned()));
        } else {
            refused += 1;
            assert_same_refusal(&want, &got, &shown);
        }
        if number % ROUND == 0 || number == requests {
            assert_same_events(&daemon, &accepted);
        }
    }
    println!("{} accepted, {refused} refused, no difference", accepted.len());
    assert!(accepted.len() * 5 > requests && refused * 5 > requests, "both kinds are compared");
}

/// Items in order: place, message, type. Of what only the contract refuses, the place in the text is ours.
fn assert_same_refusal(want: &Response, got: &Response, body: &str) {
    if want.header("X-Only-The-Contract").is_none() {
        assert_eq!(got.json(), want.json(), "{body}");
        return;
    }
    let item = &got.json()["detail"][0];
    assert_eq!((&item["type"], &item["loc"][0]), (&"json_invalid".into(), &"body".into()), "{body}");
    let offset = item["loc"][1].as_u64().unwrap_or_else(|| panic!("no offset in {item} for {body}"));
    assert!(offset <= body.chars().count() as u64, "{item} for {body}");
}

/// The stored bytes mean what their service made of the same body.
fn assert_same_events(daemon: &Daemon, accepted: &HashMap<String, (Value, String)>) {
    let rows = rows(&daemon.data_dir(), "raw_logs");
    assert_eq!(rows.len(), accepted.len());
    for row in rows {
        let (want, body) = &accepted[&row.ingest_id];
        let got: Value = serde_json::from_slice(&row.payload).expect("JSON");
        let same = means_the_same(&got, want) && got["price"] == want["price"];
        assert!(same, "{body}\nours: {got}\ntheirs: {want}");
    }
}

/// Equal, but for the sign of zero, and for the last bit of a long number: what is unknown is passed on as sent, Python's
/// whole numbers have no `-0`, and the JSON reader of this test is not exact to the last bit.
fn means_the_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| means_the_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, one)| other.get(name).is_some_and(|other| means_the_same(one, other));
            one.len() == other.len() && one.iter().all(same)
        }
        _ if one == other => true,
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap_or(f64::NAN), other.as_f64().unwrap_or(f64::NAN));
            (one - other).abs() <= one.abs() * f64::EPSILON
        }
        _ => false,
    }
}

#[test]
fn what_the_contract_says_otherwise_is_a_short_list() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for (field, token, kind, why) in DEPARTURES {
        let body = Body::minimal().with(field, token);
        let answer = client.post(INGEST, &[], body.text());
        assert_eq!(answer.status, 422, "{field} {token}");
        let detail = &answer.json()["detail"][0];
        assert_eq!((&detail["type"], &detail["loc"][1]), (&(*kind).into(), &(*field).into()), "{why}");
    }
    // docs/differences.md tells people the same.
    let told = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/differences.md")).unwrap();
    for (field, token, kind, _) in DEPARTURES {
        let row = told.lines().find(|line| line.contains(&format!("`{token}`")));
        let row = row.unwrap_or_else(|| panic!("docs/differences.md has no row for {field} {token}"));
        assert!(row.contains(field) && row.contains(kind), "{row}");
    }
}
