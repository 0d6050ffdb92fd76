//! Passes over the backlog: how much the next write may risk, which rows wait for the next pass, and what has been
//! reported. Pure: no I/O, time is a parameter.
//!
//! Invariant: nothing of a key overtakes a row of it that waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use log::{info, warn};

use crate::event::Event;
use crate::host::throttle::Throttle;
use crate::limits::{LOG_EDGES_PER_MINUTE, RECOVERY_BLOCKED_MAX, RECOVERY_EVENTS_MAX};
use crate::store::{StoreError, StoredIn};

/// A head of the backlog that fails this often while nothing else is tried is passed over.
const HEAD_TRIES: u32 = 2;
/// After more writes in a row than this without an answer the target was down, whatever rows were tried.
const OUTAGE_TRIES: u32 = 8;

/// See the module.
pub(in crate::delivery) struct Passes {
    target: StoredIn,
    /// Events that the next write may risk: doubled by success, halved by failure, one after none came through.
    most: usize,
    /// Writes in a row of which nothing was acknowledged.
    failures: u32,
    /// This pass has begun again after an outage: once, because it may be the rows after all.
    forgiven: bool,
    /// Per backlog, the row behind which the next page begins: what is before it waits for the next pass.
    after: Vec<i64>,
    /// Keys of the rows that wait: nothing of theirs may overtake them.
    blocked: HashSet<Bytes>,
    began: Option<Instant>,
    pub(in crate::delivery) moved: u64,
    last_trouble: Option<StoreError>,
    edges: Throttle,
    letters: Throttle,
}

impl Passes {
    pub(in crate::delivery) fn new(target: StoredIn) -> Self {
        Self {
            target,
            most: 1,
            failures: 0,
            forgiven: false,
            after: Vec::new(),
            blocked: HashSet::new(),
            began: None,
            moved: 0,
            last_trouble: None,
            edges: Throttle::new(LOG_EDGES_PER_MINUTE),
            letters: Throttle::new(LOG_EDGES_PER_MINUTE),
        }
    }

    pub(in crate::delivery) fn most(&self) -> usize {
        self.most
    }

    /// Where each backlog's next page begins.
    pub(in crate::delivery) fn cursors(&mut self, backlogs: usize) -> Vec<i64> {
        self.after.resize(backlogs, 0);
        self.after.clone()
    }

    /// Whether an older event of the same key still waits.
    pub(in crate::delivery) fn is_blocked(&self, event: &Event) -> bool {
        self.has_blocked() && self.blocked.contains(event.key())
    }

    /// Whether events of any key wait.
    pub(in crate::delivery) fn has_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Leaves rows, by backlog and sequence, for the next pass.
    pub(in crate::delivery) fn pass_over(&mut self, rows: impl IntoIterator<Item = (usize, i64)>) {
        for (backlog, seq) in rows {
            if let Some(after) = self.after.get_mut(backlog) {
                *after = (*after).max(seq);
            }
        }
    }

    /// At the end of a pass: true when rows were passed over, so that there is another to make.
    pub(in crate::delivery) fn begin_again(&mut self) -> bool {
        let passed_over = self.after.iter().any(|after| *after > 0);
        self.after.fill(0);
        self.blocked.clear();
        passed_over
    }

    /// Everything was answered. What was passed over while the target was down is the oldest, and comes first.
    pub(in crate::delivery) fn wrote(&mut self, events: usize, now: Instant) {
        if events == 0 {
            return;
        }
        // The caller has passed over what it will, so that no cursor is left behind the oldest row.
        if std::mem::take(&mut self.failures) > OUTAGE_TRIES && !self.forgiven {
            self.begin_again();
            self.forgiven = true;
        }
        self.most = (2 * self.most).min(RECOVERY_EVENTS_MAX);
        self.forgiven &= self.most < RECOVERY_EVENTS_MAX;
        if self.began.is_none() {
            self.began = Some(now);
            if let Some(suppressed) = self.edges.pass(now) {
                info!("held events go to {}{suppressed}", self.target.name());
            }
        }
    }

    /// Some rows were not taken. They are passed over once it is clear that it is them and not the target:
    /// then true.
    pub(in crate::delivery) fn failed<'a>(
        &mut self,
        answered: bool,
        left: impl Iterator<Item = (usize, i64, &'a Bytes)>,
    ) -> bool {
        self.failures = if answered { 0 } else { self.failures + 1 };
        self.most = if answered { (self.most / 2).max(1) } else { 1 };
        if !answered && self.failures < HEAD_TRIES {
            return false;
        }
        for (backlog, seq, key) in left {
            self.pass_over([(backlog, seq)]);
            self.blocked.insert(key.clone());
        }
        if self.blocked.len() > RECOVERY_BLOCKED_MAX {
            self.begin_again();
            return false;
        }
        true
    }

    /// Nothing is held any more.
    pub(in crate::delivery) fn finish(&mut self, now: Instant) {
        if let Some(began) = self.began.take()
            && let Some(suppressed) = self.edges.pass(now)
        {
            let (seconds, moved) = ((now - began).as_secs_f64(), self.moved);
            info!(
                "no event is held any more: {moved} went to {} seconds={seconds:.1}{suppressed}",
                self.target.name()
            );
        }
        self.moved = 0;
        self.last_trouble = None;
        // The next held event will be there because the target went down: it is a trial again.
        self.most = 1;
        self.forgiven = false;
    }

    /// One line per trouble, until everything is drained or it changes.
    pub(in crate::delivery) fn trouble(&mut self, store: StoredIn, error: &StoreError, now: Instant) {
        if self.last_trouble.as_ref() == Some(error) {
            return;
        }
        if let Some(suppressed) = self.edges.pass(now) {
            let (target, store) = (self.target.name(), store.name());
            let why = error.text();
            warn!("held events cannot go to {target} yet store={store} cause={why:?}{suppressed}");
        }
        self.last_trouble = Some(error.clone());
    }

    /// These rows of `store` became dead letters.
    pub(in crate::delivery) fn dead_lettered(
        &mut self,
        store: StoredIn,
        rows: &[(i64, Arc<str>)],
        now: Instant,
    ) {
        let Some((seq, why)) = rows.first() else { return };
        if let Some(suppressed) = self.letters.pass(now) {
            let (store, count) = (store.name(), rows.len());
            warn!(
                "held events became dead letters store={store} count={count} first={seq} cause={why:?}{suppressed}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Arrival;

    fn event(key: &'static str) -> Event {
        let arrival = Arrival::new(uuid::Uuid::nil(), 0);
        Event::restored(arrival, key.into(), "{}".into())
    }

    fn fail(passes: &mut Passes, answered: bool, seq: i64, key: &'static str) -> bool {
        let key = Bytes::from(key);
        passes.failed(answered, [(0, seq, &key)].into_iter())
    }

    #[test]
    fn a_write_grows_with_success_and_shrinks_with_failure() {
        let mut passes = Passes::new(StoredIn::Kafka);
        let grown: Vec<usize> = (0..10)
            .map(|_| {
                passes.wrote(1, Instant::now());
                passes.most()
            })
            .collect();
        assert_eq!(grown, [2, 4, 8, 16, 32, 64, 128, 256, RECOVERY_EVENTS_MAX, RECOVERY_EVENTS_MAX]);
        fail(&mut passes, true, 1, "a");
        assert_eq!(passes.most(), RECOVERY_EVENTS_MAX / 2);
        fail(&mut passes, false, 1, "a");
        assert_eq!(passes.most(), 1);
    }

    #[test]
    fn a_target_that_is_down_is_tried_with_the_head_before_the_head_is_blamed() {
        let mut passes = Passes::new(StoredIn::Kafka);
        assert!(!fail(&mut passes, false, 5, "a"));
        assert_eq!(passes.cursors(1), [0]);
        assert!(fail(&mut passes, false, 5, "a"));
        assert_eq!(passes.cursors(1), [5]);
    }

    #[test]
    fn after_an_outage_the_oldest_come_first_again() {
        let mut passes = Passes::new(StoredIn::Kafka);
        passes.cursors(1);
        let outage = |passes: &mut Passes| (1..=20).for_each(|seq| _ = fail(passes, false, seq, "a"));
        outage(&mut passes);
        assert_eq!(passes.cursors(1), [20]);
        // What waits behind its key says nothing of the target.
        passes.wrote(0, Instant::now());
        assert_eq!(passes.cursors(1), [20]);
        passes.wrote(1, Instant::now());
        assert_eq!(passes.cursors(1), [0]);
        assert!(!passes.is_blocked(&event("a")));
        // If they fail once more it is them: the rest goes on without them until it flows again.
        outage(&mut passes);
        passes.wrote(1, Instant::now());
        assert_eq!(passes.cursors(1), [20]);
        (0..9).for_each(|_| passes.wrote(1, Instant::now()));
        outage(&mut passes);
        passes.wrote(1, Instant::now());
        assert_eq!(passes.cursors(1), [0]);
    }

    #[test]
    fn what_fails_holds_back_its_own_key_until_the_pass_ends() {
        let mut passes = Passes::new(StoredIn::Kafka);
        passes.cursors(1);
        fail(&mut passes, true, 5, "a");
        assert_eq!(passes.cursors(1), [5]);
        assert!(passes.is_blocked(&event("a")) && !passes.is_blocked(&event("b")));
        assert!(passes.begin_again());
        assert!(!passes.is_blocked(&event("a")));
        assert_eq!(passes.cursors(1), [0]);
        assert!(!passes.begin_again());
    }

    #[test]
    fn too_many_keys_that_wait_begin_a_new_pass() {
        let mut passes = Passes::new(StoredIn::Kafka);
        passes.cursors(1);
        let keys: Vec<Bytes> = (0..=RECOVERY_BLOCKED_MAX).map(|n| n.to_string().into()).collect();
        passes.failed(true, keys.iter().zip(1..).map(|(key, seq)| (0, seq, key)));
        assert_eq!(passes.cursors(1), [0]);
    }
}
