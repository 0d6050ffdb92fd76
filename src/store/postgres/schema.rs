//! The tables' versions, applied once per schema by the first daemon that comes.
//!
//! Invariants: versions are applied in one transaction, under a lock that all daemons of one schema share; tables of a
//! newer program are left alone; a missing table is named and never silently made again.

use postgres::{Client, Error, GenericClient};

use super::errors::Server;
use crate::store::{Cause, StoreError, WriteResult};

/// One file a version, oldest first. Never edited once released; a new version is a new file, which notes
/// its number itself, so that an administrator can apply it too.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../sql/postgres/001.sql"),
    include_str!("../../../sql/postgres/002.sql"),
    include_str!("../../../sql/postgres/003.sql"),
];
pub(super) const VERSION: i32 = MIGRATIONS.len() as i32;

/// The first of the two numbers of this program's advisory locks; the second is what is locked.
pub(super) const ADVISORY: i32 = 0x6c6f_6773;

/// One daemon after the other, each schema apart. The lock belongs to the connection, not to a transaction: only a
/// transaction that begins after the wait sees what an earlier daemon has made.
const LOCK: &str = "SELECT pg_advisory_lock($1, coalesce(current_schema()::regnamespace::oid, 0)::int4)";
const UNLOCK: &str = "SELECT pg_advisory_unlock($1, coalesce(current_schema()::regnamespace::oid, 0)::int4)";

/// Brings the tables to this program's version. The text says what was done, if anything was.
pub(super) fn ensure(client: &mut Client, at: &Server) -> Result<Option<String>, StoreError> {
    let mut noted = version(client).map_err(|error| at.failed("read the tables' version", &error))?;
    let mut note = None;
    if noted < VERSION {
        let first = apply(client).map_err(|error| at.failed("make the tables", &error))?;
        note =
            (first < VERSION).then(|| format!("the tables were brought from version {first} to {VERSION}"));
        noted = first.max(VERSION);
    }
    if noted > VERSION {
        let why = format!(
            "its tables have version {noted}, made by a newer logs-ingest, and this program knows version \
             {VERSION}: upgrade this program"
        );
        return Err(at.unavailable(Cause::WrongSchema, &why));
    }
    missing(client, at, noted)?;
    Ok(note)
}

/// Applies the missing versions, all or none, and returns the version that was found. After an error the connection is
/// thrown away, and its lock with it.
fn apply(client: &mut Client) -> Result<i32, Error> {
    client.execute(LOCK, &[&ADVISORY])?;
    let mut transaction = client.transaction()?;
    let found = version(&mut transaction)?;
    for sql in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.batch_execute(sql)?;
    }
    transaction.commit()?;
    client.execute(UNLOCK, &[&ADVISORY])?;
    Ok(found)
}

/// The version noted in the first schema of the path that has a note, 0 where none has.
pub(super) fn version(client: &mut impl GenericClient) -> Result<i32, Error> {
    let is_noted: bool =
        client.query_one("SELECT to_regclass('logs_ingest_schema') IS NOT NULL", &[])?.get(0);
    if !is_noted {
        return Ok(0);
    }
    Ok(client.query_one("SELECT coalesce(max(version), 0) FROM logs_ingest_schema", &[])?.get(0))
}

/// An error when a table is missing: made again, it would hide that its rows are gone.
fn missing(client: &mut Client, at: &Server, version: i32) -> WriteResult {
    let sql = "SELECT coalesce(string_agg(name, ' and '), '') FROM unnest(ARRAY['raw_logs', 'dead_letters']) name \
               WHERE to_regclass(name) IS NULL";
    let row = client.query_one(sql, &[]).map_err(|error| at.failed("look for the tables", &error))?;
    let names: &str = row.get(0);
    if names.is_empty() {
        return Ok(());
    }
    let why = format!(
        "{names} is missing though logs_ingest_schema notes version {version}: restore it from a backup, or drop \
         all three tables to have them made again, or give the role USAGE on their schema"
    );
    Err(at.unavailable(Cause::WrongSchema, &why))
}
