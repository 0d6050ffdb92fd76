//! Wall-clock time for records and people. Timers never use it: they take `std::time::Instant`.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};

use crate::limits::RELEASED_MS;

/// Milliseconds since 1970, never before this release was made: a board without a clock battery
/// boots in 1970, and retention must not take its records for ancient ones.
#[must_use]
pub fn record_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    i64::try_from(now).unwrap_or(i64::MAX).max(RELEASED_MS)
}

/// `2025-11-18T17:21:35.750Z`
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}
