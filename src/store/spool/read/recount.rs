//! Counts the spool's rows one by one, beside a running daemon or without one.
//!
//! Invariant: read-only, in short reads, one row in memory at a time.

use std::path::Path;

use rusqlite::Connection;

use super::journal::{Journal, JournalError};
use crate::store::Standing;
use crate::store::spool::counts;
use crate::store::spool::row::{self, RESTORE_COLUMNS};

/// Rows of one read.
const READ_ROWS: u32 = 1_000;

/// What is in the file, and what the file's own counts say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recount {
    /// Rows that wait for Kafka.
    pub held: u64,
    /// Rows whose destination is the spool.
    pub home: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Rows among the held and the home ones whose checksum does not hold.
    pub damaged: u64,
    /// Held, home and dead letters by the file's own counts. None: they cannot be read.
    pub noted: Option<(u64, u64, u64)>,
}

/// Reads every row of the spool in `dir`. Rows that move meanwhile may be missed or counted twice.
///
/// # Errors
/// There is no spool, or this user or this release cannot read it.
pub fn recount(dir: &Path) -> Result<Recount, JournalError> {
    Journal::open(dir)?.read(count)
}

fn count(db: &Connection) -> rusqlite::Result<Recount> {
    let mut found = Recount::default();
    for standing in [Standing::Held, Standing::Home] {
        let table = row::table(standing);
        let sql = format!("SELECT {RESTORE_COLUMNS} FROM {table} WHERE seq > ?1 ORDER BY seq LIMIT ?2");
        let mut statement = db.prepare(&sql)?;
        let mut after = i64::MIN;
        loop {
            let before = after;
            let mut rows = statement.query((after, READ_ROWS))?;
            while let Some(row) = rows.next()? {
                after = row.get(0)?;
                found.damaged += u64::from(row::restore(row).is_err());
                *match standing {
                    Standing::Home => &mut found.home,
                    Standing::Held => &mut found.held,
                } += 1;
            }
            if after == before {
                break;
            }
        }
    }
    let letters: i64 = db.query_row("SELECT count(*) FROM letter_rows", [], |row| row.get(0))?;
    found.dead_letters = letters.unsigned_abs();
    found.noted = counts::read(db)?.map(|counts| counts.rows());
    Ok(found)
}
