//! What every connection waits for, and until when. One queue for each kind of wait; all waits of a
//! kind last equally long, so a queue is sorted by being filled, and its front is the earliest: no
//! search, no stale entries, no allocation in steady state. The queues double as the orders that
//! the door needs anyway: who is idle longest, which request waits longest for room inside.
//!
//! Invariant: a connection is in at most one queue.

use std::time::{Duration, Instant};

const NONE: usize = usize::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    kind: usize,
    since: Instant,
    before: usize,
    after: usize,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    front: usize,
    back: usize,
    len: usize,
    lasts: Duration,
}

/// The waits of one kind of connections; `K` kinds of wait, numbered from 0.
#[derive(Debug)]
pub(super) struct Timers<const K: usize> {
    queues: [Queue; K],
    links: Vec<Option<Link>>,
}

impl<const K: usize> Timers<K> {
    /// How long a wait of each kind lasts.
    pub(super) fn new(lasts: [Duration; K]) -> Self {
        let queues = lasts.map(|lasts| Queue { front: NONE, back: NONE, len: 0, lasts });
        Self { queues, links: Vec::new() }
    }

    /// `slot` begins to wait; what it waited for before no longer counts. `now` never goes back.
    pub(super) fn set(&mut self, slot: usize, kind: usize, now: Instant) {
        self.clear(slot);
        if self.links.len() <= slot {
            self.links.resize(slot + 1, None);
        }
        let queue = &mut self.queues[kind];
        let before = std::mem::replace(&mut queue.back, slot);
        queue.len += 1;
        if before == NONE {
            queue.front = slot;
        } else if let Some(link) = &mut self.links[before] {
            link.after = slot;
        }
        self.links[slot] = Some(Link { kind, since: now, before, after: NONE });
    }

    /// `slot` waits for nothing.
    pub(super) fn clear(&mut self, slot: usize) {
        let Some(link) = self.links.get_mut(slot).and_then(Option::take) else { return };
        let queue = &mut self.queues[link.kind];
        queue.len -= 1;
        if link.before == NONE {
            queue.front = link.after;
        } else if let Some(before) = &mut self.links[link.before] {
            before.after = link.after;
        }
        if link.after == NONE {
            queue.back = link.before;
        } else if let Some(after) = &mut self.links[link.after] {
            after.before = link.before;
        }
    }

    /// Who waits longest for this.
    pub(super) fn front(&self, kind: usize) -> Option<usize> {
        Some(self.queues[kind].front).filter(|&slot| slot != NONE)
    }

    /// Who began to wait for this last.
    pub(super) fn back(&self, kind: usize) -> Option<usize> {
        Some(self.queues[kind].back).filter(|&slot| slot != NONE)
    }

    pub(super) fn len(&self, kind: usize) -> usize {
        self.queues[kind].len
    }

    /// Since when `slot` waits.
    pub(super) fn since(&self, slot: usize) -> Option<Instant> {
        self.links.get(slot)?.as_ref().map(|link| link.since)
    }

    /// Someone whose wait is over, and what it was for. It stays until set anew or cleared.
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
