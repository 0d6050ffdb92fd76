//! Wall-clock time for records and people. Timers never use it: they take `std::time::Instant`, those that
//! decide where events go by way of [`now`].

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};

use crate::limits::RELEASED_MS;

/// Milliseconds since 1970, never before this release was made: a board without a clock battery
/// boots in 1970, and retention must not take its records for ancient ones.
#[must_use]
pub fn record_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    i64::try_from(now).unwrap_or(i64::MAX).max(RELEASED_MS)
}

/// The monotonic clock. Tests of what time does to a route set it.
#[must_use]
pub fn now() -> Instant {
    #[cfg(test)]
    if let Some(set) = tests::SET.get() {
        return set;
    }
    Instant::now()
}

/// `2025-11-18T17:21:35.750Z`
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;
    use std::time::Instant;

    thread_local! {
        /// What [`super::now`] says on this thread.
        pub(crate) static SET: Cell<Option<Instant>> = const { Cell::new(None) };
    }
}
