//! Refusals before a body is read: sizes, times, framing; and no room.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::events::Body;
use crate::support::http::{Client, INGEST, Response, chunked};
use crate::support::poll;
use crate::support::proxy::Proxy;

const LIMIT: Duration = Duration::from_secs(20);
/// By default: `MAX_EVENT_BYTES`, and a quarter more for a body.
const EVENT_BYTES_MAX: usize = 409_600;
const BODY_BYTES_MAX: usize = 512_000;
/// Far more than the daemon needs when idle, far less than the bodies here would take.
const RSS_KIB_MAX: u64 = 192 * 1024;

fn post_head(headers: &str) -> String {
    format!("POST {INGEST} HTTP/1.1\r\nHost: t\r\n{headers}\r\n")
}

/// Exactly one answer with that status, in JSON, and then the end of the connection.
fn assert_last(client: &mut Client, status: u16, what: &str) -> Response {
    let response = client.read_response().unwrap_or_else(|error| panic!("{what}: no answer: {error}"));
    assert_eq!(response.status, status, "{what}: {}", response.text());
    assert!(!response.detail().is_empty(), "{what}");
    assert!(response.closes(), "{what}: {:?}", response.headers);
    assert!(client.is_closed(), "{what}: more than one answer");
    response
}

fn assert_serves(daemon: &mut Daemon, what: &str) {
    assert!(daemon.is_running(), "{what}: the daemon ended; it said:\n{}", daemon.log_text());
    assert_eq!(daemon.client().post_event(Body::minimal().text()).status, 202, "{what}");
}

#[test]
fn a_declared_length_above_the_limit_is_413_before_the_body() {
    let mut daemon = Daemon::start();
    for length in [BODY_BYTES_MAX + 1, 30_000_000, 30_000_000_000, usize::MAX] {
        let mut client = daemon.client();
        client.send_raw(post_head(&format!("Content-Length: {length}\r\n"))).expect("the daemon reads");
        let response = assert_last(&mut client, 413, &length.to_string());
        assert!(response.detail().contains(&BODY_BYTES_MAX.to_string()), "{}", response.text());
    }
    let mut client = daemon.client();
    client.send_raw(post_head("Content-Length: 99999999999999999999999\r\n")).expect("the daemon reads");
    let response = client.read_response().expect("an answer");
    assert!([400, 413].contains(&response.status), "{}", response.text());
    assert!(client.is_closed());
    assert!(daemon.peak_rss_kib() < RSS_KIB_MAX, "{} KiB", daemon.peak_rss_kib());
    assert_serves(&mut daemon, "after declared lengths");
}

#[test]
fn a_refusal_is_seen_by_a_client_that_still_sends() {
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    client.send_raw(post_head("Content-Length: 100000000\r\n")).expect("the daemon reads");
    let mut sender = client.sender().expect("a second handle");
    let sending = logs_ingest::host::thread::start("sender", move || {
        let piece = [b'x'; 16 * 1024];
        // Ends with an error when the daemon has closed.
        (0..6_000).take_while(|_| sender.write_all(&piece).is_ok()).count()
    });
    let response = client.read_response().expect("the answer arrives although bytes are on their way");
    assert_eq!(response.status, 413, "{}", response.text());
    let sent = sending.expect("the system gives a thread").join().expect("a sender does not panic");
    assert!(sent < 6_000, "100 MB were read");
    assert_serves(&mut daemon, "after an early answer");
}

#[test]
fn a_chunked_body_above_the_limit_is_413() {
    let mut daemon = Daemon::start();
    for size in [100, 64 * 1024, BODY_BYTES_MAX + 1] {
        let mut client = daemon.client();
        let body = chunked(&vec![b' '; BODY_BYTES_MAX + 1], size);
        // The answer may come before all is sent.
        drop(client.send_raw([post_head("Transfer-Encoding: chunked\r\n").as_bytes(), &body].concat()));
        let response = client.read_response().expect("an answer");
        assert_eq!(response.status, 413, "{}", response.text());
        assert!(response.detail().contains(&BODY_BYTES_MAX.to_string()), "{}", response.text());
    }
    let mut client = daemon.client();
    client
        .send_raw(post_head("Transfer-Encoding: chunked\r\n") + "7fffffffffffffff\r\nxx")
        .expect("the daemon reads");
    let response = client.read_response().expect("an answer");
    assert!([400, 413].contains(&response.status), "{}", response.text());
    assert_serves(&mut daemon, "after chunked bodies");
}

#[test]
fn an_event_above_max_event_bytes_is_413_although_the_body_is_not() {
    let daemon = Daemon::builder().start();
    let mut client = daemon.client();
    let large = Body::minimal().with("message", &format!("\"{}\"", "m".repeat(EVENT_BYTES_MAX)));
    assert!(large.text().len() < BODY_BYTES_MAX);
    let response = client.post_event(large.text());
    assert_eq!(response.status, 413, "{}", response.text());
    assert!(response.detail().contains(&EVENT_BYTES_MAX.to_string()), "{}", response.text());
    // The request_id counts twice: as the record's key and in its value.
    let key = "k".repeat(EVENT_BYTES_MAX / 2);
    let response = client.post_event(Body::minimal().with("request_id", &format!("\"{key}\"")).text());
    assert_eq!(response.status, 413, "{}", response.text());
    // What was wrong with it is more than that it is large.
    let wrong = large.with("level", "7").text();
    assert_eq!(client.post_event(wrong).status, 422);
}

#[test]
fn max_event_bytes_can_be_set() {
    let daemon = Daemon::builder().env("MAX_EVENT_BYTES", "4KiB").start();
    let mut client = daemon.client();
    let sized = |bytes: usize| Body::minimal().with("message", &format!("\"{}\"", "m".repeat(bytes))).text();
    assert_eq!(client.post_event(sized(3_000)).status, 202);
    let response = client.post_event(sized(4_096));
    assert_eq!(response.status, 413);
    assert!(response.detail().contains("4096"), "{}", response.text());
    let response = client.post_event(sized(6_000));
    assert_eq!(response.status, 413);
    assert!(response.detail().contains("5120"), "{}", response.text());
}

#[test]
fn a_slow_head_or_body_is_408() {
    let mut daemon = Daemon::builder().env("HEAD_TIMEOUT", "1s").env("BODY_TIMEOUT", "1s").start();
    for (what, start) in [
        ("a head cut off", "POST /api/logs/ingest HTTP/1.1\r\nHost: t\r\nContent-".to_owned()),
        ("a request line cut off", "GET /hea".to_owned()),
        ("a body that never starts", post_head("Content-Length: 100\r\n")),
        ("a body cut off", post_head("Content-Length: 100\r\n") + "{\"a\":"),
        ("a chunk cut off", post_head("Transfer-Encoding: chunked\r\n") + "64\r\n{\"a\":"),
        ("a last chunk that never comes", post_head("Transfer-Encoding: chunked\r\n") + "2\r\n{}\r\n"),
    ] {
        let mut client = daemon.client();
        let sent = Instant::now();
        client.send_raw(start).expect("the daemon reads");
        assert_last(&mut client, 408, what);
        let took = sent.elapsed();
        assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(5), "{what}: {took:?}");
    }
    assert_serves(&mut daemon, "after slow clients");
}

#[test]
fn a_drip_of_bytes_does_not_stretch_the_time() {
    let daemon = Daemon::builder().env("HEAD_TIMEOUT", "1s").env("BODY_TIMEOUT", "1s").start();
    for start in
        [format!("POST {INGEST} HTTP/1.1\r\nHost: t\r\nX-Drip: "), post_head("Content-Length: 4000\r\n")]
    {
        let mut client = daemon.client();
        let sent = Instant::now();
        client.send_raw(&start).expect("the daemon reads");
        while !client.readable_within(Duration::from_millis(50)) {
            assert!(sent.elapsed() < Duration::from_secs(5), "single bytes keep it open");
            drop(client.send_raw("x"));
        }
        assert_last(&mut client, 408, &start);
    }
}

#[test]
fn an_idle_connection_is_closed_without_an_answer() {
    let daemon = Daemon::builder().env("IDLE_TIMEOUT", "1s").start();
    let (mut fresh, mut used) = (daemon.client(), daemon.client());
    assert_eq!(used.get("/livez").status, 200);
    let start = Instant::now();
    assert!(fresh.is_closed() && used.is_closed());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_head_above_the_limits_is_431() {
    let mut daemon = Daemon::start();
    let head = |fields: usize, bytes: usize| {
        let mut head = "GET /livez HTTP/1.1\r\nHost: t\r\n".to_owned();
        (1..fields).for_each(|number| head.push_str(&format!("X-{number}: v\r\n")));
        let filler = bytes.saturating_sub(head.len() + "X-F: \r\n\r\n".len());
        if filler > 0 {
            head.push_str(&format!("X-F: {}\r\n", "f".repeat(filler)));
        }
        head + "\r\n"
    };
    for (fields, bytes) in [(100, 0), (1, 16 * 1024), (50, 16 * 1024)] {
        let mut client = daemon.client();
        client.send_raw(head(fields, bytes)).expect("the daemon reads");
        assert_eq!(client.read_response().expect("an answer").status, 200, "{fields} fields, {bytes} bytes");
    }
    for (fields, bytes) in [(101, 0), (1_000, 0), (1, 16 * 1024 + 1), (1, 100_000)] {
        let mut client = daemon.client();
        drop(client.send_raw(head(fields, bytes)));
        assert_last(&mut client, 431, &format!("{fields} fields, {bytes} bytes"));
    }
    let mut client = daemon.client();
    drop(client.send_raw(format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "p".repeat(20_000))));
    assert_last(&mut client, 431, "a long target");
    assert_serves(&mut daemon, "after large heads");
}

#[test]
fn a_head_of_64_mb_costs_no_memory() {
    let mut daemon = Daemon::start();
    for start in ["GET /livez HTTP/1.1\r\nHost: t\r\nX-Large: ", "GET /"] {
        let mut client = daemon.client();
        client.send_raw(start).expect("the daemon reads");
        let piece = [b'x'; 64 * 1024];
        let sent = (0..1_000).take_while(|_| client.send_raw(piece).is_ok()).count();
        assert!(sent < 1_000, "64 MB of a head were read");
        assert!(daemon.peak_rss_kib() < RSS_KIB_MAX, "{} KiB", daemon.peak_rss_kib());
    }
    assert_serves(&mut daemon, "after endless heads");
}

#[test]
fn other_expectations_are_417_and_other_encodings_415() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.send_raw(post_head("Expect: a miracle\r\nContent-Length: 2\r\n")).expect("the daemon reads");
    assert_last(&mut client, 417, "Expect");
    for encoding in ["br", "deflate", "zstd", "identity, gzip", "nonsense"] {
        let response =
            daemon.client().post(INGEST, &[("Content-Encoding", encoding)], Body::minimal().text());
        assert_eq!(response.status, 415, "{encoding}: {}", response.text());
        assert!(!response.detail().is_empty());
        assert_eq!(response.header("Accept-Encoding"), Some("gzip, identity"), "{encoding}");
    }
}

#[test]
fn checks_come_in_their_order() {
    let daemon = Daemon::start();
    let too_long = "Content-Length: 30000000\r\n";
    for (request, status) in [
        // Framing before the path, the path before the method, the method before the size.
        ("PUT /nowhere HTTP/1.1\r\nContent-Length: 5\r\n\r\n".to_owned(), 400),
        (format!("PUT /nowhere HTTP/1.1\r\nHost: t\r\n{too_long}\r\n"), 404),
        (format!("PUT {INGEST} HTTP/1.1\r\nHost: t\r\n{too_long}\r\n"), 405),
        (post_head(too_long), 413),
    ] {
        let mut client = daemon.client();
        client.send_raw(&request).expect("the daemon reads");
        let response = client.read_response().expect("an answer before the body");
        assert_eq!(response.status, status, "{request}: {}", response.text());
    }
}

#[test]
fn a_full_spool_is_503_with_retry_after() {
    let away = format!("127.0.0.1:{}", Proxy::reserve());
    let mut daemon = Daemon::builder().env("KAFKA_BROKERS", away).env("SPOOL_MAX_BYTES", "16MiB").start();
    let mut client = daemon.client();
    let large = || Body::minimal().with("message", &format!("\"{}\"", "m".repeat(300_000))).text();
    let mut stored = 0;
    let refused = (0..200).find_map(|_| match client.post_event(large()) {
        response if response.status == 202 => {
            stored += 1;
            None
        }
        response => Some(response),
    });
    let refused = refused.expect("16 MiB don't hold 200 events of 300 kB");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(stored >= 20, "full after {stored} events");
    let seconds = refused.header("Retry-After").and_then(|value| value.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=120).contains(&seconds)), "{:?}", refused.headers);
    assert!(!refused.detail().is_empty());
    assert_eq!(refused.header("X-Ingest-Id"), None, "nothing was stored");

    let readyz = poll(LIMIT, "/readyz to say no", || {
        let response = daemon.get("/readyz");
        (response.status != 200).then_some(response)
    });
    assert_eq!(readyz.status, 503, "{}", readyz.text());
    assert_eq!(daemon.get("/livez").status, 200, "a full spool is no reason for a restart");
    assert_eq!(daemon.get("/health").status, 200);
    assert_eq!(daemon.client().post_event("{").status, 422, "an invalid event is still 422");
    // After a restart the accepted events are there, and the spool is still full.
    daemon.restart();
    assert_eq!(daemon.client().post_event(large()).status, 503);
    let held = crate::support::ledger::Ledger::settled(&daemon, LIMIT).held_at_start;
    assert_eq!(held, stored);
}

#[test]
fn more_connections_in_mid_request_than_the_limit_are_503() {
    const CONNECTIONS: usize = 64;
    let settings = Daemon::builder().env("MAX_CONNECTIONS", CONNECTIONS).env("UPSTREAM_CONNECTIONS", 16);
    let mut daemon = settings.start();
    let body = Body::minimal().text();
    let head = post_head(&format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len()));
    let mut busy = Vec::new();
    for number in 0..CONNECTIONS {
        let mut client = daemon.client();
        client.send_raw(&head).expect("the daemon reads");
        // Now the daemon knows that it is in mid-request.
        let interim = client.read_response().unwrap_or_else(|error| panic!("connection {number}: {error}"));
        assert_eq!(interim.status, 100);
        busy.push(client);
    }
    let mut late = daemon.client();
    let response = assert_last(&mut late, 503, "one more");
    assert!(response.header("Retry-After").is_some_and(|value| value.parse::<u32>().is_ok()));
    for mut client in busy {
        client.send_raw(&body).expect("the daemon reads");
        assert_eq!(client.read_response().expect("an answer").status, 202);
    }
    // Idle ones make room.
    assert_serves(&mut daemon, "after too many connections");
}
