//! A clock that stands still until it is moved.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::host::clock::Clock;
use crate::limits::RELEASED_MS;

/// One machine's clocks.
#[derive(Debug)]
pub(super) struct VirtualClock(Mutex<Hands>);

#[derive(Debug)]
struct Hands {
    now: Instant,
    wall_ms: i64,
}

impl VirtualClock {
    /// A clock that is right, some time after the release.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Hands { now: Instant::now(), wall_ms: RELEASED_MS + 86_400_000 }))
    }

    /// Time passes.
    pub(super) fn advance(&self, time: Duration) {
        let mut hands = self.hands();
        hands.now += time;
        hands.wall_ms += i64::try_from(time.as_millis()).expect("no test takes that long");
    }

    /// Time passes up to `at`, if that is still to come.
    pub(super) fn advance_to(&self, at: Instant) {
        let left = at - self.now();
        self.advance(left);
    }

    /// Somebody sets the wall clock.
    pub(super) fn set_wall(&self, wall_ms: i64) {
        self.hands().wall_ms = wall_ms;
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        self.hands().now
    }

    fn wall_ms(&self) -> i64 {
        self.hands().wall_ms
    }
}
