//! The counts in the file's table `figures`, and the numbers of its rows.
//!
//! Invariant: the counts change in the same transaction as the rows.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::row;

/// Rows by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) held: u64,
    pub(super) home: u64,
    pub(super) dead_letters: u64,
}

/// The counts in the file. `None`: one of them is missing.
pub(super) fn read(db: &Connection) -> rusqlite::Result<Option<Counts>> {
    let mut statement = db.prepare_cached("SELECT value FROM figures WHERE name = ?1")?;
    let mut count = |name: &str| {
        statement.query_row([name], |row| row.get::<_, i64>(0).map(i64::unsigned_abs)).optional()
    };
    let (held, home, dead_letters) = (count("held")?, count("home")?, count("dead_letters")?);
    let counts = || Some(Counts { held: held?, home: home?, dead_letters: dead_letters? });
    Ok(counts())
}

/// Writes the counts into the file.
pub(super) fn note(tx: &Connection, old: Counts, new: Counts) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached("UPDATE figures SET value = ?2 WHERE name = ?1")?;
    for (name, old, new) in [
        ("held", old.held, new.held),
        ("home", old.home, new.home),
        ("dead_letters", old.dead_letters, new.dead_letters),
    ] {
        if old != new {
            statement.execute(params![name, new.cast_signed()])?;
        }
    }
    Ok(())
}

/// Whether a count is above 0 where there are no rows of its kind, or the reverse: by one step into an index each,
/// however large the file is.
pub(super) fn drifted(db: &Connection, counts: Counts) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM raw_logs WHERE state = 'held'), \
               EXISTS (SELECT 1 FROM raw_logs WHERE state = 'home'), EXISTS (SELECT 1 FROM dead_letters)";
    let there: [bool; 3] =
        db.prepare_cached(sql)?.query_row([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
    Ok(there != [counts.held > 0, counts.home > 0, counts.dead_letters > 0])
}

/// Counts every row again, in a transaction of the caller's.
pub(super) fn recount(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute_batch(
        "DELETE FROM figures WHERE name <> 'schema_version';
         INSERT INTO figures (name, value) VALUES
             ('held', (SELECT count(*) FROM raw_logs WHERE state = 'held')),
             ('home', (SELECT count(*) FROM raw_logs WHERE state = 'home')),
             ('dead_letters', (SELECT count(*) FROM dead_letters));",
    )
}

/// Counts every row again, in a transaction of its own.
pub(super) fn recounted(db: &Connection) -> rusqlite::Result<Counts> {
    let tx = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    recount(&tx)?;
    tx.commit()?;
    Ok(read(db)?.expect("BUG: counted, but not noted"))
}

/// When the held row that is next in order arrived.
pub(super) fn oldest_held(db: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT received_at FROM raw_logs WHERE state = 'held' ORDER BY seq LIMIT 1";
    let mut statement = db.prepare_cached(sql)?;
    let text: Option<String> = statement.query_row([], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| row::time_ms(&text)))
}

/// No row gets a number beyond this: it is a damaged byte, and after the last number that SQLite has, every event would
/// be refused.
pub(super) const SEQ_MAX: i64 = i64::MAX / 2;

/// The highest number that a row ever got.
pub(super) fn last_seq(db: &Connection) -> rusqlite::Result<i64> {
    let mut statement = db.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'raw_logs'")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}
