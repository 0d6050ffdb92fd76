//! The HTTP side behind the door: routes, replies, the `tiny_http` listener and its workers.
//!
//! Invariants: nothing behind this room knows HTTP; a worker never waits on storage; a request is
//! answered once, by whoever learns its outcome.

mod body;
pub mod endpoints;
pub mod idempotency;
mod replaceable;
mod request;
mod server;
mod write_reply;

use std::sync::Arc;

pub use server::HttpServer;

use crate::delivery::queue::{Gauge, Inlet};
use crate::door;
use crate::event::{BatchRules, Rules};
use crate::store::spool::Spool;
use crate::telemetry::health::Health;
use crate::telemetry::history::History;
use crate::telemetry::services::Skews;
use crate::telemetry::stats::Stats;
use crate::telemetry::timings::Timings;
use crate::wire::keys::Guard;

/// What the endpoints work with.
pub struct Context {
    /// Where accepted events go.
    pub inlet: Inlet,
    /// The queue's fill level.
    pub gauge: Gauge,
    /// Counters.
    pub stats: Arc<Stats>,
    /// State of stores and loops.
    pub health: Arc<Health>,
    /// For what it counted.
    pub guard: Guard,
    /// For its figures.
    pub spool: Spool,
    /// Held events found at start.
    pub held_at_start: u64,
    /// How long things take.
    pub timings: Timings,
    /// For its figures.
    pub door: door::Watch,
    /// Client connections that there may be.
    pub max_connections: usize,
    /// What events are made by.
    pub rules: Rules,
    /// Answers to requests with an `Idempotency-Key`.
    pub idempotency: Arc<idempotency::Memory>,
    /// Events in the last hour.
    pub history: History,
    /// Held events a second that go back to Kafka at the most; 0 is unlimited.
    pub recovery_rate: u32,
    /// The worst clocks.
    pub skews: Skews,
    /// How large a batch may be.
    pub batch: BatchRules,
    /// A loop that has not moved for this long could not store the next event soon.
    pub slow_after: std::time::Duration,
    /// One that has not moved for this long is stuck.
    pub stuck_after: std::time::Duration,
}
