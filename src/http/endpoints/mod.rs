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

pub use submit::{Accepted, submit};

use super::Context;
use super::request::Request;
use crate::wire::reply::Reply;
use crate::wire::routes::Endpoint;

/// What a worker made of a request.
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
        Endpoint::Livez => Handled::Answer(probes::livez(context)),
        Endpoint::Readyz => Handled::Answer(probes::readyz(context)),
        Endpoint::Stats => Handled::Answer(stats::reply(context)),
        Endpoint::Metrics => Handled::Answer(metrics::reply(context)),
        Endpoint::Overview => Handled::Answer(overview::reply(context)),
        Endpoint::OpenApi => Handled::Answer(openapi::reply()),
        Endpoint::Page(file) => Handled::Answer(pages::reply(file)),
    }
}

/// A JSON answer from anything that serialises.
fn json(status: u16, body: &impl serde::Serialize) -> Reply {
    match serde_json::to_vec(body) {
        Ok(body) => Reply::json(status, body),
        Err(_) => Reply::internal(),
    }
}
