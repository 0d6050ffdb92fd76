//! The one thread that writes to the spool.
//!
//! Commands that are waiting share a transaction and its fsync. When that fails each is tried alone; after a
//! fault of the disk the connection is given up, and a new one must bring the log into the file before it is
//! trusted: what a failed fsync left in the page cache must not carry later commits.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, Transaction, TransactionBehavior, ffi};

use super::clock_trust::ClockTrust;
use super::failing::{Failing, Trouble};
use super::fault::{self, Fault};
use super::figures::Shared;
use super::files::Files;
use super::lock::Lock;
use super::outlook::Outlook;
use super::work::{self, Command, Done, Job, Outcomes, Work};
use super::write::{self, Counts};
use super::{OpenError, Settings, keep, repair, schema};
use crate::host::clock::Clock;
use crate::host::throttle::Throttle;
use crate::limits::{SPOOL_CHECKPOINT_BYTES, SPOOL_DEFAULT_BYTES, SPOOL_RESCUES_MAX, SPOOL_TICK};
use crate::store::{Cause, StoreError};

pub(super) struct Writer {
    pub(super) files: Files,
    pub(super) max_bytes: u64,
    pub(super) keep: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) clock_trust: ClockTrust,
    instance: String,
    stopping: Arc<AtomicBool>,
    pub(super) shared: Arc<Shared>,
    /// `None` after a fault of the disk or in the file.
    pub(super) db: Option<Connection>,
    pub(super) counts: Counts,
    last_seq: i64,
    /// What was met that says the file is damaged, and how often that led to a new file.
    pub(super) damage: Option<rusqlite::Error>,
    rescues: u32,
    /// The room that the last refused append asked for.
    refused_bytes: Option<u64>,
    /// About how much the log has grown since it was last brought into the file.
    pub(super) log_bytes: u64,
    /// When the writer last looked after its file, and when after rows' age.
    tended_at: Instant,
    pub(super) kept_at: Option<Instant>,
    /// For the line about a log that can't start anew.
    pub(super) log_lines: Throttle,
    pub(super) failing: Option<Failing>,
    pub(super) outlook: Outlook,
    /// Home rows removed since that was last logged.
    pub(super) removed_unreported: u64,
    _lock: Lock,
}

impl Writer {
    pub(super) fn open(
        settings: &Settings,
        files: Files,
        lock: Lock,
        shared: Arc<Shared>,
    ) -> Result<Self, OpenError> {
        let max_bytes = keep::limit(settings.max_bytes, files.disk_bytes());
        let mut writer = Self {
            files,
            max_bytes,
            keep: settings.keep,
            clock: Arc::clone(&settings.clock),
            clock_trust: ClockTrust::new(settings.clock_trusted_after),
            instance: settings.instance.clone(),
            stopping: Arc::clone(&settings.stopping),
            shared,
            db: None,
            counts: Counts::default(),
            last_seq: 0,
            damage: None,
            rescues: 0,
            refused_bytes: None,
            log_bytes: 0,
            tended_at: settings.clock.now(),
            kept_at: None,
            log_lines: Throttle::default(),
            failing: None,
            outlook: Outlook::default(),
            removed_unreported: 0,
            _lock: lock,
        };
        writer.reopen()?;
        writer.reserve();
        writer.say_limit(settings.max_bytes.is_some());
        writer.look_ahead();
        Ok(writer)
    }

    pub(super) fn run(mut self, inbox: &Receiver<Command>) {
        loop {
            match inbox.recv_timeout(SPOOL_TICK) {
                Ok(first) => {
                    let (group, close) = work::gather(first, inbox);
                    self.serve(group);
                    self.checkpoint_if_due(SPOOL_CHECKPOINT_BYTES);
                    if let Some(reply) = close {
                        self.shut();
                        let _ = reply.try_send(());
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.shut(),
            }
            // Not only when nobody asks for anything: there may be no such second all day.
            if self.clock.now() - self.tended_at >= SPOOL_TICK {
                self.idle(inbox);
                self.look_ahead();
                self.tended_at = self.clock.now();
            }
        }
    }

    fn serve(&mut self, group: Vec<Job>) {
        let now = Instant::now();
        let late = StoreError::unavailable(
            Cause::OutOfTime,
            "the spool's disk is too slow: the event's time was up",
        );
        let (group, expired): (Vec<_>, Vec<_>) = group.into_iter().partition(|job| job.deadline > now);
        expired.iter().for_each(|job| job.refuse(&late));
        if group.len() > 1 {
            let works: Vec<&Work> = group.iter().map(|job| &job.work).collect();
            if let Ok(outcomes) = self.transact(&works, false) {
                group.iter().zip(outcomes).for_each(|(job, outcomes)| self.answer(job, outcomes));
                return;
            }
        }
        for job in group {
            match self.alone(&job.work) {
                Ok(outcomes) => self.answer(&job, outcomes),
                Err(why) => job.refuse(&why),
            }
        }
    }

    fn answer(&self, job: &Job, outcomes: Outcomes) {
        let late = job.answer(outcomes);
        if late > 0 {
            self.shared.update(|figures| figures.late += late);
        }
    }

    /// One piece of work, with everything that can be done to get it through.
    fn alone(&mut self, work: &Work) -> Result<Outcomes, StoreError> {
        let mut error = match self.transact_one(work, false) {
            Ok(outcomes) => return Ok(outcomes),
            Err(error) => error,
        };
        let retry = match &error {
            Trouble::Sqlite(Fault::Row, _) => matches!(work, Work::Append { .. }),
            Trouble::Sqlite(Fault::Full | Fault::Disk, _) => {
                work.frees_room() && self.files.release_reserve()
            }
            _ => false,
        };
        if retry {
            error = match self.transact_one(work, true) {
                Ok(outcomes) => return Ok(outcomes),
                Err(error) => error,
            };
        }
        Err(error.into())
    }

    fn transact_one(&mut self, work: &Work, row_by_row: bool) -> Result<Outcomes, Trouble> {
        let outcomes = self.transact(&[work], row_by_row)?;
        Ok(outcomes.into_iter().next().expect("BUG: a transaction without outcomes"))
    }

    /// Everything or nothing. After an error it is undone, or unanswered: a commit whose fsync failed may
    /// still come to light, as an event that its client sends again.
    pub(super) fn transact(&mut self, works: &[&Work], row_by_row: bool) -> Result<Vec<Outcomes>, Trouble> {
        if self.db.is_none()
            && let Err(error) = self.reopen()
        {
            let text = error.to_string().into();
            self.failed(&text, false);
            return Err(Trouble::Closed(error.cause(), text));
        }
        let db = self.db.as_ref().expect("BUG: reopened without a connection");
        let done = work::attempt(db, works, row_by_row, &self.instance, self.max_bytes, self.counts);
        match done {
            Ok(done) => {
                self.counts = done.counts;
                self.last_seq = self.last_seq.max(done.last_seq);
                self.log_bytes += done.tally.bytes;
                self.removed_unreported += done.tally.removed;
                if done.refused_bytes.is_some() {
                    self.refused_bytes = done.refused_bytes;
                } else if works.iter().any(|work| matches!(work, Work::Append { .. })) {
                    self.refused_bytes = None;
                }
                self.publish(&done);
                self.succeeded();
                Ok(done.outcomes)
            }
            Err(error) => Err(self.fault(error)),
        }
    }

    pub(super) fn publish(&self, done: &Done) {
        let full = self.refused_bytes.is_some_and(|need| done.used.saturating_add(need) > self.max_bytes);
        self.shared.update(|figures| {
            figures.held = self.counts.held;
            figures.home = self.counts.home;
            figures.dead_letters = self.counts.dead_letters;
            figures.bytes = done.used;
            figures.max_bytes = self.max_bytes;
            figures.oldest_held_ms = done.oldest_held_ms;
            figures.damaged += done.tally.damaged;
            figures.repeated += done.tally.repeated;
            figures.retried += done.tally.retried;
            figures.removed += done.tally.removed;
            figures.full = full;
            figures.writable = true;
        });
    }

    /// A new connection to the file that is there. A damaged one is set aside on the way.
    fn reopen(&mut self) -> Result<(), OpenError> {
        let damage = self.damage.take();
        let was_damaged = damage.is_some();
        if was_damaged {
            if self.rescues == SPOOL_RESCUES_MAX {
                self.damage = damage;
                return Err(OpenError::Unusable(format!(
                    "the spool {} was damaged {SPOOL_RESCUES_MAX} times since start and is damaged again: check the \
                     disk and the memory of this machine, then restart the daemon",
                    self.files.database.display()
                )));
            }
            self.rescues += 1;
        }
        let opened = repair::open(&self.files, self.last_seq, damage, &self.stopping).and_then(|opened| {
            let done = trust(&opened, self.failing.is_some());
            done.map(|done| (opened, done)).map_err(|error| {
                OpenError::Unusable(fault::text("can't use the spool", &self.files.database, &error))
            })
        });
        let (opened, done) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if was_damaged {
                    self.damage =
                        Some(schema::sqlite_error(ffi::SQLITE_CORRUPT, "it could not be repaired yet"));
                }
                return Err(error);
            }
        };
        let (before, now) = (self.counts.held, done.counts.held);
        let is_first = self.shared.next_generation() == 0;
        self.counts = done.counts;
        self.last_seq = done.last_seq;
        self.log_bytes = 0;
        self.db = Some(opened.db);
        let damaged_files = self.files.thin_out_aside(self.max_bytes);
        self.shared.update(|figures| {
            figures.damaged += opened.lost;
            figures.rescues += u64::from(opened.rescued);
            figures.damaged_files = damaged_files;
            if !is_first {
                // A commit whose fsync failed came to light; a damaged file has lost rows.
                figures.late += now.saturating_sub(before);
                figures.lost += before.saturating_sub(now);
            }
        });
        self.publish(&done);
        self.succeeded();
        Ok(())
    }

    /// Once at start: how much the spool may hold, why, and whether the disk can have it.
    fn say_limit(&self, is_set: bool) {
        let why = match self.max_bytes {
            _ if is_set => "as SPOOL_MAX_BYTES says",
            SPOOL_DEFAULT_BYTES => "the default",
            _ => "a quarter of its small disk",
        };
        let (max, free) = (self.max_bytes, self.files.free_bytes());
        log::info!("the spool may hold {max} bytes, {why} free_on_disk={free}");
        if self.files.bytes().saturating_add(free) < max {
            log::warn!(
                "the disk of {} has less room than the spool may take: when it is full, events are refused; free room \
                 there or lower SPOOL_MAX_BYTES",
                self.files.database.display()
            );
        }
    }

    fn shut(&mut self) {
        self.report_removed();
        // The last connection to close brings the log into the file.
        if let Some(Err((_, error))) = self.db.take().map(Connection::close) {
            log::warn!("{}", fault::text("can't close the spool", &self.files.database, &error));
        }
        self.shared.update(|figures| figures.writable = false);
    }
}

/// Makes sure of a connection before it takes events: the log goes into the file and starts anew (it
/// must, when `log_doubtful`), and a transaction of our own goes through. Returns how things stand.
fn trust(opened: &repair::Opened, log_doubtful: bool) -> rusqlite::Result<Done> {
    let db = &opened.db;
    // Only the first waits for readers; both leave everything that is committed in the file, and synced.
    let mode = if log_doubtful { "TRUNCATE" } else { "PASSIVE" };
    let busy: bool = db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(0))?;
    if busy && log_doubtful {
        return Err(schema::sqlite_error(
            ffi::SQLITE_BUSY,
            "another program reads it, so its log can't be emptied",
        ));
    }
    let noted = if opened.checked_whole { None } else { write::counts(db)? };
    let counts = match noted {
        Some(counts) => counts,
        None => {
            let tx = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
            write::recount(&tx)?;
            tx.commit()?;
            write::counts(db)?.expect("BUG: counted, but not noted")
        }
    };
    work::finish(db, counts, |_, _| Ok(()))
}
