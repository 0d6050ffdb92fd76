//! Whether to trust the wall clock when it makes rows old. A board without a battery, or with a bad one, boots in
//! another decade and its clock is set minutes later; rows that were removed in between would be lost, while an
//! hour's delay costs nothing.
//!
//! Pure: time is a parameter. Invariant: a clock that was set, or that has just been started, is not trusted.

use std::time::{Duration, Instant};

use crate::limits::SPOOL_CLOCK_JUMP;

/// The wall clock compared with the monotonic one.
#[derive(Debug)]
pub(super) struct ClockTrust {
    trusted_after: Duration,
    /// When it was last looked at and what it showed, and since when it has run evenly.
    seen: Option<(Instant, i64, Instant)>,
}

impl ClockTrust {
    /// A clock that is trusted after it has run evenly for this time.
    pub(super) fn new(trusted_after: Duration) -> Self {
        Self { trusted_after, seen: None }
    }

    /// Whether the clock, which shows `wall_ms` now, is trusted.
    pub(super) fn is_trusted(&mut self, now: Instant, wall_ms: i64) -> bool {
        let since = match self.seen {
            Some((at, shown_ms, since)) if !jumped(now - at, wall_ms.saturating_sub(shown_ms)) => since,
            _ => now,
        };
        self.seen = Some((now, wall_ms, since));
        now - since >= self.trusted_after
    }
}

fn jumped(passed: Duration, shown_passed_ms: i64) -> bool {
    let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
    u128::from(passed_ms.abs_diff(shown_passed_ms)) > SPOOL_CLOCK_JUMP.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_trusted_after_an_even_hour() {
        const MINUTE_MS: i64 = 60_000;
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let mut clock = ClockTrust::new(Duration::from_secs(3_600));
        for (minute, wall_minutes, trusted) in [
            (0, 0, false),
            (59, 59, false),
            (60, 60, true),
            // A little drift is not a jump; an hour is, either way.
            (61, 62, true),
            (62, 122, false),
            (121, 181, false),
            (122, 182, true),
            (123, 20 * 365 * 24 * 60, false),
            (124, 184, false),
            (183, 243, false),
            (184, 244, true),
        ] {
            let is_trusted = clock.is_trusted(at(minute), 1_793_491_200_000 + wall_minutes * MINUTE_MS);
            assert_eq!(is_trusted, trusted, "minute {minute}");
        }
        assert!(ClockTrust::new(Duration::ZERO).is_trusted(start, 0));
    }
}
