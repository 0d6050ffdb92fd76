//! How many rows there are, and the number of the last one.
//!
//! The table `figures` has the counts as they were at its `last_seq`. A transaction that only appends does not write
//! them, because that would cost a page: later rows are counted at the opening. One that deletes does.
//!
//! Invariant: since the counts were noted, rows were only appended.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::row;
use crate::store::Standing;

/// Rows by state, and their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) held: u64,
    pub(super) home: u64,
    pub(super) dead_letters: u64,
    /// The highest number that a held or home row ever got.
    pub(super) last_seq: i64,
    /// That number when the counts were last noted.
    pub(super) noted_seq: i64,
}

impl Counts {
    /// The same rows, whatever is noted.
    pub(super) fn rows(&self) -> (u64, u64, u64) {
        (self.held, self.home, self.dead_letters)
    }
}

/// The counts now: those in the file, and the rows after them. `None`: one of them is missing.
pub(super) fn read(db: &Connection) -> rusqlite::Result<Option<Counts>> {
    let Some(noted) = noted(db)? else { return Ok(None) };
    let (held, last_held) = after(db, Standing::Held, noted.noted_seq)?;
    let (home, last_home) = after(db, Standing::Home, noted.noted_seq)?;
    Ok(Some(Counts {
        held: noted.held.saturating_add(held),
        home: noted.home.saturating_add(home),
        last_seq: noted.noted_seq.max(last_held).max(last_home),
        ..noted
    }))
}

/// The counts in the file, as they were at their `last_seq`.
pub(super) fn noted(db: &Connection) -> rusqlite::Result<Option<Counts>> {
    let mut statement = db.prepare_cached("SELECT value FROM figures WHERE name = ?1")?;
    let mut value = |name: &str| statement.query_row([name], |row| row.get::<_, i64>(0)).optional();
    let (held, home, dead_letters) = (value("held")?, value("home")?, value("dead_letters")?);
    let seq = value("last_seq")?;
    let counts = || {
        let [held, home, dead_letters] = [held?, home?, dead_letters?].map(i64::unsigned_abs);
        Some(Counts { held, home, dead_letters, last_seq: seq?, noted_seq: seq? })
    };
    Ok(counts())
}

/// How many rows there are after `seq`, and the last one's number or 0.
fn after(db: &Connection, standing: Standing, seq: i64) -> rusqlite::Result<(u64, i64)> {
    let sql = format!("SELECT count(*), coalesce(max(seq), 0) FROM {} WHERE seq > ?1", row::table(standing));
    db.prepare_cached(&sql)?.query_row([seq], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))
}

/// Writes the counts into the file.
pub(super) fn note(tx: &Connection, counts: &mut Counts) -> rusqlite::Result<()> {
    let sql = "INSERT INTO figures (name, value) VALUES (?1, ?2) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value";
    let mut statement = tx.prepare_cached(sql)?;
    for (name, value) in [
        ("held", counts.held.cast_signed()),
        ("home", counts.home.cast_signed()),
        ("dead_letters", counts.dead_letters.cast_signed()),
        ("last_seq", counts.last_seq),
    ] {
        statement.execute(params![name, value])?;
    }
    counts.noted_seq = counts.last_seq;
    Ok(())
}

/// Whether a count is above 0 where there are no rows of its kind, or the reverse: one step into each table, however
/// large the file is.
pub(super) fn drifted(db: &Connection, counts: Counts) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM held_rows), EXISTS (SELECT 1 FROM home_rows), \
               EXISTS (SELECT 1 FROM letter_rows)";
    let there: [bool; 3] =
        db.prepare_cached(sql)?.query_row([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
    Ok(there != [counts.held > 0, counts.home > 0, counts.dead_letters > 0])
}

/// Counts every row again, in a transaction of the caller's. New rows get numbers after `seq_floor`.
pub(super) fn recount(tx: &Connection, seq_floor: i64) -> rusqlite::Result<Counts> {
    let known = tx
        .query_row("SELECT value FROM figures WHERE name = 'last_seq'", [], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let (held, last_held) = after(tx, Standing::Held, i64::MIN)?;
    let (home, last_home) = after(tx, Standing::Home, i64::MIN)?;
    let letters: i64 = tx.query_row("SELECT count(*) FROM letter_rows", [], |row| row.get(0))?;
    let mut counts = Counts {
        held,
        home,
        dead_letters: letters.unsigned_abs(),
        last_seq: seq_floor.max(known).max(last_held).max(last_home),
        noted_seq: 0,
    };
    note(tx, &mut counts)?;
    Ok(counts)
}

/// Counts every row again, in a transaction of its own.
pub(super) fn recounted(db: &Connection) -> rusqlite::Result<Counts> {
    let tx = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let counts = recount(&tx, 0)?;
    tx.commit()?;
    Ok(counts)
}

/// When the held row that is next in order arrived.
pub(super) fn oldest_held(db: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT received_at FROM held_rows ORDER BY seq LIMIT 1";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?.flatten())
}

/// No row gets a number beyond this: it is a damaged byte, and after the last number that SQLite has, every event would
/// be refused.
pub(super) const SEQ_MAX: i64 = i64::MAX / 2;
