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

pub use submit::{Accepted, submit};

use super::Context;
use crate::limits::SHORT_BODY_BYTES;
use crate::wire::reply::Reply;
use crate::wire::routes::{self, Endpoint};
use crate::wire::traceparent::is_valid;

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

/// How long a worker has to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// Less than to wake another: an event as tills send them.
    Short,
    /// A large or packed event, a page, the figures.
    Usual,
    /// Megabytes of events.
    Batch,
}

/// What a request will take, judged by its head.
pub(super) fn effort(request: &Request) -> Effort {
    let is_short = || {
        request.body_length().is_some_and(|bytes| bytes <= SHORT_BODY_BYTES)
            && header(request, "Content-Encoding").is_none()
    };
    match routes::find(request.method().as_str(), path(request)).map(|route| route.endpoint) {
        Ok(Endpoint::Batch) => Effort::Batch,
        Ok(Endpoint::Ingest) if is_short() => Effort::Short,
        _ => Effort::Usual,
    }
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

#[cfg(test)]
mod tests {
    use tiny_http::{Header, Method, TestRequest};

    use super::*;

    #[test]
    fn only_a_small_plain_event_is_short_work() {
        let gzip: Header = "Content-Encoding: gzip".parse().unwrap();
        let (small, large) = ("x".repeat(SHORT_BODY_BYTES), "x".repeat(SHORT_BODY_BYTES + 1));
        for (method, path, body, header, wanted) in [
            (Method::Post, "/api/logs/ingest", &*small, None, Effort::Short),
            (Method::Post, "/api/logs/ingest?a=1", "", None, Effort::Short),
            (Method::Post, "/api/logs/ingest", &*large, None, Effort::Usual),
            (Method::Post, "/api/logs/ingest", "x", Some(gzip.clone()), Effort::Usual),
            (Method::Post, "/api/logs/ingest/batch", "x", None, Effort::Batch),
            (Method::Get, "/metrics", "", None, Effort::Usual),
            (Method::Get, "/livez", "", None, Effort::Usual),
            (Method::Get, "/nowhere", "", None, Effort::Usual),
        ] {
            let mut request = TestRequest::new().with_method(method).with_path(path);
            if let Some(header) = header {
                request = request.with_header(header);
            }
            // A test request takes its body for as long as it lives.
            let body: &'static str = Box::leak(body.to_owned().into_boxed_str());
            assert_eq!(effort(&request.with_body(body).into()), wanted, "{path}");
        }
    }
}
