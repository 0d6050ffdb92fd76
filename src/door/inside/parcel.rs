//! A request in canonical form, as the inner server gets it. Pure, into buffers that are used again.

use crate::door::head::{Head, NDJSON};
use crate::door::render::{field, put};
use crate::door::stream::Peer;
use crate::limits::DOOR_BUFFER_BYTES_KEPT;
use crate::wire::routes::{BodyKind, Route};

/// The request that shows that the inner server answers.
const PING: &[u8] = b"GET /livez HTTP/1.1\r\nHost: inner\r\n\r\n";

/// Who sends a request, as far as the inner server learns it.
#[derive(Clone, Copy, Debug)]
pub(in crate::door) struct SentBy<'a> {
    pub(in crate::door) peer: Peer,
    /// By its API key.
    pub(in crate::door) name: Option<&'a str>,
}

/// A whole request on its way inside, or one that is being put together.
#[derive(Debug, Default)]
pub(in crate::door) struct Parcel {
    head: Vec<u8>,
    pub(in crate::door) body: Vec<u8>,
    /// Bytes of the body that its owner counts as memory in use.
    pub(in crate::door) counted: usize,
    /// Connections that broke under it, before they took a byte of it.
    pub(super) tries: u8,
}

impl Parcel {
    /// A ping.
    pub(super) fn ping(&mut self) {
        self.head.extend_from_slice(PING);
    }

    /// Writes the head, but for its end: the length of the body may not be known yet.
    pub(in crate::door) fn begin(
        &mut self,
        route: &Route,
        head: &Head<'_>,
        request_id: &str,
        sent_by: &SentBy<'_>,
    ) {
        let out = &mut self.head;
        out.clear();
        put(out, format_args!("{} {}", route.method, route.path));
        if let Some(query) = head.target.query {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
        // No Host, and no Content-Type but the one that matters: the inner server needs none, and each field costs
        // it two allocations.
        put(out, format_args!(" HTTP/1.1\r\nX-Door-Peer: {}\r\n", sent_by.peer));
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
            ("X-Door-Client", sent_by.name),
            ("Content-Type", Some(NDJSON).filter(|_| fields.is_ndjson && route.body == BodyKind::Batch)),
            ("traceparent", fields.traceparent),
            ("X-Request-ID", Some(request_id)),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                field(out, name, value.as_bytes());
            }
        }
        // One without a value is passed on too: it is to be refused.
        if let Some(key) = fields.idempotency_key {
            field(out, "Idempotency-Key", key.as_bytes());
        }
    }

    /// The rest of the head, now that the body is whole, if the request goes with one.
    pub(in crate::door) fn finish(&mut self, has_body: bool) {
        if has_body {
            put(&mut self.head, format_args!("Content-Length: {}\r\n", self.body.len()));
        }
        self.head.extend_from_slice(b"\r\n");
    }

    /// Forgets the body. Returns what was counted for it.
    pub(in crate::door) fn drop_body(&mut self) -> usize {
        self.body.clear();
        self.body.shrink_to(DOOR_BUFFER_BYTES_KEPT);
        std::mem::take(&mut self.counted)
    }

    /// Ready for another request, without large buffers. Returns what was counted for the body.
    pub(super) fn reset(&mut self) -> usize {
        self.head.clear();
        self.head.shrink_to(DOOR_BUFFER_BYTES_KEPT);
        self.tries = 0;
        self.drop_body()
    }

    /// Gives back large buffers.
    pub(in crate::door) fn shrink(&mut self) {
        self.head.shrink_to(DOOR_BUFFER_BYTES_KEPT);
        self.body.shrink_to(DOOR_BUFFER_BYTES_KEPT);
    }

    pub(super) fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Head and body from this byte on.
    pub(super) fn from(&self, at: usize) -> (&[u8], &[u8]) {
        let head = self.head.get(at..).unwrap_or_default();
        let body = self.body.get(at.saturating_sub(self.head.len())..).unwrap_or_default();
        (head, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::head::{Parsed, parse};
    use crate::wire::routes;

    fn text(parcel: &Parcel) -> &str {
        std::str::from_utf8(&parcel.head).unwrap()
    }

    #[test]
    fn requests_go_inside_in_one_form() {
        let bytes = b"POST http://x/api%2flogs/ingest?a=1&b HTTP/1.1\r\nhost: x\r\nCookie: c\r\nX-Door-Peer: 9.9.9.9\r\nX-Door-Client: boss\r\n\
                      CONTENT-ENCODING: gzip\r\nContent-Encoding: gzip\r\ncontent-type: text/plain\r\n\
                      idempotency-key: k 1\r\nTransfer-Encoding: chunked\r\nConnection: close, te\r\nTE: trailers\r\n\r\n";
        let Parsed::Whole(whole) = parse(bytes) else { panic!() };
        let head = whole.verdict.unwrap();
        let route = routes::find(head.method, head.target.path.as_deref().unwrap()).unwrap();
        let mut parcel = Parcel { body: vec![b'x'; 42], ..Parcel::default() };
        let mut sent_by = SentBy { peer: Peer::Address("::ffff:10.0.0.7".parse().unwrap()), name: None };
        parcel.begin(route, &head, "r1", &sent_by);
        parcel.finish(true);
        let expected = "POST /api/logs/ingest?a=1&b HTTP/1.1\r\nX-Door-Peer: 10.0.0.7\r\n\
                        Content-Encoding: gzip, gzip\r\nX-Request-ID: r1\r\n\
                        Idempotency-Key: k 1\r\nContent-Length: 42\r\n\r\n";
        assert_eq!(text(&parcel), expected);
        assert_eq!(
            (parcel.from(3).0.len(), parcel.from(parcel.len() - 2).1),
            (expected.len() - 3, &b"xx"[..])
        );
        sent_by.name = Some("till-7");
        parcel.begin(route, &head, "r1", &sent_by);
        assert!(text(&parcel).contains("\r\nX-Door-Client: till-7\r\n"));
    }

    #[test]
    fn that_a_batch_is_lines_is_told_and_no_other_type() {
        for (path, kind, expected) in [
            ("/api/logs/ingest/batch", "application/x-ndjson", true),
            ("/api/logs/ingest/batch", "Application/X-NDJSON; charset=utf-8", true),
            ("/api/logs/ingest/batch", "application/json", false),
            ("/api/logs/ingest", "application/x-ndjson", false),
        ] {
            let bytes = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n\r\n");
            let Parsed::Whole(whole) = parse(bytes.as_bytes()) else { panic!() };
            let route = routes::find("POST", path).unwrap();
            let mut parcel = Parcel::default();
            let sent_by = SentBy { peer: Peer::Address("10.0.0.7".parse().unwrap()), name: None };
            parcel.begin(route, &whole.verdict.unwrap(), "", &sent_by);
            assert_eq!(
                text(&parcel).contains("\r\nContent-Type: application/x-ndjson\r\n"),
                expected,
                "{path} {kind}"
            );
        }
    }
}
