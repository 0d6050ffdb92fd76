//! Repeated log lines: a few per minute are written, the others are counted, and the next line says how many they
//! were. Pure: time is a parameter.

use std::fmt;
use std::time::{Duration, Instant};

/// Lines that were left out before one that is written. A log line ends with it: ` suppressed=3`, or nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suppressed(u64);

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " suppressed={count}"),
        }
    }
}

/// Allows a number of lines per minute and counts the others.
#[derive(Debug)]
pub struct Throttle {
    most: u32,
    minute_began: Option<Instant>,
    passed: u32,
    suppressed: u64,
}

impl Default for Throttle {
    /// One line per minute.
    fn default() -> Self {
        Self::new(1)
    }
}

impl Throttle {
    /// At most `most` lines per minute.
    #[must_use]
    pub const fn new(most: u32) -> Self {
        Self { most, minute_began: None, passed: 0, suppressed: 0 }
    }

    /// Some: a line may be written now, and ends with this.
    pub fn pass(&mut self, now: Instant) -> Option<Suppressed> {
        let is_new_minute = self.minute_began.is_none_or(|began| now - began >= Duration::from_secs(60));
        if is_new_minute {
            self.minute_began = Some(now);
            self.passed = 0;
        }
        if self.passed == self.most {
            self.suppressed += 1;
            return None;
        }
        self.passed += 1;
        Some(Suppressed(std::mem::take(&mut self.suppressed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_suppresses_repeats_and_says_how_many() {
        let start = Instant::now();
        let mut throttle = Throttle::new(2);
        let mut line = |after_s| {
            let suppressed = throttle.pass(start + Duration::from_secs(after_s));
            suppressed.map(|suppressed| format!("it failed cause=x{suppressed}"))
        };
        assert_eq!(line(0).as_deref(), Some("it failed cause=x"));
        assert_eq!(line(0).as_deref(), Some("it failed cause=x"));
        assert_eq!(line(0), None);
        assert_eq!(line(59), None);
        assert_eq!(line(60).as_deref(), Some("it failed cause=x suppressed=2"));
        assert_eq!(line(60).as_deref(), Some("it failed cause=x"));
    }
}
