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

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

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

/// Rows of one read that are alike to `spool stats`: of one day, service and level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// How many there are.
    pub events: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// The events' service.
    pub service: Option<String>,
    /// The events' level.
    pub level: Option<String>,
    /// When the first of them was received.
    pub oldest_received_at: String,
    /// When the last of them was received.
    pub newest_received_at: String,
}

/// [`Sizes`] while rows are added.
struct Group {
    sizes: Sizes,
    day: i64,
    oldest_ms: i64,
    newest_ms: i64,
}

impl Group {
    /// Adds a row if it is of this group.
    fn takes(&mut self, ms: i64, labels: &Labels<'_>, bytes: u64) -> bool {
        let sizes = &mut self.sizes;
        let alike = ms.div_euclid(DAY_MS) == self.day
            && sizes.service.as_deref() == labels.service.as_deref()
            && sizes.level.as_deref() == labels.level.as_deref();
        if alike {
            sizes.events += 1;
            sizes.bytes += bytes;
            (self.oldest_ms, self.newest_ms) = (self.oldest_ms.min(ms), self.newest_ms.max(ms));
        }
        alike
    }

    fn sizes(self) -> Sizes {
        let [oldest_received_at, newest_received_at] = [self.oldest_ms, self.newest_ms].map(row::shown_time);
        Sizes { oldest_received_at, newest_received_at, ..self.sizes }
    }
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

    /// The next `max_rows` held or home rows after `seq`, or dead letters for `None`, as `spool stats` counts them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn sizes_after(
        &self,
        standing: Option<Standing>,
        seq: i64,
        max_rows: usize,
    ) -> Result<Page<Sizes, i64>, JournalError> {
        let table = standing.map_or(LETTERS, row::table);
        let sql =
            format!("SELECT seq, received_at, payload FROM {table} WHERE seq > ?1 ORDER BY seq LIMIT ?2");
        self.read(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            let mut found = statement.query((seq, max_rows.cast_signed()))?;
            let mut groups: Vec<Group> = Vec::new();
            let (mut rows, mut next) = (0, None);
            while let Some(row) = found.next()? {
                (rows, next) = (rows + 1, Some(row.get(0)?));
                let ms = row.get::<_, Option<i64>>(1).ok().flatten().unwrap_or(0);
                let payload = blob(row, 2);
                let (labels, bytes) = (Labels::of(payload), payload.len() as u64);
                if groups.iter_mut().any(|group| group.takes(ms, &labels, bytes)) {
                    continue;
                }
                let text = |label: Option<Cow<'_, str>>| label.map(Cow::into_owned);
                let (service, level) = (text(labels.service), text(labels.level));
                let sizes = Sizes { events: 1, bytes, service, level, ..Sizes::default() };
                groups.push(Group { sizes, day: ms.div_euclid(DAY_MS), oldest_ms: ms, newest_ms: ms });
            }
            let rows_left = next.filter(|_| rows == max_rows);
            Ok(Page { rows: groups.into_iter().map(Group::sizes).collect(), next: rows_left })
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
