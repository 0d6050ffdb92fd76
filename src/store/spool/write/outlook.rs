//! When the spool will be full at its present rate. Pure: time is a parameter.
//!
//! Invariant: a bounded number of samples, by the monotonic clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::{SPOOL_SAMPLE_EVERY, SPOOL_SAMPLES_MAX, SPOOL_SAMPLES_SPAN_MIN};

/// How much the spool held in the last minutes.
#[derive(Debug, Default)]
pub(super) struct Outlook(VecDeque<(Instant, u64)>);

impl Outlook {
    /// Whether it is time for another sample.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.0.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= SPOOL_SAMPLE_EVERY)
    }

    /// This many bytes are used now.
    pub(super) fn note(&mut self, now: Instant, used: u64) {
        if self.0.len() == SPOOL_SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, used));
    }

    /// How long `room` lasts at the rate of the samples. None: nothing grows, or it is too early to know.
    pub(super) fn full_in(&self, room: u64) -> Option<Duration> {
        let ((began, least), (now, most)) = (self.0.front()?, self.0.back()?);
        let span = now.saturating_duration_since(*began);
        let grown = most.checked_sub(*least).filter(|grown| *grown > 0)?;
        let left = span.as_secs_f64() * room as f64 / grown as f64;
        (span >= SPOOL_SAMPLES_SPAN_MIN).then(|| Duration::try_from_secs_f64(left).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(samples: &[(u64, u64)]) -> Outlook {
        let start = Instant::now();
        let mut outlook = Outlook::default();
        for &(second, used) in samples {
            outlook.note(start + Duration::from_secs(second), used);
        }
        outlook
    }

    #[test]
    fn what_is_left_lasts_as_long_as_the_rate_says() {
        let hour = Some(Duration::from_secs(3_600));
        for (what, samples, room, want) in [
            ("nothing known", &[][..], 1_000, None),
            ("one sample", &[(0, 5)], 1_000, None),
            ("too early", &[(0, 0), (1, 100)], 360_000, None),
            ("a steady rate", &[(0, 0), (5, 500), (10, 1_000)], 360_000, hour),
            ("in bursts", &[(0, 7), (5, 7), (10, 1_007)], 360_000, hour),
            ("it shrinks", &[(0, 500), (10, 100)], 1_000, None),
            ("it stays", &[(0, 500), (10, 500)], 1_000, None),
            ("it is full", &[(0, 0), (10, 500)], 0, Some(Duration::ZERO)),
        ] {
            assert_eq!(outlook(samples).full_in(room), want, "{what}");
        }
    }

    #[test]
    fn only_the_last_minutes_count() {
        let step = SPOOL_SAMPLE_EVERY.as_secs();
        let mut samples: Vec<(u64, u64)> = (0..500).map(|n| (n * step, n * 1_000_000)).collect();
        samples.extend((500..500 + SPOOL_SAMPLES_MAX as u64).map(|n| (n * step, 500_000_000)));
        let mut outlook = outlook(&samples);
        assert_eq!(outlook.0.len(), SPOOL_SAMPLES_MAX);
        assert_eq!(outlook.full_in(1 << 40), None);
        let last = outlook.0.back().unwrap().0;
        assert!(!outlook.is_due(last) && outlook.is_due(last + SPOOL_SAMPLE_EVERY));
        outlook.note(last + SPOOL_SAMPLE_EVERY, 500_001_000);
        assert!(outlook.full_in(1 << 40).is_some());
    }
}
