//! Time that stands still until it is moved, and wall clocks that people set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::host::clock::Clock;
use crate::limits::RELEASED_MS;

/// The time that passes for everybody in a world.
#[derive(Debug)]
pub(super) struct Time {
    began: Instant,
    now: Mutex<Instant>,
}

impl Time {
    pub(super) fn new() -> Arc<Self> {
        let began = Instant::now();
        Arc::new(Self { began, now: Mutex::new(began) })
    }

    pub(super) fn now(&self) -> Instant {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn advance(&self, time: Duration) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }

    pub(super) fn passed(&self) -> Duration {
        self.now() - self.began
    }

    /// What a clock shows that is right. It begins some time after the release.
    pub(super) fn true_ms(&self) -> i64 {
        let passed = i64::try_from(self.passed().as_millis()).expect("no test takes that long");
        RELEASED_MS + 86_400_000 + passed
    }
}

/// One machine's clocks.
#[derive(Debug)]
pub(super) struct VirtualClock {
    time: Arc<Time>,
    /// How far the wall clock is ahead.
    ahead_ms: AtomicI64,
}

impl VirtualClock {
    /// A clock that is right, of a machine that is alone.
    pub(super) fn new() -> Self {
        Self::of(&Time::new())
    }

    /// A clock that is right.
    pub(super) fn of(time: &Arc<Time>) -> Self {
        Self { time: Arc::clone(time), ahead_ms: AtomicI64::new(0) }
    }

    /// Time passes.
    pub(super) fn advance(&self, time: Duration) {
        self.time.advance(time);
    }

    /// Time passes up to `at`, if that is still to come.
    pub(super) fn advance_to(&self, at: Instant) {
        let left = at.saturating_duration_since(self.now());
        self.advance(left);
    }

    /// Somebody sets the wall clock.
    pub(super) fn set_wall(&self, wall_ms: i64) {
        self.ahead_ms.store(wall_ms - self.time.true_ms(), Ordering::Release);
    }

    /// Somebody sets the wall clock so far ahead of the right time; below zero: behind it.
    pub(super) fn set_ahead(&self, ms: i64) {
        self.ahead_ms.store(ms, Ordering::Release);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        self.time.now()
    }

    fn wall_ms(&self) -> i64 {
        self.time.true_ms() + self.ahead_ms.load(Ordering::Acquire)
    }
}
