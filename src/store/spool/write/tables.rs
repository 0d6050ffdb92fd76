//! What each command does to the tables, in a transaction that the writer begins and commits.
//!
//! Invariant: a transaction that deletes rows also notes the counts, see `counts`.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::event::Event;
use crate::host::clock;
use crate::store::spool::counts::Counts;
use crate::store::spool::errors::Fault;
use crate::store::spool::row::{self, Failure, Inserter, Label, RESTORE_COLUMNS, To};
use crate::store::{Refusal, Standing, StoreError, WriteResult};

/// What one transaction has changed so far.
#[derive(Default)]
pub(super) struct Changes {
    /// The highest number that a held or home row ever got.
    pub(super) last_seq: i64,
    /// The counts cannot be found from the rows that were appended since they were noted.
    pub(super) must_note: bool,
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

    /// Notes that rows are gone.
    pub(super) fn removed(&mut self, standing: Standing, rows: usize) {
        self.count(standing, -i64::try_from(rows).unwrap_or(0));
        self.bytes += 500 * rows as u64;
        self.must_note |= rows > 0;
    }

    /// Notes that dead letters came, or with a negative number went.
    pub(super) fn letters(&mut self, letters: i64) {
        self.dead_letters += letters;
        self.must_note |= letters != 0;
    }

    /// The counts after this transaction.
    pub(super) fn added_to(&self, counts: Counts) -> Counts {
        let add = |count: u64, change: i64| count.saturating_add_signed(change);
        Counts {
            held: add(counts.held, self.held),
            home: add(counts.home, self.home),
            dead_letters: add(counts.dead_letters, self.dead_letters),
            last_seq: self.last_seq,
            noted_seq: counts.noted_seq,
        }
    }
}

/// Where events go, and what is known of them.
pub(super) struct Appending<'a> {
    pub(super) label: Label<'a>,
    /// Events that were committed although the commit failed: their caller tries again.
    pub(super) turned_up: &'a HashSet<Uuid>,
}

/// Appends events in their order. An event whose id is there already is stored.
pub(super) fn append(
    tx: &Connection,
    events: &[Event],
    appending: &Appending<'_>,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let mut inserter = Inserter::new(tx, appending.label.standing)?;
    for event in events {
        append_one(&mut inserter, event, appending, changes)?;
    }
    Ok(())
}

/// As [`append`], but a row that is refused costs only itself. Slower: for the second try.
pub(super) fn append_row_by_row(
    tx: &Connection,
    events: &[Event],
    appending: &Appending<'_>,
    changes: &mut Changes,
) -> rusqlite::Result<Vec<WriteResult>> {
    let mut results = Vec::with_capacity(events.len());
    let mut inserter = Inserter::new(tx, appending.label.standing)?;
    for event in events {
        tx.execute_batch("SAVEPOINT one_row")?;
        match append_one(&mut inserter, event, appending, changes) {
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
    inserter: &mut Inserter<'_>,
    event: &Event,
    appending: &Appending<'_>,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let Appending { label, turned_up } = appending;
    let known = !turned_up.is_empty() && turned_up.contains(&event.ingest_id());
    if !known && inserter.insert(event, label, changes.last_seq + 1)? {
        changes.last_seq += 1;
        changes.count(label.standing, 1);
        changes.bytes += row::row_bytes(event);
    } else if label.standing == Standing::Held {
        changes.repeated += 1;
    }
    Ok(())
}

/// A dead letter that waits for Kafka again, at the end of the order. A row that has its id already is the same event.
pub(super) fn retry(
    tx: &Connection,
    event: &Event,
    to: To<'_>,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let label = Label { standing: Standing::Held, reason: "retried by hand", instance: "", to };
    if Inserter::new(tx, label.standing)?.insert(event, &label, changes.last_seq + 1)? {
        changes.last_seq += 1;
        changes.count(label.standing, 1);
        changes.retried += 1;
    }
    Ok(())
}

/// Keeps dead letters, each with its error.
pub(super) fn keep_letters(
    tx: &Connection,
    letters: &[(Event, Arc<str>)],
    instance: &str,
    to: To<'_>,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let failed_at_ms = clock::record_ms();
    let label = Label { standing: Standing::Held, reason: "rejected", instance, to };
    for (event, error) in letters {
        let failure = Failure { failed_at_ms, error };
        if row::insert_letter(tx, event, &label, &failure, None)? {
            changes.letters(1);
            changes.bytes += row::row_bytes(event);
        }
    }
    Ok(())
}

/// Deletes rows that are safe elsewhere. A row that is gone already is not an error: a release may be repeated.
pub(super) fn release(tx: &Connection, seqs: &[i64], changes: &mut Changes) -> rusqlite::Result<()> {
    let mut rest = seqs;
    // Row by row costs more than all else of a recovery.
    while let [first, ..] = rest {
        let run = rest.iter().zip(*first..).take_while(|(seq, expected)| *seq == expected).count();
        delete(tx, *first, rest[run - 1], changes)?;
        rest = &rest[run..];
    }
    Ok(())
}

/// Deletes the held and home rows with these numbers, all of which are to go.
fn delete(tx: &Connection, first: i64, last: i64, changes: &mut Changes) -> rusqlite::Result<()> {
    for standing in [Standing::Held, Standing::Home] {
        let sql = format!("DELETE FROM {} WHERE seq BETWEEN ?1 AND ?2", row::table(standing));
        let rows = tx.prepare_cached(&sql)?.execute([first, last])?;
        changes.removed(standing, rows);
    }
    let sql = "DELETE FROM derived_ids WHERE seq BETWEEN ?1 AND ?2";
    tx.prepare_cached(sql)?.execute([first, last]).map(drop)
}

/// Moves rows to the dead letters as they are, damaged bytes included.
pub(super) fn dead_letter(
    tx: &Connection,
    seqs: &[(i64, Arc<str>)],
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let failed_at = clock::record_ms();
    for (seq, error) in seqs {
        for standing in [Standing::Held, Standing::Home] {
            let table = row::table(standing);
            let check = format!("SELECT {RESTORE_COLUMNS} FROM {table} WHERE seq = ?1");
            let intact = tx
                .prepare_cached(&check)?
                .query_row([seq], |row| Ok(row::restore(row).is_ok()))
                .optional()?;
            let Some(intact) = intact else { continue };
            changes.damaged += u64::from(!intact);
            let columns = row::COLUMNS;
            let copy = format!(
                "INSERT INTO letter_rows ({columns}, state, failed_at, error) SELECT {columns}, ?2, ?3, ?4 \
                 FROM {table} WHERE seq = ?1 ON CONFLICT (ingest_id) DO NOTHING"
            );
            let values = params![seq, standing.as_str(), failed_at, &**error];
            let copied = match tx.prepare_cached(&copy)?.execute(values) {
                // A damaged row may break the table's constraints: what can be read of it is kept all the same.
                Err(rusqlite::Error::SqliteFailure(failure, _))
                    if failure.code == rusqlite::ErrorCode::ConstraintViolation =>
                {
                    tx.prepare_cached(&copy_what_is_left(table))?.execute(values)?
                }
                result => result?,
            };
            changes.letters(i64::try_from(copied).unwrap_or(0));
        }
        delete(tx, *seq, *seq, changes)?;
    }
    Ok(())
}

/// For a row with values that a sound row cannot have.
fn copy_what_is_left(table: &str) -> String {
    format!(
        "INSERT INTO letter_rows (ingest_id, crc, instance, reason, payload, state, failed_at, error) \
         SELECT coalesce(CAST(ingest_id AS BLOB), CAST('damaged-' || seq AS BLOB)), coalesce(CAST(crc AS INTEGER), 0), \
         coalesce(CAST(instance AS TEXT), ''), coalesce(CAST(reason AS TEXT), ''), \
         coalesce(CAST(payload AS BLOB), x''), ?2, ?3, ?4 \
         FROM {table} WHERE seq = ?1 ON CONFLICT (ingest_id) DO NOTHING"
    )
}

/// Writes a page and changes nothing.
pub(super) fn touch(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute("UPDATE figures SET value = value WHERE name = 'schema_version'", []).map(drop)
}
