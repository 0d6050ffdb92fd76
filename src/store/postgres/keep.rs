//! Age and counts: what may be removed, and how much there is.
//!
//! Invariants: a held row that was not forwarded is never removed; every removal and every count is bounded.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use postgres::Error;

use super::rows::received_ms;
use super::session::Session;
use super::{Recount, RowCounts};
use crate::limits::POSTGRES_COUNT_MAX;

/// Rows that another session is just removing are left to it.
const SWEEP: &str = "WITH forwarded AS (\
         SELECT ingest_id FROM raw_logs WHERE forwarded_at < now() - make_interval(secs => $1) \
         ORDER BY forwarded_at LIMIT $3 FOR UPDATE SKIP LOCKED\
     ), home AS (\
         SELECT ingest_id FROM raw_logs WHERE state = 'home' AND stored_at < now() - make_interval(secs => $2) \
         ORDER BY stored_at LIMIT $3 FOR UPDATE SKIP LOCKED\
     ) DELETE FROM raw_logs WHERE ingest_id IN (\
         SELECT ingest_id FROM forwarded UNION ALL SELECT ingest_id FROM home LIMIT $3)";

/// The number of rows beyond $1 bytes: by the server's running estimate of the rows, each as large as the last 1,000 are
/// on average. The file's own size does not show it: removed rows leave it as large as it was.
const EXCESS: &str = "SELECT coalesce(floor(greatest(live.n - $1 / row.bytes, 0)), 0)::int8 FROM \
     (SELECT n_live_tup::float8 AS n FROM pg_stat_user_tables WHERE relid = 'raw_logs'::regclass) AS live, \
     (SELECT avg(2 * octet_length(payload) + 500)::float8 AS bytes FROM \
      (SELECT payload FROM raw_logs WHERE state = 'home' OR forwarded_at IS NOT NULL \
       ORDER BY ingest_id DESC LIMIT 1000) AS last) AS row";

const COUNTS: &str = "SELECT \
     (SELECT count(*) FROM (SELECT 1 FROM raw_logs WHERE state = 'held' AND forwarded_at IS NULL LIMIT $1) AS held), \
     (SELECT count(*) FROM (SELECT 1 FROM raw_logs WHERE state = 'home' LIMIT $1) AS home), \
     (SELECT count(*) FROM (SELECT 1 FROM dead_letters LIMIT $1) AS letters), \
     (SELECT received_at FROM raw_logs WHERE state = 'held' AND forwarded_at IS NULL ORDER BY seq LIMIT 1)";

const RECOUNT: &str = "SELECT \
     count(*) FILTER (WHERE state = 'held' AND forwarded_at IS NULL), \
     count(*) FILTER (WHERE state = 'held' AND forwarded_at IS NOT NULL), \
     count(*) FILTER (WHERE state = 'home'), \
     (SELECT count(*) FROM dead_letters), \
     count(*) FILTER (WHERE instance = $1 AND received_at >= $2) \
       + (SELECT count(*) FROM dead_letters WHERE instance = $1 AND received_at >= $2) FROM raw_logs";

pub(super) fn sweep(
    session: &mut Session,
    forwarded_keep: Duration,
    keep: Duration,
    most: usize,
    until: Instant,
) -> Result<usize, Error> {
    let (forwarded, home) = (forwarded_keep.as_secs_f64(), keep.as_secs_f64());
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let removed = session.changed(SWEEP, until, &[&forwarded, &home, &most])?;
    Ok(usize::try_from(removed).unwrap_or(usize::MAX))
}

pub(super) fn trim(
    session: &mut Session,
    max_bytes: u64,
    most: usize,
    until: Instant,
) -> Result<usize, Error> {
    let max_bytes = max_bytes as f64;
    let excess: i64 = session.row(EXCESS, until, &[&max_bytes])?.get(0);
    match usize::try_from(excess).unwrap_or(0).min(most) {
        0 => Ok(0),
        rows => sweep(session, Duration::ZERO, Duration::ZERO, rows, until),
    }
}

pub(super) fn counts(session: &mut Session, until: Instant) -> Result<RowCounts, Error> {
    let counted = session.row(COUNTS, until, &[&i64::from(POSTGRES_COUNT_MAX)])?;
    let count = |index: usize| counted.get::<_, i64>(index).unsigned_abs();
    Ok(RowCounts {
        held: count(0),
        home: count(1),
        dead_letters: count(2),
        oldest_held_ms: counted.get::<_, Option<SystemTime>>(3).map(received_ms),
    })
}

pub(super) fn recount(session: &mut Session, since: SystemTime, until: Instant) -> Result<Recount, Error> {
    let instance = Arc::clone(&session.instance);
    let instance = session.charset.shown((&*instance).into());
    let (client, statement) = session.prepared(RECOUNT, until)?;
    // Every row is read: by an index that would take far longer.
    client.batch_execute("SET enable_seqscan = on")?;
    let counted = client.query_one(&statement, &[&instance, &since])?;
    let count = |index: usize| counted.get::<_, i64>(index).unsigned_abs();
    Ok(Recount { held: count(0), forwarded: count(1), home: count(2), dead_letters: count(3), own: count(4) })
}
