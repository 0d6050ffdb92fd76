//! Copies what can be read of a damaged file, row by row, into a fresh one.
//!
//! Invariant: only rows whose checksum matches are copied, and each keeps its number in the order.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, ffi};

use crate::limits::SPOOL_PROGRESS_EVERY;
use crate::store::spool::errors;
use crate::store::spool::legacy::{self, OldRow};
use crate::store::spool::row::{self, LETTERS, RESTORE_COLUMNS, RESTORED};
use crate::store::spool::{counts, schema};

/// Rows of one read of a damaged file.
const READ_ROWS: usize = 200;
/// Reads that share one commit of the fresh file.
const READS_PER_COMMIT: u64 = 25;
/// Rows whose number is damaged; one flipped byte makes one.
const STRAYS_MAX: i64 = 1_000;
/// Rows of each end of a table that show whether it can be read.
const SAMPLE_ROWS: usize = 50;

/// The tables that a file of any version may have.
const TABLES: [Table; 5] = [
    Table { name: "held_rows", is_old: false },
    Table { name: "home_rows", is_old: false },
    Table { name: LETTERS, is_old: false },
    Table { name: legacy::TABLES[0], is_old: true },
    Table { name: legacy::TABLES[1], is_old: true },
];

/// A table of the damaged file.
#[derive(Clone, Copy)]
struct Table {
    name: &'static str,
    /// Of version 1 or 2.
    is_old: bool,
}

/// How many rows were copied, and how many were lost.
#[derive(Default)]
pub(super) struct Salvage {
    pub(super) kept: u64,
    pub(super) lost: u64,
    /// The highest number among the held and home rows of version 3.
    last_seq: i64,
}

/// Errors are those of the fresh file, or the daemon's stop: an error of the damaged file only ends what can be read of it.
pub(super) fn run(
    damaged: &Path,
    fresh: &Connection,
    seq_floor: i64,
    stopping: &AtomicBool,
) -> rusqlite::Result<Salvage> {
    let mut total = Salvage::default();
    let mut noted_seq = 0;
    // An interrupted fresh file is deleted, so it may be committed in parts, which keep its log small.
    fresh.execute_batch("BEGIN")?;
    match open(damaged) {
        Ok(old) => {
            let mut copy =
                Copy { old: &old, fresh, stopping, strays: 0, reported: Instant::now(), copied: 0 };
            for table in
                TABLES.into_iter().filter(|table| schema::has(&old, "table", table.name).unwrap_or(false))
            {
                let salvage = copy.table(table)?;
                total.kept += salvage.kept;
                total.lost += salvage.lost;
                total.last_seq = total.last_seq.max(salvage.last_seq);
            }
            copy.renumber_strays()?;
            if let Ok(Some(noted)) = counts::noted(&old) {
                noted_seq = noted.noted_seq;
                total.lost = total.lost.max(expected(&noted, total.last_seq).saturating_sub(total.kept));
            }
        }
        Err(error) => {
            log::error!("{}", errors::text("nothing can be read from the damaged spool", damaged, &error))
        }
    }
    counts::recount(fresh, seq_floor.max(noted_seq.min(counts::SEQ_MAX)))?;
    fresh.execute_batch("COMMIT")?;
    Ok(total)
}

/// How many rows the damaged file had: rows after the noted ones were only appended, so their numbers have no gaps.
fn expected(noted: &counts::Counts, last_seq: i64) -> u64 {
    let (held, home, letters) = noted.rows();
    let after = last_seq.saturating_sub(noted.noted_seq).max(0).unsigned_abs();
    held.saturating_add(home).saturating_add(letters).saturating_add(after)
}

fn open(damaged: &Path) -> rusqlite::Result<Connection> {
    let old = schema::reader(damaged)?;
    // A page with one damaged cell still has good ones; the checksum proves every row.
    let lenient = old.pragma_update(None, "cell_size_check", false);
    // A view that cannot be read hides no table.
    if let Err(error) = lenient.and_then(|()| old.pragma_update(None, "writable_schema", true)) {
        log::warn!("{}", errors::text("cannot read all of the damaged spool", damaged, &error));
    }
    Ok(old)
}

/// How many intact rows stand at the ends of the tables.
pub(super) fn sample(damaged: &Path) -> u64 {
    let Ok(old) = open(damaged) else { return 0 };
    let tables = TABLES.into_iter().filter(|table| schema::has(&old, "table", table.name).unwrap_or(false));
    tables
        .map(|table| {
            let intact = |order: &str| {
                let sql = format!("{} ORDER BY seq {order} LIMIT {SAMPLE_ROWS}", table.select());
                let Ok(mut statement) = old.prepare(&sql) else { return 0 };
                let Ok(mut found) = statement.query([i64::MIN]) else { return 0 };
                let mut intact = 0;
                while let Ok(Some(row)) = found.next() {
                    intact += u64::from(table.is_intact(row));
                }
                intact
            };
            intact("ASC") + intact("DESC")
        })
        .sum()
}

impl Table {
    /// Its rows after a number, without an order.
    fn select(self) -> String {
        let extra = if self.name == LETTERS { "state, failed_at, error" } else { "NULL, NULL, NULL" };
        match self.is_old {
            true => legacy::select(self.name),
            false => {
                format!("SELECT {RESTORE_COLUMNS}, {extra} FROM {} NOT INDEXED WHERE seq > ?1", self.name)
            }
        }
    }

    fn is_letters(self) -> bool {
        self.name == LETTERS || self.name == legacy::TABLES[1]
    }

    fn is_intact(self, row: &Row<'_>) -> bool {
        if self.is_old { OldRow::of(row, self.name).is_intact() } else { row::restore(row).is_ok() }
    }

    /// Puts an intact row into a fresh file.
    fn insert(self, row: &Row<'_>, fresh: &Connection, seq: i64) -> rusqlite::Result<bool> {
        if self.is_old {
            return OldRow::of(row, self.name).insert(fresh, seq);
        }
        let mut values =
            (1..RESTORED).map(|index| row.get(index)).collect::<rusqlite::Result<Vec<Value>>>()?;
        if let (false, Some(Value::Blob(id))) = (self.is_letters(), values.first())
            && !row::note_id(fresh, id, seq)?
        {
            return Ok(false);
        }
        values.push(seq.into());
        if self.is_letters() {
            for index in RESTORED..RESTORED + 3 {
                values.push(row.get(index)?);
            }
        }
        row::insert_values(fresh, self.name, &values)
    }
}

#[derive(Default)]
struct Copied {
    kept: u64,
    /// Rows that were read and whose checksum does not match.
    bad: u64,
    last: Option<i64>,
    broke_off: bool,
}

/// What copies a damaged file.
struct Copy<'a> {
    old: &'a Connection,
    fresh: &'a Connection,
    stopping: &'a AtomicBool,
    /// Rows whose number is damaged or taken.
    strays: i64,
    /// When the log last had a line about it, and how many rows are copied.
    reported: Instant,
    copied: u64,
}

impl Copy<'_> {
    fn table(&mut self, table: Table) -> rusqlite::Result<Salvage> {
        let mut salvage = Salvage::default();
        let mut after = 0;
        let mut stalls = 0;
        for count in 1_u64.. {
            if self.stopping.load(Ordering::Acquire) {
                return Err(schema::sqlite_error(ffi::SQLITE_INTERRUPT, "the daemon is stopping"));
            }
            if count.is_multiple_of(READS_PER_COMMIT) {
                self.fresh.execute_batch("COMMIT; BEGIN")?;
            }
            let page = self.page(table, after, READ_ROWS)?;
            salvage.kept += page.kept;
            salvage.lost += page.bad;
            self.report(page.kept);
            let moved_on = page.last.is_some_and(|last| last > after);
            after = after.max(page.last.unwrap_or(after));
            if !page.broke_off && page.last.is_none() {
                break;
            }
            if !page.broke_off && moved_on {
                continue;
            }
            let Some(next) = next_reachable(self.old, table.name, after) else { break };
            let single = self.page(table, next - 1, 1)?;
            salvage.kept += single.kept;
            salvage.lost += single.bad + u64::from(single.broke_off);
            // A damaged order may return an earlier row: the search still moves forward, and ends.
            stalls = if next > after { 0 } else { stalls + 1 };
            if stalls > STRAYS_MAX {
                break;
            }
            after = next.max(after.saturating_add(1));
        }
        if !table.is_old && table.name != LETTERS && after <= counts::SEQ_MAX {
            salvage.last_seq = after;
        }
        Ok(salvage)
    }

    fn report(&mut self, rows: u64) {
        self.copied += rows;
        if self.reported.elapsed() >= SPOOL_PROGRESS_EVERY {
            self.reported = Instant::now();
            log::info!("the repair goes on: {} rows of the damaged spool are saved", self.copied);
        }
    }

    fn page(&mut self, table: Table, after: i64, rows: usize) -> rusqlite::Result<Copied> {
        let mut page = Copied::default();
        let broken = |page: Copied| Ok(Copied { broke_off: true, ..page });
        let sql = format!("{} ORDER BY seq LIMIT {rows}", table.select());
        let Ok(mut statement) = self.old.prepare_cached(&sql) else { return broken(page) };
        let Ok(mut found) = statement.query([after]) else { return broken(page) };
        loop {
            let row = match found.next() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(page),
                Err(_) => return broken(page),
            };
            let Ok(seq) = row.get::<_, i64>(0) else { return broken(page) };
            page.last = Some(seq);
            if !table.is_intact(row) {
                page.bad += 1;
                continue;
            }
            let seq = match self.is_free(table, seq)? {
                true => seq,
                false if self.strays == STRAYS_MAX => {
                    page.bad += 1;
                    continue;
                }
                false => {
                    self.strays += 1;
                    counts::SEQ_MAX + self.strays
                }
            };
            page.kept += u64::from(table.insert(row, self.fresh, seq)?);
        }
    }

    /// Whether a row may have this number: it is plausible, and no other row has it.
    fn is_free(&self, table: Table, seq: i64) -> rusqlite::Result<bool> {
        let sql = match table.is_letters() {
            true => "SELECT NOT EXISTS (SELECT 1 FROM letter_rows WHERE seq = ?1)",
            false => {
                "SELECT NOT EXISTS (SELECT 1 FROM held_rows WHERE seq = ?1) \
                 AND NOT EXISTS (SELECT 1 FROM home_rows WHERE seq = ?1)"
            }
        };
        Ok((1..=counts::SEQ_MAX).contains(&seq)
            && self.fresh.prepare_cached(sql)?.query_row([seq], |row| row.get(0))?)
    }

    /// Gives rows whose number was damaged or taken a number after all others.
    fn renumber_strays(&self) -> rusqlite::Result<()> {
        let last = "SELECT max((SELECT coalesce(max(seq), 0) FROM held_rows WHERE seq <= ?1), \
                    (SELECT coalesce(max(seq), 0) FROM home_rows WHERE seq <= ?1), \
                    (SELECT coalesce(max(seq), 0) FROM letter_rows WHERE seq <= ?1))";
        let last: i64 = self.fresh.query_row(last, [counts::SEQ_MAX], |row| row.get(0))?;
        for table in ["held_rows", "home_rows", LETTERS, "derived_ids"] {
            let sql = format!("UPDATE {table} SET seq = seq - ?1 + ?2 WHERE seq > ?1");
            self.fresh.execute(&sql, [counts::SEQ_MAX, last])?;
        }
        Ok(())
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
