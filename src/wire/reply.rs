//! Every status code and answer body in one place, byte for byte as the contract has them.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};

use serde::Serialize;
use utoipa::ToSchema;

use crate::wire::keys::{Access, Denied};

/// An answer, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
    why: Cow<'static, str>,
}

/// Why a request is refused.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    detail: &'a str,
}

impl Reply {
    /// Any status with a JSON body that is already made.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Cow<'static, [u8]>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), why: Cow::Borrowed("") }
    }

    /// A refusal with the body `{"detail":"..."}`.
    fn detail(status: u16, why: impl Into<Cow<'static, str>>) -> Self {
        let why = why.into();
        let body = serde_json::to_vec(&ProblemBody { detail: &why }).unwrap_or_default();
        Self::json(status, body).because(why)
    }

    /// Adds what the body says in words: why the request is refused, for people.
    #[must_use]
    pub fn because(mut self, why: impl Into<Cow<'static, str>>) -> Self {
        self.why = why.into();
        self
    }

    /// Adds a header. The value must be printable ASCII.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// 400: the request's framing cannot be trusted. The connection is closed after it.
    #[must_use]
    pub fn bad_request(why: impl Into<Cow<'static, str>>) -> Self {
        Self::detail(400, why)
    }

    /// 401: no key was sent, or an unknown one.
    #[must_use]
    pub fn unauthorized(why: Denied, access: Access) -> Self {
        let detail = match why {
            Denied::Missing => "an API key is needed: send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
            Denied::Unknown => "the API key is not known",
        };
        // A browser asks for a password where Basic is offered. A till has nobody to ask.
        let how = if access == Access::Status { "Bearer, Basic realm=\"logs-ingest\"" } else { "Bearer" };
        Self::detail(401, detail).with("WWW-Authenticate", how)
    }

    /// 404
    #[must_use]
    pub fn not_found() -> Self {
        Self::detail(404, "Not Found")
    }

    /// 405, naming the method that the path has.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::detail(405, "Method Not Allowed").with("Allow", allow)
    }

    /// 408: the head or the body did not arrive in time. The connection is closed after it.
    #[must_use]
    pub fn timeout(what: &'static str) -> Self {
        Self::detail(408, what)
    }

    /// 409: the same request is being stored. The client should send it again after `retry_after_s` seconds.
    #[must_use]
    pub fn in_flight(retry_after_s: u32) -> Self {
        Self::detail(409, "the request with this Idempotency-Key is still being stored: ask again")
            .with("Retry-After", retry_after_s.to_string())
    }

    /// 413, naming the limit.
    #[must_use]
    pub fn too_large(what: &str, limit_bytes: usize) -> Self {
        Self::detail(413, format!("{what} is larger than the limit of {limit_bytes} bytes"))
    }

    /// 413: a batch of too many events.
    #[must_use]
    pub fn too_many(limit: usize) -> Self {
        Self::detail(413, format!("the batch has more events than the limit of {limit}"))
    }

    /// 415: the encoding of the body is not supported.
    #[must_use]
    pub fn unsupported_encoding(accepted: &'static str) -> Self {
        Self::detail(415, "Content-Encoding is not supported").with("Accept-Encoding", accepted)
    }

    /// 417: an `Expect` other than `100-continue`. The connection is closed after it.
    #[must_use]
    pub fn expectation_failed() -> Self {
        Self::detail(417, "only 'Expect: 100-continue' is supported")
    }

    /// 431: too many or too long header fields. The connection is closed after it.
    #[must_use]
    pub fn head_too_large() -> Self {
        Self::detail(431, "the request head is larger than 16 KiB or has more than 100 fields")
    }

    /// 503: no room, or stopping. The client should send it again after `retry_after_s` seconds.
    #[must_use]
    pub fn unavailable(why: impl Into<Cow<'static, str>>, retry_after_s: u32) -> Self {
        Self::detail(503, why).with("Retry-After", retry_after_s.to_string())
    }

    /// 500: a bug. The cause goes to the log, never to the client.
    #[must_use]
    pub fn internal() -> Self {
        Self::detail(500, "Internal Server Error")
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body's bytes.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What is wrong with the request, for people. Empty where it is not refused.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Headers beside `Content-Type`, `Content-Length` and `Connection`.
    #[must_use]
    pub fn headers(&self) -> &[(&'static str, Cow<'static, str>)] {
        &self.headers
    }
}

/// `Retry-After` in seconds: `least` and up to as much again, so that refused clients do not all
/// come back in the same second.
#[must_use]
pub fn retry_after(least: u32) -> u32 {
    retry_between(least, 2 * least)
}

/// The same, between two bounds.
#[must_use]
pub fn retry_between(least: u32, most: u32) -> u32 {
    // The standard library's own random keys are enough for jitter, and need no dependency.
    let random = RandomState::new().hash_one(0_u8);
    least + (random % u64::from(most - least + 1)) as u32
}

/// The standard reason phrase of the statuses that the product sends.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        207 => "Multi-Status",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Entity",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_spread() {
        let seen: std::collections::HashSet<u32> = (0..200).map(|_| retry_after(2)).collect();
        assert_eq!(seen, [2, 3, 4].into());
    }

    #[test]
    fn details_are_the_contracts() {
        assert_eq!(Reply::not_found().body(), br#"{"detail":"Not Found"}"#);
        assert_eq!(Reply::method_not_allowed("POST").body(), br#"{"detail":"Method Not Allowed"}"#);
        assert_eq!(Reply::internal().body(), br#"{"detail":"Internal Server Error"}"#);
        let large = Reply::too_large("the body", 1024);
        assert_eq!(large.body(), br#"{"detail":"the body is larger than the limit of 1024 bytes"}"#);
        assert_eq!(large.why(), "the body is larger than the limit of 1024 bytes");
        let full = Reply::unavailable("the queue is full", 3);
        assert_eq!(full.headers(), [("Retry-After", Cow::Borrowed("3"))]);
    }
}
