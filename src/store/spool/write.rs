//! What each command does to the tables, inside a transaction that the writer begins and commits.
//!
//! Invariant: `figures` changes in the same transaction as the rows that it counts.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use super::row::{self, Failure, Label, RESTORE_COLUMNS};
use crate::event::Event;
use crate::host::clock;
use crate::store::{Refusal, Standing, StoreError, WriteResult};

/// Rows by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) held: u64,
    pub(super) home: u64,
    pub(super) dead_letters: u64,
}

/// What one transaction has changed so far.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) held: i64,
    pub(super) home: i64,
    pub(super) dead_letters: i64,
    /// Rows met whose checksum doesn't hold.
    pub(super) damaged: u64,
    /// Home rows removed for their age or for room.
    pub(super) removed: u64,
    /// Events to be held whose ids were here already.
    pub(super) repeated: u64,
    /// Dead letters that wait again.
    pub(super) retried: u64,
    /// About how much was written.
    pub(super) bytes: u64,
}

impl Tally {
    fn count(&mut self, standing: Standing, rows: i64) {
        match standing {
            Standing::Home => self.home += rows,
            Standing::Held => self.held += rows,
        }
    }

    /// The counts after this transaction.
    pub(super) fn added_to(&self, counts: Counts) -> Counts {
        let add = |count: u64, change: i64| count.saturating_add_signed(change);
        Counts {
            held: add(counts.held, self.held),
            home: add(counts.home, self.home),
            dead_letters: add(counts.dead_letters, self.dead_letters),
        }
    }
}

/// Appends events in their order. An id that is there already is as good as stored.
pub(super) fn append(
    tx: &Connection,
    events: &[Event],
    label: &Label<'_>,
    tally: &mut Tally,
) -> rusqlite::Result<()> {
    for event in events {
        append_one(tx, event, label, tally)?;
    }
    Ok(())
}

/// As [`append`], but a row that fails for its own sake costs only itself. Slower: for the second try.
pub(super) fn append_row_by_row(
    tx: &Connection,
    events: &[Event],
    label: &Label<'_>,
    tally: &mut Tally,
) -> rusqlite::Result<Vec<WriteResult>> {
    let mut outcomes = Vec::with_capacity(events.len());
    for event in events {
        tx.execute_batch("SAVEPOINT one_row")?;
        match append_one(tx, event, label, tally) {
            Ok(()) => outcomes.push(Ok(())),
            Err(error) if Fault::of(&error) == Fault::Row => {
                tx.execute_batch("ROLLBACK TO one_row")?;
                let why = format!("the spool refuses event {}: {error}", event.ingest_id());
                outcomes.push(Err(StoreError::rejected(Refusal::ValueRefused, why)));
            }
            Err(error) => return Err(error),
        }
        tx.execute_batch("RELEASE one_row")?;
    }
    Ok(outcomes)
}

fn append_one(tx: &Connection, event: &Event, label: &Label<'_>, tally: &mut Tally) -> rusqlite::Result<()> {
    if row::insert(tx, event, label, None)? {
        tally.count(label.standing, 1);
        tally.bytes += row::row_bytes(event);
    } else if label.standing == Standing::Held {
        tally.repeated += 1;
    }
    Ok(())
}

/// Keeps events that no broker will have, each with its error.
pub(super) fn dead_letter(
    tx: &Connection,
    letters: &[(Event, Arc<str>)],
    instance: &str,
    tally: &mut Tally,
) -> rusqlite::Result<()> {
    let failed_at = clock::rfc3339(clock::record_ms());
    let label = Label { seq: None, standing: Standing::Held, reason: "rejected", instance };
    for (event, error) in letters {
        let failure = Failure { failed_at: &failed_at, error };
        if row::insert(tx, event, &label, Some(&failure))? {
            tally.dead_letters += 1;
            tally.bytes += row::row_bytes(event);
        }
    }
    Ok(())
}

/// Deletes rows that are safe elsewhere. A row that is gone already is no error: releases may repeat.
pub(super) fn release(tx: &Connection, seqs: &[i64], tally: &mut Tally) -> rusqlite::Result<()> {
    for &seq in seqs {
        delete(tx, seq, tally)?;
    }
    Ok(())
}

fn delete(tx: &Connection, seq: i64, tally: &mut Tally) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached("DELETE FROM raw_logs WHERE seq = ?1 RETURNING state")?;
    let gone = statement.query_row([seq], |deleted| Ok(row::standing(deleted, 0))).optional()?;
    if let Some(standing) = gone {
        tally.count(standing, -1);
        tally.bytes += 1_000;
    }
    Ok(())
}

/// For a row with values that no row should have.
const COPY_WHAT_IS_LEFT: &str = "INSERT INTO dead_letters \
    (ingest_id, received_at, state, reason, instance, crc, payload, failed_at, error) \
    SELECT coalesce(CAST(ingest_id AS TEXT), 'damaged-' || seq), coalesce(CAST(received_at AS TEXT), ''), \
    coalesce(CAST(state AS TEXT), ''), coalesce(CAST(reason AS TEXT), ''), coalesce(CAST(instance AS TEXT), ''), \
    coalesce(CAST(crc AS INTEGER), 0), coalesce(CAST(payload AS BLOB), x''), ?2, ?3 \
    FROM raw_logs WHERE seq = ?1 ON CONFLICT (ingest_id) DO NOTHING";

/// Moves rows to the dead letters as they are, damaged bytes included.
pub(super) fn bury(tx: &Connection, seqs: &[(i64, Arc<str>)], tally: &mut Tally) -> rusqlite::Result<()> {
    let failed_at = clock::rfc3339(clock::record_ms());
    let check = format!("SELECT {RESTORE_COLUMNS} FROM raw_logs WHERE seq = ?1");
    let columns = row::COLUMNS;
    let copy = format!(
        "INSERT INTO dead_letters ({columns}, failed_at, error) SELECT {columns}, ?2, ?3 FROM raw_logs \
         WHERE seq = ?1 ON CONFLICT (ingest_id) DO NOTHING"
    );
    for (seq, error) in seqs {
        let intact =
            tx.prepare_cached(&check)?.query_row([seq], |row| Ok(row::restore(row).is_ok())).optional()?;
        let Some(intact) = intact else { continue };
        tally.damaged += u64::from(!intact);
        let copied = match tx.prepare_cached(&copy)?.execute(params![seq, failed_at, &**error]) {
            // A damaged row may break the table's own rules: what can be read of it is kept all the same.
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == rusqlite::ErrorCode::ConstraintViolation =>
            {
                tx.prepare_cached(COPY_WHAT_IS_LEFT)?.execute(params![seq, failed_at, &**error])?
            }
            result => result?,
        };
        tally.dead_letters += i64::try_from(copied).unwrap_or(0);
        delete(tx, *seq, tally)?;
    }
    Ok(())
}

/// The counts as the file has them. `None`: one of them is gone.
pub(super) fn counts(db: &Connection) -> rusqlite::Result<Option<Counts>> {
    let mut statement = db.prepare_cached("SELECT value FROM figures WHERE name = ?1")?;
    let mut count = |name: &str| {
        statement.query_row([name], |row| row.get::<_, i64>(0).map(i64::unsigned_abs)).optional()
    };
    let (held, home, dead_letters) = (count("held")?, count("home")?, count("dead_letters")?);
    let counts = || Some(Counts { held: held?, home: home?, dead_letters: dead_letters? });
    Ok(counts())
}

/// Notes the counts beside the rows.
pub(super) fn note_counts(tx: &Connection, old: Counts, new: Counts) -> rusqlite::Result<()> {
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

/// Writes a page and changes nothing.
pub(super) fn touch(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute("UPDATE figures SET value = value WHERE name = 'schema_version'", []).map(drop)
}

/// Whether a count says that there are rows of its kind where there are none, or the reverse: found by one
/// step into an index each, however large the file is.
pub(super) fn drifted(db: &Connection, counts: Counts) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM raw_logs WHERE state = 'held'), \
               EXISTS (SELECT 1 FROM raw_logs WHERE state = 'home'), EXISTS (SELECT 1 FROM dead_letters)";
    let there: [bool; 3] =
        db.prepare_cached(sql)?.query_row([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
    Ok(there != [counts.held > 0, counts.home > 0, counts.dead_letters > 0])
}

/// Counts every row anew.
pub(super) fn recount(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute_batch(
        "DELETE FROM figures WHERE name <> 'schema_version';
         INSERT INTO figures (name, value) VALUES
             ('held', (SELECT count(*) FROM raw_logs WHERE state = 'held')),
             ('home', (SELECT count(*) FROM raw_logs WHERE state = 'home')),
             ('dead_letters', (SELECT count(*) FROM dead_letters));",
    )
}

/// The time of arrival of the held row that is next in order.
pub(super) fn oldest_held(db: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT received_at FROM raw_logs WHERE state = 'held' ORDER BY seq LIMIT 1";
    let mut statement = db.prepare_cached(sql)?;
    let text: Option<String> = statement.query_row([], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| row::time_ms(&text)))
}

/// No order of arrival comes this far: a seq beyond it is a damaged byte, and the last one that SQLite can
/// give would refuse every event after it.
pub(super) const SEQ_MAX: i64 = i64::MAX / 2;

/// The highest seq that was ever given.
pub(super) fn last_seq(db: &Connection) -> rusqlite::Result<i64> {
    let mut statement = db.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'raw_logs'")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}
