//! One file per endpoint, and the step from a request to its endpoint.

mod batch;
pub mod health;
mod ingest;
mod keyed;
pub mod liveness;
mod metrics;
mod openapi;
mod overview;
pub mod pages;
mod stats;
mod submit;

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

pub use submit::{Accepted, submit};

use super::Context;
use super::request::Request;
use crate::host::throttle::Throttle;
use crate::limits::LOG_REFUSED_PER_MINUTE;
use crate::telemetry::refused::RefusedRequest;
use crate::wire::reply::Reply;
use crate::wire::routes::Endpoint;

/// How far a worker got with a request.
pub enum Handled {
    /// It can be answered now.
    Answer(Reply),
    /// It is answered when its events are stored.
    Waits(Accepted),
}

/// Serves one request as far as a worker can.
pub fn handle(context: &Context, request: &mut Request) -> Handled {
    let endpoint = match request.endpoint() {
        Ok(endpoint) => endpoint,
        Err(reply) => return Handled::Answer(reply),
    };
    match endpoint {
        Endpoint::Ingest => ingest::handle(context, request),
        Endpoint::Batch => batch::handle(context, request),
        Endpoint::Health => Handled::Answer(health::reply(context)),
        Endpoint::Livez => Handled::Answer(liveness::livez(context)),
        Endpoint::Readyz => Handled::Answer(liveness::readyz(context)),
        Endpoint::Stats => Handled::Answer(stats::reply(context)),
        Endpoint::Metrics => Handled::Answer(metrics::reply(context)),
        Endpoint::Overview => Handled::Answer(overview::reply(context)),
        Endpoint::OpenApi => Handled::Answer(openapi::reply()),
        Endpoint::Page(file) => Handled::Answer(pages::reply(file)),
    }
}

static REFUSED_LINES: Mutex<Throttle> = Mutex::new(Throttle::new(LOG_REFUSED_PER_MINUTE));

/// Counts and reports a request that is refused for what it contains.
fn refuse(context: &Context, request: &Request, reply: Reply) -> Handled {
    crate::telemetry::stats::add(&context.stats.refused_invalid, 1);
    report_refused(request, reply.status(), reply.why());
    Handled::Answer(reply)
}

/// Shows the refusal on the status page, and logs it unless there were too many in this minute.
fn report_refused(request: &Request, status: u16, why: &str) {
    let refused = RefusedRequest {
        status,
        why,
        method: request.method(),
        path: request.path(),
        peer: request.peer(),
        client: request.client().unwrap_or("-"),
        x_request_id: request.x_request_id().unwrap_or("-"),
        traceparent: request.traceparent().unwrap_or("-"),
    };
    refused.keep();
    if let Some(suppressed) =
        REFUSED_LINES.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now())
    {
        refused.log(&suppressed);
    }
}

/// A JSON answer from anything that serialises.
fn json(status: u16, body: &impl serde::Serialize) -> Reply {
    match serde_json::to_vec(body) {
        Ok(body) => Reply::json(status, body),
        Err(_) => Reply::internal(),
    }
}
