//! Connections to the spool's file: how they are set up, and which schema the file must have.
//!
//! Invariant: the writer's connection is in WAL mode with an fsync at each commit, and its file has the newest schema.
//! Rows of older versions are moved by `migrate`.

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
// Never edited once released; a new version is a new file.
const SECOND: &str = include_str!("../../../sql/spool/002.sql");
const TABLES: &str = include_str!("../../../sql/spool/003.sql");
const VIEWS: &str = include_str!("../../../sql/spool/003-views.sql");
/// The size of a page in new files: a lone event then costs least. Files of versions 1 and 2 keep [`OLD_PAGE_BYTES`].
pub(super) const PAGE_BYTES: usize = 2_048;
pub(super) const OLD_PAGE_BYTES: usize = 4_096;
/// The version that this program writes.
pub(super) const VERSION: i64 = 3;

/// Why a file cannot be used as it is.
pub(super) enum FileProblem {
    /// A newer release made it, with this version.
    Newer(i64),
    /// Another program's database.
    Foreign,
    Sqlite(rusqlite::Error),
    /// The daemon stops before the file is up to date.
    Stopped,
}

impl From<rusqlite::Error> for FileProblem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// The writer's connection. Makes the tables in an empty file, and the new tables beside those of an older version.
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
        // Both take effect only in an empty file, and only before the journal's mode is written to it.
        db.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(sqlite(ffi::SQLITE_IOERR, &format!("its journal stays in mode {mode} instead of wal")));
    }
    db.pragma_update(None, "synchronous", "FULL")?;
    // The writer brings the log into the file itself, after its answers; this is only in case it does not.
    db.pragma_update(None, "wal_autocheckpoint", 8_000)?;
    db.pragma_update(None, "journal_size_limit", SPOOL_CHECKPOINT_BYTES.cast_signed())?;
    db.pragma_update(None, "cache_size", -4_096)?;
    if db.is_readonly("main")? {
        return Err(sqlite(ffi::SQLITE_READONLY, "it can only be read"));
    }
    set_up(&mut db)?;
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
    if !has(db, "table", "figures")? {
        return Ok(None);
    }
    db.query_row("SELECT value FROM figures WHERE name = 'schema_version'", [], |row| row.get(0)).optional()
}

/// Whether rows of an older version are still to be moved.
pub(super) fn has_old_rows(db: &Connection) -> rusqlite::Result<bool> {
    has(db, "table", "raw_logs")
}

pub(super) fn has(db: &Connection, kind: &str, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2)";
    db.query_row(sql, [kind, name], |row| row.get(0))
}

fn set_up(db: &mut Connection) -> Result<(), FileProblem> {
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
    if have == 1 {
        tx.execute_batch(SECOND)?;
    }
    if have < VERSION {
        tx.execute_batch(TABLES)?;
    }
    match have {
        0 => tx.execute_batch(VIEWS)?,
        1 | 2 => note_last_seq(&tx)?,
        _ => {}
    }
    tx.execute("INSERT OR REPLACE INTO figures (name, value) VALUES ('schema_version', ?1)", [VERSION])?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.commit()?;
    Ok(())
}

/// Until version 2 the highest number that a row ever got was in a table of SQLite's own.
fn note_last_seq(tx: &Connection) -> rusqlite::Result<()> {
    let sql = "UPDATE figures SET value = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'raw_logs'), 0) \
               WHERE name = 'last_seq'";
    tx.execute(sql, []).map(drop)
}

/// What is left to do once all rows are moved: the views take the names of the old tables.
pub(super) fn finish_migration(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute_batch("DROP TABLE raw_logs; DROP TABLE dead_letters;")?;
    tx.execute_batch(VIEWS)
}

/// Fails for a file whose tables and views are not those of this version: one flipped letter in a column's name would
/// fail every insert.
pub(super) fn check(db: &Connection) -> Result<(), FileProblem> {
    let expected = Connection::open_in_memory()?;
    expected.execute_batch(TABLES)?;
    expected.execute_batch(VIEWS)?;
    if statements(db)? == statements(&expected)? {
        return Ok(());
    }
    Err(sqlite(ffi::SQLITE_CORRUPT, "its tables are not those of this version"))
}

/// The statements that made our tables and views; others may have been added.
fn statements(db: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = db.prepare(
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name IN ('figures', 'held_rows', \
         'home_rows', 'letter_rows', 'derived_ids', 'raw_logs', 'dead_letters') ORDER BY name",
    )?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// How the tables of a file came about; so their first pages have other places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Made with version 3.
    New,
    /// Made with version 1 or 2, and all rows are moved.
    Moved,
    /// Made with version 1 or 2, and rows are being moved.
    Moving,
    /// Made with version 1 or 2, and as that left it.
    Old,
}

impl Origin {
    /// The size of a page in such files.
    pub(super) fn page_bytes(self) -> usize {
        if self == Self::New { PAGE_BYTES } else { OLD_PAGE_BYTES }
    }
}

/// A table or index in a file.
pub(super) struct SchemaEntry {
    kind: String,
    pub(super) name: String,
    table: String,
    /// Its first page.
    pub(super) root: i64,
    sql: Option<String>,
}

/// The tables and indexes of a file.
pub(super) fn entries(db: &Connection) -> rusqlite::Result<Vec<SchemaEntry>> {
    let sql =
        "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema WHERE rootpage > 0 ORDER BY rowid";
    let entry = |row: &rusqlite::Row<'_>| {
        Ok(SchemaEntry {
            kind: row.get(0)?,
            name: row.get(1)?,
            table: row.get(2)?,
            root: row.get(3)?,
            sql: row.get(4)?,
        })
    };
    db.prepare(sql)?.query_map([], entry)?.collect()
}

/// Makes the tables of such a file, without rows and views.
pub(super) fn make_tables(path: &Path, origin: Origin) -> rusqlite::Result<Vec<SchemaEntry>> {
    const FIRST: &str = include_str!("../../../sql/spool/001.sql");
    let db = empty(path, origin)?;
    if origin != Origin::New {
        db.execute_batch(FIRST)?;
        db.execute_batch(SECOND)?;
    }
    if origin != Origin::Old {
        db.execute_batch(TABLES)?;
    }
    if origin == Origin::Moved {
        db.execute_batch("DROP TABLE raw_logs; DROP TABLE dead_letters;")?;
    }
    db.pragma_update(None, "user_version", if origin == Origin::Old { 2 } else { VERSION })?;
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    let entries = entries(&db)?;
    db.close().map_err(|(_, error)| error)?;
    Ok(entries)
}

/// Makes a file whose first page has the whole schema, without comments and views, and nothing else.
pub(super) fn make_first_page(path: &Path, origin: Origin, entries: &[SchemaEntry]) -> rusqlite::Result<()> {
    let db = empty(path, origin)?;
    db.pragma_update(None, "writable_schema", true)?;
    for SchemaEntry { kind, name, table, root, sql } in entries {
        let lines = |sql: &String| {
            let lines: Vec<_> =
                sql.lines().map(|line| line.split("--").next().unwrap_or_default().trim()).collect();
            lines.join(" ")
        };
        let sql = sql.as_ref().map(lines);
        db.execute("INSERT INTO sqlite_schema VALUES (?1, ?2, ?3, ?4, ?5)", (kind, name, table, root, sql))?;
    }
    db.close().map_err(|(_, error)| error)
}

fn empty(path: &Path, origin: Origin) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.pragma_update(None, "page_size", origin.page_bytes() as i64)?;
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    Ok(db)
}

/// Brings the log of a damaged file into it, whatever its schema is like.
pub(super) fn take_log(path: &Path) -> rusqlite::Result<()> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.pragma_update(None, "writable_schema", true)?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    db.close().map_err(|(_, error)| error)
}

/// An error of ours in SQLite's form, so that it is sorted like SQLite's own.
pub(super) fn sqlite_error(code: i32, message: &str) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(message.to_owned()))
}

fn sqlite(code: i32, message: &str) -> FileProblem {
    FileProblem::Sqlite(sqlite_error(code, message))
}
