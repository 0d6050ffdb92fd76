//! Requests that two readers could understand in two ways: each is refused with one 400 and the end
//! of the connection, so that nothing smuggled behind it is ever read as a request.

use crate::support::daemon::Daemon;
use crate::support::events::Body;
use crate::support::http::INGEST;

/// Behind every bad request: an answer to it would be a second one.
const SMUGGLED: &str = "GET /livez HTTP/1.1\r\nHost: t\r\n\r\n";

/// What is wrong, and the bytes up to and with the blank line. `{}` stands for the ingest path.
const HEADS: &[(&str, &[u8])] = &[
    ("bare LF everywhere", b"GET /livez HTTP/1.1\nHost: t\n\n"),
    ("bare LF after the request line", b"GET /livez HTTP/1.1\nHost: t\r\n\r\n"),
    ("bare LF after a field", b"GET /livez HTTP/1.1\r\nHost: t\nA: b\r\n\r\n"),
    ("bare LF as the blank line", b"GET /livez HTTP/1.1\r\nHost: t\r\n\n"),
    ("bare CR in a value", b"GET /livez HTTP/1.1\r\nHost: t\r\nA: b\rc\r\n\r\n"),
    ("a folded field", b"GET /livez HTTP/1.1\r\nHost: t\r\nA: b\r\n c\r\n\r\n"),
    ("a folded first field", b"GET /livez HTTP/1.1\r\n Host: t\r\n\r\n"),
    ("a blank before the colon", b"GET /livez HTTP/1.1\r\nHost: t\r\nA : b\r\n\r\n"),
    ("a tab before the colon", b"GET /livez HTTP/1.1\r\nHost: t\r\nA\t: b\r\n\r\n"),
    ("a field without a colon", b"GET /livez HTTP/1.1\r\nHost: t\r\nA\r\n\r\n"),
    ("a field without a name", b"GET /livez HTTP/1.1\r\nHost: t\r\n: b\r\n\r\n"),
    ("a blank in a name", b"GET /livez HTTP/1.1\r\nHost: t\r\nA B: c\r\n\r\n"),
    ("NUL in a name", b"GET /livez HTTP/1.1\r\nHost: t\r\nA\0: b\r\n\r\n"),
    ("NUL in a value", b"GET /livez HTTP/1.1\r\nHost: t\r\nA: b\0c\r\n\r\n"),
    ("a control character in a value", b"GET /livez HTTP/1.1\r\nHost: t\r\nA: b\x01c\r\n\r\n"),
    ("DEL in a value", b"GET /livez HTTP/1.1\r\nHost: t\r\nA: b\x7fc\r\n\r\n"),
    ("non-ASCII in a name", b"GET /livez HTTP/1.1\r\nHost: t\r\n\xc3\xa9: b\r\n\r\n"),
    ("NUL in the target", b"GET /livez\0 HTTP/1.1\r\nHost: t\r\n\r\n"),
    ("a blank in the target", b"GET /li vez HTTP/1.1\r\nHost: t\r\n\r\n"),
    ("a target without a slash", b"GET livez HTTP/1.1\r\nHost: t\r\n\r\n"),
    ("no target", b"GET  HTTP/1.1\r\nHost: t\r\n\r\n"),
    ("no version", b"GET /livez\r\nHost: t\r\n\r\n"),
    ("a method that is no token", b"G@T /livez HTTP/1.1\r\nHost: t\r\n\r\n"),
    ("no method", b" /livez HTTP/1.1\r\nHost: t\r\n\r\n"),
    ("a version in lower case", b"GET /livez http/1.1\r\nHost: t\r\n\r\n"),
    ("HTTP/1.2", b"GET /livez HTTP/1.2\r\nHost: t\r\n\r\n"),
    ("HTTP/2.0", b"GET /livez HTTP/2.0\r\nHost: t\r\n\r\n"),
    ("HTTP/0.9", b"GET /livez HTTP/0.9\r\nHost: t\r\n\r\n"),
    ("HTTP/11", b"GET /livez HTTP/11\r\nHost: t\r\n\r\n"),
    ("HTTP/1.1.1", b"GET /livez HTTP/1.1.1\r\nHost: t\r\n\r\n"),
    ("words after the version", b"GET /livez HTTP/1.1 x\r\nHost: t\r\n\r\n"),
    ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    ("HTTP/2 by prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a TLS hello", b"\x16\x03\x01\x00\xc4\x01\x00\x00\xc0\x03\x03\x00\r\n\r\n"),
    ("no Host", b"GET /livez HTTP/1.1\r\nA: b\r\n\r\n"),
    ("two Hosts", b"GET /livez HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n"),
];

/// What is wrong, and the framing fields of a POST with two bytes of body.
const LENGTHS: &[(&str, &str)] = &[
    ("a word", "Content-Length: two\r\n"),
    ("a plus", "Content-Length: +2\r\n"),
    ("a minus", "Content-Length: -2\r\n"),
    ("hexadecimal", "Content-Length: 0x2\r\n"),
    ("an exponent", "Content-Length: 2e0\r\n"),
    ("a fraction", "Content-Length: 2.0\r\n"),
    ("nothing", "Content-Length: \r\n"),
    ("a blank inside", "Content-Length: 2 2\r\n"),
    ("non-ASCII digits", "Content-Length: ٢\r\n"),
    ("a list", "Content-Length: 2, 2\r\n"),
    ("a list of different ones", "Content-Length: 2,50\r\n"),
    ("twice, different", "Content-Length: 2\r\nContent-Length: 50\r\n"),
    ("twice, the same", "Content-Length: 2\r\nContent-Length: 2\r\n"),
    ("with a coding", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
    ("with a coding before it", "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"),
    ("with an unknown coding", "Content-Length: 2\r\nTransfer-Encoding: xchunked\r\n"),
    ("gzip", "Transfer-Encoding: gzip\r\n"),
    ("identity", "Transfer-Encoding: identity\r\n"),
    ("gzip, then chunked", "Transfer-Encoding: gzip, chunked\r\n"),
    ("chunked, then gzip", "Transfer-Encoding: chunked, gzip\r\n"),
    ("chunked in a list twice", "Transfer-Encoding: chunked, chunked\r\n"),
    ("chunked in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ("chunked and identity in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    ("an unknown coding", "Transfer-Encoding: xchunked\r\n"),
    ("in quotes", "Transfer-Encoding: \"chunked\"\r\n"),
    ("an empty coding", "Transfer-Encoding: \r\n"),
    ("a vertical tab", "Transfer-Encoding: \x0bchunked\r\n"),
    ("a parameter", "Transfer-Encoding: chunked;a=b\r\n"),
];

/// What is wrong, and the chunked body.
const CHUNKS: &[(&str, &[u8])] = &[
    ("no number", b"zz\r\n{}\r\n0\r\n\r\n"),
    ("an empty size", b"\r\n{}\r\n0\r\n\r\n"),
    ("a minus", b"-2\r\n{}\r\n0\r\n\r\n"),
    ("a plus", b"+2\r\n{}\r\n0\r\n\r\n"),
    ("a prefix", b"0x2\r\n{}\r\n0\r\n\r\n"),
    ("a leading blank", b" 2\r\n{}\r\n0\r\n\r\n"),
    ("more than 64 bits", b"10000000000000002\r\n{}\r\n0\r\n\r\n"),
    ("a wrapped size", b"fffffffffffffffffffffffffffffffe\r\n{}\r\n0\r\n\r\n"),
    ("bare LF after the size", b"2\n{}\r\n0\r\n\r\n"),
    ("bare CR after the size", b"2\r{}\r\n0\r\n\r\n"),
    ("bare LF in an extension", b"2;a\nb\r\n{}\r\n0\r\n\r\n"),
    ("no line end after the data", b"2\r\n{}0\r\n\r\n"),
    ("more data than said", b"2\r\n{} \r\n0\r\n\r\n"),
    ("bare LF after the data", b"2\r\n{}\n0\r\n\r\n"),
    ("NUL in the size", b"2\0\r\n{}\r\n0\r\n\r\n"),
];

/// One 400, in JSON, and the end; whatever follows the request stays unanswered.
fn assert_refused(daemon: &Daemon, request: &[u8], what: &str) {
    let mut client = daemon.client();
    client.send_raw([request, SMUGGLED.as_bytes()].concat()).expect("the daemon reads");
    let response = client.read_response().unwrap_or_else(|error| panic!("{what}: no answer: {error}"));
    assert_eq!(response.status, 400, "{what}: {}", response.text());
    assert!(!response.detail().is_empty() && response.closes(), "{what}: {response:?}");
    assert!(client.is_closed(), "{what}: what was smuggled behind it was answered");
}

fn assert_serves(mut daemon: Daemon) {
    assert!(daemon.is_running());
    assert_eq!(daemon.client().post_event(Body::minimal().text()).status, 202);
}

#[test]
fn every_doubtful_head_is_400_and_the_end() {
    let daemon = Daemon::start();
    for (what, head) in HEADS {
        assert_refused(&daemon, head, what);
    }
    assert_serves(daemon);
}

#[test]
fn every_doubtful_length_or_coding_is_400_and_the_end() {
    let daemon = Daemon::start();
    for (what, fields) in LENGTHS {
        let request = format!("POST {INGEST} HTTP/1.1\r\nHost: t\r\n{fields}\r\n{{}}");
        assert_refused(&daemon, request.as_bytes(), what);
    }
    let old = format!("POST {INGEST} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
    assert_refused(&daemon, old.as_bytes(), "chunked in HTTP/1.0");
    assert_serves(daemon);
}

#[test]
fn every_bad_chunk_is_400_and_the_end() {
    let daemon = Daemon::start();
    for (what, body) in CHUNKS {
        let head = format!("POST {INGEST} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_refused(&daemon, &[head.as_bytes(), body].concat(), what);
    }
    assert_serves(daemon);
}

#[test]
fn a_body_is_never_read_as_the_next_request() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    // A request as body, of a legal and of an unknown path: one answer each, and the next in turn.
    let head = format!("Host: t\r\nContent-Length: {}\r\n\r\n", SMUGGLED.len());
    for (line, status) in
        [(format!("POST {INGEST} HTTP/1.1\r\n"), 422), ("GET /livez HTTP/1.1\r\n".to_owned(), 200)]
    {
        client.send_raw(format!("{line}{head}{SMUGGLED}")).expect("the daemon reads");
        assert_eq!(client.read_response().expect("an answer").status, status, "{line}");
        assert_eq!(client.get("/nowhere-else").status, 404, "the next answer is the next request's");
        // A refusal before the body may end the connection: a new one for the next round.
        client = daemon.client();
    }
    // Where the body is not read, nothing after the head is answered.
    for line in ["POST /nowhere HTTP/1.1\r\n", "PUT /livez HTTP/1.1\r\n"] {
        let mut client = daemon.client();
        client.send_raw(format!("{line}{head}{SMUGGLED}")).expect("the daemon reads");
        let first = client.read_response().expect("an answer").status;
        assert!([404, 405].contains(&first), "{line}: {first}");
        assert!(
            !client.readable_within(std::time::Duration::from_millis(200)) || client.is_closed(),
            "{line}"
        );
    }
}

#[test]
fn empty_lines_before_a_request_are_tolerated() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.send_raw(format!("\r\n\r\n{SMUGGLED}\r\n{SMUGGLED}")).expect("the daemon reads");
    for _ in 0..2 {
        assert_eq!(client.read_response().expect("an answer").status, 200);
    }
}

#[test]
fn the_clients_copies_of_internal_headers_mean_nothing() {
    let daemon = Daemon::start();
    let headers = [("X-Door-Peer", "203.0.113.9"), ("X-Door-Anything", "1"), ("Connection", "X-Door-Peer")];
    let response = daemon.client().post(INGEST, &headers, Body::minimal().text());
    assert_eq!(response.status, 202, "{}", response.text());
    assert!(
        response.headers.iter().all(|(name, _)| !name.to_lowercase().starts_with("x-door")),
        "{response:?}"
    );
    assert!(!daemon.logged("203.0.113.9"));
}
