//! Opening the file that is there, whatever state it is in. A damaged one is set aside, never
//! overwritten and never deleted; its rows whose checksum holds go into a fresh one, and the daemon starts.
//!
//! Invariant: at no moment are rows in no file that a later start would look at: the fresh file takes
//! the old one's name only when it is whole (see [`Files::adopt_rescue`]).

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, ffi};

use super::fault::{self, Fault};
use super::files::{self, Files};
use super::row::{self, Failure, Label};
use super::schema::{self, Problem};
use super::{OpenError, write};
use crate::limits::SPOOL_CHECK_BYTES_MAX;

/// Rows that one read of a damaged file asks for.
const PAGE_ROWS: usize = 200;
/// Such reads that share one commit of the fresh file.
const PAGES_A_COMMIT: u64 = 25;

/// An open spool, and what had to be done to get it.
pub(super) struct Opened {
    pub(super) db: Connection,
    /// Rows that could not be kept, where the file was damaged.
    pub(super) lost: u64,
    /// The file was small enough to be read whole, so its figures are worth counting anew.
    pub(super) checked_whole: bool,
}

/// Opens the spool, or sets a damaged one aside and opens what could be saved of it. `damage` was met
/// while it was in use, where no look at the file may find it again. New rows come after `seq_floor`,
/// whatever could be read.
pub(super) fn open(
    files: &Files,
    seq_floor: i64,
    damage: Option<rusqlite::Error>,
) -> Result<Opened, OpenError> {
    let io = |error: std::io::Error| {
        OpenError::Unusable(format!(
            "can't prepare the spool {}: {error}: check DATA_DIR, its disk and its owner",
            files.database.display()
        ))
    };
    files.resume_rescue().map_err(io)?;
    files.make_database(&files.database).map_err(io)?;
    let bytes = files.bytes();
    let first = damage.map_or_else(|| try_open(&files.database, bytes), |error| Err(Problem::Sqlite(error)));
    match first {
        Ok(db) => Ok(Opened { db, lost: 0, checked_whole: bytes <= SPOOL_CHECK_BYTES_MAX }),
        Err(Problem::Sqlite(error)) if Fault::of(&error) == Fault::Damaged => {
            let lost = rescue(files, &error, seq_floor)?;
            match try_open(&files.database, bytes) {
                Ok(db) => Ok(Opened { db, lost, checked_whole: true }),
                Err(problem) => Err(refusal(&files.database, problem)),
            }
        }
        Err(problem) => Err(refusal(&files.database, problem)),
    }
}

fn refusal(path: &Path, problem: Problem) -> OpenError {
    let path_shown = path.display();
    match problem {
        Problem::Newer(version) => OpenError::Newer(format!(
            "the spool {path_shown} has schema version {version}, this release knows up to {}: start the newer \
             release that made it, or move the file away to start with an empty spool",
            schema::VERSION
        )),
        Problem::Foreign => OpenError::Unusable(format!(
            "{path_shown} is another program's database: move it away, or set another DATA_DIR"
        )),
        Problem::Sqlite(error) => OpenError::Unusable(fault::text("can't open the spool", path, &error)),
    }
}

fn try_open(path: &Path, bytes: u64) -> Result<Connection, Problem> {
    let db = schema::writer(path)?;
    if bytes <= SPOOL_CHECK_BYTES_MAX {
        let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(Problem::Sqlite(schema::sqlite_error(ffi::SQLITE_CORRUPT, &verdict)));
        }
    } else {
        for sql in [
            "SELECT length(payload) FROM raw_logs ORDER BY seq LIMIT 1",
            "SELECT length(payload) FROM raw_logs ORDER BY seq DESC LIMIT 1",
            "SELECT seq FROM raw_logs ORDER BY ingest_id LIMIT 1",
            "SELECT seq FROM raw_logs ORDER BY ingest_id DESC LIMIT 1",
            "SELECT seq FROM raw_logs WHERE state = 'held' ORDER BY seq LIMIT 1",
            "SELECT seq FROM raw_logs WHERE state = 'home' ORDER BY seq LIMIT 1",
            "SELECT seq FROM dead_letters ORDER BY seq DESC LIMIT 1",
        ] {
            db.query_row(sql, [], |row| row.get::<_, i64>(0)).optional()?;
        }
    }
    Ok(db)
}

/// Copies what can be read into a fresh file and swaps the two. Returns how many rows were not kept.
fn rescue(files: &Files, why: &rusqlite::Error, seq_floor: i64) -> Result<u64, OpenError> {
    let path = &files.database;
    log::error!("{}", fault::text("the spool is damaged:", path, why));
    let fresh_error = |error: &rusqlite::Error| {
        OpenError::Unusable(fault::text("can't save the damaged spool's rows to", &files.rescue, error))
    };
    let fresh_io = |error: std::io::Error| {
        OpenError::Unusable(format!(
            "can't save the damaged spool's rows to {}: {error}: free room on that disk, check its owner",
            files.rescue.display()
        ))
    };
    files::remove_with_companions(&files.rescue).map_err(fresh_io)?;
    files.make_database(&files.rescue).map_err(fresh_io)?;
    let fresh = schema::writer(&files.rescue).map_err(|problem| refusal(&files.rescue, problem))?;
    let salvage = salvage(path, &fresh, seq_floor).map_err(|error| fresh_error(&error))?;
    fresh.close().map_err(|(_, error)| fresh_error(&error))?;
    let aside = files.adopt_rescue().map_err(fresh_io)?;
    log::error!(
        "the damaged spool is kept as {}: {} rows were saved from it, {} could not be read",
        aside.display(),
        salvage.kept,
        salvage.lost
    );
    Ok(salvage.lost)
}

#[derive(Default)]
struct Salvage {
    kept: u64,
    lost: u64,
}

/// Errors are the fresh file's: whatever the damaged one says only ends what can be read of it.
fn salvage(damaged: &Path, fresh: &Connection, seq_floor: i64) -> rusqlite::Result<Salvage> {
    let mut total = Salvage::default();
    // Cut off at any moment the fresh file is thrown away, so it is committed in parts that keep its log small.
    fresh.execute_batch("BEGIN")?;
    fresh.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('raw_logs', ?1)", [seq_floor])?;
    match schema::reader(damaged) {
        Ok(old) => {
            // A page with one bad cell still has good ones; every row proves itself by its checksum.
            if let Err(error) = old.pragma_update(None, "cell_size_check", false) {
                log::warn!("{}", fault::text("can't read all of the damaged spool", damaged, &error));
            }
            for table in ["raw_logs", "dead_letters"] {
                let salvage = salvage_table(&old, fresh, table)?;
                total.kept += salvage.kept;
                total.lost += salvage.lost;
            }
            total.lost = total.lost.max(noted_rows(&old).saturating_sub(total.kept));
        }
        Err(error) => {
            log::error!("{}", fault::text("nothing can be read from the damaged spool", damaged, &error))
        }
    }
    write::recount(fresh)?;
    fresh.execute_batch("COMMIT")?;
    Ok(total)
}

/// How many rows the damaged file believed to have, where it still says.
fn noted_rows(old: &Connection) -> u64 {
    let sql = "SELECT coalesce(sum(value), 0) FROM figures WHERE name <> 'schema_version'";
    old.query_row(sql, [], |row| row.get::<_, i64>(0)).map_or(0, i64::unsigned_abs)
}

fn salvage_table(old: &Connection, fresh: &Connection, table: &str) -> rusqlite::Result<Salvage> {
    let mut salvage = Salvage::default();
    let mut after = 0;
    for count in 1_u64.. {
        if count.is_multiple_of(PAGES_A_COMMIT) {
            fresh.execute_batch("COMMIT; BEGIN")?;
        }
        let page = copy_page(old, fresh, table, after, PAGE_ROWS)?;
        salvage.kept += page.kept;
        salvage.lost += page.bad;
        after = page.last.unwrap_or(after);
        if !page.broke_off {
            if page.last.is_none() {
                break;
            }
            continue;
        }
        let Some(next) = next_reachable(old, table, after) else { break };
        let single = copy_page(old, fresh, table, next - 1, 1)?;
        salvage.kept += single.kept;
        salvage.lost += single.bad + u64::from(single.broke_off);
        after = next;
    }
    Ok(salvage)
}

#[derive(Default)]
struct Page {
    kept: u64,
    /// Rows that were read and whose checksum doesn't hold.
    bad: u64,
    last: Option<i64>,
    broke_off: bool,
}

fn copy_page(
    old: &Connection,
    fresh: &Connection,
    table: &str,
    after: i64,
    rows: usize,
) -> rusqlite::Result<Page> {
    let extra = if table == "dead_letters" { "failed_at, error" } else { "'', ''" };
    let sql = format!(
        "SELECT {}, state, reason, instance, {extra} FROM {table} NOT INDEXED WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        row::RESTORE_COLUMNS
    );
    let mut page = Page::default();
    let Ok(mut statement) = old.prepare_cached(&sql) else { return Ok(Page { broke_off: true, ..page }) };
    let Ok(mut found) = statement.query((after, i64::try_from(rows).unwrap_or(i64::MAX))) else {
        return Ok(Page { broke_off: true, ..page });
    };
    loop {
        let found = match found.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(page),
            Err(_) => return Ok(Page { broke_off: true, ..page }),
        };
        let Ok(seq) = found.get::<_, i64>(0) else { return Ok(Page { broke_off: true, ..page }) };
        page.last = Some(seq);
        let Ok(event) = row::restore(found) else {
            page.bad += 1;
            continue;
        };
        let text =
            |index: usize| found.get_ref(index).ok().and_then(|value| value.as_str().ok()).unwrap_or("");
        // A state that can't be read is taken for the one that loses nothing.
        let state = if text(6) == "home" { "home" } else { "held" };
        let label = Label { seq: Some(seq), state, reason: text(7), instance: text(8) };
        let failure = Failure { failed_at: text(9), error: text(10) };
        let failure = (table == "dead_letters").then_some(&failure);
        page.kept += u64::from(row::insert(fresh, &event, &label, failure)?);
    }
}

/// The first row after `after` whose page can be reached: the distance is doubled until a read
/// succeeds, then halved to where the damage ends.
fn next_reachable(old: &Connection, table: &str, after: i64) -> Option<i64> {
    let sql = format!("SELECT seq FROM {table} NOT INDEXED WHERE seq >= ?1 ORDER BY seq LIMIT 1");
    let probe = |from: i64| -> Result<Option<i64>, rusqlite::Error> {
        old.prepare_cached(&sql)?.query_row([from], |row| row.get(0)).optional()
    };
    let mut unreachable = after;
    let mut distance = 1_i64;
    let mut found = loop {
        let from = after.checked_add(distance)?;
        match probe(from) {
            Ok(found) => break (from, found),
            Err(_) => unreachable = from,
        }
        distance = distance.checked_mul(2)?;
    };
    while found.0 - unreachable > 1 {
        let middle = unreachable + (found.0 - unreachable) / 2;
        match probe(middle) {
            Ok(next) => found = (middle, next),
            Err(_) => unreachable = middle,
        }
    }
    found.1
}
