//! Repeats that nobody needs to read: so many lines a minute, the rest counted. Pure: time comes in.

use std::time::{Duration, Instant};

/// Lets so many lines a minute through and counts the rest.
#[derive(Debug)]
pub struct Throttle {
    most: u32,
    minute_began: Option<Instant>,
    passed: u32,
    hidden: u64,
}

impl Default for Throttle {
    /// One line a minute.
    fn default() -> Self {
        Self::new(1)
    }
}

impl Throttle {
    /// At most `most` lines a minute.
    #[must_use]
    pub const fn new(most: u32) -> Self {
        Self { most, minute_began: None, passed: 0, hidden: 0 }
    }

    /// Whether a line may be written now and, if so, how many were hidden before it.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        let fresh = self.minute_began.is_none_or(|began| now - began >= Duration::from_secs(60));
        if fresh {
            self.minute_began = Some(now);
            self.passed = 0;
        }
        if self.passed == self.most {
            self.hidden += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.hidden))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_hides_and_counts() {
        let start = Instant::now();
        let mut throttle = Throttle::new(2);
        assert_eq!(throttle.pass(start), Some(0));
        assert_eq!(throttle.pass(start), Some(0));
        assert_eq!(throttle.pass(start), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(59)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(60)), Some(2));
    }
}
