//! Held rows on their way to Kafka, oldest first.
//!
//! Invariants: no transaction outlives a call; the next rows are chosen by "not yet forwarded", so that a row that was
//! committed late is still found; one connection drains at a time.

use std::sync::Arc;
use std::time::Instant;

use postgres::Error;

use super::rows::{self, DEAD_LETTER, restored};
use super::schema::ADVISORY;
use super::session::Session;
use super::write::retried;
use crate::store::HeldRow;

/// The lock is the table's, so two schemas in one database are drained separately. A lock that this connection has already is
/// not taken twice, but the query still shows that the connection works.
const TAKE_LOCK: &str = "SELECT CASE WHEN $1 THEN true \
     ELSE pg_try_advisory_lock($2, 'raw_logs'::regclass::oid::int4) END";

/// Sizes are summed before payloads are read, and the first row comes however large it is.
const HELD_AFTER: &str = concat!(
    "SELECT ",
    restored!(),
    " FROM (\
         SELECT *, sum(octet_length(payload)) OVER (ORDER BY seq) AS bytes, row_number() OVER (ORDER BY seq) AS place \
         FROM (SELECT ",
    restored!(),
    " FROM raw_logs \
               WHERE state = 'held' AND forwarded_at IS NULL AND seq > $1 ORDER BY seq LIMIT $2) AS page\
     ) AS measured WHERE bytes <= $3 OR place = 1 ORDER BY seq"
);

const FORWARDED: &str = "UPDATE raw_logs SET forwarded_at = now() \
     WHERE seq = ANY ($1) AND state = 'held' AND forwarded_at IS NULL";

pub(super) fn take_lock(session: &mut Session, until: Instant) -> Result<bool, Error> {
    let is_drainer = session.is_drainer;
    session.is_drainer = session.row(TAKE_LOCK, until, &[&is_drainer, &ADVISORY])?.get(0);
    Ok(session.is_drainer)
}

pub(super) fn held_after(
    session: &mut Session,
    seq: i64,
    max_rows: usize,
    max_bytes: usize,
    until: Instant,
) -> Result<Vec<HeldRow>, Error> {
    let max_rows = i64::try_from(max_rows).unwrap_or(i64::MAX);
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let found = session.rows(HELD_AFTER, until, &[&seq, &max_rows, &max_bytes])?;
    Ok(found.iter().map(|row| HeldRow { seq: row.get(0), event: rows::restore(row) }).collect())
}

pub(super) fn forwarded(session: &mut Session, seqs: &[i64], until: Instant) -> Result<(), Error> {
    retried(until, || session.changed(FORWARDED, until, &[&seqs])).map(drop)
}

pub(super) fn dead_letter(
    session: &mut Session,
    letters: &[(i64, Arc<str>)],
    until: Instant,
) -> Result<(), Error> {
    let seqs: Vec<i64> = letters.iter().map(|(seq, _)| *seq).collect();
    let errors: Vec<_> = letters.iter().map(|(_, error)| session.charset.shown((&**error).into())).collect();
    retried(until, || session.changed(DEAD_LETTER, until, &[&seqs, &errors])).map(drop)
}
