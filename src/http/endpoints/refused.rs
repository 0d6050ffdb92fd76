//! Requests that are refused for what they contain: counted, and told to those who look after the tills.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Handled;
use crate::host::throttle::Throttle;
use crate::http::Context;
use crate::http::request::Request;
use crate::limits::LOG_REFUSED_PER_MINUTE;
use crate::telemetry::refused::Refusal;
use crate::telemetry::stats;
use crate::wire::reply::Reply;

static LINES: Mutex<Throttle> = Mutex::new(Throttle::new(LOG_REFUSED_PER_MINUTE));

/// The answer, once it is counted and told.
pub(super) fn handled(context: &Context, request: &Request, reply: Reply) -> Handled {
    stats::add(&context.stats.refused_invalid, 1);
    tell(request, reply.status(), &String::from_utf8_lossy(reply.body()));
    Handled::Answer(reply)
}

/// Remembers what is refused, and writes a line about it, if there still is room for one in this minute.
pub(super) fn tell(request: &Request, status: u16, why: &str) {
    let refusal = Refusal {
        status,
        why,
        method: request.method(),
        path: request.path(),
        peer: request.peer(),
        client: request.client().unwrap_or("-"),
        x_request_id: request.x_request_id().unwrap_or("-"),
        traceparent: request.traceparent().unwrap_or("-"),
    };
    refusal.keep();
    if let Some(suppressed) = LINES.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now()) {
        refusal.log(&suppressed);
    }
}
