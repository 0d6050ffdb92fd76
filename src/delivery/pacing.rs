//! How fast held events go back to Kafka. Pure: time is a parameter.

use std::time::{Duration, Instant};

use crate::setting::count;

/// How fast an administrator wants it.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Kafka")]
#[group(skip)]
pub struct Options {
    /// Held events per second that go to Kafka after an outage (to PostgreSQL, where there is no Kafka); 0 is unlimited
    #[arg(long, env, default_value = "2000", value_name = "EVENTS", value_parser = count(0..=1_000_000_u32))]
    pub recovery_rate: u32,
}

/// A rate that is never exceeded over any second: what was not used is not saved up.
#[derive(Clone, Debug)]
pub struct Pace {
    per_second: u32,
    next_at: Option<Instant>,
}

impl Pace {
    /// At most this many events per second; 0 is unlimited.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { per_second, next_at: None }
    }

    /// The most events that one write should take, so that a limit is kept smoothly.
    #[must_use]
    pub fn portion(&self, most: usize) -> usize {
        match self.per_second {
            0 => most,
            rate => most.min((rate as usize / 10).max(1)),
        }
    }

    /// How long to wait before the next write.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Duration {
        self.next_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// Accounts for a write that begins now.
    pub fn spend(&mut self, now: Instant, events: usize) {
        if self.per_second > 0 {
            let cost = Duration::from_secs_f64(events as f64 / f64::from(self.per_second));
            self.next_at = Some(now + cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_over_every_second() {
        let start = Instant::now();
        let (mut pace, mut now, mut sent) = (Pace::new(2_000), start, 0);
        while now < start + Duration::from_secs(10) {
            let events = pace.portion(500);
            pace.spend(now, events);
            sent += events;
            now += pace.wait(now);
        }
        assert_eq!(sent, 20_000);
    }

    #[test]
    fn no_second_has_more_than_the_rate_and_one_write() {
        // Writes that take their time, and pauses between them, as a busy broker makes them.
        let start = Instant::now();
        for rate in [1, 7, 200, 2_000] {
            let (mut pace, mut now, mut writes) = (Pace::new(rate), start, Vec::new());
            for step in 0..400_u64 {
                let events = pace.portion(500);
                pace.spend(now, events);
                writes.push((now, events));
                now += Duration::from_millis(step * 37 % 170);
                now += pace.wait(now);
            }
            for (first, _) in &writes {
                let second =
                    writes.iter().filter(|(at, _)| at >= first && *at <= *first + Duration::from_secs(1));
                let sent: usize = second.map(|(_, events)| events).sum();
                let most = rate as usize + (rate as usize / 10).max(1);
                assert!(sent <= most, "{sent} events in a second at a rate of {rate}");
            }
        }
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let start = Instant::now();
        let mut pace = Pace::new(10);
        pace.spend(start, 1);
        let later = start + Duration::from_secs(3_600);
        assert_eq!(pace.wait(later), Duration::ZERO);
        pace.spend(later, 1);
        assert_eq!(pace.wait(later), Duration::from_millis(100));
    }

    #[test]
    fn zero_is_unlimited() {
        let mut pace = Pace::new(0);
        pace.spend(Instant::now(), 1_000_000);
        assert_eq!(pace.wait(Instant::now()), Duration::ZERO);
        assert_eq!(pace.portion(500), 500);
    }
}
