//! The spool as commands read it, beside a running daemon or without one.
//!
//! Invariant: read-only, in short reads, a bounded number of rows at a time.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row};

use crate::event::Columns;
use crate::limits::SPOOL_SEARCH_ROWS;
use crate::store::Standing;
use crate::store::browse::{Page, RowState, Wanted};
use crate::store::spool::errors::{self, Fault};
use crate::store::spool::files::DATABASE;
use crate::store::spool::{row, schema};

/// An event as people read it. A field that cannot be read, in a damaged row, is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number in the order.
    pub seq: i64,
    /// The answer's `X-Ingest-Id`.
    pub ingest_id: String,
    /// When it was received, in UTC, as `2025-11-18T17:21:35.750Z`.
    pub received_at: String,
    /// What it is kept for.
    pub standing: Standing,
    /// The event's level.
    pub level: Option<String>,
    /// The event's service.
    pub service: Option<String>,
    /// The event's action.
    pub action: Option<String>,
    /// The event's `request_id`.
    pub request_id: Option<String>,
    /// The event's message.
    pub message: Option<String>,
    /// The bytes that are stored, if they were asked for.
    pub payload: Option<Vec<u8>>,
}

/// Why the spool cannot be read: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalError(String);

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JournalError {}

/// The spool, for reading.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// The file that had the name when it was opened.
    identity: Option<(u64, u64)>,
    db: Connection,
}

impl Journal {
    /// Opens the spool in `dir`, whether a daemon has it or not.
    ///
    /// # Errors
    /// There is no spool, or this user or this release cannot read it.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(DATABASE);
        let identity = identity(&path);
        if identity.is_none() {
            return Err(JournalError(format!(
                "no spool at {}: has the daemon run here? set DATA_DIR to the folder that it uses",
                path.display()
            )));
        }
        let db = schema::reader(&path).map_err(|error| unreadable(&path, &error))?;
        match schema::version_of(&db).map_err(|error| unreadable(&path, &error))? {
            Some(version) if version > schema::VERSION => Err(JournalError(format!(
                "the spool {} has schema version {version}, this release knows up to {}: use the newer release",
                path.display(),
                schema::VERSION
            ))),
            Some(version) if version < schema::VERSION || has_old_rows(&db, &path)? => {
                Err(JournalError(format!(
                    "the rows of the spool {} are in the tables of an older release: start the daemon, which moves them \
                     to those of this one",
                    path.display()
                )))
            }
            Some(_) => Ok(Self { path, identity, db }),
            None => Err(JournalError(format!(
                "{} is not a spool of this daemon: set DATA_DIR to the folder that it uses",
                path.display()
            ))),
        }
    }

    /// The seq before the first of the last `count` wanted events.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn before_last(&self, count: u32, wanted: &Wanted) -> Result<i64, JournalError> {
        let sql = format!(
            "SELECT seq, received_at, payload FROM {} WHERE seq < ?1 ORDER BY seq DESC LIMIT {SPOOL_SEARCH_ROWS}",
            source(wanted)
        );
        let (mut left, mut first, mut before) = (count, None, i64::MAX);
        while left > 0 {
            let read = self.read(|db| {
                let mut statement = db.prepare_cached(&sql)?;
                let mut found = statement.query([before])?;
                let mut last = None;
                while let Some(row) = found.next()?.filter(|_| left > 0) {
                    let seq = row.get(0)?;
                    last = Some(seq);
                    if is_wanted(wanted, row, 1, 2) {
                        first = last;
                        left -= 1;
                    }
                }
                Ok(last)
            })?;
            match read {
                Some(seq) => before = seq,
                None => break,
            }
        }
        first.map_or_else(|| self.last_seq(), |seq| Ok(seq - 1))
    }

    /// Wanted events after `seq`, in order of arrival, with their payload or without, of at most `max` rows. There may be
    /// more as long as the page says where the next ones begin.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn after(
        &self,
        seq: i64,
        max: u32,
        wanted: &Wanted,
        payload: bool,
    ) -> Result<Page<Entry, i64>, JournalError> {
        let sql = format!(
            "SELECT seq, ingest_id, received_at, state, payload FROM {} WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            source(wanted)
        );
        self.read(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            let mut found = statement.query((seq, max))?;
            let mut page = Page { rows: Vec::new(), next: None };
            while let Some(row) = found.next()? {
                page.next = Some(row.get(0)?);
                if is_wanted(wanted, row, 2, 4) {
                    page.rows.push(entry(row, payload));
                }
            }
            Ok(page)
        })
    }

    /// The file that is read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a short read; an error has the file's name and what to do.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        read(&self.db).map_err(|error| unreadable(&self.path, &error))
    }

    /// Opens the file again if another one has the name now: the daemon has set a damaged file aside.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn refresh(&mut self) -> Result<(), JournalError> {
        if identity(&self.path) == self.identity {
            return Ok(());
        }
        *self = Self::open(self.path.parent().unwrap_or_else(|| Path::new(".")))?;
        Ok(())
    }
}

/// The rows of both tables, in the order of their numbers where it is asked for.
pub(super) const ALL_ROWS: &str =
    "(SELECT *, 'held' AS state FROM held_rows UNION ALL SELECT *, 'home' AS state FROM home_rows)";

/// Where the wanted rows are.
pub(super) fn source(wanted: &Wanted) -> &'static str {
    match wanted.state {
        None => ALL_ROWS,
        Some(RowState::Held) => "(SELECT *, 'held' AS state FROM held_rows)",
        Some(RowState::Home) => "(SELECT *, 'home' AS state FROM home_rows)",
        Some(RowState::Forwarded) => "(SELECT *, '' AS state FROM held_rows WHERE false)",
    }
}

/// Whether a row is wanted whose time and payload stand in these columns.
pub(super) fn is_wanted(wanted: &Wanted, row: &Row<'_>, time: usize, payload: usize) -> bool {
    wanted.takes_row(row.get(time).unwrap_or(None), blob(row, payload))
}

/// A column's bytes, however damaged.
pub(super) fn blob<'a>(row: &'a Row<'_>, index: usize) -> &'a [u8] {
    row.get_ref(index).ok().and_then(|value| value.as_bytes_or_null().ok().flatten()).unwrap_or_default()
}

fn entry(row: &Row<'_>, with_payload: bool) -> Entry {
    let payload = blob(row, 4);
    let columns = Columns::of(payload);
    let text = |value: Option<Cow<'_, str>>| value.map(Cow::into_owned);
    Entry {
        seq: row.get(0).unwrap_or(0),
        ingest_id: row::shown_id(blob(row, 1)),
        received_at: row.get(2).ok().flatten().map(row::shown_time).unwrap_or_default(),
        standing: Standing::of_column(blob(row, 3)),
        level: text(columns.level),
        service: text(columns.service),
        action: text(columns.action),
        request_id: text(columns.request_id),
        message: text(columns.message),
        payload: with_payload.then(|| payload.to_vec()),
    }
}

fn has_old_rows(db: &Connection, path: &Path) -> Result<bool, JournalError> {
    schema::has_old_rows(db).map_err(|error| unreadable(path, &error))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn unreadable(path: &Path, error: &rusqlite::Error) -> JournalError {
    let mut text = errors::text("cannot read the spool", path, error);
    if Fault::of(error) == Fault::Disk {
        text.push_str(", or run this as the daemon's user");
    }
    JournalError(text)
}
