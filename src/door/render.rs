//! What the door writes to its clients. Pure, into buffers that are used again.

use std::io::Write;

use super::inside::InnerAnswer;
use crate::wire::reply::{self, Reply};

/// What every answer says, whatever it answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    /// The connection is closed after this answer.
    pub(super) closes: bool,
    /// The client speaks HTTP/1.0, which needs to read that the connection stays open.
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

/// An answer that the door makes itself.
pub(super) fn reply(out: &mut Vec<u8>, reply: &Reply, manner: &Manner<'_>) {
    let headers = reply.headers().iter().map(|(name, value)| (*name, value.as_bytes()));
    message(out, reply.status(), headers, reply.body(), manner);
}

/// An answer that came from inside.
pub(super) fn answer(out: &mut Vec<u8>, answer: &InnerAnswer<'_>, manner: &Manner<'_>) {
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

/// A field of a head.
pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    let _ = out.write_fmt(text);
}

/// The value of `Date`, made once per second.
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
    fn a_date_lasts_a_second() {
        let start = std::time::Instant::now();
        let mut date = DateText::new();
        let first = date.at(start).to_owned();
        assert!(chrono::DateTime::parse_from_rfc2822(&first).is_ok(), "{first}");
        assert_eq!(first.len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
        assert_eq!(date.at(start + std::time::Duration::from_millis(999)), first);
    }
}
