//! `POST /api/logs/ingest/batch` and gzip bodies: one result for many events, each of which is stored.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::events::Body;
use crate::support::http::{BATCH, INGEST, Response, chunked};
use crate::support::ledger::Ledger;
use crate::support::stores::rows;

/// Large batches: rounds, outages, no room, and others that wait.
mod stores;

const LINES: (&str, &str) = ("Content-Type", "application/x-ndjson");
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");
/// Far more than the daemon needs when idle, far less than the bodies here would take.
const RSS_KIB_MAX: u64 = 128 * 1024;

fn post(daemon: &Daemon, body: impl AsRef<[u8]>) -> Response {
    daemon.client().post(BATCH, &[], body)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Valid events as texts, and their ids.
fn some(count: usize) -> (Vec<String>, Vec<String>) {
    let events: Vec<Body> = (0..count).map(|_| Body::minimal()).collect();
    (events.iter().map(Body::text).collect(), events.into_iter().map(|event| event.request_id).collect())
}

fn stored_ids(daemon: &Daemon) -> Vec<String> {
    rows(&daemon.data_dir(), "raw_logs").into_iter().map(|row| row.request_id).collect()
}

/// The contract's members in their order, and nothing else; the list of errors.
fn assert_result(
    response: &Response,
    status: u16,
    word: &str,
    accepted: usize,
    rejected: usize,
) -> Vec<Value> {
    assert_eq!(response.status, status, "{}", response.text());
    let body = response.json();
    let timestamp = body["timestamp"].as_str().unwrap();
    let errors = serde_json::to_string(&body["errors"]).unwrap();
    let start = format!(r#"{{"status":"{word}","accepted":{accepted},"rejected":{rejected},"errors":["#);
    assert!(response.text().starts_with(&start), "{}", response.text());
    assert!(response.text().ends_with(&format!(r#""timestamp":"{timestamp}"}}"#)), "{}", response.text());
    assert_eq!(response.header("X-Stored-In"), (accepted > 0).then_some("spool"), "{errors}");
    body["errors"].as_array().unwrap().clone()
}

#[test]
fn lines_and_arrays_are_stored_in_their_order_however_they_are_sent() {
    let daemon = Daemon::start();
    let mut sent = Vec::new();
    let mut client = daemon.client();
    let mut check = |headers: &[(&str, &str)], form: &dyn Fn(&[String]) -> Vec<u8>| {
        let (texts, ids) = some(3);
        let response = client.post(BATCH, headers, form(&texts));
        assert!(assert_result(&response, 202, "accepted", 3, 0).is_empty());
        sent.extend(ids);
    };
    let bytes = |text: String| text.into_bytes();
    check(&[], &|texts| bytes(texts.join("\n")));
    check(&[LINES], &|texts| bytes(texts.join("\n") + "\n"));
    check(&[LINES], &|texts| bytes(texts.join("\r\n") + "\r\n"));
    check(&[], &|texts| bytes(format!("\u{feff}\n \r\n{}\n\n", texts.join("\n\n\t\n"))));
    check(&[], &|texts| bytes(format!("[{}]", texts.join(","))));
    check(&[], &|texts| bytes(format!("\u{feff} [\n{}\n]\r\n", texts.join(" ,\n"))));
    check(&[GZIP], &|texts| gzip(texts.join("\n").as_bytes()));
    check(&[GZIP], &|texts| gzip(format!("[{}]", texts.join(",")).as_bytes()));
    // Gzip members end where the sender's buffer ended.
    check(&[GZIP, LINES], &|texts| {
        let text = texts.join("\n");
        text.as_bytes().chunks(100).flat_map(gzip).collect()
    });
    check(&[("Transfer-Encoding", "chunked")], &|texts| chunked(texts.join("\n").as_bytes(), 7));
    check(&[("Content-Type", "application/x-www-form-urlencoded")], &|texts| bytes(texts.join("\n")));
    let (texts, ids) = some(1);
    assert_result(&post(&daemon, &texts[0]), 202, "accepted", 1, 0);
    sent.extend(ids);
    assert_eq!(stored_ids(&daemon), sent);
}

#[test]
fn an_item_that_is_wrong_costs_only_itself() {
    let daemon = Daemon::start();
    let (texts, ids) = some(2);
    let wrong = Body::minimal().with("level", "7").without("service");
    let huge = Body::minimal().with("message", &format!("\"{}\"", "m".repeat(500_000)));
    let items =
        [&texts[0], "{oops", &wrong.text(), "null", "[1]", &huge.text(), "{\"a\":\"\\ud800\"}", &texts[1]];
    let response = post(&daemon, items.join("\n"));
    let errors = assert_result(&response, 207, "partial", 2, 6);
    let invalid = |offset: usize| json!([{"loc": ["body", offset], "msg": "JSON decode error", "type": "json_invalid"}]);
    let no_object = json!([{"loc": ["body"], "msg": "Input should be a valid dictionary or object to extract fields from",
                            "type": "model_attributes_type"}]);
    let expected = [
        json!({"index": 1, "request_id": null, "detail": invalid(1)}),
        json!({"index": 2, "request_id": wrong.request_id, "detail": [
            {"loc": ["body", "service"], "msg": "Field required", "type": "missing"},
            {"loc": ["body", "level"], "msg": "Input should be 'debug', 'info', 'warn', 'error' or 'critical'",
             "type": "enum"}]}),
        json!({"index": 3, "request_id": null, "detail": no_object}),
        json!({"index": 4, "request_id": null, "detail": no_object}),
        json!({"index": 5, "request_id": huge.request_id, "detail": [
            {"loc": ["body"], "msg": "the event is larger than the limit of 409600 bytes", "type": "too_large"}]}),
        json!({"index": 6, "request_id": null, "detail": invalid(6)}),
    ];
    assert_eq!(errors, expected);
    assert_eq!(stored_ids(&daemon), ids);
    // The same in an array, without the invalid JSON: nothing after it could be read.
    let array = |items: &[&str]| format!("[{}]", items.join(","));
    let mut items = items.to_vec();
    items.remove(1);
    let errors = assert_result(&post(&daemon, array(&items)), 207, "partial", 2, 5);
    let indices: Vec<_> = errors.iter().map(|error| error["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [1, 2, 3, 4, 5]);
    items.insert(1, "{oops}");
    let response = post(&daemon, array(&items));
    assert!(assert_result(&response, 422, "rejected", 0, 0).is_empty());
    assert_eq!(response.json()["detail"], invalid(texts[0].len() + 3));
    assert_eq!(stored_ids(&daemon).len(), 4);
}

#[test]
fn an_atomic_batch_is_stored_completely_or_not_at_all() {
    let daemon = Daemon::start();
    let (texts, ids) = some(2);
    let body = format!("{}\nx\n{}", texts[0], texts[1]);
    let mut client = daemon.client();
    let mut atomic = |word: &str, body: &str| client.post(&format!("{BATCH}?atomic={word}"), &[], body);
    let errors = assert_result(&atomic("true", &body), 422, "rejected", 0, 3);
    assert_eq!((errors.len(), &errors[0]["index"]), (1, &json!(1)));
    assert_eq!(stored_ids(&daemon), [""; 0]);
    assert_result(&atomic("true", &texts.join("\n")), 202, "accepted", 2, 0);
    assert_eq!(stored_ids(&daemon), ids);
    assert_result(&atomic("false", &body), 207, "partial", 2, 1);
    let response = atomic("perhaps", &body);
    assert_eq!((response.status, &response.json()["detail"][0]["loc"]), (422, &json!(["query", "atomic"])));
    assert_eq!(stored_ids(&daemon).len(), 4);
}

#[test]
fn a_batch_with_nothing_to_store_is_422() {
    let daemon = Daemon::start();
    for (body, kind) in [("", "missing"), (" ", "too_short"), ("\n\r\n", "too_short"), ("[]", "too_short")] {
        let response = post(&daemon, body);
        assert!(assert_result(&response, 422, "rejected", 0, 0).is_empty(), "{body:?}");
        assert_eq!(response.json()["detail"][0]["type"], kind, "{body:?}");
    }
    assert_eq!(assert_result(&post(&daemon, "1\n2"), 422, "rejected", 0, 2).len(), 2);
    for (body, at) in [("[", 1), ("[1,]", 3), ("[\"é\"] x", 6), ("[{}", 3), ("[1 2]", 3)] {
        let response = post(&daemon, body);
        assert_eq!(response.json()["detail"][0]["loc"], json!(["body", at]), "{body}: {}", response.text());
    }
    // For a file whose line ends curl removed, the answer says how to keep them.
    let (texts, _) = some(2);
    let response = post(&daemon, texts.concat());
    assert_eq!(response.status, 422);
    assert!(response.json()["hint"].as_str().unwrap().contains("--data-binary"), "{}", response.text());
    assert_eq!(stored_ids(&daemon), [""; 0]);
}

#[test]
fn ten_thousand_events_are_one_batch_and_one_more_is_413() {
    let daemon = Daemon::start();
    let (texts, ids) = some(10_000);
    let mut client = daemon.client();
    let response = client.post(BATCH, &[LINES], texts.join("\n"));
    assert_result(&response, 202, "accepted", 10_000, 0);
    assert_eq!(stored_ids(&daemon), ids);
    let response = client.post(BATCH, &[GZIP], gzip(format!("{}\nx", texts.join("\n")).as_bytes()));
    assert_eq!(response.status, 413, "{}", response.text());
    assert!(response.detail().contains("10000"));
    // The connection stays usable.
    assert_eq!(client.post_event(&texts[0]).status, 202);
    let stats = daemon.stats();
    let ledger = Ledger::from_stats(&stats);
    assert!(ledger.balances() && ledger.home == 10_001, "{stats}");
    let rounds = stats["counters"]["rounds"].as_u64().unwrap();
    assert!((6..10).contains(&rounds), "a large batch goes in slices: {rounds}");
    let errors = assert_result(&client.post(BATCH, &[], "x\n".repeat(5_000)), 422, "rejected", 0, 5_000);
    assert_eq!(errors.len(), 1_000);
}

#[test]
fn limits_can_be_set_and_are_named() {
    let daemon = Daemon::builder().env("MAX_BATCH_EVENTS", 2).env("MAX_BATCH_BYTES", "64KiB").start();
    let (texts, _) = some(3);
    let response = post(&daemon, texts.join("\n"));
    assert!(response.status == 413 && response.detail().contains("limit of 2"), "{}", response.text());
    let spaces = vec![b' '; 65_537];
    for (headers, body) in [(&[][..], spaces.clone()), (&[GZIP], gzip(&spaces))] {
        let mut client = daemon.client();
        let response = client.post(BATCH, headers, body);
        assert!(response.status == 413 && response.detail().contains("65536"), "{}", response.text());
    }
    assert_result(&post(&daemon, texts[..2].join("\n")), 202, "accepted", 2, 0);
}

#[test]
fn a_gzip_body_is_one_event_on_the_single_path() {
    let daemon = Daemon::start();
    let event = Body::minimal();
    let mut client = daemon.client();
    for encoding in ["gzip", "GZIP", "x-gzip"] {
        let response = client.post(INGEST, &[("Content-Encoding", encoding)], gzip(event.text().as_bytes()));
        assert_eq!(response.status, 202, "{}", response.text());
    }
    for path in [INGEST, BATCH] {
        let response = client.post(path, &[("Content-Encoding", "br")], b"x");
        assert_eq!((response.status, response.header("Accept-Encoding")), (415, Some("gzip, identity")));
        for body in [&b"{}"[..], &gzip(event.text().as_bytes())[..30]] {
            let response = client.post(path, &[GZIP], body);
            assert!(response.status == 400 && response.detail().contains("gzip"), "{}", response.text());
        }
        assert_eq!(client.post(path, &[GZIP], b"").json()["detail"][0]["type"], "missing");
    }
    assert_eq!(client.post(INGEST, &[GZIP], gzip(b"{")).json()["detail"][0]["loc"], json!(["body", 1]));
    let ids: HashSet<_> = stored_ids(&daemon).into_iter().collect();
    assert_eq!(ids, [event.request_id].into());
}

#[test]
fn bombs_and_many_large_batches_at_once_leave_the_memory_flat() {
    let daemon = Daemon::start();
    let bomb = gzip(&vec![b' '; 64 << 20]);
    for path in [INGEST, BATCH] {
        assert_eq!(daemon.client().post(path, &[GZIP], &bomb).status, 413);
    }
    let line = Body::minimal().with("message", &format!("\"{}\"", "m".repeat(700))).text() + "\n";
    let batch = line.repeat((8 << 20) / line.len());
    let senders: Vec<_> = (0..8)
        .map(|n| {
            let (mut client, batch) = (daemon.client().patient(), batch.clone());
            let send = move || client.post(BATCH, &[LINES], batch).status;
            logs_ingest::host::thread::start(&format!("sender-{n}"), send).unwrap()
        })
        .collect();
    let statuses: Vec<u16> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    assert!(statuses.iter().all(|status| [202, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&202), "{statuses:?}");
    assert!(daemon.peak_rss_kib() < 2 * RSS_KIB_MAX, "{} KiB", daemon.peak_rss_kib());
    assert!(Ledger::settled(&daemon, Duration::from_secs(20)).balances());
}
