//! Writes a [`Reply`] to the door in one piece.

use std::io::Write;

use super::request::Request;
use crate::wire::reply::{Reply, reason};

/// Answers a request. Errors are ignored: without the door there is no client any more.
pub(super) fn write_reply(request: Request, reply: &Reply) {
    let text = render(reply, request.traceparent());
    let mut writer = request.into_writer();
    let _ = writer.write_all(&text).and_then(|()| writer.flush());
}

fn render(reply: &Reply, traceparent: Option<&str>) -> Vec<u8> {
    let body = reply.body();
    let mut text = Vec::with_capacity(256 + body.len());
    // Writing to a vector cannot fail.
    let _ = write!(
        text,
        "HTTP/1.1 {} {}\r\nContent-Length: {}\r\n",
        reply.status(),
        reason(reply.status()),
        body.len()
    );
    for (name, value) in reply.headers() {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if let Some(parent) = traceparent {
        let _ = write!(text, "traceparent: {parent}\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(body);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole() {
        let text = String::from_utf8(render(&Reply::unavailable("full", 2), None)).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 17\r\nRetry-After: 2\r\n\r\n{\"detail\":\"full\"}"
        );
        let text = String::from_utf8(render(&Reply::not_found(), Some("00-1"))).unwrap();
        assert!(text.contains("\r\ntraceparent: 00-1\r\n\r\n{"), "{text}");
    }
}
