//! `GET /stats`: counters since start, and the ledger.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::door;
use crate::http::Context;
use crate::telemetry::health::RemoteState;
use crate::telemetry::stats::{Ledger, Snapshot};
use crate::wire::reply::Reply;

/// Counters since start, and the ledger.
#[derive(Serialize, ToSchema)]
#[schema(as = Stats)]
pub(super) struct StatsBody {
    uptime_s: u64,
    counters: CountersPart,
    queue: QueuePart,
    ledger: Ledger,
    door: door::DoorFigures,
    /// By service, the worst difference in milliseconds between the event's own time and its receipt.
    #[schema(value_type = BTreeMap<String, i64>)]
    worst_skew_ms: BTreeMap<Box<str>, i64>,
    /// Requests admitted with an API key, by its name.
    #[schema(value_type = BTreeMap<String, u64>)]
    clients: BTreeMap<Box<str>, u64>,
}

/// Since start.
#[derive(Serialize, ToSchema)]
#[schema(as = Counters)]
struct CountersPart {
    #[serde(flatten)]
    events: Snapshot,
    kafka_lost: u64,
    kafka_back: u64,
    postgres_lost: u64,
    postgres_back: u64,
    /// Rows of the spool lost to damage, damaged files set aside, and home rows removed because of age or size.
    spool_damaged: u64,
    spool_rescues: u64,
    spool_removed: u64,
}

/// The events that wait for a store now.
#[derive(Serialize, ToSchema)]
#[schema(as = Queue)]
struct QueuePart {
    events: usize,
    bytes: usize,
}

pub(super) fn reply(context: &Context) -> Reply {
    let counters = context.stats.snapshot();
    let has_kafka = context.health.kafka.state() != RemoteState::Off;
    let spool = context.spool.figures();
    let ledger = Ledger::of(&counters, has_kafka, context.held_at_start, &spool);
    let (kafka, postgres) = (&context.health.kafka, &context.health.postgres);
    let body = StatsBody {
        uptime_s: context.health.uptime().as_secs(),
        counters: CountersPart {
            events: counters,
            kafka_lost: kafka.lost.load(Relaxed),
            kafka_back: kafka.back.load(Relaxed),
            postgres_lost: postgres.lost.load(Relaxed),
            postgres_back: postgres.back.load(Relaxed),
            spool_damaged: spool.damaged,
            spool_rescues: spool.rescues,
            spool_removed: spool.removed,
        },
        queue: QueuePart { events: context.gauge.events(), bytes: context.gauge.bytes() },
        ledger,
        door: context.door.figures(),
        worst_skew_ms: context.skews.worst(),
        clients: context.guard.requests().into_iter().collect(),
    };
    json(200, &body)
}
