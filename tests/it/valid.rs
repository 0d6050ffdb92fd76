//! Events that must be accepted: every coercion, every unusual but legal body and way to send one; the answer byte for
//! byte, and the stored bytes.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags};

use crate::support::daemon::Daemon;
use crate::support::events::{self, Body};
use crate::support::http::{Client, INGEST, Response, chunked};
use crate::support::ledger::Ledger;

/// Field, the token sent, the token stored in the normal form. Strings have no coercion.
const COERCIONS: &[(&str, &str, &str)] = &[
    ("price", "12.5", "12.5"),
    ("price", "10", "10.0"),
    ("price", "-3", "-3.0"),
    ("price", "1e3", "1000.0"),
    ("price", "1e-400", "0.0"),
    ("price", "true", "1.0"),
    ("price", "false", "0.0"),
    ("price", r#""12.5""#, "12.5"),
    ("price", r#"" 12.5 ""#, "12.5"),
    ("price", r#""\u00a012.5\u2003\n""#, "12.5"),
    ("price", r#""+1""#, "1.0"),
    ("price", r#""-1""#, "-1.0"),
    ("price", r#"".5""#, "0.5"),
    ("price", r#""5.""#, "5.0"),
    ("price", r#""1e3""#, "1000.0"),
    ("price", r#""00012""#, "12.0"),
    ("price", "null", "null"),
    ("quantity", "3", "3"),
    ("quantity", "-3", "-3"),
    ("quantity", "0", "0"),
    ("quantity", "3.0", "3"),
    ("quantity", "1e2", "100"),
    ("quantity", "-0.0", "0"),
    ("quantity", "3.0000000000000000000001", "3"),
    ("quantity", "1e-400", "0"),
    ("quantity", "9223372036854775807", "9223372036854775807"),
    ("quantity", "-9223372036854775808", "-9223372036854775808"),
    ("quantity", "true", "1"),
    ("quantity", "false", "0"),
    ("quantity", r#""3""#, "3"),
    ("quantity", r#""+3""#, "3"),
    ("quantity", r#""-3""#, "-3"),
    ("quantity", r#"" 3 ""#, "3"),
    ("quantity", r#""007""#, "7"),
    ("quantity", r#""3.00""#, "3"),
    ("quantity", r#""9223372036854775807""#, "9223372036854775807"),
    ("quantity", "null", "null"),
    ("level", r#""debug""#, r#""debug""#),
    ("level", r#""info""#, r#""info""#),
    ("level", r#""warn""#, r#""warn""#),
    ("level", r#""error""#, r#""error""#),
    ("level", r#""critical""#, r#""critical""#),
    ("level", r#""\u0077arn""#, r#""warn""#),
    ("user_id", "null", "null"),
    ("user_id", r#""""#, r#""""#),
    ("user_id", r#""  not trimmed  ""#, r#""  not trimmed  ""#),
    ("product_id", "null", "null"),
    ("error_code", "null", "null"),
    ("stack", r#""a\nb\tc\\d\"e\u0000f""#, r#""a\nb\tc\\d\"e\u0000f""#),
    ("app_version", r#""1.0/beta""#, r#""1.0/beta""#),
    ("app_version", r#""1.0\/beta""#, r#""1.0/beta""#),
    ("raw_data", "null", "null"),
    ("raw_data", "{}", "{}"),
    ("raw_data", r#"{"b":1.10,"a":[1e2,null,true],"b":-0}"#, r#"{"b":1.10,"a":[1e2,null,true],"b":-0}"#),
    ("message", r#""Grüße, \u20ac 5 \ud83d\ude00 日本""#, r#""Grüße, € 5 😀 日本""#),
    ("service", r#""""#, r#""""#),
    ("env", r#""""#, r#""""#),
    ("action", r#""""#, r#""""#),
    ("message", r#""""#, r#""""#),
];

/// Every form of the contract's grammar.
const TIMESTAMPS: &[&str] = &[
    "2025-11-18",
    "20251118",
    "2025-W47-2",
    "2025-W47",
    "2025W472",
    "2025W47",
    "2020-W53-5",
    "0001-01-01",
    "9999-12-31T23:59:59Z",
    "2024-02-29",
    "2000-02-29",
    "2025-11-18T17",
    "2025-11-18T17:21",
    "2025-11-18T17:21:35",
    "2025-11-18 17:21:35",
    "2025-11-18T1721",
    "2025-11-18T172135",
    "20251118T172135.5Z",
    "2025-11-18T17:21:35.750Z",
    "2025-11-18T17:21:35,750Z",
    "2025-11-18T17:21:35.123456789012345678901234567890",
    "2025-11-18T00:00:00",
    "2025-11-18T17Z",
    "2025-11-18T17:21+01",
    "2025-11-18T17:21:35+0100",
    "2025-11-18T17:21:35-05:30",
    "2025-11-18T17:21:35+23:59",
    "2025-W47-2T17:21:35Z",
];

/// The four members in their order, the form of the timestamp, and the headers that say where the event is.
/// Returns the ingest id.
fn assert_accepted(response: &Response, request_id: &str, what: &str) -> String {
    assert_eq!(response.status, 202, "{what}: {}", response.text());
    assert_eq!(response.header("Content-Type"), Some("application/json"), "{what}");
    assert_eq!(response.header("X-Stored-In"), Some("spool"), "{what}");
    let timestamp = response.json()["timestamp"].as_str().unwrap_or_default().to_owned();
    let expected = format!(
        r#"{{"status":"accepted","request_id":{},"message":"Log ingested and queued for processing","timestamp":"{timestamp}"}}"#,
        serde_json::to_string(request_id).expect("a string is JSON"),
    );
    assert_eq!(response.text(), expected, "{what}");

    let form = "0000-00-00T00:00:00.000Z";
    let same_form = timestamp.bytes().zip(form.bytes()).all(|(is, wanted)| match wanted {
        b'0' => is.is_ascii_digit(),
        _ => is == wanted,
    });
    assert!(timestamp.len() == form.len() && same_form, "{what}: {timestamp}");
    let said = DateTime::parse_from_rfc3339(&timestamp).expect("a real time");
    assert!((Utc::now() - said.to_utc()).num_seconds().abs() < 60, "{what}: {timestamp} is not now");

    let ingest_id = response.header("X-Ingest-Id").unwrap_or_else(|| panic!("{what}: no X-Ingest-Id"));
    let id = uuid::Uuid::parse_str(ingest_id).expect("a UUID");
    assert_eq!((id.get_version_num(), ingest_id), (7, id.hyphenated().to_string().as_str()), "{what}");
    ingest_id.to_owned()
}

fn accept(client: &mut Client, body: &Body) -> String {
    let text = body.text();
    let response = client.post_event(&text);
    assert_accepted(&response, &body.request_id, &text)
}

/// The stored bytes of an event. The daemon must not run.
fn payload(spool: &Connection, request_id: &str) -> String {
    let query = "SELECT payload FROM raw_logs WHERE request_id = ?1";
    let payload: Vec<u8> = spool
        .query_row(query, [request_id], |row| row.get(0))
        .unwrap_or_else(|error| panic!("{request_id} is not in the spool: {error}"));
    String::from_utf8(payload).expect("a payload is UTF-8")
}

fn open_spool(daemon: &Daemon) -> Connection {
    let path = daemon.data_dir().join("spool.sqlite3");
    Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

#[test]
fn every_coercion_is_accepted_and_stored_in_normal_form() {
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    let mut sent = Vec::new();
    for (field, token, stored) in COERCIONS {
        let body = Body::minimal().with(field, token);
        accept(&mut client, &body);
        sent.push((body.request_id.clone(), body.with(field, stored).text()));
    }
    assert!(daemon.terminate().success());
    let spool = open_spool(&daemon);
    for (request_id, expected) in sent {
        assert_eq!(payload(&spool, &request_id), expected);
    }
}

#[test]
fn unknown_fields_duplicates_and_order_are_kept_as_the_contract_says() {
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    let base = Body::minimal;
    // What is sent after the required fields, and what is stored there.
    let mut cases = Vec::new();
    for (body, expected) in [
        // Unknown fields come last, in the order sent, verbatim.
        (
            base().and("zeta", "1.10").and("alpha", "[1e2,null]").and("price", "2").and("Level", "7"),
            r#","price":2.0,"zeta":1.10,"alpha":[1e2,null],"Level":7}"#,
        ),
        // Schema fields come in schema order.
        (
            base().and("raw_data", "{}").and("quantity", "1").and("user_id", r#""u""#),
            r#","user_id":"u","quantity":1,"raw_data":{}}"#,
        ),
        // Of a duplicated key the last one wins; a wrong one before it does not count.
        (base().and("quantity", r#""none""#).and("quantity", "2"), r#","quantity":2}"#),
        // Keys are compared after unescaping.
        (base().and(r"\u0071uantity", "4"), r#","quantity":4}"#),
        (base().without("level").and(r"\u006cevel", r#""info""#), "}"),
        (base().with("level", r#""nonsense""#).and("level", r#""info""#), "}"),
    ] {
        accept(&mut client, &body);
        let id = &body.request_id;
        let required = base().with("request_id", &format!("\"{id}\"")).text();
        cases.push((id.clone(), format!("{}{expected}", required.trim_end_matches('}'))));
    }
    assert!(daemon.terminate().success());
    let spool = open_spool(&daemon);
    for (request_id, expected) in cases {
        assert_eq!(payload(&spool, &request_id), expected);
    }
}

#[test]
fn every_timestamp_form_is_accepted_and_stored_as_sent() {
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    let bodies: Vec<Body> =
        TIMESTAMPS.iter().map(|stamp| Body::minimal().with("timestamp", &format!("\"{stamp}\""))).collect();
    for body in &bodies {
        accept(&mut client, body);
    }
    assert!(daemon.terminate().success());
    let spool = open_spool(&daemon);
    for body in bodies {
        assert_eq!(payload(&spool, &body.request_id), body.text());
    }
}

#[test]
fn any_request_id_comes_back_as_sent() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let long = "r".repeat(5_000);
    for request_id in ["", " ", "Grüße 😀", "a\"b\\c", "\u{0}\u{1f}\n", "4111", "-", &long] {
        let token = serde_json::to_string(request_id).expect("a string is JSON");
        let response = client.post_event(Body::minimal().with("request_id", &token).text());
        assert_accepted(&response, request_id, request_id);
    }
}

#[test]
fn any_way_to_send_a_body_works() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for headers in [
        &[][..],
        &[("Content-Type", "application/json")],
        &[("Content-Type", "application/json; charset=iso-8859-1")],
        &[("Content-Type", "application/x-www-form-urlencoded")],
        &[("Content-Type", "text/plain")],
        &[("content-type", "no type at all")],
        &[("Content-Encoding", "identity")],
        &[("Accept", "text/html"), ("Accept-Encoding", "gzip"), ("Cookie", "a=b")],
    ] {
        let event = events::event();
        let response = client.post(INGEST, headers, event.to_string());
        assert_accepted(&response, event["request_id"].as_str().expect("a string"), &format!("{headers:?}"));
    }
    for chunk in [1, 7, 100_000] {
        let body = Body::minimal();
        let coded = chunked(body.text().as_bytes(), chunk);
        let response = client.post(INGEST, &[("Transfer-Encoding", "chunked")], coded);
        assert_accepted(&response, &body.request_id, &format!("chunks of {chunk}"));
    }
    let body = Body::minimal();
    let coded = format!("{:X};ext=\"1\"\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n", body.text().len(), body.text());
    let response = client.post(INGEST, &[("Transfer-Encoding", "chunked")], coded);
    assert_accepted(&response, &body.request_id, "chunk extension and trailer");

    let body = Body::minimal();
    let response = client.post_event(format!("\u{feff} \r\n\t{} \n", body.text()));
    assert_accepted(&response, &body.request_id, "byte order mark and white space");
}

#[test]
fn any_legal_http_works() {
    let daemon = Daemon::start();
    let body = Body::minimal();
    let text = body.text();
    let head = format!("POST {INGEST} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n", text.len());

    let mut client = daemon.client();
    for byte in format!("{head}\r\n{text}").as_bytes() {
        client.send_raw([*byte]).expect("the daemon reads");
    }
    assert_accepted(&client.read_response().expect("an answer"), &body.request_id, "byte by byte");

    client.send_raw(format!("{head}Expect: 100-Continue\r\n\r\n")).expect("the daemon reads");
    assert_eq!(client.read_response().expect("an interim answer").status, 100);
    client.send_raw(&text).expect("the daemon reads");
    assert_accepted(&client.read_response().expect("an answer"), &body.request_id, "Expect");

    // Pipelined: answered in order, without waiting for each other's connection.
    let other = Body::minimal();
    let second =
        format!("POST {INGEST} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", other.text().len());
    client.send_raw(format!("{head}\r\n{text}{second}{}", other.text())).expect("the daemon reads");
    for request_id in [&body.request_id, &other.request_id] {
        assert_accepted(&client.read_response().expect("an answer"), request_id, "pipelined");
    }

    // Half-closed: the client has sent everything, and waits.
    client.send_raw(format!("{head}\r\n{text}")).expect("the daemon reads");
    client.finish_sending().expect("an open connection");
    assert_accepted(&client.read_response().expect("an answer"), &body.request_id, "half-closed");
    assert!(client.is_closed());

    let mut client = daemon.client();
    let old = format!("POST {INGEST} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    client.send_raw(old).expect("the daemon reads");
    assert_accepted(&client.read_response().expect("an answer"), &body.request_id, "HTTP/1.0");
    assert!(client.is_closed(), "HTTP/1.0 ends with its answer unless the client asks otherwise");

    for target in
        ["http://shop.example/api/logs/ingest?a=b", "/%61pi/logs/ingest", "/api/logs/ingest?", INGEST]
    {
        let body = Body::minimal();
        let response = daemon.client().post(target, &[], body.text());
        assert_accepted(&response, &body.request_id, target);
    }
}

#[test]
fn big_and_deep_bodies_are_accepted_up_to_the_limits() {
    const EVENT_BYTES_MAX: usize = 400 * 1024;
    let daemon = Daemon::start();
    let mut client = daemon.client();
    // Key, value and headers count; 256 bytes leave room for the latter.
    let spare = Body::minimal().with("message", r#""""#);
    let room = EVENT_BYTES_MAX - 256 - spare.text().len() - spare.request_id.len();
    accept(&mut client, &spare.with("message", &format!("\"{}\"", "m".repeat(room))));

    // The body may be longer than the stored event: escapes and white space.
    let escaped = "\\u0041".repeat(80_000);
    accept(&mut client, &Body::minimal().with("message", &format!("\"{escaped}\"")));
    let body = Body::minimal();
    let response = client.post_event(format!("{}{}", " ".repeat(480_000), body.text()));
    assert_accepted(&response, &body.request_id, "white space");

    let nested = |levels: usize| format!("{}{{}}{}", r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1));
    accept(&mut client, &Body::minimal().with("raw_data", &nested(99)));
    accept(&mut client, &Body::minimal().with("unknown", &nested(99)));
    accept(&mut client, &Body::minimal().with("unknown", &format!("{}{}", "[".repeat(99), "]".repeat(99))));
}

#[test]
fn every_event_gets_an_id_of_its_own_and_is_counted_once() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let same = Body::minimal();
    let ids: HashSet<String> = (0..50).map(|_| accept(&mut client, &same)).collect();
    assert_eq!(ids.len(), 50, "the same body twice is two events");
    let ledger = Ledger::settled(&daemon, Duration::from_secs(5));
    assert_eq!((ledger.accepted, ledger.home, ledger.held_now), (50, 50, 0));
    assert!(ledger.balances(), "{ledger:?}");
}

#[test]
fn the_clients_x_request_id_is_echoed_capped_and_only_when_printable() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let post = |client: &mut Client, value: &str| {
        let response = client.post(INGEST, &[("X-Request-ID", value)], Body::minimal().text());
        assert_eq!(response.status, 202, "{value:?}: {}", response.text());
        response.header("X-Request-ID").map(str::to_owned)
    };
    assert_eq!(post(&mut client, "till-7/42 ~!").as_deref(), Some("till-7/42 ~!"));
    let long = "x".repeat(300);
    assert_eq!(post(&mut client, &long).as_deref(), Some(&long[..128]));
    assert_eq!(post(&mut client, "Grüße"), None);
    assert_eq!(client.post_event(Body::minimal().text()).header("X-Request-ID"), None);
    let refused = client.request("POST", INGEST, &[("X-Request-ID", "bad-1")], b"{");
    assert_eq!((refused.status, refused.header("X-Request-ID")), (422, Some("bad-1")));
    let unknown = client.request("GET", "/nowhere", &[("X-Request-ID", "lost-1")], b"");
    assert_eq!((unknown.status, unknown.header("X-Request-ID")), (404, Some("lost-1")));
}
