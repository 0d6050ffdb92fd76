//! Whether to believe the wall clock when it says that rows are old. A board without a battery, or one whose
//! battery lies, boots in another decade and is put right minutes later; rows that were removed in between
//! would be gone for good, while an hour's delay costs nothing.
//!
//! Pure: times come in.

use std::time::{Duration, Instant};

use crate::limits::SPOOL_CLOCK_JUMP;

/// The wall clock beside the monotonic one.
#[derive(Debug)]
pub(super) struct Clock {
    settles: Duration,
    /// When it was last looked at and what it said, and since when it has run evenly.
    seen: Option<(Instant, i64, Instant)>,
}

impl Clock {
    /// One that is believed after running evenly for so long.
    pub(super) fn new(settles: Duration) -> Self {
        Self { settles, seen: None }
    }

    /// Whether the clock, which says `wall_ms` now, has settled.
    pub(super) fn is_settled(&mut self, now: Instant, wall_ms: i64) -> bool {
        let since = match self.seen {
            Some((at, said_ms, since)) if !jumped(now - at, wall_ms.saturating_sub(said_ms)) => since,
            _ => now,
        };
        self.seen = Some((now, wall_ms, since));
        now - since >= self.settles
    }
}

fn jumped(passed: Duration, said_passed_ms: i64) -> bool {
    let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
    u128::from(passed_ms.abs_diff(said_passed_ms)) > SPOOL_CLOCK_JUMP.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_believed_after_an_even_hour() {
        const MINUTE_MS: i64 = 60_000;
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let mut clock = Clock::new(Duration::from_secs(3_600));
        for (minute, wall_minutes, settled) in [
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
            let said = clock.is_settled(at(minute), 1_793_491_200_000 + wall_minutes * MINUTE_MS);
            assert_eq!(said, settled, "minute {minute}");
        }
        assert!(Clock::new(Duration::ZERO).is_settled(start, 0));
    }
}
