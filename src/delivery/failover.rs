//! When to use a remote store: a pure state machine, one [`Switch`] per store. No I/O, no clock: time
//! and outcomes come in, advice goes out.
//!
//! Rules: the first failure switches to the next store, so that an outage costs one batch its deadline and later
//! events nothing. Back again only after an acknowledged write on a new client: a held event that
//! recovery sent, or, where none is held, one live batch per backoff step. A store that fails soon
//! after its return is left alone longer each time, up to a cap.

use std::time::{Duration, Instant};

/// Between two trials of a store that is down.
const TRIAL_FIRST: Duration = Duration::from_millis(250);
const TRIAL_MOST: Duration = Duration::from_secs(2);
/// How long a store that flaps is left alone at most; below the 5 s in which a return must be used.
const HOLD_FIRST: Duration = Duration::from_millis(500);
const HOLD_MOST: Duration = Duration::from_secs(4);
/// A store that stayed up this long is steady again.
pub(crate) const STEADY_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first connection attempt runs; the first batch waits for it until then.
    Starting {
        until: Instant,
    },
    Up {
        since: Instant,
    },
    Down {
        since: Instant,
        retry_at: Instant,
        step: u32,
        proven: bool,
        /// A write failed here: a connection alone proves nothing.
        has_failed: bool,
    },
}

/// What to do with the batch in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Write it here.
    Use,
    /// Nothing is known yet: ask again in a moment, while the first connection is being made.
    Wait,
    /// Go on to the next store.
    Skip,
}

/// A change that people want to know about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The store was used and is not used any more.
    Lost,
    /// The store is used again, after this time.
    Back(Duration),
}

/// Whether one remote store is used.
#[derive(Clone, Debug)]
pub struct Switch {
    state: State,
    flaps: u32,
}

impl Switch {
    /// A store that is being connected for the first time, which may take `first_wait`.
    #[must_use]
    pub fn new(now: Instant, first_wait: Duration) -> Self {
        Self { state: State::Starting { until: now + first_wait }, flaps: 0 }
    }

    /// What to do with a batch now. `ready`: a fresh client is there; `backlog`: events are held, so
    /// that recovery makes the trials.
    #[must_use]
    pub fn advise(&mut self, now: Instant, ready: bool, backlog: bool) -> Advice {
        match self.state {
            State::Starting { until } if !ready && now < until => Advice::Wait,
            State::Starting { .. } if !ready => {
                self.not_connected(now);
                Advice::Skip
            }
            State::Down { retry_at, proven, .. } if now < retry_at || (backlog && !proven) => Advice::Skip,
            _ if ready => Advice::Use,
            _ => Advice::Skip,
        }
    }

    /// Whether a live event would go here now, and not as a trial: what people are told is `up`.
    #[must_use]
    pub fn is_usable(&self, now: Instant, ready: bool, backlog: bool) -> bool {
        ready
            && match self.state {
                State::Starting { .. } | State::Up { .. } => true,
                State::Down { retry_at, proven, has_failed, .. } => {
                    now >= retry_at && (proven || !(has_failed || backlog))
                }
            }
    }

    /// The last write succeeded.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// The first attempt to connect failed: nobody needs to wait for it any more.
    pub fn not_connected(&mut self, now: Instant) {
        if let State::Starting { .. } = self.state {
            self.state = State::Down { since: now, retry_at: now, step: 0, proven: false, has_failed: false };
        }
    }

    /// A write came back with every event of it acknowledged or refused for its own sake.
    pub fn succeeded(&mut self, now: Instant) -> Option<Edge> {
        let edge = match self.state {
            State::Up { since } => {
                if now - since >= STEADY_AFTER {
                    self.flaps = 0;
                }
                return None;
            }
            State::Down { since, .. } => Some(Edge::Back(now - since)),
            State::Starting { .. } => None,
        };
        self.state = State::Up { since: now };
        edge
    }

    /// A write left events behind.
    pub fn failed(&mut self, now: Instant) -> Option<Edge> {
        match self.state {
            State::Up { since } => {
                self.flaps = if now - since >= STEADY_AFTER { 0 } else { self.flaps + 1 };
                let retry_at = now + doubled(HOLD_FIRST, self.flaps, HOLD_MOST);
                self.state = State::Down { since: now, retry_at, step: 0, proven: false, has_failed: true };
                Some(Edge::Lost)
            }
            State::Starting { .. } => {
                let retry_at = now + TRIAL_FIRST;
                self.state = State::Down { since: now, retry_at, step: 0, proven: false, has_failed: true };
                Some(Edge::Lost)
            }
            State::Down { since, step, .. } => {
                let retry_at = now + doubled(TRIAL_FIRST, step, TRIAL_MOST);
                let step = step.saturating_add(1);
                self.state = State::Down { since, retry_at, step, proven: false, has_failed: true };
                None
            }
        }
    }

    /// Recovery has had a held event acknowledged: live batches may follow.
    pub fn proved(&mut self) {
        if let State::Down { proven, .. } = &mut self.state {
            *proven = true;
        }
    }
}

/// `first`, doubled `times` over, at most `most`.
#[must_use]
pub fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: bool = true;
    const ABSENT: bool = false;
    const BACKLOG: bool = true;
    const EMPTY: bool = false;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn up(now: Instant) -> Switch {
        let mut switch = Switch::new(now, ms(3_000));
        assert_eq!(switch.succeeded(now), None);
        switch
    }

    #[test]
    fn the_first_batch_waits_for_the_first_connection_and_no_longer() {
        let t = Instant::now();
        let mut switch = Switch::new(t, ms(3_000));
        assert_eq!(switch.advise(t + ms(2_999), ABSENT, EMPTY), Advice::Wait);
        assert_eq!(switch.clone().advise(t, READY, EMPTY), Advice::Use);
        let mut too_late = switch.clone();
        assert_eq!(too_late.advise(t + ms(3_000), ABSENT, EMPTY), Advice::Skip);
        assert_eq!(too_late.advise(t + ms(3_000), READY, BACKLOG), Advice::Skip, "it has to prove itself");
        switch.not_connected(t + ms(5));
        assert_eq!(switch.advise(t + ms(5), ABSENT, EMPTY), Advice::Skip);
        assert_eq!(switch.advise(t + ms(900), READY, EMPTY), Advice::Use);
    }

    #[test]
    fn a_failure_costs_one_batch_and_later_ones_nothing() {
        let t = Instant::now();
        let mut switch = up(t);
        assert_eq!(switch.failed(t), Some(Edge::Lost));
        assert_eq!(switch.advise(t, READY, EMPTY), Advice::Skip);
    }

    #[test]
    fn with_a_backlog_only_a_held_event_proves_that_the_store_is_back() {
        let t = Instant::now();
        let mut switch = up(t);
        switch.failed(t);
        let later = t + ms(60_000);
        assert_eq!(switch.advise(later, READY, BACKLOG), Advice::Skip);
        switch.proved();
        assert_eq!(switch.advise(later, ABSENT, BACKLOG), Advice::Skip);
        assert_eq!(switch.advise(later, READY, BACKLOG), Advice::Use);
        assert_eq!(switch.succeeded(later), Some(Edge::Back(ms(60_000))));
        assert_eq!(switch.advise(later, READY, BACKLOG), Advice::Use);
    }

    #[test]
    fn without_a_backlog_one_live_batch_per_backoff_step_is_the_trial() {
        let t = Instant::now();
        let mut switch = up(t);
        switch.failed(t);
        let mut now = t + ms(1_000);
        for step in [250, 500, 1_000, 2_000, 2_000] {
            assert_eq!(switch.advise(now, READY, EMPTY), Advice::Use);
            assert_eq!(switch.failed(now), None);
            assert_eq!(switch.advise(now + ms(step - 1), READY, EMPTY), Advice::Skip);
            now += ms(step);
        }
        assert_eq!(switch.advise(now, READY, EMPTY), Advice::Use);
    }

    #[test]
    fn a_failed_trial_needs_a_new_proof() {
        let t = Instant::now();
        let mut switch = up(t);
        switch.failed(t);
        switch.proved();
        switch.failed(t + ms(5_000));
        assert_eq!(switch.advise(t + ms(60_000), READY, BACKLOG), Advice::Skip);
    }

    #[test]
    fn flapping_is_damped_within_a_cap_and_forgiven_when_steady() {
        let t = Instant::now();
        let mut switch = up(t);
        let mut now = t;
        for hold in [1_000, 2_000, 4_000, 4_000] {
            now += ms(10);
            switch.failed(now);
            switch.proved();
            assert_eq!(switch.advise(now + ms(hold - 1), READY, BACKLOG), Advice::Skip);
            now += ms(hold);
            assert_eq!(switch.advise(now, READY, BACKLOG), Advice::Use);
            switch.succeeded(now);
        }
        now += STEADY_AFTER;
        switch.failed(now);
        assert_eq!(switch.advise(now + HOLD_FIRST, READY, EMPTY), Advice::Use);
    }

    #[test]
    fn every_combination_of_state_time_client_and_backlog_has_its_advice() {
        let t = Instant::now();
        let later = t + ms(10_000);
        let starting = Switch::new(t, ms(3_000));
        let used = up(t);
        let mut down = up(t);
        down.failed(t);
        let mut proven = down.clone();
        proven.proved();
        let mut unreached = Switch::new(t, ms(3_000));
        unreached.not_connected(t);
        let mut failed_trial = down.clone();
        failed_trial.failed(t);
        use Advice::{Skip, Use, Wait};
        // Ready and no backlog, ready and a backlog, not ready and no backlog, not ready and a backlog.
        for (name, switch, now, advice) in [
            ("starting", &starting, t, [Use, Use, Wait, Wait]),
            ("starting for too long", &starting, later, [Use, Use, Skip, Skip]),
            ("up", &used, t, [Use, Use, Skip, Skip]),
            ("up for long", &used, later, [Use, Use, Skip, Skip]),
            ("just lost", &down, t, [Skip; 4]),
            ("lost", &down, later, [Use, Skip, Skip, Skip]),
            ("proven too soon", &proven, t, [Skip; 4]),
            ("proven", &proven, later, [Use, Use, Skip, Skip]),
            ("never reached", &unreached, t, [Use, Skip, Skip, Skip]),
            ("trial just failed", &failed_trial, t, [Skip; 4]),
            ("trial failed", &failed_trial, later, [Use, Skip, Skip, Skip]),
        ] {
            let cases = [(READY, EMPTY), (READY, BACKLOG), (ABSENT, EMPTY), (ABSENT, BACKLOG)];
            assert_eq!(
                cases.map(|(ready, backlog)| switch.clone().advise(now, ready, backlog)),
                advice,
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_called_usable_takes_the_next_event_and_not_as_a_trial() {
        let t = Instant::now();
        let later = t + ms(10_000);
        let mut unreached = Switch::new(t, ms(3_000));
        unreached.not_connected(t);
        let mut lost = up(t);
        lost.failed(t);
        let mut proven = lost.clone();
        proven.proved();
        // Without a backlog, and with one.
        for (name, switch, now, usable) in [
            ("starting", &Switch::new(t, ms(3_000)), t, [true; 2]),
            ("up", &up(t), later, [true; 2]),
            ("never reached", &unreached, later, [true, false]),
            ("lost", &lost, later, [false; 2]),
            ("proven too soon", &proven, t, [false; 2]),
            ("proven", &proven, later, [true; 2]),
        ] {
            assert_eq!([EMPTY, BACKLOG].map(|it| switch.is_usable(now, READY, it)), usable, "{name}");
            assert_eq!([EMPTY, BACKLOG].map(|it| switch.is_usable(now, ABSENT, it)), [false; 2], "{name}");
        }
    }

    #[test]
    fn every_outcome_in_every_state_has_its_edge() {
        let t = Instant::now();
        let starting = || Switch::new(t, ms(3_000));
        let lost = || {
            let mut switch = up(t);
            switch.failed(t);
            switch
        };
        let now = t + ms(5_000);
        let back = Some(Edge::Back(ms(5_000)));
        // Of a success, of a failure.
        for (name, make, edges) in [
            ("starting", &starting as &dyn Fn() -> Switch, [None, Some(Edge::Lost)]),
            ("up", &|| up(t), [None, Some(Edge::Lost)]),
            ("down", &lost, [back, None]),
        ] {
            assert_eq!([make().succeeded(now), make().failed(now)], edges, "{name}");
        }
    }

    #[test]
    fn doubling_never_overflows() {
        assert_eq!(doubled(ms(250), 0, ms(2_000)), ms(250));
        assert_eq!(doubled(ms(250), u32::MAX, ms(2_000)), ms(2_000));
    }
}
