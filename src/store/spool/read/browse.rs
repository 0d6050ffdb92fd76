//! Rows with their events checked: for export, replay, and dead letters.
//!
//! Invariant: a call reads a bounded number of rows and holds a bounded number of bytes, however few rows are wanted.

use rusqlite::{OptionalExtension, Row};

use super::journal::{ALL_ROWS, Journal, JournalError, blob, is_wanted, source};
use crate::event::Event;
use crate::store::Standing;
use crate::store::browse::{Kept, Letter, Page, Wanted};
use crate::store::spool::row::{self, RESTORE_COLUMNS, RESTORED};

impl Journal {
    /// Wanted held and home rows after `seq`, in order: of the next `max_rows` rows, and about `max_bytes` of events.
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
            "SELECT {RESTORE_COLUMNS}, state FROM {} WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            source(wanted)
        );
        self.page(&sql, seq, max_rows, max_bytes, wanted, kept)
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
        let sql = format!("{} WHERE seq > ?1 ORDER BY seq LIMIT ?2", letters());
        let page = self.page(&sql, seq, max_rows, max_bytes, wanted, letter)?;
        let state = |letter: &Letter| wanted.state.is_none_or(|state| letter.kept.state == state);
        Ok(Page { rows: page.rows.into_iter().filter(state).collect(), next: page.next })
    }

    fn page<T: AsRef<Kept>>(
        &self,
        sql: &str,
        seq: i64,
        max_rows: usize,
        max_bytes: usize,
        wanted: &Wanted,
        read: impl Fn(&Row<'_>) -> T,
    ) -> Result<Page<T, i64>, JournalError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(sql)?;
            let mut found = statement.query((seq, max_rows.cast_signed()))?;
            let mut page = Page { rows: Vec::new(), next: None };
            let (mut rows, mut bytes) = (0, 0);
            while let Some(row) = found.next()? {
                (rows, page.next) = (rows + 1, Some(row.get(0)?));
                if is_wanted(wanted, row, 2, RESTORED - 1) {
                    let read = read(row);
                    bytes += read.as_ref().event.as_ref().map_or(0, Event::size_bytes);
                    page.rows.push(read);
                }
                if bytes >= max_bytes {
                    return Ok(page);
                }
            }
            page.next = page.next.filter(|_| rows == max_rows);
            Ok(page)
        })
    }

    /// The dead letter with this id.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn letter(&self, ingest_id: &str) -> Result<Option<Letter>, JournalError> {
        let sql = format!("{} WHERE ingest_id = ?1", letters());
        let id = row::id_bytes(ingest_id);
        self.read(|db| db.prepare_cached(&sql)?.query_row([id], |row| Ok(letter(row))).optional())
    }

    /// The highest number of a held or home row, 0 where there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last_seq(&self) -> Result<i64, JournalError> {
        let sql = format!("SELECT seq FROM {ALL_ROWS} ORDER BY seq DESC LIMIT 1");
        self.read(|db| Ok(db.query_row(&sql, [], |row| row.get(0)).optional()?.unwrap_or(0)))
    }
}

fn letters() -> String {
    format!("SELECT {RESTORE_COLUMNS}, state, failed_at, error FROM letter_rows")
}

fn kept(row: &Row<'_>) -> Kept {
    Kept {
        seq: row.get(0).unwrap_or(0),
        ingest_id: row::shown_id(blob(row, 1)),
        state: Standing::of_column(blob(row, RESTORED)).into(),
        reason: text(row, RESTORED - 2),
        event: row::restore(row),
    }
}

fn letter(row: &Row<'_>) -> Letter {
    let kept = kept(row);
    let remains = kept.event.is_err().then(|| blob(row, RESTORED - 1).to_vec());
    let failed_at = row.get(RESTORED + 1).map(row::shown_time).unwrap_or_default();
    Letter { kept, failed_at, error: text(row, RESTORED + 2), remains }
}

/// A column as text, however damaged.
fn text(row: &Row<'_>, index: usize) -> String {
    String::from_utf8_lossy(blob(row, index)).into_owned()
}
