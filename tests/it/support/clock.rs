//! A daemon's wall clock, set as a test likes (`clock_jumps.c`).

use std::time::{SystemTime, UNIX_EPOCH};

use super::daemon::Builder;
use super::shim::Shim;

/// The clock of every daemon that it drives.
pub(crate) struct WallClock(Shim);

impl WallClock {
    /// One that is right.
    pub(crate) fn new() -> Self {
        Self(Shim::new("support/clock_jumps.c", "CLOCK_JUMPS"))
    }

    pub(crate) fn drive(&self, daemon: Builder) -> Builder {
        self.0.under(daemon)
    }

    /// Sets it to this machine's clock and so many seconds.
    pub(crate) fn set_off_by(&self, seconds: i64) {
        self.0.tell("offset", &seconds.to_string());
    }

    /// Sets it to a time in seconds since 1970.
    pub(crate) fn set_to(&self, seconds: i64) {
        self.set_off_by(seconds - now_s());
    }
}

/// This machine's clock.
pub(crate) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_secs()).expect("seconds fit i64")
}
