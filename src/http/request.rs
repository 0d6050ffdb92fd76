//! A request as the door sends it, with its head read once: every endpoint, log line and answer takes what it needs
//! from here.
//!
//! Invariant: nothing is copied out of the head, so a header that was not sent costs nothing.

use std::fmt;
use std::io::{Read, Write};

use crate::limits::SHORT_BODY_BYTES;
use crate::telemetry::logging::Escaped;
use crate::wire::reply::Reply;
use crate::wire::routes::{self, Endpoint, Route};
use crate::wire::traceparent;

/// The headers that are read. All others are ignored.
#[derive(Clone, Copy)]
enum Header {
    /// The client's address. The door sets it, and no client can.
    Peer,
    /// The name of the client's API key. The door sets it, too.
    Client,
    RequestId,
    Traceparent,
    ContentType,
    ContentEncoding,
    IdempotencyKey,
}

/// The names of the headers, in the order of the enum.
const NAMES: [&str; Header::IdempotencyKey as usize + 1] = [
    "X-Door-Peer",
    "X-Door-Client",
    "X-Request-ID",
    "traceparent",
    "Content-Type",
    "Content-Encoding",
    "Idempotency-Key",
];

/// See the module.
pub struct Request {
    inner: tiny_http::Request,
    route: Result<&'static Route, Reply>,
    /// The place of each of [`NAMES`] among the headers that were sent.
    places: [Option<u8>; NAMES.len()],
}

/// How long a request keeps a worker busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// Less time than waking another worker takes: an event as tills send them.
    Short,
    /// A large or compressed event, a page, a report of figures.
    Usual,
    /// Megabytes of events.
    Batch,
}

impl Request {
    /// Reads the head.
    pub(super) fn read(inner: tiny_http::Request) -> Self {
        let path = inner.url().split('?').next().unwrap_or_default();
        let route = routes::find(inner.method().as_str(), path);
        let mut places = [None; NAMES.len()];
        for (at, header) in (0..=u8::MAX).zip(inner.headers()) {
            if let Some(which) = NAMES.iter().position(|name| header.field.equiv(name)) {
                places[which].get_or_insert(at);
            }
        }
        let mut request = Self { inner, route, places };
        // The one place where it is checked.
        if request.traceparent().is_some_and(|text| !traceparent::is_valid(text)) {
            request.places[Header::Traceparent as usize] = None;
        }
        request
    }

    /// The endpoint that answers it.
    ///
    /// # Errors
    /// The reply to a path or a method that does not exist. The door lets none through.
    pub(super) fn endpoint(&self) -> Result<Endpoint, Reply> {
        self.route.as_ref().map(|route| route.endpoint).map_err(Reply::clone)
    }

    /// How long it will take, judged by its head.
    pub(super) fn effort(&self) -> Effort {
        let is_small = self.inner.body_length().is_some_and(|bytes| bytes <= SHORT_BODY_BYTES);
        match self.route.as_ref().map(|route| route.endpoint) {
            Ok(Endpoint::Batch) => Effort::Batch,
            Ok(Endpoint::Ingest) if is_small && self.content_encoding().is_none() => Effort::Short,
            _ => Effort::Usual,
        }
    }

    pub(super) fn method(&self) -> &str {
        self.inner.method().as_str()
    }

    /// Percent-decoded, without the query.
    pub(super) fn path(&self) -> &str {
        self.inner.url().split('?').next().unwrap_or_default()
    }

    /// The part after the `?`; empty without one.
    pub(super) fn query(&self) -> &str {
        self.inner.url().split_once('?').map_or("", |(_, query)| query)
    }

    /// The client's address, or `unix`.
    pub(super) fn peer(&self) -> &str {
        self.header(Header::Peer).unwrap_or("-")
    }

    /// The client's name, by its API key.
    pub(super) fn client(&self) -> Option<&str> {
        self.header(Header::Client)
    }

    /// The client's own name of the request.
    pub(super) fn x_request_id(&self) -> Option<&str> {
        self.header(Header::RequestId)
    }

    /// The W3C trace context, if it is a valid one.
    pub(super) fn traceparent(&self) -> Option<&str> {
        self.header(Header::Traceparent)
    }

    /// Whether the client says that the body is lines of JSON.
    pub(super) fn is_ndjson(&self) -> bool {
        self.header(Header::ContentType) == Some("application/x-ndjson")
    }

    pub(super) fn content_encoding(&self) -> Option<&str> {
        self.header(Header::ContentEncoding)
    }

    /// Empty if the client sent a key that cannot be used.
    pub(super) fn idempotency_key(&self) -> Option<&str> {
        self.header(Header::IdempotencyKey)
    }

    /// Bytes of the body, as sent.
    pub(super) fn body_bytes(&self) -> usize {
        self.inner.body_length().unwrap_or(0)
    }

    /// The body, as sent.
    pub(super) fn body(&mut self) -> &mut dyn Read {
        self.inner.as_reader()
    }

    /// Where the answer goes.
    pub(super) fn into_writer(self) -> Box<dyn Write + Send> {
        self.inner.into_writer()
    }

    fn header(&self, header: Header) -> Option<&str> {
        let at = self.places[header as usize]?;
        self.inner.headers().get(usize::from(at)).map(|header| header.value.as_str())
    }
}

/// For the log: the request's id, the client's name and the trace.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [id, client, trace] =
            [self.x_request_id(), self.client(), self.traceparent()].map(|name| name.unwrap_or("-"));
        write!(f, "x_request_id={} client={client} traceparent={trace}", Escaped(id))
    }
}

#[cfg(test)]
mod tests {
    use tiny_http::{Header as Sent, Method, TestRequest};

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn request(method: Method, url: &str, headers: &[(&str, &str)], body: String) -> Request {
        let sent = headers.iter().map(|(name, value)| format!("{name}: {value}").parse::<Sent>().unwrap());
        let request = sent.fold(TestRequest::new(), TestRequest::with_header);
        // A test request takes its body for as long as it lives.
        let request = request.with_method(method).with_path(url).with_body(body.leak());
        Request::read(request.into())
    }

    #[test]
    fn only_a_small_plain_event_is_short_work() {
        let (small, large) = ("x".repeat(SHORT_BODY_BYTES), "x".repeat(SHORT_BODY_BYTES + 1));
        let gzip = ("Content-Encoding", "gzip");
        for (method, url, body, headers, wanted) in [
            (Method::Post, "/api/logs/ingest", &*small, &[][..], Effort::Short),
            (Method::Post, "/api/logs/ingest?a=1", "", &[], Effort::Short),
            (Method::Post, "/api/logs/ingest", &*large, &[], Effort::Usual),
            (Method::Post, "/api/logs/ingest", "x", &[gzip], Effort::Usual),
            (Method::Post, "/api/logs/ingest/batch", "x", &[], Effort::Batch),
            (Method::Get, "/metrics", "", &[], Effort::Usual),
            (Method::Get, "/livez", "", &[], Effort::Usual),
            (Method::Get, "/nowhere", "", &[], Effort::Usual),
        ] {
            assert_eq!(request(method, url, headers, body.to_owned()).effort(), wanted, "{url}");
        }
    }

    #[test]
    fn a_head_is_read_once_and_only_the_headers_that_matter() {
        let all = [
            ("x-door-peer", "10.0.0.7"),
            ("X-Door-Client", "till-7"),
            ("X-Request-ID", "r 1"),
            ("X-Request-ID", "another"),
            ("Accept", "*/*"),
            ("TRACEPARENT", PARENT),
            ("Content-Type", "application/x-ndjson"),
            ("Content-Encoding", "gzip"),
            ("Idempotency-Key", "k"),
        ];
        let full = request(Method::Post, "/api/logs/ingest?atomic=1&a?b", &all, "ab".to_owned());
        assert_eq!((full.method(), full.path(), full.query()), ("POST", "/api/logs/ingest", "atomic=1&a?b"));
        assert_eq!(
            (full.peer(), full.client(), full.x_request_id()),
            ("10.0.0.7", Some("till-7"), Some("r 1"))
        );
        assert_eq!((full.traceparent(), full.idempotency_key()), (Some(PARENT), Some("k")));
        assert_eq!((full.is_ndjson(), full.content_encoding(), full.body_bytes()), (true, Some("gzip"), 2));
        assert_eq!(full.endpoint(), Ok(Endpoint::Ingest));
        assert_eq!(full.to_string(), format!("x_request_id=\"r 1\" client=till-7 traceparent={PARENT}"));

        let bare = request(Method::Put, "/health", &[("traceparent", &PARENT[1..])], String::new());
        assert_eq!((bare.peer(), bare.query(), bare.traceparent()), ("-", "", None));
        assert_eq!(bare.endpoint().unwrap_err().status(), 405);
        assert_eq!(bare.to_string(), "x_request_id=\"-\" client=- traceparent=-");
    }
}
