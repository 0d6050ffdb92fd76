//! Dead letters in PostgreSQL: what an administrator reads and changes.

use std::time::Instant;

use postgres::{Error, Row};
use uuid::Uuid;

use super::Postgres;
use super::browse::{self, FilterValues, wanted};
use super::rows::{RESTORED, RETRY, received_ms, restored};
use super::session::Session;
use super::write::retried;
use crate::host::clock;
use crate::store::browse::{Letter, Page, RowState, Wanted};
use crate::store::{Standing, StoreError};

const LETTERS_AFTER: &str = concat!(
    "SELECT ",
    restored!(),
    ", reason, state, failed_at, error FROM (\
         SELECT *, sum(octet_length(payload)) OVER (ORDER BY seq) AS bytes, row_number() OVER (ORDER BY seq) AS place \
         FROM (SELECT * FROM dead_letters WHERE seq > $1 AND ($2::text IS NULL OR state = $2) AND ",
    wanted!(),
    " ORDER BY seq LIMIT $3) AS page) AS measured WHERE bytes <= $4 OR place = 1 ORDER BY seq"
);

const LETTER: &str = concat!(
    "SELECT ",
    restored!(),
    ", reason, state, failed_at, error FROM dead_letters WHERE ingest_id = $1"
);

const DISCARD: &str = "DELETE FROM dead_letters WHERE ingest_id = ANY ($1) RETURNING ingest_id";

impl Postgres {
    /// Wanted dead letters after `seq`, in order: at most `max_rows`, and about `max_bytes` of events, but at
    /// least one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn letters_after(
        &mut self,
        seq: i64,
        max_rows: usize,
        max_bytes: usize,
        wanted: &Wanted,
    ) -> Result<Page<Letter, i64>, StoreError> {
        let (rows, bytes) = (max_rows.cast_signed() as i64, max_bytes.cast_signed() as i64);
        let (state, filter) = (wanted.state.map(RowState::as_str), FilterValues::of(wanted));
        self.query("read dead letters", move |session, until| {
            let found = session.rows(LETTERS_AFTER, until, &filter.after([&seq, &state, &rows, &bytes]))?;
            Ok(Page { rows: found.iter().map(letter).collect(), next: found.last().map(|row| row.get(0)) })
        })
    }

    /// The dead letter with this id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn letter(&mut self, id: Uuid) -> Result<Option<Letter>, StoreError> {
        self.query("read a dead letter", move |session, until| {
            Ok(session.rows(LETTER, until, &[&id])?.first().map(letter))
        })
    }

    /// Lets dead letters wait for Kafka again. Returns which of the ids were dead letters.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: all of them are still dead letters.
    pub fn retry_letters(&mut self, ids: Vec<Uuid>) -> Result<Vec<Uuid>, StoreError> {
        self.query("retry dead letters", move |session, until| change(session, RETRY, &ids, until))
    }

    /// Deletes dead letters for good. Returns which of the ids were dead letters.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: all of them are still there.
    pub fn discard_letters(&mut self, ids: Vec<Uuid>) -> Result<Vec<Uuid>, StoreError> {
        self.query("delete dead letters", move |session, until| change(session, DISCARD, &ids, until))
    }
}

fn letter(row: &Row) -> Letter {
    let standing = Standing::of_column(row.get::<_, &str>(RESTORED + 1).as_bytes());
    Letter {
        kept: browse::kept(row, standing.into(), row.get(RESTORED)),
        failed_at: clock::rfc3339(received_ms(row.get(RESTORED + 2))),
        error: row.get(RESTORED + 3),
        remains: None,
    }
}

fn change(
    session: &mut Session,
    sql: &'static str,
    ids: &[Uuid],
    until: Instant,
) -> Result<Vec<Uuid>, Error> {
    let changed = retried(until, || session.rows(sql, until, &[&ids]))?;
    Ok(changed.iter().map(|row| row.get(0)).collect())
}
