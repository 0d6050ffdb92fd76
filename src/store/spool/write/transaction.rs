//! Commands done in one transaction.
//!
//! Invariant: the results of a transaction are returned only after its commit.

use std::collections::HashSet;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use uuid::Uuid;

use super::commands::{Results, Work};
use super::tables::{self, Appending, Changes};
use super::{keep, letters};
use crate::limits::SPOOL_NOTE_ROWS;
use crate::store::spool::counts::{self, Counts};
use crate::store::spool::row::{self, Label, To};
use crate::store::{Cause, Standing, StoreError};

/// What a committed transaction has done.
pub(super) struct Done {
    pub(super) results: Vec<Results>,
    pub(super) changes: Changes,
    pub(super) counts: Counts,
    pub(super) used: u64,
    pub(super) oldest_held_ms: Option<i64>,
    pub(super) refused_bytes: Option<u64>,
}

/// What holds for every command.
pub(super) struct Terms<'a> {
    pub(super) instance: &'a str,
    pub(super) max_bytes: u64,
    /// Where held events are to go.
    pub(super) to: To<'a>,
    /// Events that were committed although the commit failed: their caller tries again.
    pub(super) turned_up: &'a HashSet<Uuid>,
}

pub(super) fn attempt(
    db: &Connection,
    works: &[&Work],
    row_by_row: bool,
    terms: &Terms<'_>,
    counts: Counts,
) -> rusqlite::Result<Done> {
    let mut results = Vec::with_capacity(works.len());
    let mut refused_bytes = None;
    let mut done = finish(db, counts, |tx, changes| {
        for work in works {
            results.push(apply(tx, work, row_by_row, terms, changes, &mut refused_bytes)?);
        }
        Ok(())
    })?;
    done.results = results;
    done.refused_bytes = refused_bytes;
    Ok(done)
}

/// Runs `body` in a transaction, notes the counts if it must, commits, and reads how the spool stands.
pub(super) fn finish(
    db: &Connection,
    before: Counts,
    body: impl FnOnce(&Connection, &mut Changes) -> rusqlite::Result<()>,
) -> rusqlite::Result<Done> {
    let tx = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let mut changes = Changes { last_seq: before.last_seq, ..Changes::default() };
    body(&tx, &mut changes)?;
    let mut counts = changes.added_to(before);
    if changes.must_note || counts.last_seq - counts.noted_seq >= SPOOL_NOTE_ROWS {
        counts::note(&tx, &mut counts)?;
    }
    let used = keep::used_bytes(&tx)?;
    let oldest_held_ms = if counts.held > 0 { counts::oldest_held(&tx)? } else { None };
    tx.commit()?;
    Ok(Done { results: Vec::new(), changes, counts, used, oldest_held_ms, refused_bytes: None })
}

fn apply(
    tx: &Connection,
    work: &Work,
    row_by_row: bool,
    terms: &Terms<'_>,
    changes: &mut Changes,
    refused_bytes: &mut Option<u64>,
) -> rusqlite::Result<Results> {
    let &Terms { instance, max_bytes, to, turned_up } = terms;
    match work {
        Work::Append { batch, standing, reason } => {
            let fitting = keep::make_room(tx, batch.iter(), max_bytes, changes)?;
            let (fitting, refused) = batch.split_at(fitting);
            let to = if *standing == Standing::Held { to } else { To::default() };
            let label = Label { standing: *standing, reason, instance, to };
            let appending = Appending { label, turned_up };
            let mut results = if row_by_row {
                tables::append_row_by_row(tx, fitting, &appending, changes)?
            } else {
                tables::append(tx, fitting, &appending, changes)?;
                vec![Ok(()); fitting.len()]
            };
            if let Some(first) = refused.first() {
                *refused_bytes = Some(row::row_bytes(first));
                let full = full(keep::used_bytes(tx)?, max_bytes);
                results.resize(batch.len(), Err(full));
            }
            Ok(results)
        }
        Work::KeepLetters { letters } => {
            let fitting = keep::make_room(tx, letters.iter().map(|(event, _)| event), max_bytes, changes)?;
            if fitting < letters.len() {
                return Ok(vec![Err(full(keep::used_bytes(tx)?, max_bytes))]);
            }
            tables::keep_letters(tx, letters, instance, to, changes).map(|()| vec![Ok(())])
        }
        Work::Release { seqs } => tables::release(tx, seqs, changes).map(|()| vec![Ok(())]),
        Work::SettleLetters { ids, fate } => letters::settle(tx, ids, *fate, changes),
        Work::Touch => tables::touch(tx).map(|()| vec![Ok(())]),
        Work::DeadLetter { seqs } => tables::dead_letter(tx, seqs, changes).map(|()| vec![Ok(())]),
    }
}

fn full(used: u64, max_bytes: u64) -> StoreError {
    let text = format!(
        "the spool is full ({used} of {max_bytes} bytes hold events that wait for Kafka): bring Kafka back, raise \
         SPOOL_MAX_BYTES, or free the disk"
    );
    StoreError::unavailable(Cause::Full, text)
}
