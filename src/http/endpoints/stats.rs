//! `GET /stats`: counters since start, and the ledger.

use serde::Serialize;

use super::json;
use crate::http::Context;
use crate::http::reply::Reply;
use crate::stats::{Ledger, Snapshot};

#[derive(Serialize)]
struct Body {
    uptime_s: u64,
    counters: Snapshot,
    queue: Queue,
    ledger: Ledger,
    door: serde_json::Value,
}

#[derive(Serialize)]
struct Queue {
    events: usize,
    bytes: usize,
}

pub(super) fn reply(context: &Context) -> Reply {
    let counters = context.stats.snapshot();
    let ledger = Ledger::of(&counters, context.held_at_start, context.spool.figures().held);
    let body = Body {
        uptime_s: context.health.uptime().as_secs(),
        counters,
        queue: Queue { events: context.gauge.events(), bytes: context.gauge.bytes() },
        ledger,
        door: context.door.get().map(|view| view().figures).unwrap_or_default(),
    };
    json(200, &body)
}
