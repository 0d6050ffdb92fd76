//! Copies what can be read of a damaged file, row by row, into a fresh one.
//!
//! Invariant: only rows whose checksum matches are copied, and each keeps its number in the order.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, OptionalExtension, ffi};

use crate::event::Event;
use crate::store::Standing;
use crate::store::spool::errors::{self, Fault};
use crate::store::spool::row::{self, Failure, Label};
use crate::store::spool::{counts, schema};

/// Rows of one read of a damaged file.
const READ_ROWS: usize = 200;
/// Reads that share one commit of the fresh file.
const READS_PER_COMMIT: u64 = 25;
/// Rows whose number is damaged; one flipped byte makes one.
const STRAYS_MAX: usize = 1_000;

/// How many rows were copied, and how many were lost.
#[derive(Default)]
pub(super) struct Salvage {
    pub(super) kept: u64,
    pub(super) lost: u64,
}

/// Errors are those of the fresh file, or the daemon's stop: an error of the damaged file only ends what can be read of it.
pub(super) fn run(
    damaged: &Path,
    fresh: &Connection,
    seq_floor: i64,
    stopping: &AtomicBool,
) -> rusqlite::Result<Salvage> {
    let mut total = Salvage::default();
    // An interrupted fresh file is deleted, so it may be committed in parts, which keep its log small.
    fresh.execute_batch("BEGIN")?;
    fresh.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('raw_logs', ?1)", [seq_floor])?;
    match schema::reader(damaged) {
        Ok(old) => {
            // A page with one damaged cell still has good ones; the checksum proves every row.
            if let Err(error) = old.pragma_update(None, "cell_size_check", false) {
                log::warn!("{}", errors::text("cannot read all of the damaged spool", damaged, &error));
            }
            for table in ["raw_logs", "dead_letters"] {
                let salvage = salvage_table(&old, fresh, table, stopping)?;
                total.kept += salvage.kept;
                total.lost += salvage.lost;
            }
            total.lost = total.lost.max(noted_rows(&old).saturating_sub(total.kept));
        }
        Err(error) => {
            log::error!("{}", errors::text("nothing can be read from the damaged spool", damaged, &error))
        }
    }
    counts::recount(fresh)?;
    fresh.execute_batch("COMMIT")?;
    Ok(total)
}

/// How many rows the damaged file had by its own counts, if they can be read.
fn noted_rows(old: &Connection) -> u64 {
    let sql = "SELECT coalesce(sum(value), 0) FROM figures WHERE name <> 'schema_version'";
    old.query_row(sql, [], |row| row.get::<_, i64>(0)).map_or(0, i64::unsigned_abs)
}

fn salvage_table(
    old: &Connection,
    fresh: &Connection,
    table: &str,
    stopping: &AtomicBool,
) -> rusqlite::Result<Salvage> {
    let mut salvage = Salvage::default();
    let mut strays = Vec::new();
    let mut after = 0;
    let mut stalls = 0;
    for count in 1_u64.. {
        if stopping.load(Ordering::Acquire) {
            return Err(schema::sqlite_error(ffi::SQLITE_INTERRUPT, "the daemon is stopping"));
        }
        if count.is_multiple_of(READS_PER_COMMIT) {
            fresh.execute_batch("COMMIT; BEGIN")?;
        }
        let page = copy_page(old, fresh, table, after, READ_ROWS, &mut strays)?;
        salvage.kept += page.kept;
        salvage.lost += page.bad;
        let progress = page.last.is_some_and(|last| last > after);
        after = after.max(page.last.unwrap_or(after));
        if !page.broke_off && page.last.is_none() {
            break;
        }
        if !page.broke_off && progress {
            continue;
        }
        let Some(next) = next_reachable(old, table, after) else { break };
        let single = copy_page(old, fresh, table, next - 1, 1, &mut strays)?;
        salvage.kept += single.kept;
        salvage.lost += single.bad + u64::from(single.broke_off);
        // A damaged order may return an earlier row: the search still moves forward, and ends.
        stalls = if next > after { 0 } else { stalls + 1 };
        if stalls > STRAYS_MAX {
            break;
        }
        after = next.max(after.saturating_add(1));
    }
    for stray in strays {
        salvage.kept += u64::from(stray.insert(fresh, table)?);
    }
    Ok(salvage)
}

#[derive(Default)]
struct Copied {
    kept: u64,
    /// Rows that were read and whose checksum does not match.
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
    strays: &mut Vec<Stray>,
) -> rusqlite::Result<Copied> {
    let extra = if table == "dead_letters" { "failed_at, error" } else { "'', ''" };
    let sql = format!(
        "SELECT {}, state, reason, instance, {extra} FROM {table} NOT INDEXED WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        row::RESTORE_COLUMNS
    );
    let mut page = Copied::default();
    let Ok(mut statement) = old.prepare_cached(&sql) else { return Ok(Copied { broke_off: true, ..page }) };
    let Ok(mut found) = statement.query((after, i64::try_from(rows).unwrap_or(i64::MAX))) else {
        return Ok(Copied { broke_off: true, ..page });
    };
    loop {
        let found = match found.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(page),
            Err(_) => return Ok(Copied { broke_off: true, ..page }),
        };
        let Ok(seq) = found.get::<_, i64>(0) else { return Ok(Copied { broke_off: true, ..page }) };
        page.last = Some(seq);
        let Ok(event) = row::restore(found) else {
            page.bad += 1;
            continue;
        };
        let text =
            |index: usize| found.get_ref(index).ok().and_then(|value| value.as_str().ok()).unwrap_or("");
        let standing = row::standing(found, 6);
        let label = Label { seq: Some(seq), standing, reason: text(7), instance: text(8) };
        let failure = Failure { failed_at: text(9), error: text(10) };
        let failure = (table == "dead_letters").then_some(&failure);
        let inserted = match (1..=counts::SEQ_MAX).contains(&seq) {
            true => row::insert(fresh, &event, &label, failure),
            false => {
                Err(schema::sqlite_error(ffi::SQLITE_CONSTRAINT_ROWID, "its number in the order is damaged"))
            }
        };
        match inserted {
            Ok(inserted) => page.kept += u64::from(inserted),
            Err(error) if Fault::of(&error) == Fault::Row && strays.len() < STRAYS_MAX => {
                let parts = [text(7), text(8), text(9), text(10)].map(str::to_owned);
                strays.push(Stray { event, standing, parts });
            }
            Err(error) if Fault::of(&error) == Fault::Row => page.bad += 1,
            Err(error) => return Err(error),
        }
    }
}

/// An intact event whose number is damaged or taken: it comes after all others.
struct Stray {
    event: Event,
    standing: Standing,
    /// Reason, instance, failed_at, error.
    parts: [String; 4],
}

impl Stray {
    fn insert(&self, fresh: &Connection, table: &str) -> rusqlite::Result<bool> {
        let [reason, instance, failed_at, error] = &self.parts;
        let failure = Failure { failed_at, error };
        let failure = (table == "dead_letters").then_some(&failure);
        let label = Label { seq: None, standing: self.standing, reason, instance };
        row::insert(fresh, &self.event, &label, failure)
    }
}

/// The first row after `after` that can be read: the distance is doubled until a read succeeds, then halved to where the
/// damage ends.
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
