//! What every connection waits for, and until when. There is one queue per kind of wait. All waits of a kind last equally
//! long, so the front of a queue is always the one that ends first: no search, no stale entries, no allocation in steady
//! state. The queues are also the orders that the door needs: which connection has been idle longest, which request has
//! waited longest for room inside.
//!
//! Invariant: a connection is in at most one queue.

use std::time::{Duration, Instant};

const NONE: usize = usize::MAX;

#[derive(Clone, Copy, Debug)]
struct Waiter {
    kind: usize,
    since: Instant,
    before: usize,
    after: usize,
}

#[derive(Clone, Copy, Debug)]
struct WaitQueue {
    front: usize,
    back: usize,
    len: usize,
    lasts: Duration,
}

/// The waits of one kind of connections; `K` kinds of wait, numbered from 0.
#[derive(Debug)]
pub(super) struct Timers<const K: usize> {
    queues: [WaitQueue; K],
    waiters: Vec<Option<Waiter>>,
}

impl<const K: usize> Timers<K> {
    /// How long a wait of each kind lasts.
    pub(super) fn new(lasts: [Duration; K]) -> Self {
        let queues = lasts.map(|lasts| WaitQueue { front: NONE, back: NONE, len: 0, lasts });
        Self { queues, waiters: Vec::new() }
    }

    /// `slot` begins to wait; what it waited for before no longer counts. `now` never goes back.
    pub(super) fn set(&mut self, slot: usize, kind: usize, now: Instant) {
        self.clear(slot);
        if self.waiters.len() <= slot {
            self.waiters.resize(slot + 1, None);
        }
        let queue = &mut self.queues[kind];
        let before = std::mem::replace(&mut queue.back, slot);
        queue.len += 1;
        if before == NONE {
            queue.front = slot;
        } else if let Some(waiter) = &mut self.waiters[before] {
            waiter.after = slot;
        }
        self.waiters[slot] = Some(Waiter { kind, since: now, before, after: NONE });
    }

    /// `slot` waits for nothing.
    pub(super) fn clear(&mut self, slot: usize) {
        let Some(waiter) = self.waiters.get_mut(slot).and_then(Option::take) else { return };
        let queue = &mut self.queues[waiter.kind];
        queue.len -= 1;
        if waiter.before == NONE {
            queue.front = waiter.after;
        } else if let Some(before) = &mut self.waiters[waiter.before] {
            before.after = waiter.after;
        }
        if waiter.after == NONE {
            queue.back = waiter.before;
        } else if let Some(after) = &mut self.waiters[waiter.after] {
            after.before = waiter.before;
        }
    }

    /// The one that has waited longest for this.
    pub(super) fn front(&self, kind: usize) -> Option<usize> {
        Some(self.queues[kind].front).filter(|&slot| slot != NONE)
    }

    /// The one that began to wait for this last.
    pub(super) fn back(&self, kind: usize) -> Option<usize> {
        Some(self.queues[kind].back).filter(|&slot| slot != NONE)
    }

    pub(super) fn len(&self, kind: usize) -> usize {
        self.queues[kind].len
    }

    /// When the wait of `slot` began.
    pub(super) fn since(&self, slot: usize) -> Option<Instant> {
        self.waiters.get(slot)?.as_ref().map(|waiter| waiter.since)
    }

    /// A slot whose wait is over, and what it waited for. It stays until it is set again or cleared.
    pub(super) fn expired(&self, now: Instant) -> Option<(usize, usize)> {
        (0..K).find_map(|kind| {
            let slot = self.front(kind)?;
            (self.deadline(kind)? <= now).then_some((slot, kind))
        })
    }

    /// When the next wait is over.
    pub(super) fn next(&self) -> Option<Instant> {
        (0..K).filter_map(|kind| self.deadline(kind)).min()
    }

    fn deadline(&self, kind: usize) -> Option<Instant> {
        let since = self.since(self.front(kind)?)?;
        since.checked_add(self.queues[kind].lasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_earliest_is_found_whatever_was_cleared_before_it() {
        let start = Instant::now();
        let mut timers = Timers::new([100 * MS, 10 * MS]);
        for slot in 0..4 {
            timers.set(slot, 0, start + MS * u32::try_from(slot).unwrap());
        }
        timers.set(7, 1, start + 50 * MS);
        assert_eq!(timers.next(), Some(start + 60 * MS));
        assert_eq!(timers.expired(start + 59 * MS), None);
        assert_eq!(timers.expired(start + 60 * MS), Some((7, 1)));
        timers.clear(7);
        timers.clear(0);
        timers.clear(2);
        assert_eq!((timers.front(0), timers.len(0)), (Some(1), 2));
        assert_eq!(timers.expired(start + 101 * MS), Some((1, 0)));
        timers.set(1, 0, start + 101 * MS);
        assert_eq!(timers.expired(start + 102 * MS), None);
        assert_eq!(timers.front(0), Some(3));
        timers.set(3, 1, start + 102 * MS);
        assert_eq!((timers.len(0), timers.len(1), timers.since(3)), (1, 1, Some(start + 102 * MS)));
        timers.clear(3);
        timers.clear(1);
        timers.clear(1);
        assert_eq!((timers.next(), timers.front(0), timers.front(1)), (None, None, None));
    }

    #[test]
    fn queues_agree_with_a_plain_list() {
        let start = Instant::now();
        let mut timers = Timers::new([MS, MS, MS]);
        let mut model: [Vec<usize>; 3] = [vec![], vec![], vec![]];
        let mut seed = 0x9e37_79b9_u32;
        for step in 0..20_000 {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            let (slot, kind) = ((seed >> 8) as usize % 9, (seed >> 16) as usize % 4);
            model.iter_mut().for_each(|queue| queue.retain(|&other| other != slot));
            if kind == 3 {
                timers.clear(slot);
            } else {
                timers.set(slot, kind, start + MS * step);
                model[kind].push(slot);
            }
            for (kind, queue) in model.iter().enumerate() {
                assert_eq!(
                    (timers.front(kind), timers.back(kind)),
                    (queue.first().copied(), queue.last().copied())
                );
                assert_eq!(timers.len(kind), queue.len());
            }
        }
    }
}
