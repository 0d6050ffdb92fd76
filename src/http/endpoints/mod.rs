//! One file an endpoint, and the step from a request to its endpoint.

mod batch;
pub mod health;
mod ingest;
mod keyed;
mod metrics;
mod openapi;
mod overview;
pub mod pages;
pub mod probes;
mod refused;
mod stats;
mod submit;

use tiny_http::Request;

pub use ingest::body_bytes_max;
pub use submit::{Accepted, submit};

use super::Context;
use super::reply::Reply;
use super::routes::{self, Endpoint};
use super::traceparent::is_valid;

/// What a worker made of a request.
pub enum Handled {
    /// It can be answered now.
    Answer(Reply),
    /// It is answered when its events are stored.
    Waits(Accepted),
}

/// Serves one request as far as a worker can.
pub fn handle(context: &Context, request: &mut Request) -> Handled {
    let route = match routes::find(request.method().as_str(), path(request)) {
        Ok(route) => route,
        Err(reply) => return Handled::Answer(reply),
    };
    match route.endpoint {
        Endpoint::Ingest => ingest::handle(context, request),
        Endpoint::Batch => batch::handle(context, request),
        Endpoint::Health => Handled::Answer(health::reply(context)),
        Endpoint::Livez => Handled::Answer(probes::livez(context)),
        Endpoint::Readyz => Handled::Answer(probes::readyz(context)),
        Endpoint::Stats => Handled::Answer(stats::reply(context)),
        Endpoint::Metrics => Handled::Answer(metrics::reply(context)),
        Endpoint::Overview => Handled::Answer(overview::reply(context)),
        Endpoint::OpenApi => Handled::Answer(openapi::reply()),
        Endpoint::Page(file) => Handled::Answer(pages::reply(file)),
    }
}

/// Whether it takes so long to read that it must not keep a worker from single events.
pub(super) fn is_long(request: &Request) -> bool {
    routes::find(request.method().as_str(), path(request))
        .is_ok_and(|route| route.endpoint == Endpoint::Batch)
}

fn path(request: &Request) -> &str {
    request.url().split('?').next().unwrap_or_default()
}

/// The value of a header, if it was sent.
pub(super) fn header<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    request.headers().iter().find(|header| header.field.equiv(name)).map(|header| header.value.as_str())
}

/// The name that the client's API key gives it: the door says so, and no client can.
fn client(request: &Request) -> &str {
    header(request, "X-Door-Client").unwrap_or("-")
}

/// The W3C trace context of a request, if it has one that means something.
pub(super) fn traceparent(request: &Request) -> Option<&str> {
    header(request, "traceparent").filter(|text| is_valid(text))
}

/// A JSON answer from anything that serialises.
fn json(status: u16, body: &impl serde::Serialize) -> Reply {
    match serde_json::to_vec(body) {
        Ok(body) => Reply::json(status, body),
        Err(_) => Reply::internal(),
    }
}
