//! What the writer does when nobody asks it for anything: old rows, free pages, the log, a spool that
//! could not be written. Every step is short, and a waiting command comes first.

use std::mem;
use std::time::Instant;

use crossbeam_channel::Receiver;
use rusqlite::ffi;

use super::work::{self, Command, Work};
use super::writer::Writer;
use super::{keep, schema};
use crate::clock;
use crate::limits::{SPOOL_CHECKPOINT_BYTES, SPOOL_KEEP_EVERY};

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
        if self.kept_at.is_none_or(|at| at.elapsed() >= SPOOL_KEEP_EVERY) {
            self.kept_at = Some(Instant::now());
            self.reserve();
            self.remove_expired(inbox);
            self.say_removed();
        }
        self.give_back(inbox);
        self.checkpoint_if_due(1);
    }

    /// Whether the spool can be written again is found out without an event: nobody may send one while
    /// the daemon says that it can't store it.
    fn try_again(&mut self) {
        let full = self.failing.as_ref().is_some_and(|failing| failing.full);
        if full && self.files.free_bytes() < SPOOL_CHECKPOINT_BYTES {
            return;
        }
        // What is wrong is said by the writer; the next tick tries again.
        let _ = self.transact(&[&Work::Touch], false);
    }

    /// Removes old home rows, batch by batch, until none is left or a command waits.
    fn remove_expired(&mut self, inbox: &Receiver<Command>) {
        let now_ms = clock::record_ms();
        let cutoff_ms = now_ms.saturating_sub(i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX));
        while self.counts.home > 0 && inbox.is_empty() {
            let Some(db) = self.db.as_ref() else { return };
            let before = self.counts;
            let done = work::finish(db, before, |tx, tally| {
                keep::remove_expired(tx, cutoff_ms, now_ms, tally).map(drop)
            });
            match done {
                Ok(done) => {
                    self.counts = done.counts;
                    self.log_bytes += done.tally.bytes;
                    self.removed_unsaid += done.tally.removed;
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
        }
        if self.counts.home > 0 {
            // Interrupted by a command: goes on at the next idle tick.
            self.kept_at = None;
        }
    }

    pub(super) fn say_removed(&mut self) {
        let removed = mem::take(&mut self.removed_unsaid);
        if removed > 0 {
            log::info!(
                "removed {removed} events whose home is the spool, oldest first: older than KEEP_DAYS, or to stay \
                 below SPOOL_MAX_BYTES"
            );
        }
    }

    fn give_back(&mut self, inbox: &Receiver<Command>) {
        while inbox.is_empty() {
            let Some(db) = self.db.as_ref() else { return };
            match keep::give_back(db) {
                Ok(true) => {
                    self.log_bytes += SPOOL_CHECKPOINT_BYTES / 4;
                    self.checkpoint_if_due(SPOOL_CHECKPOINT_BYTES);
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
            log::warn!("can't keep disk room for deletes beside {}: {error}", self.files.database.display());
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
        if let Err(error) = db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            self.fault(error);
        }
    }
}
