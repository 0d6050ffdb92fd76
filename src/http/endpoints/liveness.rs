//! `GET /livez` and `GET /readyz`, for supervisors. Liveness never depends on a store: a broker that is down is no reason
//! to restart the daemon.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::http::Context;
use crate::wire::reply::{Reply, retry_after};

/// The answer to a probe.
#[derive(Serialize, ToSchema)]
#[schema(as = Probe)]
pub(super) struct LivenessBody {
    /// `alive` or `stuck`, `ready` or `not ready`.
    status: &'static str,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

fn pass(status: &'static str) -> Reply {
    json(200, &LivenessBody { status, detail: None })
}

fn fail(status: &'static str, detail: String) -> Reply {
    json(503, &LivenessBody { status, detail: Some(detail) }).with("Retry-After", retry_after(2).to_string())
}

/// A loop that has not moved for this long, if there is one.
fn silent(context: &Context, after: Duration) -> Option<String> {
    let producer = context.health.silence(&context.health.producer);
    let door = context.door.silence();
    let workers = context.door.server_silence();
    [("producer", producer), ("door", door), ("http server", workers)]
        .into_iter()
        .find(|(_, silence)| *silence > after)
        .map(|(name, silence)| format!("the {name} has not moved for {} s", silence.as_secs()))
}

/// Whether the daemon's loops move.
pub fn is_alive(context: &Context) -> bool {
    silent(context, context.stuck_after).is_none()
}

/// 200 while the daemon's loops move.
pub(super) fn livez(context: &Context) -> Reply {
    match silent(context, context.stuck_after) {
        None => pass("alive"),
        Some(detail) => fail("stuck", detail),
    }
}

/// 503 when the next event could not be stored. It reports a slow loop sooner than [`livez`]: such a loop may recover.
pub(super) fn readyz(context: &Context) -> Reply {
    if context.health.is_stopping() {
        return fail("not ready", "the daemon is stopping".into());
    }
    if let Some(detail) = silent(context, context.slow_after) {
        return fail("not ready", detail);
    }
    let figures = context.spool.figures();
    if context.health.refuses(&figures) {
        let why = figures.last_error.unwrap_or_else(|| "the spool is full".into());
        return fail("not ready", why.to_string());
    }
    pass("ready")
}
