//! One file an endpoint, and the step from a request to its endpoint.

mod health;
pub mod ingest;
mod probes;
mod stats;

use tiny_http::Request;

use super::Context;
use super::reply::Reply;
use super::routes::{self, Endpoint};

/// What a worker made of a request.
pub enum Handled {
    /// It can be answered now.
    Answer(Reply),
    /// It is answered when its event is stored.
    Waits(ingest::Accepted),
}

/// Serves one request as far as a worker can.
pub fn handle(context: &Context, request: &mut Request) -> Handled {
    let path = request.url().split('?').next().unwrap_or_default();
    let route = match routes::find(request.method().as_str(), path) {
        Ok(route) => route,
        Err(reply) => return Handled::Answer(reply),
    };
    match route.endpoint {
        Endpoint::Ingest => ingest::handle(context, request),
        Endpoint::Health => Handled::Answer(health::reply(context)),
        Endpoint::Livez => Handled::Answer(probes::livez(context)),
        Endpoint::Readyz => Handled::Answer(probes::readyz(context)),
        Endpoint::Stats => Handled::Answer(stats::reply(context)),
    }
}

/// The value of a header, if it was sent.
fn header<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    request.headers().iter().find(|header| header.field.equiv(name)).map(|header| header.value.as_str())
}

/// The name that the client's API key gives it: the door says so, and no client can.
fn client(request: &Request) -> &str {
    header(request, "X-Door-Client").unwrap_or("-")
}

/// A JSON answer from anything that serialises.
fn json(status: u16, body: &impl serde::Serialize) -> Reply {
    match serde_json::to_vec(body) {
        Ok(body) => Reply::json(status, body),
        Err(_) => Reply::internal(),
    }
}
