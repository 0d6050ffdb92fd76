//! A daemon's wall clock, set as a test likes (`clock_jumps.c`).

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::daemon::Builder;
use super::{TempDir, shim};

/// The clock of every daemon that it drives.
pub(crate) struct WallClock {
    folder: TempDir,
    library: PathBuf,
}

impl WallClock {
    /// One that is right.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new();
        let library = shim::build("support/clock_jumps.c", folder.path());
        Self { folder, library }
    }

    pub(crate) fn drive(&self, daemon: Builder) -> Builder {
        daemon.env("LD_PRELOAD", self.library.display()).env("CLOCK_OFFSET", self.offset().display())
    }

    /// Sets it to this machine's clock and so many seconds.
    pub(crate) fn set_off_by(&self, seconds: i64) {
        let whole = self.folder.path().join("new");
        fs::write(&whole, seconds.to_string()).expect("a writable folder");
        fs::rename(whole, self.offset()).expect("a writable folder");
    }

    /// Sets it to a time in seconds since 1970.
    pub(crate) fn set_to(&self, seconds: i64) {
        self.set_off_by(seconds - now_s());
    }

    fn offset(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}

/// This machine's clock.
pub(crate) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_secs()).expect("seconds fit i64")
}
