//! `GET /health`: the state of the stores, for people and monitoring. 200 as long as the process serves: `degraded`
//! means that every event is safe, but does not reach Kafka now.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::host::clock;
use crate::host::systemd;
use crate::http::Context;
use crate::limits::POSTGRES_COUNT_MAX;
use crate::store::postgres::RowCounts;
use crate::telemetry::health::{RemoteHealth, RemoteState, Vitals};
use crate::wire::reply::Reply;

/// The state of the stores.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(super) struct HealthBody {
    /// `degraded`: every event is safe, but does not reach Kafka (or its home) now.
    #[schema(pattern = "^(healthy|degraded)$")]
    status: &'static str,
    service: &'static str,
    version: &'static str,
    timestamp: String,
    kafka: RemotePart,
    postgres: PostgresPart,
    spool: SpoolPart,
}

#[derive(Serialize, ToSchema)]
struct PostgresPart {
    #[serde(flatten)]
    remote: RemotePart,
    /// The rows there, counted up to `counted_up_to` per state, and how long ago. Null: not counted yet.
    rows: Option<PostgresRows>,
}

/// The rows of all daemons that use this server.
#[derive(Serialize, ToSchema)]
struct PostgresRows {
    held: u64,
    oldest_held_at: Option<String>,
    oldest_held_age_s: Option<i64>,
    home: u64,
    dead_letters: u64,
    counted_up_to: u32,
    counted_s_ago: u64,
}

impl PostgresRows {
    fn of((ago, figures): (Duration, RowCounts), now: i64) -> Self {
        Self {
            held: figures.held,
            oldest_held_at: figures.oldest_held_ms.map(clock::rfc3339),
            oldest_held_age_s: figures.oldest_held_ms.map(|at| age_s(at, now)),
            home: figures.home,
            dead_letters: figures.dead_letters,
            counted_up_to: POSTGRES_COUNT_MAX,
            counted_s_ago: ago.as_secs(),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct RemotePart {
    configured: bool,
    #[serde(flatten)]
    health: RemoteHealth,
}

impl RemotePart {
    fn of(vitals: &Vitals) -> Self {
        let health = vitals.health();
        Self { configured: health.state != RemoteState::Off, health }
    }
}

#[derive(Serialize, ToSchema)]
struct SpoolPart {
    /// Events that wait for Kafka.
    held: u64,
    oldest_held_at: Option<String>,
    oldest_held_age_s: Option<i64>,
    /// Events whose home is the spool.
    home: u64,
    dead_letters: u64,
    bytes: u64,
    max_bytes: u64,
    /// At the rate of the last minutes. Null: the spool does not grow, or it is too early to know.
    full_in_hours: Option<f64>,
    disk_free_bytes: u64,
    full: bool,
    writable: bool,
    /// Rows lost to damage since start, damaged files set aside since start, and damaged files that are kept.
    damaged: u64,
    rescues: u64,
    damaged_files: u64,
    error: Option<String>,
}

fn age_s(at: i64, now: i64) -> i64 {
    (now - at).max(0) / 1_000
}

/// The state of the daemon in one sentence.
pub fn sentence(context: &Context) -> String {
    let (kafka, postgres) = (context.health.kafka.health(), context.health.postgres.health());
    let figures = context.spool.figures();
    let stores = [("kafka", kafka), ("postgres", postgres)];
    let up = stores.iter().find(|(_, store)| store.state == RemoteState::Up).map(|(name, _)| *name);
    // Events are meant for the first one that is configured.
    let first = stores.iter().find(|(_, store)| store.state != RemoteState::Off);
    let missing = first
        .filter(|(_, store)| store.state == RemoteState::Down)
        .map(|(name, store)| (*name, &*store.since));
    let in_postgres = context.health.postgres_rows.last().map_or(0, |(_, rows)| rows.held);
    systemd::sentence(up, missing, figures.held + in_postgres, figures.writable && !figures.full)
}

pub(super) fn reply(context: &Context) -> Reply {
    let figures = context.spool.figures();
    let (kafka, postgres) = (&context.health.kafka, &context.health.postgres);
    let well = context.health.is_well(&figures);
    let now = clock::record_ms();
    let in_postgres = context.health.postgres_rows.last();
    let body = HealthBody {
        status: if well { "healthy" } else { "degraded" },
        service: "logs-ingest",
        version: env!("CARGO_PKG_VERSION"),
        timestamp: clock::rfc3339(now),
        kafka: RemotePart::of(kafka),
        postgres: PostgresPart {
            remote: RemotePart::of(postgres),
            rows: in_postgres.map(|rows| PostgresRows::of(rows, now)),
        },
        spool: SpoolPart {
            held: figures.held,
            oldest_held_at: figures.oldest_held_ms.map(clock::rfc3339),
            oldest_held_age_s: figures.oldest_held_ms.map(|at| age_s(at, now)),
            home: figures.home,
            dead_letters: figures.dead_letters,
            bytes: figures.bytes,
            max_bytes: figures.max_bytes,
            full_in_hours: figures.full_in.map(|left| (left.as_secs_f64() / 360.0).round() / 10.0),
            disk_free_bytes: figures.disk_free,
            full: figures.full,
            writable: figures.writable,
            damaged: figures.damaged,
            rescues: figures.rescues,
            damaged_files: figures.damaged_files,
            error: figures.last_error.map(|error| error.to_string()),
        },
    };
    json(200, &body)
}
