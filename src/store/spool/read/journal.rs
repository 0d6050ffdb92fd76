//! The spool as commands read it, beside a running daemon or without one.
//!
//! Invariant: read-only, in short reads, a bounded number of rows at a time.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, ToSql, params_from_iter};

use crate::store::Standing;
use crate::store::browse::Wanted;
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
            "SELECT coalesce(min(seq) - 1, (SELECT coalesce(max(seq), 0) FROM raw_logs)) FROM \
             (SELECT seq FROM raw_logs WHERE {WANTED} ORDER BY seq DESC LIMIT ?7)"
        );
        let filter = FilterValues::of(wanted);
        self.read(|db| {
            db.prepare_cached(&sql)?.query_row(params_from_iter(filter.then(&[&count])), |row| row.get(0))
        })
    }

    /// Wanted events after `seq`, in order of arrival, at most `max`, with their payload or without.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn after(
        &self,
        seq: i64,
        max: u32,
        wanted: &Wanted,
        payload: bool,
    ) -> Result<Vec<Entry>, JournalError> {
        let sql = format!(
            "SELECT seq, ingest_id, received_at, state, level, service, action, request_id, message, \
             CASE WHEN ?9 THEN payload END FROM raw_logs WHERE {WANTED} AND seq > ?7 ORDER BY seq LIMIT ?8"
        );
        let filter = FilterValues::of(wanted);
        self.read(|db| {
            db.prepare_cached(&sql)?
                .query_map(params_from_iter(filter.then(&[&seq, &max, &payload])), |row| Ok(entry(row)))?
                .collect()
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

/// The filter; its parts are parameters 1 to 6.
pub(super) const WANTED: &str = "(?1 IS NULL OR request_id = ?1) AND (?2 IS NULL OR service = ?2) \
     AND (?3 IS NULL OR level IN (SELECT value FROM json_each(?3))) AND (?4 IS NULL OR state = ?4) \
     AND (?5 IS NULL OR received_at >= ?5) AND (?6 IS NULL OR received_at < ?6)";

/// The parameters of [`WANTED`].
pub(super) struct FilterValues([Option<String>; 6]);

impl FilterValues {
    pub(super) fn of(wanted: &Wanted) -> Self {
        let levels = (!wanted.levels.is_empty()).then(|| serde_json::json!(wanted.levels).to_string());
        Self([
            wanted.request_id.clone(),
            wanted.service.clone(),
            levels,
            wanted.state.map(|state| state.as_str().to_owned()),
            wanted.from_ms.map(row::received_at),
            wanted.to_ms.map(row::received_at),
        ])
    }

    /// The parameters of a statement that has others after these.
    pub(super) fn then<'a>(&'a self, others: &[&'a dyn ToSql]) -> Vec<&'a dyn ToSql> {
        self.0.iter().map(|part| part as &dyn ToSql).chain(others.iter().copied()).collect()
    }
}

fn entry(row: &Row<'_>) -> Entry {
    let text = |index: usize| {
        let value = row.get_ref(index).ok()?;
        let bytes = value.as_bytes_or_null().ok()??;
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    Entry {
        seq: row.get(0).unwrap_or(0),
        ingest_id: text(1).unwrap_or_default(),
        received_at: text(2).unwrap_or_default(),
        standing: row::standing(row, 3),
        level: text(4),
        service: text(5),
        action: text(6),
        request_id: text(7),
        message: text(8),
        payload: row
            .get_ref(9)
            .ok()
            .and_then(|value| value.as_blob_or_null().ok().flatten())
            .map(<[u8]>::to_vec),
    }
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
