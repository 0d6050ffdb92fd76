//! Held rows for Kafka, oldest first.
//!
//! Invariant: no read transaction outlives a call, so that checkpoints get through.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use crate::event::Event;
use crate::store::spool::errors::{self, Fault};
use crate::store::spool::figures::SpoolState;
use crate::store::spool::row::{self, RESTORE_COLUMNS};
use crate::store::spool::schema;
use crate::store::{HeldRow, StoreError};

/// A read-only connection to the spool, for one thread.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    state: Arc<SpoolState>,
    generation: u64,
    db: Option<Connection>,
}

impl Reader {
    pub(in crate::store::spool) fn open(path: &Path, state: Arc<SpoolState>) -> Result<Self, StoreError> {
        let mut reader = Self { path: path.to_owned(), generation: state.generation(), state, db: None };
        reader.connection()?;
        Ok(reader)
    }

    /// Held rows after `seq`, in order: at most `max_rows`, and about `max_bytes` of events, but at least one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the file cannot be read now.
    pub fn held_after(
        &mut self,
        seq: i64,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Vec<HeldRow>, StoreError> {
        let path = self.path.clone();
        let state = Arc::clone(&self.state);
        let rows = read(self.connection()?, seq, max_rows, max_bytes);
        rows.map_err(|error| {
            match Fault::of(&error) {
                Fault::Damaged => {
                    state.suspect(self.generation);
                    self.db = None;
                }
                Fault::Disk => self.db = None,
                _ => {}
            }
            errors::unavailable("cannot read held events from", &path, &error)
        })
    }

    /// The connection to the file that has the name now.
    fn connection(&mut self) -> Result<&Connection, StoreError> {
        let generation = self.state.generation();
        if generation != self.generation {
            self.db = None;
            self.generation = generation;
        }
        let db = match self.db.take() {
            Some(db) => db,
            None => schema::reader(&self.path).map_err(|error| {
                errors::unavailable("cannot open the spool for reading", &self.path, &error)
            })?,
        };
        Ok(self.db.insert(db))
    }
}

fn read(db: &Connection, after: i64, max_rows: usize, max_bytes: usize) -> rusqlite::Result<Vec<HeldRow>> {
    let sql = format!("SELECT {RESTORE_COLUMNS} FROM held_rows WHERE seq > ?1 ORDER BY seq LIMIT ?2");
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query((after, i64::try_from(max_rows).unwrap_or(i64::MAX)))?;
    let mut rows = Vec::new();
    let mut bytes = 0;
    while let Some(row) = found.next()? {
        let event = row::restore(row);
        bytes += event.as_ref().map_or(0, Event::size_bytes);
        if bytes > max_bytes && !rows.is_empty() {
            break;
        }
        rows.push(HeldRow { seq: row.get(0)?, event });
    }
    Ok(rows)
}
