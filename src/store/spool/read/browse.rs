//! Rows with their events checked: for export, replay, and dead letters.
//!
//! Invariant: a call reads a bounded number of rows and holds a bounded number of bytes, however few rows are wanted.

use rusqlite::{OptionalExtension, Row, params_from_iter};

use super::journal::{FilterValues, Journal, JournalError, WANTED};
use crate::event::Event;
use crate::store::browse::{Kept, Letter, Page, Wanted};
use crate::store::spool::row::{self, RESTORE_COLUMNS};

/// What [`kept`] reads after the event's own columns.
const KEPT_COLUMNS: &str = "state, reason";

impl Journal {
    /// Wanted rows of `raw_logs` after `seq`, in order: of the next `max_rows` rows, and about `max_bytes` of events.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn kept_after(
        &self,
        seq: i64,
        max_rows: usize,
        max_bytes: usize,
        wanted: &Wanted,
    ) -> Result<Page<Kept, i64>, JournalError> {
        let sql = format!(
            "SELECT {RESTORE_COLUMNS}, {KEPT_COLUMNS}, {WANTED} FROM raw_logs WHERE seq > ?7 ORDER BY seq LIMIT ?8"
        );
        let max = max_rows.cast_signed();
        let filter = FilterValues::of(wanted);
        self.read(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            let mut found = statement.query(params_from_iter(filter.then(&[&seq, &max])))?;
            let mut page = Page { rows: Vec::new(), next: None };
            let (mut read, mut bytes) = (0, 0);
            while let Some(row) = found.next()? {
                (read, page.next) = (read + 1, Some(row.get(0)?));
                if row.get(8)? {
                    let kept = kept(row);
                    bytes += kept.event.as_ref().map_or(0, Event::size_bytes);
                    page.rows.push(kept);
                }
                if bytes >= max_bytes {
                    return Ok(page);
                }
            }
            page.next = page.next.filter(|_| read == max_rows);
            Ok(page)
        })
    }

    /// Wanted dead letters after `seq`, as [`Journal::kept_after`].
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn letters_after(
        &self,
        seq: i64,
        max_rows: usize,
        max_bytes: usize,
        wanted: &Wanted,
    ) -> Result<Page<Letter, i64>, JournalError> {
        let sql = format!(
            "SELECT {RESTORE_COLUMNS}, {KEPT_COLUMNS}, failed_at, error FROM dead_letters \
             WHERE {WANTED} AND seq > ?7 ORDER BY seq LIMIT ?8"
        );
        let max = max_rows.cast_signed();
        let filter = FilterValues::of(wanted);
        self.read(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            let mut found = statement.query(params_from_iter(filter.then(&[&seq, &max])))?;
            let mut page = Page { rows: Vec::new(), next: None };
            let mut bytes = 0;
            while let Some(row) = found.next()? {
                let letter = letter(row)?;
                page.next = Some(letter.kept.seq);
                bytes += letter.kept.event.as_ref().map_or(0, Event::size_bytes);
                page.rows.push(letter);
                if bytes >= max_bytes {
                    return Ok(page);
                }
            }
            page.next = page.next.filter(|_| page.rows.len() == max_rows);
            Ok(page)
        })
    }

    /// The dead letter with this id.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn letter(&self, ingest_id: &str) -> Result<Option<Letter>, JournalError> {
        let sql = format!(
            "SELECT {RESTORE_COLUMNS}, {KEPT_COLUMNS}, failed_at, error FROM dead_letters WHERE ingest_id = ?1"
        );
        self.read(|db| db.prepare_cached(&sql)?.query_row([ingest_id], letter).optional())
    }

    /// The highest `seq` in `raw_logs`, 0 where it is empty.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last_seq(&self) -> Result<i64, JournalError> {
        self.read(|db| db.query_row("SELECT coalesce(max(seq), 0) FROM raw_logs", [], |row| row.get(0)))
    }
}

fn kept(row: &Row<'_>) -> Kept {
    Kept {
        seq: row.get(0).unwrap_or(0),
        ingest_id: text(row, 1),
        state: row::standing(row, 6).into(),
        reason: text(row, 7),
        event: row::restore(row),
    }
}

fn letter(row: &Row<'_>) -> rusqlite::Result<Letter> {
    let kept = kept(row);
    let remains = match &kept.event {
        Ok(_) => None,
        Err(_) => row.get_ref(4)?.as_bytes_or_null().ok().flatten().map(<[u8]>::to_vec),
    };
    Ok(Letter { kept, failed_at: text(row, 8), error: text(row, 9), remains })
}

/// A column as text, however damaged.
fn text(row: &Row<'_>, index: usize) -> String {
    let bytes = row.get_ref(index).ok().and_then(|value| value.as_bytes_or_null().ok().flatten());
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}
