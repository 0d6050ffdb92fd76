//! Request heads: from bytes to a judged head, or to the reply that refuses it. Pure.
//!
//! Invariant: what two HTTP parsers could read differently is refused with 400, so that the inner server never reads a
//! request in another way than the door.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use super::framing::Framing;
use super::target::{self, RequestTarget};
use crate::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX, REQUEST_ID_HEADER_MAX};
use crate::wire::keys::Shown;
use crate::wire::reply::Reply;

/// The only `Content-Type` that makes a difference: it says something that the body does not.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// What the bytes received so far are.
#[derive(Debug)]
pub(super) enum Parsed<'b> {
    /// The beginning of a head.
    Partial,
    /// Not a head, or too long. The connection cannot go on.
    Refused(Reply),
    /// A head, up to and including its empty line.
    Whole(Whole<'b>),
}

/// A whole head, good or not.
#[derive(Debug)]
pub(super) struct Whole<'b> {
    /// Its length in bytes.
    pub(super) len: usize,
    /// The client's `X-Request-ID`, capped, if it is printable ASCII.
    pub(super) request_id: Option<&'b str>,
    /// HEAD: the answer has no body.
    pub(super) is_head: bool,
    /// The head, or the reply to a head whose framing cannot be trusted.
    pub(super) verdict: Result<Head<'b>, Reply>,
}

/// A head with sound framing.
#[derive(Debug)]
pub(super) struct Head<'b> {
    pub(super) method: &'b str,
    pub(super) target: RequestTarget<'b>,
    /// HTTP/1.0 instead of 1.1.
    pub(super) is_http10: bool,
    /// The client would send another request on this connection.
    pub(super) keep_alive: bool,
    pub(super) framing: Framing,
    /// The API key that the client sends.
    pub(super) api_key: Option<Shown<'b>>,
    /// It waits for `100 Continue` before it sends its body.
    pub(super) expects_continue: bool,
    pub(super) fields: Fields<'b>,
}

/// The fields that go inside, all of them printable ASCII.
#[derive(Debug, Default)]
pub(super) struct Fields<'b> {
    /// All of them, in order: an encoding of an encoding must be recognised.
    pub(super) content_encoding: Vec<&'b str>,
    /// Empty: it was sent, but it is not printable or there were two.
    pub(super) idempotency_key: Option<&'b str>,
    pub(super) traceparent: Option<&'b str>,
    /// The client says that the body is NDJSON.
    pub(super) is_ndjson: bool,
}

/// Parses what has been received so far. The caller has skipped empty lines before the request line.
pub(super) fn parse(received: &[u8]) -> Parsed<'_> {
    let mut headers = [const { MaybeUninit::uninit() }; HEAD_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(received, &mut headers) {
        Ok(Status::Complete(len)) if len <= HEAD_BYTES_MAX => len,
        Ok(Status::Partial) if received.len() < HEAD_BYTES_MAX => return Parsed::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Parsed::Refused(Reply::head_too_large()),
        Err(error) => {
            return Parsed::Refused(Reply::bad_request(format!("the request head is broken: {error}")));
        }
    };
    let head = &received[..len];
    if memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r') {
        return Parsed::Refused(Reply::bad_request("a line of the request head does not end in CR LF"));
    }
    let (Some(method), Some(raw_target), Some(version)) = (request.method, request.path, request.version)
    else {
        return Parsed::Refused(Reply::internal());
    };
    Parsed::Whole(Whole {
        len,
        request_id: request_id(request.headers),
        is_head: method == "HEAD",
        verdict: judge(method, raw_target, version == 0, request.headers),
    })
}

fn request_id<'b>(headers: &[Header<'b>]) -> Option<&'b str> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case("x-request-id"))?;
    let capped = header.value.get(..REQUEST_ID_HEADER_MAX).unwrap_or(header.value);
    printable(capped).filter(|value| !value.is_empty())
}

/// `X-API-Key`, or else what `Authorization` shows as Bearer or Basic. Of two of a kind, neither is used.
fn api_key<'b>(headers: &[Header<'b>]) -> Option<Shown<'b>> {
    let only = |name: &str| {
        let mut found = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        found.next().filter(|_| found.next().is_none()).and_then(|header| printable(header.value))
    };
    only("x-api-key").map(Shown::Key).or_else(|| authorization(only("authorization")?))
}

fn authorization(value: &str) -> Option<Shown<'_>> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start();
    match () {
        () if scheme.eq_ignore_ascii_case("bearer") => Some(Shown::Key(token)),
        () if scheme.eq_ignore_ascii_case("basic") => Some(Shown::Basic(token)),
        () => None,
    }
}

fn judge<'b>(
    method: &'b str,
    raw_target: &'b str,
    is_http10: bool,
    headers: &[Header<'b>],
) -> Result<Head<'b>, Reply> {
    let target = target::parse(raw_target).map_err(Reply::bad_request)?;
    let seen = Seen::collect(headers)?;
    match seen.hosts {
        1 => {}
        0 if is_http10 => {}
        0 => return Err(Reply::bad_request("an HTTP/1.1 request needs a Host field")),
        _ => return Err(Reply::bad_request("the request has more than one Host field")),
    }
    let framing = match (seen.length, seen.is_chunked) {
        (None, false) => Framing::Empty,
        (Some(length), false) => Framing::Length(length),
        (None, true) if is_http10 => {
            return Err(Reply::bad_request("HTTP/1.0 has no Transfer-Encoding"));
        }
        (None, true) => Framing::Chunked,
        (Some(_), true) => {
            return Err(Reply::bad_request("the request has both Content-Length and Transfer-Encoding"));
        }
    };
    if seen.expects_other {
        return Err(Reply::expectation_failed());
    }
    Ok(Head {
        method,
        target,
        is_http10,
        keep_alive: if is_http10 { seen.keep_alive && !seen.close } else { !seen.close },
        framing,
        api_key: api_key(headers),
        // HTTP/1.0 has no interim answers.
        expects_continue: seen.expects_continue && !is_http10,
        fields: seen.fields,
    })
}

/// The fields that matter, collected one by one.
#[derive(Default)]
struct Seen<'b> {
    hosts: usize,
    length: Option<u64>,
    is_chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    expects_other: bool,
    fields: Fields<'b>,
}

impl<'b> Seen<'b> {
    fn collect(headers: &[Header<'b>]) -> Result<Self, Reply> {
        let mut seen = Self::default();
        let mut traces = 0;
        for Header { name, value } in headers {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if is("host") {
                seen.hosts += 1;
                check_host(value)?;
            } else if is("content-length") {
                if seen.length.replace(content_length(value)?).is_some() {
                    return Err(Reply::bad_request("the request has more than one Content-Length field"));
                }
            } else if is("transfer-encoding") {
                if seen.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Reply::bad_request("the only Transfer-Encoding understood is one 'chunked'"));
                }
                seen.is_chunked = true;
            } else if is("connection") {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    seen.close |= option.eq_ignore_ascii_case(b"close");
                    seen.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            } else if is("expect") {
                let is_continue = value.eq_ignore_ascii_case(b"100-continue");
                seen.expects_continue |= is_continue;
                seen.expects_other |= !is_continue;
            } else if is("content-encoding") {
                let text = printable(value)
                    .ok_or_else(|| Reply::bad_request("the Content-Encoding is not printable ASCII"))?;
                seen.fields.content_encoding.push(text);
            } else if is("content-type") {
                seen.fields.is_ndjson = is_ndjson(value);
            } else if is("idempotency-key") {
                let is_first = seen.fields.idempotency_key.is_none();
                seen.fields.idempotency_key = printable(value).filter(|_| is_first).or(Some(""));
            } else if is("traceparent") {
                traces += 1;
                seen.fields.traceparent = printable(value);
            }
        }
        // Of two, neither is used.
        seen.fields.traceparent = seen.fields.traceparent.filter(|_| traces == 1);
        Ok(seen)
    }
}

/// `application/x-ndjson`, whatever its parameters.
fn is_ndjson(value: &[u8]) -> bool {
    let essence = value.split(|&byte| byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(NDJSON.as_bytes())
}

fn check_host(value: &[u8]) -> Result<(), Reply> {
    let odd = |&byte: &u8| !byte.is_ascii_graphic() || b",/?#@\\\"<>".contains(&byte);
    if value.iter().any(odd) { Err(Reply::bad_request("the Host field is not a host")) } else { Ok(()) }
}

/// A length beyond 64 bits counts as the largest one: it is too large for every path.
fn content_length(value: &[u8]) -> Result<u64, Reply> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Reply::bad_request("the Content-Length is not a number"));
    }
    Ok(value
        .iter()
        .fold(0_u64, |length, digit| length.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

fn printable(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte)).then_some(text)
}

#[cfg(test)]
mod tests;
