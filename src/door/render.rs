//! What the door writes: answers to its clients, requests in canonical form to the inner server.
//! Pure, into buffers that are used again.

use std::io::Write;

use super::head::{Head, NDJSON};
use super::inside::answer::Answer;
use super::stream::Peer;
use crate::wire::reply::{self, Reply};
use crate::wire::routes::{Body, Route};

/// What an answer says beside what it answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    /// The connection is closed after this answer.
    pub(super) closes: bool,
    /// The client speaks HTTP/1.0, which must be told that the connection stays.
    pub(super) is_http10: bool,
    /// HEAD: no body.
    pub(super) is_head: bool,
    /// The client's own `X-Request-ID`.
    pub(super) request_id: &'a str,
    /// The value of `Date`.
    pub(super) date: &'a str,
}

/// `100 Continue`, whole.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The request that proves that the inner server answers.
pub(super) const PING: &[u8] = b"GET /livez HTTP/1.1\r\nHost: inner\r\n\r\n";

/// An answer that the door makes itself.
pub(super) fn reply(out: &mut Vec<u8>, reply: &Reply, manner: &Manner<'_>) {
    let headers = reply.headers().iter().map(|(name, value)| (*name, value.as_bytes()));
    message(out, reply.status(), headers, reply.body(), manner);
}

/// The inner server's answer.
pub(super) fn answer(out: &mut Vec<u8>, answer: &Answer<'_>, manner: &Manner<'_>) {
    message(out, answer.status, answer.fields(), answer.body, manner);
}

fn message<'h>(
    out: &mut Vec<u8>,
    status: u16,
    headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    body: &[u8],
    manner: &Manner<'_>,
) {
    put(out, format_args!("HTTP/1.1 {status} {}\r\n", reply::reason(status)));
    let mut has_type = false;
    for (name, value) in headers {
        has_type |= name.eq_ignore_ascii_case("content-type");
        field(out, name, value);
    }
    if !has_type {
        field(out, "Content-Type", b"application/json");
    }
    put(out, format_args!("Content-Length: {}\r\n", body.len()));
    if manner.closes {
        field(out, "Connection", b"close");
    } else if manner.is_http10 {
        field(out, "Connection", b"keep-alive");
    }
    field(out, "Server", b"logs-ingest");
    field(out, "Date", manner.date.as_bytes());
    if !manner.request_id.is_empty() {
        field(out, "X-Request-ID", manner.request_id.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    if !manner.is_head {
        out.extend_from_slice(body);
    }
}

/// Whom a request comes from, as far as the inner server is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'a> {
    pub(super) peer: Peer,
    /// By its API key.
    pub(super) name: Option<&'a str>,
}

/// A request's head in canonical form, but for its end: the length of the body may not be known yet.
pub(super) fn forward_begin(
    out: &mut Vec<u8>,
    route: &Route,
    head: &Head<'_>,
    request_id: &str,
    sender: &Sender<'_>,
) {
    put(out, format_args!("{} {}", route.method, route.path));
    if let Some(query) = head.target.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    // No Host, and no Content-Type but the one that matters: the inner server needs none, and each field costs
    // it two allocations.
    put(out, format_args!(" HTTP/1.1\r\nX-Door-Peer: {}\r\n", sender.peer));
    let fields = &head.fields;
    if !fields.content_encoding.is_empty() {
        out.extend_from_slice(b"Content-Encoding: ");
        for (nth, encoding) in fields.content_encoding.iter().enumerate() {
            out.extend_from_slice(if nth == 0 { b"" } else { b", " });
            out.extend_from_slice(encoding.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
    for (name, value) in [
        ("X-Door-Client", sender.name),
        ("Content-Type", Some(NDJSON).filter(|_| fields.is_ndjson && route.body == Body::Batch)),
        ("traceparent", fields.traceparent),
        ("X-Request-ID", Some(request_id)),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            field(out, name, value.as_bytes());
        }
    }
    // One without a value is told too: it is to be refused.
    if let Some(key) = fields.idempotency_key {
        field(out, "Idempotency-Key", key.as_bytes());
    }
}

/// The rest of the head, now that the body is whole. None: the request goes without one.
pub(super) fn forward_end(out: &mut Vec<u8>, body_bytes: Option<usize>) {
    if let Some(body_bytes) = body_bytes {
        put(out, format_args!("Content-Length: {body_bytes}\r\n"));
    }
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector can't fail.
    let _ = out.write_fmt(text);
}

/// The value of `Date`, made once a second.
#[derive(Debug)]
pub(super) struct DateText {
    text: String,
    made_at: Option<std::time::Instant>,
}

impl DateText {
    pub(super) fn new() -> Self {
        Self { text: String::new(), made_at: None }
    }

    pub(super) fn at(&mut self, now: std::time::Instant) -> &str {
        if self.made_at.is_none_or(|at| now.duration_since(at).as_millis() >= 1000) {
            self.text = chrono::Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            self.made_at = Some(now);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::head::{Parsed, parse};
    use crate::wire::routes;

    const MANNER: Manner<'_> =
        Manner { closes: false, is_http10: false, is_head: false, request_id: "", date: "D" };

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn answers_are_as_the_contract_says() {
        let mut out = Vec::new();
        reply(&mut out, &Reply::method_not_allowed("POST"), &MANNER);
        let expected = "HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\nContent-Type: application/json\r\n\
                        Content-Length: 31\r\nServer: logs-ingest\r\nDate: D\r\n\r\n\
                        {\"detail\":\"Method Not Allowed\"}";
        assert_eq!(text(out), expected);
        let mut out = Vec::new();
        let manner = Manner { closes: true, is_head: true, request_id: "r 1", ..MANNER };
        reply(&mut out, &Reply::not_found(), &manner);
        let expected = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\
                        Connection: close\r\nServer: logs-ingest\r\nDate: D\r\nX-Request-ID: r 1\r\n\r\n";
        assert_eq!(text(out), expected);
        let mut out = Vec::new();
        reply(&mut out, &Reply::not_found(), &Manner { is_http10: true, ..MANNER });
        assert!(text(out).contains("\r\nConnection: keep-alive\r\n"));
    }

    #[test]
    fn requests_go_inside_in_one_form() {
        let bytes = b"POST http://x/api%2flogs/ingest?a=1&b HTTP/1.1\r\nhost: x\r\nCookie: c\r\nX-Door-Peer: 9.9.9.9\r\nX-Door-Client: boss\r\n\
                      CONTENT-ENCODING: gzip\r\nContent-Encoding: gzip\r\ncontent-type: text/plain\r\n\
                      idempotency-key: k 1\r\nTransfer-Encoding: chunked\r\nConnection: close, te\r\nTE: trailers\r\n\r\n";
        let Parsed::Whole(whole) = parse(bytes) else { panic!() };
        let head = whole.verdict.unwrap();
        let route = routes::find(head.method, head.target.path.as_deref().unwrap()).unwrap();
        let mut out = Vec::new();
        let mut sender = Sender { peer: Peer::Address("::ffff:10.0.0.7".parse().unwrap()), name: None };
        forward_begin(&mut out, route, &head, "r1", &sender);
        forward_end(&mut out, Some(42));
        let expected = "POST /api/logs/ingest?a=1&b HTTP/1.1\r\nX-Door-Peer: 10.0.0.7\r\n\
                        Content-Encoding: gzip, gzip\r\nX-Request-ID: r1\r\n\
                        Idempotency-Key: k 1\r\nContent-Length: 42\r\n\r\n";
        assert_eq!(text(out), expected);
        let mut out = Vec::new();
        sender.name = Some("till-7");
        forward_begin(&mut out, route, &head, "r1", &sender);
        assert!(text(out).contains("\r\nX-Door-Client: till-7\r\n"));
    }

    #[test]
    fn that_a_batch_is_lines_is_told_and_no_other_type() {
        for (path, kind, told) in [
            ("/api/logs/ingest/batch", "application/x-ndjson", true),
            ("/api/logs/ingest/batch", "Application/X-NDJSON; charset=utf-8", true),
            ("/api/logs/ingest/batch", "application/json", false),
            ("/api/logs/ingest", "application/x-ndjson", false),
        ] {
            let bytes = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n\r\n");
            let Parsed::Whole(whole) = parse(bytes.as_bytes()) else { panic!() };
            let route = routes::find("POST", path).unwrap();
            let mut out = Vec::new();
            let sender = Sender { peer: Peer::Address("10.0.0.7".parse().unwrap()), name: None };
            forward_begin(&mut out, route, &whole.verdict.unwrap(), "", &sender);
            assert_eq!(
                text(out).contains("\r\nContent-Type: application/x-ndjson\r\n"),
                told,
                "{path} {kind}"
            );
        }
    }

    #[test]
    fn a_date_lasts_a_second() {
        let start = std::time::Instant::now();
        let mut date = DateText::new();
        let first = date.at(start).to_owned();
        assert!(chrono::DateTime::parse_from_rfc2822(&first).is_ok(), "{first}");
        assert_eq!(first.len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
        assert_eq!(date.at(start + std::time::Duration::from_millis(999)), first);
    }
}
