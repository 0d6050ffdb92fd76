//! What the writer does beside its commands, once per second: old rows, free pages, the log, the counts, a spool
//! that could not be written.
//!
//! Invariants: every step is short; while commands wait there is one step, no more; no row is removed for its age
//! by a clock that is not trusted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::clock_trust::ClockTrust;
use super::commands::Command;
use super::database::Database;
use super::outlook::Outlook;
use crate::host::clock::Clock;
use crate::limits::{SPOOL_CHECKPOINT_BYTES, SPOOL_KEEP_EVERY, SPOOL_TICK};
use crate::store::spool::Settings;

/// What the upkeep remembers.
pub(super) struct Upkeep {
    keep: Duration,
    clock: Arc<dyn Clock>,
    clock_trust: ClockTrust,
    outlook: Outlook,
    /// When it last ran, and when it last looked at rows' age.
    ran_at: Instant,
    kept_at: Option<Instant>,
}

impl Upkeep {
    pub(super) fn new(settings: &Settings, database: &Database) -> Self {
        let mut upkeep = Self {
            keep: settings.keep,
            clock: Arc::clone(&settings.clock),
            clock_trust: ClockTrust::new(settings.clock_trusted_after),
            outlook: Outlook::default(),
            ran_at: settings.clock.now(),
            kept_at: None,
        };
        upkeep.look_ahead(database);
        upkeep
    }

    pub(super) fn run_if_due(&mut self, database: &mut Database, inbox: &Receiver<Command>) {
        if self.clock.now() - self.ran_at >= SPOOL_TICK {
            self.run(database, inbox);
            self.look_ahead(database);
            self.ran_at = self.clock.now();
        }
    }

    fn run(&mut self, database: &mut Database, inbox: &Receiver<Command>) {
        // Found out without an event: nobody may send one while the daemon says that it cannot store it.
        if !database.is_sound() {
            return;
        }
        if database.take_recovered() {
            // The reserve may be used up.
            self.kept_at = None;
        }
        let now = self.clock.now();
        if self.kept_at.is_none_or(|at| now - at >= SPOOL_KEEP_EVERY) {
            self.kept_at = Some(now);
            database.reserve();
            database.recount_if_drifted();
            self.remove_expired(database, inbox);
            database.report_removed();
        }
        let mut gave_back = false;
        while database.give_back() {
            gave_back = true;
            database.checkpoint_if_due(SPOOL_CHECKPOINT_BYTES);
            if !inbox.is_empty() {
                break;
            }
        }
        if gave_back {
            // Only this makes the file shorter. Otherwise the log waits until it is large: the idle spool writes nothing.
            database.checkpoint_if_due(1);
        }
    }

    /// Notes how much there is, and estimates when it will be too much.
    fn look_ahead(&mut self, database: &Database) {
        let now = self.clock.now();
        if !self.outlook.is_due(now) {
            return;
        }
        let (used, room) = database.room();
        self.outlook.note(now, used);
        let full_in = self.outlook.full_in(room);
        database.state().update(|figures| figures.full_in = full_in);
    }

    /// Removes old home rows, batch by batch, until none is left or a command waits.
    fn remove_expired(&mut self, database: &mut Database, inbox: &Receiver<Command>) {
        let now_ms = self.clock.record_ms();
        if !self.clock_trust.is_trusted(self.clock.now(), now_ms) {
            log::debug!(
                "no row is removed for its age yet: the wall clock has not run evenly for long enough"
            );
            return;
        }
        let cutoff_ms = now_ms.saturating_sub(i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX));
        while database.remove_expired(cutoff_ms, now_ms) {
            database.checkpoint_if_due(SPOOL_CHECKPOINT_BYTES);
            if !inbox.is_empty() {
                // A command waits: the rest follows at the next tick.
                self.kept_at = None;
                return;
            }
        }
    }
}
