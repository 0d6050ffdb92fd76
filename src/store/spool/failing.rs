//! While writes fail: what each error means for the connection, and one line in the log at the edges with
//! one a minute in between.

use std::sync::Arc;
use std::time::Instant;

use super::fault::{self, Fault};
use super::writer::Writer;
use crate::limits::SPOOL_KEEP_EVERY;
use crate::store::{Cause, StoreError};

/// Since when writes fail, and when that was last logged.
pub(super) struct Failing {
    since: Instant,
    said: Instant,
    tries: u64,
    /// The disk has no room.
    pub(super) full: bool,
}

/// Why work was not done, for callers.
pub(super) enum Trouble {
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

impl Writer {
    /// A failed transaction: what it means for the connection, and the text for callers and the log.
    pub(super) fn fault(&mut self, error: rusqlite::Error) -> Trouble {
        let fault = Fault::of(&error);
        let text: Arc<str> = fault::text("can't write to the spool", &self.files.database, &error).into();
        match fault {
            // The event's own trouble: the spool is well.
            Fault::Row => return Trouble::Sqlite(fault, text),
            Fault::Disk => self.db = None,
            Fault::Damaged => {
                self.db = None;
                self.damage = Some(error);
            }
            Fault::Full | Fault::Busy | Fault::Other => {}
        }
        self.failed(&text, fault == Fault::Full);
        Trouble::Sqlite(fault, text)
    }

    pub(super) fn failed(&mut self, text: &Arc<str>, full: bool) {
        let now = self.clock.now();
        self.shared.update(|figures| {
            figures.writable = false;
            figures.last_error = Some(Arc::clone(text));
        });
        match &mut self.failing {
            None => {
                log::error!("{text}");
                self.failing = Some(Failing { since: now, said: now, tries: 1, full });
            }
            Some(failing) => {
                failing.full = full;
                failing.tries += 1;
                if now - failing.said >= SPOOL_KEEP_EVERY {
                    log::error!("{text}: {} tries failed in {:?}", failing.tries, now - failing.since);
                    failing.said = now;
                }
            }
        }
    }

    pub(super) fn succeeded(&mut self) {
        if let Some(failing) = self.failing.take() {
            // The reserve may be used up: the next idle tick looks.
            self.kept_at = None;
            let (tries, time) = (failing.tries, self.clock.now() - failing.since);
            log::info!("the spool can be written again, after {tries} failed tries in {time:.1?}");
        }
    }
}
