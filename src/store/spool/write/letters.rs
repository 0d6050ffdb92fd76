//! What an administrator does with dead letters, in the writer's transaction.
//!
//! Invariant: a letter leaves its table only for `raw_logs`, or because an administrator deletes it.

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::tables::Changes;
use crate::store::spool::row::{self, RESTORE_COLUMNS};
use crate::store::{Refusal, StoreError, WriteResult};

/// What to do with dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// They wait for Kafka again, behind everything that waits already.
    Retry,
    /// They are deleted.
    Discard,
}

pub(super) fn settle(
    tx: &Connection,
    ids: &[String],
    fate: Fate,
    changes: &mut Changes,
) -> rusqlite::Result<Vec<WriteResult>> {
    ids.iter().map(|id| settle_one(tx, id, fate, changes)).collect()
}

fn settle_one(tx: &Connection, id: &str, fate: Fate, changes: &mut Changes) -> rusqlite::Result<WriteResult> {
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
        changes.held += i64::try_from(back).unwrap_or(0);
        changes.retried += back as u64;
    }
    let gone = tx.prepare_cached("DELETE FROM dead_letters WHERE ingest_id = ?1")?.execute([id])?;
    changes.dead_letters -= i64::try_from(gone).unwrap_or(0);
    changes.bytes += 2_000;
    Ok(Ok(()))
}

/// A new row at the end of the order. A row that has this id already is the same event.
fn back() -> String {
    let columns = row::COLUMNS;
    let values = columns.replace("state, reason", "'held', 'retried by hand'");
    format!(
        "INSERT INTO raw_logs ({columns}) SELECT {values} FROM dead_letters WHERE ingest_id = ?1 \
         ON CONFLICT (ingest_id) DO NOTHING"
    )
}
