//! The machine's two clocks. The wall clock dates records for people; every timer uses the monotonic one.
//!
//! Invariant: code whose decisions depend on time (delivery, the spool's upkeep) is given a [`Clock`] when it is
//! made, or `now` as a parameter, and never asks the system itself. So a test drives hours in milliseconds.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};

use crate::limits::RELEASED_MS;

/// Both clocks.
pub trait Clock: Debug + Send + Sync {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// The wall clock: milliseconds since 1970, right or wrong.
    fn wall_ms(&self) -> i64;

    /// The wall clock, but never before this release was made: a board without a clock battery boots in 1970, and
    /// retention must not take its records for ancient ones.
    fn record_ms(&self) -> i64 {
        self.wall_ms().max(RELEASED_MS)
    }
}

/// The clocks of the system.
#[derive(Debug)]
pub struct SystemClock;

impl SystemClock {
    /// For what takes any clock.
    #[must_use]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall_ms(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        i64::try_from(now).unwrap_or(i64::MAX)
    }
}

/// [`Clock::record_ms`] of the system's clock, for what only dates records.
#[must_use]
pub fn record_ms() -> i64 {
    SystemClock.record_ms()
}

/// `2025-11-18T17:21:35.750Z`
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}
