//! How many events came in each ten seconds of the last hour, for the status page. Without a lock: the first thread that
//! counts in new ten seconds reuses a slot, and at that moment a count may be lost, which does not matter in a plot.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::limits::{HISTORY_SLOT_S, HISTORY_SLOTS};

#[derive(Debug, Default)]
struct Slot {
    /// Which ten seconds since the start, counted from 1.
    number: AtomicU64,
    events: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub struct History(Vec<Slot>);

impl Default for History {
    fn default() -> Self {
        // One more than is shown: the current one.
        Self((0..=HISTORY_SLOTS).map(|_| Slot::default()).collect())
    }
}

impl History {
    /// Adds events that came this many seconds after the start.
    pub fn add(&self, events: usize, uptime_s: u64) {
        let number = uptime_s / HISTORY_SLOT_S + 1;
        let slot = self.slot(number);
        if slot.number.swap(number, Relaxed) != number {
            slot.events.store(0, Relaxed);
        }
        slot.events.fetch_add(events as u64, Relaxed);
    }

    /// Events in each complete ten seconds since the start, oldest first; an hour at most.
    #[must_use]
    pub fn counts(&self, uptime_s: u64) -> Vec<u64> {
        let now = uptime_s / HISTORY_SLOT_S + 1;
        let first = now.saturating_sub(HISTORY_SLOTS as u64).max(1);
        (first..now).map(|number| self.count(number)).collect()
    }

    /// Events per second now: over the last complete ten seconds and the current ones.
    #[must_use]
    pub fn rate(&self, uptime_s: u64) -> f64 {
        let now = uptime_s / HISTORY_SLOT_S + 1;
        match now {
            1 => self.count(1) as f64 / uptime_s.max(1) as f64,
            _ => {
                let seconds = HISTORY_SLOT_S + uptime_s % HISTORY_SLOT_S;
                (self.count(now - 1) + self.count(now)) as f64 / seconds as f64
            }
        }
    }

    fn slot(&self, number: u64) -> &Slot {
        &self.0[(number % self.0.len() as u64) as usize]
    }

    fn count(&self, number: u64) -> u64 {
        let slot = self.slot(number);
        if slot.number.load(Relaxed) == number { slot.events.load(Relaxed) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let history = History::default();
        assert!(history.counts(0).is_empty());
        history.add(5, 0);
        history.add(2, 9);
        assert_eq!((history.counts(9), history.counts(10)), (vec![], vec![7]));
        history.add(3, 25);
        assert_eq!(history.counts(39), [7, 0, 3]);
        let hour = HISTORY_SLOT_S * HISTORY_SLOTS as u64;
        assert_eq!(history.counts(hour)[0], 7);
        let later = history.counts(hour + 10);
        assert_eq!((later.len(), later[0], later[1]), (HISTORY_SLOTS, 0, 3));
        // Around the ring: the counts of an hour ago are gone.
        history.add(1, hour + 20);
        assert_eq!(history.counts(hour + 30).last(), Some(&1));
        assert_eq!(history.counts(10 * hour), vec![0; HISTORY_SLOTS]);
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let history = History::default();
        history.add(30, 2);
        assert_eq!(history.rate(3), 10.0);
        history.add(50, 12);
        assert_eq!(history.rate(15), 80.0 / 15.0);
        assert_eq!(history.rate(100), 0.0);
    }
}
