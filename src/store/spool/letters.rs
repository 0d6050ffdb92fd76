//! What an administrator does to dead letters. Part of the writer's transaction.
//!
//! Invariant: a letter leaves its table only for `raw_logs`, or because somebody said that it may go.

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::Spool;
use super::row::{self, RESTORE_COLUMNS};
use super::work::Work;
use super::write::Tally;
use crate::store::{Refusal, StoreError, WriteResult};

/// What is to become of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// They wait for Kafka again, behind everything that waits already.
    Retry,
    /// They are deleted.
    Discard,
}

impl Spool {
    /// Settles the dead letters with these ids, in one transaction; one outcome an id, in order.
    /// [`StoreError::Rejected`]: there is no such letter, or it can't be sent.
    #[must_use]
    pub fn settle_letters(&self, ids: Vec<String>, fate: Fate) -> Vec<WriteResult> {
        let count = ids.len();
        let outcomes = self.command(Work::SettleLetters { ids, fate });
        outcomes.unwrap_or_else(|error| vec![Err(error); count])
    }
}

pub(super) fn settle(
    tx: &Connection,
    ids: &[String],
    fate: Fate,
    tally: &mut Tally,
) -> rusqlite::Result<Vec<WriteResult>> {
    ids.iter().map(|id| settle_one(tx, id, fate, tally)).collect()
}

fn settle_one(tx: &Connection, id: &str, fate: Fate, tally: &mut Tally) -> rusqlite::Result<WriteResult> {
    let sql = format!("SELECT {RESTORE_COLUMNS} FROM dead_letters WHERE ingest_id = ?1");
    let checked =
        tx.prepare_cached(&sql)?.query_row([id], |row| Ok(row::restore(row).map(drop))).optional()?;
    let Some(intact) = checked else {
        return Ok(Err(StoreError::rejected(Refusal::NoSuchLetter, "there is no dead letter with this id")));
    };
    if fate == Fate::Retry {
        if let Err(why) = intact {
            return Ok(Err(StoreError::rejected(Refusal::DamagedRow, format!("it cannot be sent: {why}"))));
        }
        let back = tx.prepare_cached(&back())?.execute([id])?;
        tally.held += i64::try_from(back).unwrap_or(0);
        tally.retried += back as u64;
    }
    let gone = tx.prepare_cached("DELETE FROM dead_letters WHERE ingest_id = ?1")?.execute([id])?;
    tally.dead_letters -= i64::try_from(gone).unwrap_or(0);
    tally.bytes += 2_000;
    Ok(Ok(()))
}

/// A new row at the end of the order. One that is there already under this id is the same event.
fn back() -> String {
    let columns = row::COLUMNS;
    let values = columns.replace("state, reason", "'held', 'retried by hand'");
    format!(
        "INSERT INTO raw_logs ({columns}) SELECT {values} FROM dead_letters WHERE ingest_id = ?1 \
         ON CONFLICT (ingest_id) DO NOTHING"
    )
}
