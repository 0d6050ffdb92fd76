//! What the writer does beside its commands, once per second: old rows, free pages, the log, its counts, a spool
//! that could not be written.
//!
//! Invariants: every step is short; while commands wait there is one step, no more; no row is removed for its age
//! by a clock that is not trusted.

use std::mem;

use crossbeam_channel::Receiver;
use rusqlite::{Transaction, TransactionBehavior, ffi};

use super::mend::PAGE_BYTES;
use super::work::{self, Command, Work};
use super::writer::Writer;
use super::{keep, schema, write};
use crate::limits::{SPOOL_CHECKPOINT_BYTES, SPOOL_KEEP_EVERY, SPOOL_LOG_SAY_BYTES};

impl Writer {
    pub(super) fn idle(&mut self, inbox: &Receiver<Command>) {
        if self.shared.take_suspicion() && self.damage.is_none() {
            self.damage = Some(schema::sqlite_error(ffi::SQLITE_CORRUPT, "a reader met a damaged page"));
            self.db = None;
        }
        if self.db.is_none() || self.failing.is_some() {
            self.try_again();
            if self.failing.is_some() {
                return;
            }
        }
        let now = self.clock.now();
        if self.kept_at.is_none_or(|at| now - at >= SPOOL_KEEP_EVERY) {
            self.kept_at = Some(now);
            self.reserve();
            self.recount_if_drifted();
            self.remove_expired(inbox);
            self.report_removed();
        }
        self.give_back(inbox);
        self.checkpoint_if_due(1);
    }

    /// Notes how much there is, and estimates when it will be too much.
    pub(super) fn look_ahead(&mut self) {
        let now = self.clock.now();
        if !self.outlook.is_due(now) {
            return;
        }
        let (used, free) = (self.shared.figures().bytes, self.files.free_bytes());
        self.outlook.note(now, used);
        let full_in = self.outlook.full_in(self.max_bytes.saturating_sub(used).min(free));
        self.shared.update(|figures| (figures.full_in, figures.disk_free) = (full_in, free));
    }

    /// Whether the spool can be written again is found out without an event: nobody may send one while
    /// the daemon says that it cannot store it.
    fn try_again(&mut self) {
        let full = self.failing.as_ref().is_some_and(|failing| failing.full);
        if full && self.files.free_bytes() < SPOOL_CHECKPOINT_BYTES {
            return;
        }
        // The writer logs what is wrong; the next tick tries again.
        let _ = self.transact(&[&Work::Touch], false);
    }

    /// A count of none hides rows from recovery, and a count of some makes it wait for a row that
    /// is not there. Damage in a file too large to be read whole at start can do both.
    fn recount_if_drifted(&mut self) {
        let Some(db) = self.db.as_ref() else { return };
        let done = write::drifted(db, self.counts).and_then(|drifted| {
            if !drifted {
                return Ok(None);
            }
            let tx = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
            write::recount(&tx)?;
            tx.commit()?;
            let counts = write::counts(db)?.expect("BUG: counted, but not noted");
            work::finish(db, counts, |_, _| Ok(())).map(Some)
        });
        match done {
            Ok(None) => {}
            Ok(Some(done)) => {
                log::warn!(
                    "the spool's counts did not match its rows, which were counted again: {:?} instead of {:?}",
                    done.counts,
                    self.counts
                );
                let (before, now) = (self.counts.held, done.counts.held);
                self.counts = done.counts;
                self.shared.update(|figures| {
                    figures.late += now.saturating_sub(before);
                    figures.lost += before.saturating_sub(now);
                });
                self.publish(&done);
            }
            Err(error) => {
                self.fault(error);
            }
        }
    }

    /// Removes old home rows, batch by batch, until none is left or a command waits.
    fn remove_expired(&mut self, inbox: &Receiver<Command>) {
        let now_ms = self.clock.record_ms();
        if !self.clock_trust.is_trusted(self.clock.now(), now_ms) {
            log::debug!(
                "no row is removed for its age yet: the wall clock has not run evenly for long enough"
            );
            return;
        }
        let cutoff_ms = now_ms.saturating_sub(i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX));
        while self.counts.home > 0 {
            let Some(db) = self.db.as_ref() else { return };
            let before = self.counts;
            let done = work::finish(db, before, |tx, tally| {
                keep::remove_expired(tx, cutoff_ms, now_ms, tally).map(drop)
            });
            match done {
                Ok(done) => {
                    self.counts = done.counts;
                    self.log_bytes += done.tally.bytes;
                    self.removed_unreported += done.tally.removed;
                    self.publish(&done);
                    if done.tally.removed == 0 {
                        // What is left to do waits for the next round, not for the next tick.
                        return;
                    }
                    self.checkpoint_if_due(SPOOL_CHECKPOINT_BYTES);
                }
                Err(error) => {
                    self.fault(error);
                    return;
                }
            }
            if !inbox.is_empty() {
                // A command waits: goes on at the next tick.
                self.kept_at = None;
                return;
            }
        }
    }

    pub(super) fn report_removed(&mut self) {
        let removed = mem::take(&mut self.removed_unreported);
        if removed > 0 {
            log::info!(
                "removed {removed} events whose home is the spool, oldest first: older than KEEP_DAYS, or to stay \
                 below SPOOL_MAX_BYTES"
            );
        }
    }

    fn give_back(&mut self, inbox: &Receiver<Command>) {
        loop {
            let Some(db) = self.db.as_ref() else { return };
            match keep::give_back(db) {
                Ok(true) => {
                    self.log_bytes += SPOOL_CHECKPOINT_BYTES / 4;
                    self.checkpoint_if_due(SPOOL_CHECKPOINT_BYTES);
                    if !inbox.is_empty() {
                        return;
                    }
                }
                Ok(false) => return,
                Err(error) => {
                    self.fault(error);
                    return;
                }
            }
        }
    }

    pub(super) fn reserve(&self) {
        if let Err(error) = self.files.reserve() {
            log::warn!("cannot keep disk room for deletes beside {}: {error}", self.files.database.display());
        }
    }

    /// Brings the log into the file once about `bytes` were written to it. Readers never block it: what
    /// they still need stays in the log until the next time.
    pub(super) fn checkpoint_if_due(&mut self, bytes: u64) {
        if self.log_bytes < bytes {
            return;
        }
        let Some(db) = self.db.as_ref() else { return };
        self.log_bytes = 0;
        match db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1)) {
            Ok(pages) => self.report_log(pages.unsigned_abs().saturating_mul(PAGE_BYTES as u64)),
            Err(error) => drop(self.fault(error)),
        }
    }

    /// Only a program whose read does not end makes the log grow: our own reads are short.
    fn report_log(&mut self, bytes: u64) {
        if bytes >= SPOOL_LOG_SAY_BYTES
            && let Some(suppressed) = self.log_lines.pass(self.clock.now())
        {
            log::warn!(
                "the spool's write-ahead log has grown to {bytes} bytes, because another program has been reading {} \
                 for a long time: end its read{suppressed}",
                self.files.database.display()
            );
        }
    }
}
