//! Moves the rows of versions 1 and 2 into the tables of version 3.
//!
//! Some rows per transaction, each inserted and deleted in the same one: a start that is interrupted goes on where the
//! last one ended, the log stays small, and the pages of moved rows hold the next ones, so that a full disk needs no
//! more room than the reserve.
//!
//! Invariant: at every moment each row is in one table, and it keeps its number.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, ffi};

use super::counts::SEQ_MAX;
use super::errors::Fault;
use super::files::Files;
use super::legacy::{self, OldRow};
use super::schema::{self, FileProblem};
use crate::limits::{SPOOL_MOVE_BYTES, SPOOL_MOVE_ROWS, SPOOL_PROGRESS_EVERY};

/// Brings an opened file up to date, if it is not.
pub(super) fn run(db: &Connection, files: &Files, stopping: &AtomicBool) -> Result<(), FileProblem> {
    if !schema::has_old_rows(db)? {
        return Ok(());
    }
    let path = files.database.display();
    log::info!("the spool {path} was made by an older release: its rows are moved to the tables of this one");
    let mut progress = Instant::now();
    let mut moved = 0;
    for table in legacy::TABLES {
        loop {
            if stopping.load(Ordering::Relaxed) {
                return Err(FileProblem::Stopped);
            }
            let rows = with_reserve(files, || move_rows(db, table))?;
            // Readers never block it, and the next rows need the room.
            db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            if rows == 0 {
                break;
            }
            moved += rows;
            if progress.elapsed() >= SPOOL_PROGRESS_EVERY {
                progress = Instant::now();
                log::info!("{moved} rows of the spool {path} are moved");
            }
        }
    }
    with_reserve(files, || {
        let tx = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
        schema::finish_migration(&tx)?;
        tx.commit()
    })?;
    log::info!("the spool {path} is up to date: {moved} rows were moved");
    Ok(())
}

/// Runs a step again with the room of the reserve, if the disk is full.
fn with_reserve<T>(files: &Files, step: impl Fn() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    match step() {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) && files.release_reserve() => {
            step()
        }
        result => result,
    }
}

/// A row that the new tables refuse does not fit the others: the repair gives it another number.
fn as_damage(error: rusqlite::Error) -> rusqlite::Error {
    match Fault::of(&error) {
        Fault::Row => schema::sqlite_error(ffi::SQLITE_CORRUPT, &format!("a row cannot be moved: {error}")),
        _ => error,
    }
}

/// Moves some rows from the front of an old table. Returns how many.
fn move_rows(db: &Connection, table: &str) -> rusqlite::Result<u64> {
    let tx = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let mut last = None;
    let (mut rows, mut bytes) = (0, 0);
    {
        let sql = format!("{} ORDER BY seq LIMIT {SPOOL_MOVE_ROWS}", legacy::select(table));
        let mut statement = tx.prepare_cached(&sql)?;
        let mut found = statement.query([i64::MIN])?;
        while let Some(row) = found.next()?.filter(|_| bytes < SPOOL_MOVE_BYTES) {
            let seq: i64 = row.get(0)?;
            if !(1..=SEQ_MAX).contains(&seq) {
                return Err(schema::sqlite_error(ffi::SQLITE_CORRUPT, "the order of its rows is damaged"));
            }
            let old = OldRow::of(row, table);
            old.insert(&tx, seq).map_err(as_damage)?;
            bytes += old.bytes();
            rows += 1;
            last = Some(seq);
        }
    }
    if let Some(last) = last {
        tx.prepare_cached(&format!("DELETE FROM {table} WHERE seq <= ?1"))?.execute([last])?;
    }
    tx.commit()?;
    Ok(rows)
}
