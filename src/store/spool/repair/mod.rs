//! Opens the spool's file in whatever state it is. A damaged one is set aside, never overwritten and never deleted; its
//! rows whose checksum matches are copied into a fresh one, and the daemon starts.
//!
//! - `salvage` copies rows; `first_page` makes a file readable whose header is damaged
//! - `swap` puts the fresh file in place; `aside` keeps the damaged ones
//!
//! Invariant: at every moment each row is in a file that a later start reads: the fresh file takes the old one's name
//! only when it is whole (see `swap`).

pub(super) mod aside;
mod first_page;
mod salvage;
mod swap;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, ffi};

use super::errors::{self, Fault};
use super::files::{self, Files};
use super::schema::{self, FileProblem};
use super::{OpenError, counts, migrate};
use crate::limits::SPOOL_CHECK_BYTES_MAX;

/// An open spool, and what had to be done to get it.
pub(super) struct Opened {
    pub(super) db: Connection,
    /// It was damaged, and is another file now.
    pub(super) rescued: bool,
    /// Rows that could not be kept, where the file was damaged.
    pub(super) lost: u64,
    /// The file was small enough to be read whole, so its rows are counted again.
    pub(super) checked_whole: bool,
}

/// Opens the spool, or sets a damaged one aside and opens what could be saved of it. `damage` was found while the file
/// was in use, and may not be found again. New rows get numbers after `seq_floor`, whatever could be read.
pub(super) fn open(
    files: &Files,
    seq_floor: i64,
    damage: Option<rusqlite::Error>,
    stopping: &AtomicBool,
) -> Result<Opened, OpenError> {
    let io = |error: std::io::Error| {
        OpenError::Unusable(format!(
            "cannot prepare the spool {}: {error}: check DATA_DIR, its disk and its owner",
            files.database.display()
        ))
    };
    swap::resume(files).map_err(io)?;
    let in_use = damage.is_some();
    let stump =
        swap::is_stump(files).then(|| schema::sqlite_error(ffi::SQLITE_NOTADB, "most of the file is gone"));
    let damage = damage.or(stump);
    if damage.is_none() {
        files.make_database(&files.database).map_err(io)?;
    }
    let bytes = files.bytes();
    let first = match damage {
        Some(error) => Err(FileProblem::Sqlite(error)),
        None => match try_open(files, stopping, bytes) {
            // On a full disk not even the log's index can be made.
            Err(FileProblem::Sqlite(error)) if lacks_room(&error) && files.release_reserve() => {
                try_open(files, stopping, bytes)
            }
            opened => opened,
        },
    };
    match first {
        Ok(db) => Ok(Opened { db, rescued: false, lost: 0, checked_whole: bytes <= SPOOL_CHECK_BYTES_MAX }),
        Err(FileProblem::Sqlite(error)) if is_damage(files, &error) => {
            let lost = rescue(files, &error, seq_floor, in_use, stopping)?;
            match try_open(files, stopping, bytes) {
                Ok(db) => Ok(Opened { db, rescued: true, lost, checked_whole: true }),
                Err(problem) => Err(refusal(&files.database, problem)),
            }
        }
        Err(problem) => Err(refusal(&files.database, problem)),
    }
}

fn lacks_room(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    Fault::of(error) == Fault::Full || code == Some(ffi::SQLITE_IOERR_SHMSIZE)
}

/// At the opening more errors mean damage than in use: a file that SQLite calls read-only although this user may write to
/// it, or of an unknown format, or without one of our columns, is not what we have written.
fn is_damage(files: &Files, error: &rusqlite::Error) -> bool {
    match error {
        // The statements are right in a sound file.
        Error::SqlInputError { .. } => true,
        _ => match error.sqlite_error_code() {
            Some(ErrorCode::ReadOnly) => files.writable(),
            Some(ErrorCode::Unknown) => true,
            _ => Fault::of(error) == Fault::Damaged,
        },
    }
}

fn refusal(path: &Path, problem: FileProblem) -> OpenError {
    let path_shown = path.display();
    match problem {
        FileProblem::Newer(version) => OpenError::Newer(format!(
            "the spool {path_shown} has schema version {version}, this release knows up to {}: start the newer \
             release that made it, or move the file away to start with an empty spool",
            schema::VERSION
        )),
        FileProblem::Foreign => OpenError::Unusable(format!(
            "{path_shown} is another program's database: move it away, or set another DATA_DIR"
        )),
        FileProblem::Sqlite(error) => {
            OpenError::Unusable(errors::text("cannot open the spool", path, &error))
        }
        FileProblem::Stopped => OpenError::Stopped(format!(
            "bringing the spool {path_shown} up to date is interrupted, because the daemon stops: the next start goes on"
        )),
    }
}

fn try_open(files: &Files, stopping: &AtomicBool, bytes: u64) -> Result<Connection, FileProblem> {
    let db = schema::writer(&files.database)?;
    migrate::run(&db, files, stopping)?;
    schema::check(&db)?;
    if bytes <= SPOOL_CHECK_BYTES_MAX {
        // Unlike quick_check it also finds an index that has lost a row.
        let verdict: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        // It trusts the number of free pages, which fails when the next page is needed.
        let free = "SELECT freelist_count NOT BETWEEN 0 AND page_count FROM pragma_freelist_count, pragma_page_count";
        if verdict != "ok" || db.query_row(free, [], |row| row.get(0))? {
            return Err(FileProblem::Sqlite(schema::sqlite_error(ffi::SQLITE_CORRUPT, &verdict)));
        }
    } else {
        for table in ["held_rows", "home_rows", "letter_rows"] {
            for order in ["ASC", "DESC"] {
                let sql = format!("SELECT length(payload) FROM {table} ORDER BY seq {order} LIMIT 1");
                db.query_row(&sql, [], |row| row.get::<_, i64>(0)).optional()?;
            }
        }
    }
    let last = "SELECT max((SELECT coalesce(max(seq), 0) FROM held_rows), \
                (SELECT coalesce(max(seq), 0) FROM home_rows))";
    let last: i64 = db.query_row(last, [], |row| row.get(0))?;
    let noted = counts::noted(&db)?.map_or(0, |noted| noted.last_seq);
    if last.max(noted) > counts::SEQ_MAX {
        return Err(FileProblem::Sqlite(schema::sqlite_error(
            ffi::SQLITE_CORRUPT,
            "the order of its rows is damaged",
        )));
    }
    Ok(db)
}

/// Copies what can be read into a fresh file and swaps the two. Returns how many rows were lost.
fn rescue(
    files: &Files,
    why: &rusqlite::Error,
    seq_floor: i64,
    in_use: bool,
    stopping: &AtomicBool,
) -> Result<u64, OpenError> {
    let path = &files.database;
    log::error!("{}", errors::text("the spool is damaged:", path, why));
    let fresh_error = |error: &rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => OpenError::Stopped(format!(
            "the repair of the spool {} is interrupted, because the daemon stops: the next start begins it again",
            path.display()
        )),
        _ => {
            OpenError::Unusable(errors::text("cannot save the damaged spool's rows to", &files.rescue, error))
        }
    };
    let fresh_io = |error: std::io::Error| {
        OpenError::Unusable(format!(
            "cannot save the damaged spool's rows to {}: {error}: free room on that disk, check its owner",
            files.rescue.display()
        ))
    };
    files::remove_with_companions(&files.rescue).map_err(fresh_io)?;
    files.make_database(&files.rescue).map_err(fresh_io)?;
    let fresh = schema::writer(&files.rescue).map_err(|problem| refusal(&files.rescue, problem))?;
    let source = if mended(files, in_use) { &files.mended } else { path };
    let salvage = salvage::run(source, &fresh, seq_floor, stopping).map_err(|error| fresh_error(&error))?;
    fresh.close().map_err(|(_, error)| fresh_error(&error))?;
    files::remove_with_companions(&files.mended).map_err(fresh_io)?;
    let aside = swap::adopt_rescue(files).map_err(fresh_io)?;
    log::error!(
        "the damaged spool is kept as {}: {} rows were saved from it, {} could not be read",
        aside.display(),
        salvage.kept,
        salvage.lost
    );
    Ok(salvage.lost)
}

/// Whether there is a copy to read from, because the file's first page is damaged. Not while the file is in use: a look
/// at its bytes would drop the locks of this process's readers.
fn mended(files: &Files, in_use: bool) -> bool {
    if in_use {
        return false;
    }
    first_page::mend(files).unwrap_or_else(|error| {
        let path = files.mended.display();
        log::error!("cannot mend the damaged first page in a copy, {path}: {error}: free room on that disk");
        false
    })
}
