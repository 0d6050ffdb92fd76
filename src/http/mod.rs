//! The HTTP server behind the door: the `tiny_http` listener, its workers, and one file per endpoint.
//!
//! Invariants: no room behind this one knows HTTP; a worker never waits for storage; a request is answered once, by
//! the thread that learns its outcome.

mod body;
pub mod endpoints;
pub mod idempotency;
mod replaceable;
mod request;
mod server;
mod write_reply;

use std::sync::Arc;
use std::time::Duration;

pub use server::HttpServer;

use crate::delivery::queue::{Gauge, Inlet};
use crate::door;
use crate::event::{BatchRules, Rules};
use crate::setting::{count, duration};
use crate::store::spool::Spool;
use crate::telemetry::health::Health;
use crate::telemetry::history::History;
use crate::telemetry::skews::Skews;
use crate::telemetry::stats::Stats;
use crate::telemetry::timings::Timings;
use crate::wire::keys::Guard;

/// What an administrator can set of the workers.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "HTTP")]
#[group(skip)]
pub struct Options {
    /// Threads that read and check single events; a quarter as many more do so for batches [default: two per core, at
    /// least 4]
    #[arg(long, env, value_name = "COUNT", value_parser = count(1..=1_024_usize))]
    pub workers: Option<usize>,
    /// Time for which the answer to a request with an Idempotency-Key is remembered: a repeat within it gets the same
    /// answer and stores nothing
    #[arg(long, env, default_value = "10m", value_name = "DURATION", value_parser = duration(1_000..=86_400_000))]
    pub idempotency_window: Duration,
}

impl Options {
    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        self.workers.unwrap_or_else(|| (2 * cores()).max(4))
    }
}

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
    /// API keys, and how often each was used.
    pub guard: Guard,
    /// The local spool.
    pub spool: Spool,
    /// Held events found at start.
    pub held_at_start: u64,
    /// How long things take.
    pub timings: Timings,
    /// The door's figures and signs of life.
    pub door: door::Watch,
    /// The limit of client connections.
    pub max_connections: usize,
    /// The daemon's name, which events travel with.
    pub instance: Arc<str>,
    /// The rules for events.
    pub rules: Rules,
    /// Answers to requests with an `Idempotency-Key`.
    pub idempotency: Arc<idempotency::RememberedAnswers>,
    /// Events in the last hour.
    pub history: History,
    /// Held events per second that recovery sends at most; 0 is unlimited.
    pub recovery_rate: u32,
    /// The worst clock of each service.
    pub skews: Skews,
    /// The limits of a batch.
    pub batch: BatchRules,
    /// A loop that has not moved for this long cannot store the next event soon.
    pub slow_after: Duration,
    /// A loop that has not moved for this long is stuck.
    pub stuck_after: Duration,
}
