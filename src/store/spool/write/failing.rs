//! While writes fail: one line in the log when it begins and when it ends, and one per minute in between.

use std::sync::Arc;
use std::time::Instant;

use crate::limits::SPOOL_KEEP_EVERY;
use crate::store::spool::errors::Fault;
use crate::store::{Cause, StoreError};

/// Why work was not done, for its callers.
pub(super) enum Trouble {
    /// SQLite failed.
    Sqlite(Fault, Arc<str>),
    /// There is no file to write to.
    Closed(Cause, Arc<str>),
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Sqlite(fault, text) => Self::Unavailable(fault.cause(), text),
            Trouble::Closed(cause, text) => Self::Unavailable(cause, text),
        }
    }
}

/// Whether writes fail now.
#[derive(Default)]
pub(super) struct Failing(Option<Failures>);

struct Failures {
    since: Instant,
    logged: Instant,
    tries: u64,
    /// The disk has no room.
    full: bool,
}

impl Failing {
    /// The last write failed.
    pub(super) fn is_now(&self) -> bool {
        self.0.is_some()
    }

    /// It failed because the disk has no room.
    pub(super) fn is_for_room(&self) -> bool {
        self.0.as_ref().is_some_and(|failures| failures.full)
    }

    /// A write failed.
    pub(super) fn failed(&mut self, now: Instant, text: &str, full: bool) {
        match &mut self.0 {
            None => {
                log::error!("{text}");
                self.0 = Some(Failures { since: now, logged: now, tries: 1, full });
            }
            Some(failures) => {
                failures.full = full;
                failures.tries += 1;
                if now - failures.logged >= SPOOL_KEEP_EVERY {
                    log::error!("{text}: {} tries failed in {:?}", failures.tries, now - failures.since);
                    failures.logged = now;
                }
            }
        }
    }

    /// A write succeeded. True: the first one after failures.
    pub(super) fn succeeded(&mut self, now: Instant) -> bool {
        let Some(failures) = self.0.take() else { return false };
        let (tries, time) = (failures.tries, now - failures.since);
        log::info!("the spool can be written again, after {tries} failed tries in {time:.1?}");
        true
    }
}
