//! What an administrator does with dead letters, in the writer's transaction.
//!
//! Invariant: a letter leaves its table only for the held rows, or because an administrator deletes it.

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::tables::{self, Changes};
use crate::store::spool::row::{self, RESTORE_COLUMNS, To};
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
    let sql = format!("SELECT {RESTORE_COLUMNS} FROM letter_rows WHERE ingest_id = ?1");
    let id = row::id_bytes(id);
    let checked = tx.prepare_cached(&sql)?.query_row([&id], |row| Ok(row::restore(row))).optional()?;
    let Some(checked) = checked else {
        return Ok(Err(StoreError::rejected(Refusal::NoSuchLetter, "there is no dead letter with this id")));
    };
    if fate == Fate::Retry {
        let event = match checked {
            Ok(event) => event,
            Err(why) => {
                let text = format!("it cannot be sent: {why}");
                return Ok(Err(StoreError::rejected(Refusal::DamagedRow, text)));
            }
        };
        let sql = "SELECT topic, cluster_id FROM letter_rows WHERE ingest_id = ?1";
        let to = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (topic, cluster_id): (Option<String>, Option<String>) =
            tx.prepare_cached(sql)?.query_row([&id], to)?;
        let to = To { topic: topic.as_deref(), cluster_id: cluster_id.as_deref() };
        tables::retry(tx, &event, to, changes)?;
    }
    let gone = tx.prepare_cached("DELETE FROM letter_rows WHERE ingest_id = ?1")?.execute([&id])?;
    changes.letters(-i64::try_from(gone).unwrap_or(0));
    changes.bytes += 1_000;
    Ok(Ok(()))
}
