//! The one table of paths. The door judges a request by it from the head alone, before a body is read; the workers answer
//! by it. Pure.

use crate::wire::keys::Access;
use crate::wire::reply::Reply;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// One event.
    Ingest,
    /// Many events.
    Batch,
    /// State of the stores, for people and monitoring.
    Health,
    /// Do the daemon's loops move?
    Livez,
    /// Could the next event be stored?
    Readyz,
    /// Counters and ledger.
    Stats,
    /// The same and more for Prometheus.
    Metrics,
    /// What the status page shows.
    Overview,
    /// The API's own description.
    OpenApi,
    /// A page, or a file that one needs.
    Page(File),
}

/// A file of `ui/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// `/`
    Status,
    /// Its styles.
    StatusStyle,
    /// The script that keeps it up to date.
    StatusScript,
    /// `/docs`
    Docs,
    /// The script that starts it.
    DocsScript,
    /// Swagger UI's styles.
    SwaggerStyle,
    /// Swagger UI itself.
    SwaggerScript,
}

/// Which connections to the inner server a route may use: requests that wait for storage must not keep /health from being
/// answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Those of requests that are answered when their events are stored.
    Ingest,
    /// Those kept for requests that are answered at once.
    Kept,
}

/// What a route takes as a body, and so how large it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// None: it is read and dropped.
    Dropped,
    /// One event.
    Event,
    /// Many events.
    Batch,
}

/// One known path.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// After percent-decoding, without the query.
    pub path: &'static str,
    /// Its only method, also for `Allow`.
    pub method: &'static str,
    /// What answers.
    pub endpoint: Endpoint,
    /// Which connections to the inner server it may use.
    pub lane: Lane,
    /// What it takes as a body.
    pub body: BodyKind,
    /// Who may use it.
    pub access: Access,
}

const fn get(path: &'static str, endpoint: Endpoint, access: Access) -> Route {
    Route { path, method: "GET", endpoint, lane: Lane::Kept, body: BodyKind::Dropped, access }
}

const fn ingest(path: &'static str, endpoint: Endpoint, body: BodyKind) -> Route {
    Route { path, method: "POST", endpoint, lane: Lane::Ingest, body, access: Access::Keyed }
}

/// Every path of the product.
pub const ROUTES: &[Route] = &[
    ingest("/api/logs/ingest", Endpoint::Ingest, BodyKind::Event),
    ingest("/api/logs/ingest/batch", Endpoint::Batch, BodyKind::Batch),
    get("/health", Endpoint::Health, Access::Open),
    get("/livez", Endpoint::Livez, Access::Open),
    get("/readyz", Endpoint::Readyz, Access::Open),
    get("/stats", Endpoint::Stats, Access::Status),
    get("/metrics", Endpoint::Metrics, Access::Status),
    get("/status.json", Endpoint::Overview, Access::Status),
    get("/", Endpoint::Page(File::Status), Access::Status),
    get("/status/status.css", Endpoint::Page(File::StatusStyle), Access::Open),
    get("/status/status.js", Endpoint::Page(File::StatusScript), Access::Open),
    get("/openapi.json", Endpoint::OpenApi, Access::Open),
    get("/docs", Endpoint::Page(File::Docs), Access::Open),
    get("/docs/docs.js", Endpoint::Page(File::DocsScript), Access::Open),
    get("/docs/swagger-ui.css", Endpoint::Page(File::SwaggerStyle), Access::Open),
    get("/docs/swagger-ui-bundle.js", Endpoint::Page(File::SwaggerScript), Access::Open),
];

/// The route of a request: 404 before 405, as the contract orders them. `path` is percent-decoded.
///
/// # Errors
/// The reply that refuses it.
pub fn find(method: &str, path: &str) -> Result<&'static Route, Reply> {
    let route = ROUTES.iter().find(|route| route.path == path).ok_or_else(Reply::not_found)?;
    if route.method == method { Ok(route) } else { Err(Reply::method_not_allowed(route.method)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_judged_before_its_method() {
        assert_eq!(find("POST", "/api/logs/ingest").unwrap().endpoint, Endpoint::Ingest);
        assert_eq!(find("POST", "/api/logs/ingest/batch").unwrap().endpoint, Endpoint::Batch);
        for (method, path, status) in [
            ("POST", "/api/logs/ingest/", 404),
            ("POST", "/API/logs/ingest", 404),
            ("BREW", "/nowhere", 404),
            ("GET", "/api/logs/ingest", 405),
            ("PUT", "/api/logs/ingest/batch", 405),
            ("POST", "/api/logs/ingest/batch/", 404),
            ("HEAD", "/health", 405),
            ("OPTIONS", "/stats", 405),
            ("post", "/api/logs/ingest", 405),
        ] {
            assert_eq!(find(method, path).unwrap_err().status(), status, "{method} {path}");
        }
    }
}
