//! Requests that are refused for what they contain: counted, and told to the log a few times a minute.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use log::info;
use tiny_http::Request;

use super::{Handled, client, header, traceparent};
use crate::http::Context;
use crate::http::reply::Reply;
use crate::limits::LOG_REFUSED_PER_MINUTE;
use crate::logging::{Escaped, Throttle};
use crate::stats;

static LINES: Mutex<Throttle> = Mutex::new(Throttle::new(LOG_REFUSED_PER_MINUTE));

/// The answer, once it is counted and logged.
pub(super) fn handled(context: &Context, request: &Request, reply: Reply) -> Handled {
    stats::add(&context.stats.refused_invalid, 1);
    note(request, reply.status(), &String::from_utf8_lossy(reply.body()));
    Handled::Answer(reply)
}

/// A line about what is refused, if there still is room for one in this minute.
pub(super) fn note(request: &Request, status: u16, why: &str) {
    let Some(hidden) = LINES.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now()) else {
        return;
    };
    let id = header(request, "X-Request-ID").unwrap_or("-");
    let peer = header(request, "X-Door-Peer").unwrap_or("-");
    let client = client(request);
    let parent = traceparent(request).unwrap_or("-");
    info!(
        "a request is refused status={status} x_request_id={} peer={peer} client={client} traceparent={parent} hidden_before={hidden} detail={}",
        Escaped(id),
        Escaped(why)
    );
}
