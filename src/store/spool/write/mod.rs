//! The one thread that writes to the spool.
//!
//! Commands that wait share a transaction and its fsync. When that fails, each is tried alone.
//!
//! - `commands` what callers ask; `transaction` commands in one transaction; `tables` and `letters` what each does to
//!   the tables; `keep` limits of size and age
//! - `database` the open file and its connection; `failing` while writes fail
//! - `upkeep` what is done beside commands; `outlook` when the spool will be full; `clock_trust` whether the wall clock
//!   may make rows old
//!
//! Invariants: nothing is answered `Ok` before its commit and fsync, or after a failed one; nobody else writes.

mod clock_trust;
mod commands;
mod database;
mod failing;
pub(super) mod keep;
mod letters;
mod outlook;
mod tables;
mod transaction;
mod upkeep;

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use self::commands::SpoolJob;
use self::database::Database;
use self::failing::Trouble;
use self::upkeep::Upkeep;
use super::errors::Fault;
use super::figures::SpoolState;
use super::files::Files;
use super::lock::Lock;
use super::{OpenError, Settings};
use crate::limits::{SPOOL_CHECKPOINT_BYTES, SPOOL_TICK};
use crate::store::{Cause, StoreError};

pub(super) use self::commands::{AnswerClaim, Command, Results, Work};
pub use self::letters::Fate;

pub(super) struct Writer {
    database: Database,
    upkeep: Upkeep,
}

impl Writer {
    pub(super) fn open(
        settings: &Settings,
        files: Files,
        lock: Lock,
        state: Arc<SpoolState>,
    ) -> Result<Self, OpenError> {
        let database = Database::open(settings, files, lock, state)?;
        let upkeep = Upkeep::new(settings, &database);
        Ok(Self { database, upkeep })
    }

    pub(super) fn run(mut self, inbox: &Receiver<Command>) {
        loop {
            match inbox.recv_timeout(SPOOL_TICK) {
                Ok(first) => {
                    let (group, close) = commands::gather(first, inbox);
                    self.serve(group);
                    self.database.checkpoint_if_due(SPOOL_CHECKPOINT_BYTES);
                    if let Some(reply) = close {
                        self.database.close();
                        let _ = reply.try_send(());
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.database.close(),
            }
            // Between commands too: there may be no second without one all day.
            self.upkeep.run_if_due(&mut self.database, inbox);
        }
    }

    fn serve(&mut self, group: Vec<SpoolJob>) {
        let now = Instant::now();
        let late = StoreError::unavailable(
            Cause::OutOfTime,
            "the spool's disk is too slow: the event's time was up",
        );
        let (group, expired): (Vec<_>, Vec<_>) = group.into_iter().partition(|job| job.deadline > now);
        expired.iter().for_each(|job| job.refuse(&late));
        if group.len() > 1 {
            let works: Vec<&Work> = group.iter().map(|job| &job.work).collect();
            if let Ok(results) = self.database.transact(&works, false) {
                group.iter().zip(results).for_each(|(job, results)| self.answer(job, results));
                return;
            }
        }
        for job in group {
            match self.alone(&job.work) {
                Ok(results) => self.answer(&job, results),
                Err(error) => job.refuse(&error),
            }
        }
    }

    fn answer(&self, job: &SpoolJob, results: Results) {
        self.database.note_late(job.answer(results));
    }

    /// One piece of work, with everything that may help it to succeed.
    fn alone(&mut self, work: &Work) -> Result<Results, StoreError> {
        let mut error = match self.transact_one(work, false) {
            Ok(results) => return Ok(results),
            Err(error) => error,
        };
        let retry = match &error {
            Trouble::Sqlite(Fault::Row, _) => matches!(work, Work::Append { .. }),
            Trouble::Sqlite(Fault::Full | Fault::Disk, _) => {
                work.frees_room() && self.database.release_reserve()
            }
            _ => false,
        };
        if retry {
            error = match self.transact_one(work, true) {
                Ok(results) => return Ok(results),
                Err(error) => error,
            };
        }
        Err(error.into())
    }

    fn transact_one(&mut self, work: &Work, row_by_row: bool) -> Result<Results, Trouble> {
        let results = self.database.transact(&[work], row_by_row)?;
        Ok(results.into_iter().next().expect("BUG: a transaction without results"))
    }
}
