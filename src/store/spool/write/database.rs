//! The open file: one connection, what is known of it, and a new one after a fault.
//!
//! Invariants: after a fault of the disk the connection is given up, and a new one must bring the log into the file
//! before it is trusted: what a failed fsync left in the page cache must not carry later commits. What readers and
//! handles see is published after each commit.

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rusqlite::{Connection, Transaction, TransactionBehavior, ffi};
use uuid::Uuid;

use super::commands::{Results, Work};
use super::failing::{Failing, Trouble};
use super::keep;
use super::transaction::{self, Done, Terms};
use crate::host::clock::Clock;
use crate::host::throttle::Throttle;
use crate::limits::{
    SPOOL_CHECKPOINT_BYTES, SPOOL_DEFAULT_BYTES, SPOOL_LOG_REPORT_BYTES, SPOOL_RESCUES_MAX,
    SPOOL_TURNED_UP_MAX,
};
use crate::store::spool::counts::{self, Counts};
use crate::store::spool::errors::{self, Fault};
use crate::store::spool::figures::SpoolState;
use crate::store::spool::files::Files;
use crate::store::spool::lock::Lock;
use crate::store::spool::repair::{self, Opened, aside};
use crate::store::spool::row::{self, To};
use crate::store::spool::schema;
use crate::store::spool::{OpenError, Settings};
use crate::store::{Destination, Standing};

/// About how much the log grows with a commit, beside the bytes of its rows.
const COMMIT_BYTES: u64 = 2_500;

pub(super) struct Database {
    files: Files,
    max_bytes: u64,
    instance: String,
    destination: Option<Destination>,
    stopping: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
    state: Arc<SpoolState>,
    /// `None` after a fault of the disk or in the file.
    connection: Option<Connection>,
    counts: Counts,
    /// Events that were committed although the commit failed: their callers may try again.
    turned_up: HashSet<Uuid>,
    /// The error that showed that the file is damaged, and how often one led to a new file.
    damage: Option<rusqlite::Error>,
    rescues: u32,
    /// The room that the last refused append needs.
    refused_bytes: Option<u64>,
    /// About how much the log has grown since it was last brought into the file.
    log_bytes: u64,
    /// Home rows removed since that was last logged.
    removed_unreported: u64,
    failing: Failing,
    /// Writes work again, and the upkeep has not seen it yet.
    has_recovered: bool,
    /// For the line about a log that cannot restart.
    log_lines: Throttle,
    _lock: Lock,
}

impl Database {
    pub(super) fn open(
        settings: &Settings,
        files: Files,
        lock: Lock,
        state: Arc<SpoolState>,
    ) -> Result<Self, OpenError> {
        let max_bytes = keep::limit(settings.max_bytes, files.disk_bytes());
        let mut database = Self {
            files,
            max_bytes,
            instance: settings.instance.clone(),
            destination: settings.destination.clone(),
            stopping: Arc::clone(&settings.stopping),
            clock: Arc::clone(&settings.clock),
            state,
            connection: None,
            counts: Counts::default(),
            turned_up: HashSet::new(),
            damage: None,
            rescues: 0,
            refused_bytes: None,
            log_bytes: 0,
            removed_unreported: 0,
            failing: Failing::default(),
            has_recovered: false,
            log_lines: Throttle::default(),
            _lock: lock,
        };
        database.reopen()?;
        database.reserve();
        database.report_limit(settings.max_bytes.is_some());
        Ok(database)
    }

    /// Does all of it or nothing. After an error it is undone, or unanswered: a commit whose fsync failed may
    /// turn up later, as an event that its client sends again.
    pub(super) fn transact(&mut self, works: &[&Work], row_by_row: bool) -> Result<Vec<Results>, Trouble> {
        if self.connection.is_none()
            && let Err(error) = self.reopen()
        {
            let text = error.to_string().into();
            self.failed(&text, false);
            return Err(Trouble::Closed(error.cause(), text));
        }
        let db = self.connection.as_ref().expect("BUG: reopened without a connection");
        let cluster_id = self.destination.as_ref().and_then(Destination::cluster_id);
        let terms = Terms {
            instance: &self.instance,
            max_bytes: self.max_bytes,
            to: To {
                topic: self.destination.as_ref().map(Destination::topic),
                cluster_id: cluster_id.as_deref(),
            },
            turned_up: &self.turned_up,
        };
        let done = transaction::attempt(db, works, row_by_row, &terms, self.counts);
        let done = done.map_err(|error| self.fault(error))?;
        if done.refused_bytes.is_some() {
            self.refused_bytes = done.refused_bytes;
        } else if works.iter().any(|work| matches!(work, Work::Append { .. })) {
            self.refused_bytes = None;
        }
        self.note(&done);
        self.succeeded();
        Ok(done.results)
    }

    /// What a commit has changed.
    fn note(&mut self, done: &Done) {
        self.counts = done.counts;
        if done.changes.bytes > 0 {
            self.log_bytes += done.changes.bytes + COMMIT_BYTES;
        }
        self.removed_unreported += done.changes.removed;
        let full = self.refused_bytes.is_some_and(|need| done.used.saturating_add(need) > self.max_bytes);
        self.state.update(|figures| {
            figures.held = self.counts.held;
            figures.home = self.counts.home;
            figures.dead_letters = self.counts.dead_letters;
            figures.bytes = done.used;
            figures.max_bytes = self.max_bytes;
            figures.oldest_held_ms = done.oldest_held_ms;
            figures.damaged += done.changes.damaged;
            figures.repeated += done.changes.repeated;
            figures.retried += done.changes.retried;
            figures.removed += done.changes.removed;
            figures.full = full;
            figures.writable = true;
        });
    }

    /// A new connection to the file. A damaged one is set aside on the way.
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
        let opened =
            repair::open(&self.files, self.counts.last_seq, damage, &self.stopping).and_then(|opened| {
                let done = proven(&opened, self.failing.is_now());
                done.map(|done| (opened, done)).map_err(|error| {
                    OpenError::Unusable(errors::text("cannot use the spool", &self.files.database, &error))
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
        let is_first = self.state.next_generation() == 0;
        if !is_first {
            self.turned_up = ids_after(&opened.db, self.counts.last_seq);
        }
        self.connection = Some(opened.db);
        let damaged_files = aside::thin_out(&self.files, self.max_bytes);
        self.state.update(|figures| {
            figures.damaged += opened.lost;
            figures.rescues += u64::from(opened.rescued);
            figures.damaged_files = damaged_files;
            if !is_first {
                // A commit whose fsync failed turned up; a damaged file has lost rows.
                figures.late += now.saturating_sub(before);
                figures.lost += before.saturating_sub(now);
            }
        });
        self.note(&done);
        self.log_bytes = 0;
        self.succeeded();
        Ok(())
    }

    /// What a failed transaction means for the connection, and the text for callers and the log.
    fn fault(&mut self, error: rusqlite::Error) -> Trouble {
        let fault = Fault::of(&error);
        let text: Arc<str> = errors::text("cannot write to the spool", &self.files.database, &error).into();
        match fault {
            // The event's own: the spool works.
            Fault::Row => return Trouble::Sqlite(fault, text),
            Fault::Disk => self.connection = None,
            Fault::Damaged => {
                self.connection = None;
                self.damage = Some(error);
            }
            Fault::Full | Fault::Busy | Fault::Other => {}
        }
        self.failed(&text, fault == Fault::Full);
        Trouble::Sqlite(fault, text)
    }

    fn failed(&mut self, text: &Arc<str>, full: bool) {
        self.state.update(|figures| {
            figures.writable = false;
            figures.last_error = Some(Arc::clone(text));
        });
        self.failing.failed(self.clock.now(), text, full);
    }

    fn succeeded(&mut self) {
        self.has_recovered |= self.failing.succeeded(self.clock.now());
    }

    /// Events that are held although their callers got an error.
    pub(super) fn note_late(&self, events: u64) {
        if events > 0 {
            self.state.update(|figures| figures.late += events);
        }
    }

    /// Tries again to write to a spool that failed, or in which a reader found damage. False: it still fails.
    pub(super) fn is_sound(&mut self) -> bool {
        if self.state.take_suspicion() && self.damage.is_none() {
            self.damage = Some(schema::sqlite_error(ffi::SQLITE_CORRUPT, "a reader found a damaged page"));
            self.connection = None;
        }
        let lacks_room = self.failing.is_for_room() && self.files.free_bytes() < SPOOL_CHECKPOINT_BYTES;
        if (self.connection.is_none() || self.failing.is_now()) && !lacks_room {
            // What is wrong is logged; the next tick tries again.
            let _ = self.transact(&[&Work::Touch], false);
        }
        !self.failing.is_now()
    }

    /// Whether writes work again since this was last asked.
    pub(super) fn take_recovered(&mut self) -> bool {
        mem::take(&mut self.has_recovered)
    }

    /// Bytes that are used, and that can still be used.
    pub(super) fn room(&self) -> (u64, u64) {
        let (used, free) = (self.state.figures().bytes, self.files.free_bytes());
        self.state.update(|figures| figures.disk_free = free);
        (used, self.max_bytes.saturating_sub(used).min(free))
    }

    pub(super) fn state(&self) -> &SpoolState {
        &self.state
    }

    /// A count of none hides rows from recovery, and a count of some makes it wait for a row that is not there. Damage
    /// in a file too large to be read whole at start can do both.
    pub(super) fn recount_if_drifted(&mut self) {
        let Some(db) = self.connection.as_ref() else { return };
        let done = counts::drifted(db, self.counts).and_then(|drifted| {
            let recounted = drifted.then(|| counts::recounted(db)).transpose()?;
            recounted.map(|counts| transaction::finish(db, counts, |_, _| Ok(()))).transpose()
        });
        match done {
            Ok(None) => {}
            Ok(Some(done)) => {
                log::warn!(
                    "the spool's counts did not match its rows, which were counted again: {:?} instead of {:?} \
                     (held, home, dead letters)",
                    done.counts.rows(),
                    self.counts.rows()
                );
                let (before, now) = (self.counts.held, done.counts.held);
                self.state.update(|figures| {
                    figures.late += now.saturating_sub(before);
                    figures.lost += before.saturating_sub(now);
                });
                self.note(&done);
            }
            Err(error) => drop(self.fault(error)),
        }
    }

    /// Removes some of the home rows that are older than `cutoff_ms`. False: none is left, or it failed.
    pub(super) fn remove_expired(&mut self, cutoff_ms: i64, now_ms: i64) -> bool {
        let Some(db) = self.connection.as_ref().filter(|_| self.counts.home > 0) else { return false };
        let done = transaction::finish(db, self.counts, |tx, changes| {
            keep::remove_expired(tx, cutoff_ms, now_ms, changes).map(drop)
        });
        match done {
            Ok(done) => {
                self.note(&done);
                done.changes.removed > 0
            }
            Err(error) => {
                self.fault(error);
                false
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

    /// Gives some free pages back to the disk. False: there are no more than are worth keeping, or it failed.
    pub(super) fn give_back(&mut self) -> bool {
        let Some(db) = self.connection.as_ref() else { return false };
        match keep::give_back(db) {
            Ok(gave) => {
                self.log_bytes += if gave { SPOOL_CHECKPOINT_BYTES / 4 } else { 0 };
                gave
            }
            Err(error) => {
                self.fault(error);
                false
            }
        }
    }

    /// Keeps disk room for deletes.
    pub(super) fn reserve(&self) {
        if let Err(error) = self.files.reserve() {
            log::warn!("cannot keep disk room for deletes beside {}: {error}", self.files.database.display());
        }
    }

    /// Gives that room to a delete. False: there was none.
    pub(super) fn release_reserve(&self) -> bool {
        self.files.release_reserve()
    }

    /// Brings the log into the file once about `bytes` were written to it. Readers never block it: what they still need
    /// stays in the log until the next time.
    pub(super) fn checkpoint_if_due(&mut self, bytes: u64) {
        if self.log_bytes < bytes {
            return;
        }
        let Some(db) = self.connection.as_ref() else { return };
        self.log_bytes = 0;
        match db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1)) {
            Ok(pages) => {
                self.report_log(pages.unsigned_abs().saturating_mul(keep::page_bytes(db).unwrap_or(0)))
            }
            Err(error) => drop(self.fault(error)),
        }
    }

    /// Only a program whose read does not end makes the log grow: our own reads are short.
    fn report_log(&mut self, bytes: u64) {
        if bytes >= SPOOL_LOG_REPORT_BYTES
            && let Some(suppressed) = self.log_lines.pass(self.clock.now())
        {
            log::warn!(
                "the spool's write-ahead log has grown to {bytes} bytes, because another program has been reading {} \
                 for a long time: end its read{suppressed}",
                self.files.database.display()
            );
        }
    }

    /// Once at start: how much the spool may hold, why, and whether the disk has the room.
    fn report_limit(&self, is_set: bool) {
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

    /// The next start then need not count the last rows.
    fn note_counts(&self) {
        let unnoted = self.counts.noted_seq != self.counts.last_seq;
        let Some(db) = self.connection.as_ref().filter(|_| unnoted) else { return };
        let noted = Transaction::new_unchecked(db, TransactionBehavior::Immediate).and_then(|tx| {
            counts::note(&tx, &mut self.counts.clone())?;
            tx.commit()
        });
        if let Err(error) = noted {
            log::warn!("{}", errors::text("cannot note the counts in", &self.files.database, &error));
        }
    }

    pub(super) fn close(&mut self) {
        self.report_removed();
        self.note_counts();
        // The last connection to close brings the log into the file.
        if let Some(Err((_, error))) = self.connection.take().map(Connection::close) {
            log::warn!("{}", errors::text("cannot close the spool", &self.files.database, &error));
        }
        self.state.update(|figures| figures.writable = false);
    }
}

/// The ids of rows after `seq`: those of a transaction whose commit failed. Of a row that cannot be read there is none.
fn ids_after(db: &Connection, seq: i64) -> HashSet<Uuid> {
    let read = |standing: Standing| {
        let table = row::table(standing);
        let sql =
            format!("SELECT ingest_id FROM {table} WHERE seq > ?1 ORDER BY seq LIMIT {SPOOL_TURNED_UP_MAX}");
        let mut statement = db.prepare(&sql)?;
        let ids =
            statement.query_map([seq], |row| Ok(row.get_ref(0)?.as_blob().ok().map(Uuid::from_slice)))?;
        ids.collect::<rusqlite::Result<Vec<_>>>()
    };
    let ids = [Standing::Held, Standing::Home].map(|standing| read(standing).unwrap_or_default());
    ids.into_iter().flatten().flatten().flatten().collect()
}

/// Proves a connection before it takes events: the log goes into the file and restarts (it must, when `log_doubtful`),
/// and a transaction of our own succeeds.
fn proven(opened: &Opened, log_doubtful: bool) -> rusqlite::Result<Done> {
    let db = &opened.db;
    // Only the first waits for readers; both leave everything that is committed in the file, and synced.
    let mode = if log_doubtful { "TRUNCATE" } else { "PASSIVE" };
    let busy: bool = db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(0))?;
    if busy && log_doubtful {
        return Err(schema::sqlite_error(
            ffi::SQLITE_BUSY,
            "another program reads it, so its log cannot be emptied",
        ));
    }
    let noted = if opened.checked_whole { None } else { counts::read(db)? };
    let counts = noted.map_or_else(|| counts::recounted(db), Ok)?;
    transaction::finish(db, counts, |_, _| Ok(()))
}
