//! `GET /health`: the state of the stores, for people and monitoring. 200 as long as the process
//! serves: `degraded` means that every event is safe but does not reach Kafka now.

use serde::Serialize;

use super::json;
use crate::clock;
use crate::health::{KafkaHealth, KafkaState};
use crate::http::Context;
use crate::http::reply::Reply;

#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    timestamp: String,
    kafka: KafkaPart<'a>,
    postgres: PostgresPart,
    spool: SpoolPart,
}

#[derive(Serialize)]
struct KafkaPart<'a> {
    configured: bool,
    #[serde(flatten)]
    health: &'a KafkaHealth,
}

#[derive(Serialize)]
struct PostgresPart {
    configured: bool,
}

#[derive(Serialize)]
struct SpoolPart {
    /// Events that wait for Kafka, and for how long the oldest has.
    held: u64,
    oldest_held_at: Option<String>,
    oldest_held_age_s: Option<i64>,
    /// Events whose home is the spool.
    home: u64,
    dead_letters: u64,
    bytes: u64,
    max_bytes: u64,
    full: bool,
    writable: bool,
    damaged: u64,
    error: Option<String>,
}

pub(super) fn reply(context: &Context) -> Reply {
    let kafka = context.health.kafka();
    let figures = context.spool.figures();
    let reaches_kafka = matches!(kafka.state, KafkaState::Off | KafkaState::Up);
    let well = reaches_kafka && figures.writable && !figures.full;
    let now = clock::record_ms();
    let body = Body {
        status: if well { "healthy" } else { "degraded" },
        service: "logs-ingest",
        version: env!("CARGO_PKG_VERSION"),
        timestamp: clock::rfc3339(now),
        kafka: KafkaPart { configured: kafka.state != KafkaState::Off, health: &kafka },
        postgres: PostgresPart { configured: false },
        spool: SpoolPart {
            held: figures.held,
            oldest_held_at: figures.oldest_held_ms.map(clock::rfc3339),
            oldest_held_age_s: figures.oldest_held_ms.map(|at| (now - at).max(0) / 1_000),
            home: figures.home,
            dead_letters: figures.dead_letters,
            bytes: figures.bytes,
            max_bytes: figures.max_bytes,
            full: figures.full,
            writable: figures.writable,
            damaged: figures.damaged,
            error: figures.last_error.map(|error| error.to_string()),
        },
    };
    json(200, &body)
}
