//! Connections to the spool's file: how they are set up, and which schema the file must have.
//!
//! Invariant: the writer's connection is in WAL mode with an fsync at each commit, and its file has the newest schema.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, ffi};

use crate::limits::{SPOOL_BUSY, SPOOL_CHECKPOINT_BYTES};

/// Older releases of SQLite have a bug that damages files with several readers when the write-ahead log restarts.
const SQLITE_OLDEST: i32 = 3_051_003;
/// "logs" in the file's header, by which `file` and this program know a spool.
const APPLICATION_ID: i64 = 0x6c6f_6773;
/// No release has a version beyond this: then the four bytes in the header are damaged.
const VERSION_PLAUSIBLE_MAX: i64 = 9_999;
/// One file per version, oldest first. Never edited once released; a new version is a new file.
const MIGRATIONS: &[&str] =
    &[include_str!("../../../sql/spool/001.sql"), include_str!("../../../sql/spool/002.sql")];
/// The size of a page, as SQLite makes it.
pub(super) const PAGE_BYTES: usize = 4_096;
/// The version that this program writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Why a file cannot be used as it is.
pub(super) enum FileProblem {
    /// A newer release made it, with this version.
    Newer(i64),
    /// Another program's database.
    Foreign,
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for FileProblem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// The writer's connection. Makes the tables in an empty file.
pub(super) fn writer(path: &Path) -> Result<Connection, FileProblem> {
    assert!(
        rusqlite::version_number() >= SQLITE_OLDEST,
        "BUG: SQLite {} is linked, the spool needs 3.51.3 or newer",
        rusqlite::version()
    );
    let mut db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    common(&db)?;
    let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    if pages == 0 {
        // Takes effect only in an empty file, and only before the journal's mode is written to it.
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(sqlite(ffi::SQLITE_IOERR, &format!("its journal stays in mode {mode} instead of wal")));
    }
    db.pragma_update(None, "synchronous", "FULL")?;
    // The writer brings the log into the file itself, after its answers; this is only in case it does not.
    db.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    db.pragma_update(None, "journal_size_limit", SPOOL_CHECKPOINT_BYTES.cast_signed())?;
    db.pragma_update(None, "cache_size", -4_096)?;
    if db.is_readonly("main")? {
        return Err(sqlite(ffi::SQLITE_READONLY, "it can only be read"));
    }
    migrate(&mut db)?;
    if statements(&db)? != expected()? {
        return Err(sqlite(ffi::SQLITE_CORRUPT, "its tables are not those of this version"));
    }
    Ok(db)
}

/// A connection that cannot write.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    common(&db)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cache_size", -1_024)?;
    Ok(db)
}

fn common(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(SPOOL_BUSY)?;
    db.set_prepared_statement_cache_capacity(32);
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "trusted_schema", false)?;
    // A damaged page is found when it is read, before it spreads.
    db.pragma_update(None, "cell_size_check", true)
}

/// The version noted in the file, for readers. `None`: it is not a spool.
pub(super) fn version_of(db: &Connection) -> rusqlite::Result<Option<i64>> {
    if !has_figures(db)? {
        return Ok(None);
    }
    db.query_row("SELECT value FROM figures WHERE name = 'schema_version'", [], |row| row.get(0)).optional()
}

fn has_figures(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'figures'", [], |row| row.get(0))
}

fn migrate(db: &mut Connection) -> Result<(), FileProblem> {
    let in_header: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let application: i64 = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let noted = version_of(db)?;
    if (VERSION + 1..=VERSION_PLAUSIBLE_MAX).contains(&in_header) && (noted.is_some() || tables == 0) {
        return Err(FileProblem::Newer(in_header));
    }
    let ours = |version: &i64| (1..=VERSION).contains(version);
    let have = match noted.filter(ours).or_else(|| Some(in_header).filter(ours)) {
        _ if tables == 0 => 0,
        Some(version) if noted.is_some() => version,
        _ if application != APPLICATION_ID => return Err(FileProblem::Foreign),
        _ => return Err(sqlite(ffi::SQLITE_CORRUPT, "its table of figures is damaged")),
    };
    if in_header == have && noted == Some(have) && application == APPLICATION_ID && have == VERSION {
        return Ok(());
    }
    if tables > 0 && (in_header != have || noted != Some(have) || application != APPLICATION_ID) {
        log::warn!(
            "the header and the tables of the spool have different versions: both are set to {VERSION}"
        );
    }
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for sql in MIGRATIONS.iter().skip(usize::try_from(have).unwrap_or(0)) {
        tx.execute_batch(sql)?;
    }
    tx.execute("INSERT OR REPLACE INTO figures (name, value) VALUES ('schema_version', ?1)", [VERSION])?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.commit()?;
    Ok(())
}

/// The statements that made our tables and indexes; other tables may have been added.
fn statements(db: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = db.prepare(
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name IN \
         ('raw_logs', 'raw_logs_state', 'dead_letters', 'figures') ORDER BY name",
    )?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// What [`statements`] returns for a sound file: one flipped letter in a column's name would fail every insert.
fn expected() -> rusqlite::Result<Vec<(String, String)>> {
    let db = Connection::open_in_memory()?;
    MIGRATIONS.iter().try_for_each(|sql| db.execute_batch(sql))?;
    statements(&db)
}

/// An error of ours in SQLite's form, so that it is sorted like SQLite's own.
pub(super) fn sqlite_error(code: i32, message: &str) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(message.to_owned()))
}

fn sqlite(code: i32, message: &str) -> FileProblem {
    FileProblem::Sqlite(sqlite_error(code, message))
}
