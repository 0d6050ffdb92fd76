//! What each command does to the tables, in a transaction that the writer begins and commits.
//!
//! Invariant: the counts in the table `figures` change in the same transaction as the rows.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::event::Event;
use crate::host::clock;
use crate::store::spool::counts::Counts;
use crate::store::spool::errors::Fault;
use crate::store::spool::row::{self, Failure, Label, RESTORE_COLUMNS};
use crate::store::{Refusal, Standing, StoreError, WriteResult};

/// What one transaction has changed so far.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) held: i64,
    pub(super) home: i64,
    pub(super) dead_letters: i64,
    /// Rows whose checksum does not match.
    pub(super) damaged: u64,
    /// Home rows removed for their age or for room.
    pub(super) removed: u64,
    /// Events to be held whose ids were there already.
    pub(super) repeated: u64,
    /// Dead letters that wait for Kafka again.
    pub(super) retried: u64,
    /// About how much was written.
    pub(super) bytes: u64,
}

impl Changes {
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

/// Appends events in their order. An event whose id is there already is stored.
pub(super) fn append(
    tx: &Connection,
    events: &[Event],
    label: &Label<'_>,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    for event in events {
        append_one(tx, event, label, changes)?;
    }
    Ok(())
}

/// As [`append`], but a row that is refused costs only itself. Slower: for the second try.
pub(super) fn append_row_by_row(
    tx: &Connection,
    events: &[Event],
    label: &Label<'_>,
    changes: &mut Changes,
) -> rusqlite::Result<Vec<WriteResult>> {
    let mut results = Vec::with_capacity(events.len());
    for event in events {
        tx.execute_batch("SAVEPOINT one_row")?;
        match append_one(tx, event, label, changes) {
            Ok(()) => results.push(Ok(())),
            Err(error) if Fault::of(&error) == Fault::Row => {
                tx.execute_batch("ROLLBACK TO one_row")?;
                let why = format!("the spool refuses event {}: {error}", event.ingest_id());
                results.push(Err(StoreError::rejected(Refusal::ValueRefused, why)));
            }
            Err(error) => return Err(error),
        }
        tx.execute_batch("RELEASE one_row")?;
    }
    Ok(results)
}

fn append_one(
    tx: &Connection,
    event: &Event,
    label: &Label<'_>,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    if row::insert(tx, event, label, None)? {
        changes.count(label.standing, 1);
        changes.bytes += row::row_bytes(event);
    } else if label.standing == Standing::Held {
        changes.repeated += 1;
    }
    Ok(())
}

/// Keeps dead letters, each with its error.
pub(super) fn keep_letters(
    tx: &Connection,
    letters: &[(Event, Arc<str>)],
    instance: &str,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let failed_at = clock::rfc3339(clock::record_ms());
    let label = Label { seq: None, standing: Standing::Held, reason: "rejected", instance };
    for (event, error) in letters {
        let failure = Failure { failed_at: &failed_at, error };
        if row::insert(tx, event, &label, Some(&failure))? {
            changes.dead_letters += 1;
            changes.bytes += row::row_bytes(event);
        }
    }
    Ok(())
}

/// Deletes rows that are safe elsewhere. A row that is gone already is not an error: a release may be repeated.
pub(super) fn release(tx: &Connection, seqs: &[i64], changes: &mut Changes) -> rusqlite::Result<()> {
    for &seq in seqs {
        delete(tx, seq, changes)?;
    }
    Ok(())
}

fn delete(tx: &Connection, seq: i64, changes: &mut Changes) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached("DELETE FROM raw_logs WHERE seq = ?1 RETURNING state")?;
    let gone = statement.query_row([seq], |deleted| Ok(row::standing(deleted, 0))).optional()?;
    if let Some(standing) = gone {
        changes.count(standing, -1);
        changes.bytes += 1_000;
    }
    Ok(())
}

/// For a row with values that a sound row cannot have.
const COPY_WHAT_IS_LEFT: &str = "INSERT INTO dead_letters \
    (ingest_id, received_at, state, reason, instance, crc, payload, failed_at, error) \
    SELECT coalesce(CAST(ingest_id AS TEXT), 'damaged-' || seq), coalesce(CAST(received_at AS TEXT), ''), \
    coalesce(CAST(state AS TEXT), ''), coalesce(CAST(reason AS TEXT), ''), coalesce(CAST(instance AS TEXT), ''), \
    coalesce(CAST(crc AS INTEGER), 0), coalesce(CAST(payload AS BLOB), x''), ?2, ?3 \
    FROM raw_logs WHERE seq = ?1 ON CONFLICT (ingest_id) DO NOTHING";

/// Moves rows to the dead letters as they are, damaged bytes included.
pub(super) fn dead_letter(
    tx: &Connection,
    seqs: &[(i64, Arc<str>)],
    changes: &mut Changes,
) -> rusqlite::Result<()> {
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
        changes.damaged += u64::from(!intact);
        let copied = match tx.prepare_cached(&copy)?.execute(params![seq, failed_at, &**error]) {
            // A damaged row may break the table's constraints: what can be read of it is kept all the same.
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == rusqlite::ErrorCode::ConstraintViolation =>
            {
                tx.prepare_cached(COPY_WHAT_IS_LEFT)?.execute(params![seq, failed_at, &**error])?
            }
            result => result?,
        };
        changes.dead_letters += i64::try_from(copied).unwrap_or(0);
        delete(tx, *seq, changes)?;
    }
    Ok(())
}

/// Writes a page and changes nothing.
pub(super) fn touch(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute("UPDATE figures SET value = value WHERE name = 'schema_version'", []).map(drop)
}
