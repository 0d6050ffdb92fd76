//! Whether every row is what it was, and how many rows there are of which kind: the whole spool, in short reads.
//!
//! Invariant: only SQLite's own check reads the file in one go; everything else reads some rows at a time, so that the
//! daemon's log can be brought into the file meanwhile.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use super::journal::{ALL_ROWS, Journal, JournalError, blob};
use crate::event::Labels;
use crate::store::Standing;
use crate::store::browse::Page;
use crate::store::spool::files::Files;
use crate::store::spool::row::{self, LETTERS, RESTORE_COLUMNS, RESTORED};
use crate::store::spool::write::keep;

/// SQLite stops its check after this many problems.
const COMPLAINTS_MAX: u32 = 100;

/// The tables that hold events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Held and home rows.
    Logs,
    /// Dead letters.
    DeadLetters,
}

impl Table {
    /// The name by which people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Logs => "raw_logs",
            Self::DeadLetters => "dead_letters",
        }
    }

    /// The rows behind that view, with `state`.
    fn rows(self) -> &'static str {
        match self {
            Self::Logs => ALL_ROWS,
            Self::DeadLetters => LETTERS,
        }
    }
}

/// A damaged row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowProblem {
    /// Which row.
    pub seq: i64,
    /// What is wrong with it.
    pub what: String,
    /// It is a dead letter already, and so reported.
    pub known: bool,
}

/// What `spool stats` counts of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// When the event was received.
    pub received_at: String,
    /// What the event is kept for.
    pub standing: Standing,
    /// The event's service.
    pub service: Option<String>,
    /// The event's level.
    pub level: Option<String>,
    /// Bytes of its payload.
    pub bytes: u64,
}

impl Journal {
    /// Checks the next `max_rows` rows after `seq`. Returns the damaged ones, and how many were checked.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn check_after(
        &self,
        table: Table,
        seq: i64,
        max_rows: usize,
    ) -> Result<(Page<RowProblem, i64>, u64), JournalError> {
        let known = match table {
            Table::Logs => "0",
            Table::DeadLetters => "error LIKE 'the row is damaged:%'",
        };
        let sql = format!(
            "SELECT {RESTORE_COLUMNS}, {known} FROM {} WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            table.rows()
        );
        self.read(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            let mut found = statement.query((seq, max_rows.cast_signed()))?;
            let mut page = Page { rows: Vec::new(), next: None };
            let mut checked = 0;
            while let Some(row) = found.next()? {
                let seq = row.get(0)?;
                (checked, page.next) = (checked + 1, Some(seq));
                if let Err(what) = row::restore(row) {
                    page.rows.push(RowProblem { seq, what: what.to_string(), known: row.get(RESTORED)? });
                }
            }
            page.next = page.next.filter(|_| checked == max_rows as u64);
            Ok((page, checked))
        })
    }

    /// What SQLite's own check finds wrong with the structure of the file and its indexes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn check_structure(&self) -> Result<Vec<String>, JournalError> {
        self.read(|db| {
            let mut statement = db.prepare(&format!("PRAGMA integrity_check({COMPLAINTS_MAX})"))?;
            let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
            lines.filter(|line| !matches!(line, Ok(line) if line == "ok")).collect()
        })
    }

    /// The next `max_rows` rows after `seq`, as `spool stats` counts them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn sizes_after(
        &self,
        table: Table,
        seq: i64,
        max_rows: usize,
    ) -> Result<Page<Sizes, i64>, JournalError> {
        let sql = format!(
            "SELECT seq, received_at, state, payload FROM {} WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            table.rows()
        );
        self.read(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            let mut found = statement.query((seq, max_rows.cast_signed()))?;
            let mut page = Page { rows: Vec::new(), next: None };
            while let Some(row) = found.next()? {
                page.next = Some(row.get(0)?);
                let payload = blob(row, 3);
                let Labels { service, level } = Labels::of(payload);
                page.rows.push(Sizes {
                    received_at: row.get(1).ok().flatten().map(row::shown_time).unwrap_or_default(),
                    standing: Standing::of_column(blob(row, 2)),
                    service: service.map(Cow::into_owned),
                    level: level.map(Cow::into_owned),
                    bytes: payload.len() as u64,
                });
            }
            page.next = page.next.filter(|_| page.rows.len() == max_rows);
            Ok(page)
        })
    }

    /// Bytes of the file that hold data, and of the file and its log on the disk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn bytes(&self) -> Result<(u64, u64), JournalError> {
        let used = self.read(keep::used_bytes)?;
        let folder = self.path().parent().unwrap_or_else(|| Path::new("."));
        Ok((used, Files::in_dir(folder).bytes()))
    }

    /// Damaged files of this spool that were set aside.
    #[must_use]
    pub fn set_aside(&self) -> Vec<String> {
        let folder = self.path().parent().unwrap_or_else(|| Path::new("."));
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut aside: Vec<String> = names
            .filter(|name| name.starts_with("spool.sqlite3.damaged-"))
            .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
            .collect();
        aside.sort();
        aside
    }
}
