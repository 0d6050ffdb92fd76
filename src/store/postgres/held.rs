//! Held rows on their way to Kafka, oldest first.
//!
//! Invariants: no transaction outlives a call; the next rows are chosen by "not yet forwarded", so that a row that was
//! committed late is still found; one connection drains at a time.

use std::sync::Arc;
use std::time::Instant;

use super::rows::{self, DEAD_LETTER};
use super::schema::ADVISORY;
use super::session::Session;
use super::write::retried;
use crate::store::{HeldRow, StoreError, WriteResult};

/// The lock is the table's, so two schemas in one database are drained separately. A lock that this connection has already is
/// not taken twice, but the query still shows that the connection works.
const TAKE_LOCK: &str = "SELECT CASE WHEN $1 THEN true \
     ELSE pg_try_advisory_lock($2, 'raw_logs'::regclass::oid::int4) END";

/// Sizes are summed before payloads are read, and the first row comes however large it is.
const HELD_AFTER: &str = "SELECT seq, ingest_id, received_at, traceparent, payload FROM (\
         SELECT *, sum(octet_length(payload)) OVER (ORDER BY seq) AS bytes, row_number() OVER (ORDER BY seq) AS place \
         FROM (SELECT seq, ingest_id, received_at, traceparent, payload FROM raw_logs \
               WHERE state = 'held' AND forwarded_at IS NULL AND seq > $1 ORDER BY seq LIMIT $2) AS page\
     ) AS measured WHERE bytes <= $3 OR place = 1 ORDER BY seq";

const FORWARDED: &str = "UPDATE raw_logs SET forwarded_at = now() \
     WHERE seq = ANY ($1) AND state = 'held' AND forwarded_at IS NULL";

pub(super) fn take_lock(session: &mut Session, until: Instant) -> Result<bool, StoreError> {
    let is_drainer = session.is_drainer;
    let taken = session
        .prepared(TAKE_LOCK, until)
        .and_then(|(client, statement)| client.query_one(&statement, &[&is_drainer, &ADVISORY]));
    let taken = taken.map_err(|error| session.at.failed("take the drain lock", &error))?;
    session.is_drainer = taken.get(0);
    Ok(session.is_drainer)
}

pub(super) fn held_after(
    session: &mut Session,
    seq: i64,
    max_rows: usize,
    max_bytes: usize,
    until: Instant,
) -> Result<Vec<HeldRow>, StoreError> {
    let max_rows = i64::try_from(max_rows).unwrap_or(i64::MAX);
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let found = session
        .prepared(HELD_AFTER, until)
        .and_then(|(client, statement)| client.query(&statement, &[&seq, &max_rows, &max_bytes]));
    let found = found.map_err(|error| session.at.failed("read held events", &error))?;
    Ok(found.iter().map(|row| HeldRow { seq: row.get(0), event: rows::restore(row) }).collect())
}

pub(super) fn forwarded(session: &mut Session, seqs: &[i64], until: Instant) -> WriteResult {
    let marked = retried(until, || {
        let (client, statement) = session.prepared(FORWARDED, until)?;
        client.execute(&statement, &[&seqs])
    });
    marked.map(drop).map_err(|error| session.at.failed("mark forwarded events", &error))
}

pub(super) fn dead_letter(session: &mut Session, letters: &[(i64, Arc<str>)], until: Instant) -> WriteResult {
    let seqs: Vec<i64> = letters.iter().map(|(seq, _)| *seq).collect();
    let errors: Vec<_> = letters.iter().map(|(_, error)| session.charset.shown((&**error).into())).collect();
    let moved = retried(until, || {
        let (client, statement) = session.prepared(DEAD_LETTER, until)?;
        client.execute(&statement, &[&seqs, &errors])
    });
    moved.map(drop).map_err(|error| session.at.failed("move events to the dead letters", &error))
}
