//! Rows of `raw_logs` for people's commands, in the order in which they arrived or were forwarded.
//!
//! Invariant: a call looks at a bounded number of rows by an index, however few of them are wanted.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postgres::Row;
use postgres::types::ToSql;

use super::Postgres;
use super::rows::{self, RESTORED, restored};
use crate::store::StoreError;
use crate::store::browse::{Kept, Page, RowState, Wanted};

/// Which kind of rows is read: each has an index of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// Those whose destination is PostgreSQL, by the time at which it stored them.
    Home,
    /// Those that Kafka has, by the time of the acknowledgement.
    Forwarded,
}

/// A position in that order: a time in microseconds since 1970, and the row's `seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    micros: i64,
    seq: i64,
}

impl Mark {
    /// Its time, milliseconds since 1970.
    #[must_use]
    pub fn ms(self) -> i64 {
        self.micros / 1_000
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.micros, self.seq)
    }
}

impl FromStr for Mark {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |part: &str| part.parse().ok().filter(|number: &i64| *number >= 0);
        let parts = text.split_once('/').and_then(|(micros, seq)| Some((parse(micros)?, parse(seq)?)));
        parts.map(|(micros, seq)| Self { micros, seq }).ok_or("write it as it was shown: MICROSECONDS/SEQ")
    }
}

/// The filter, from the fifth parameter on. Its result is a column, so that a call reads a bounded number of rows.
macro_rules! wanted {
    () => {
        "($5::text IS NULL OR request_id = $5) AND ($6::text IS NULL OR service = $6) \
         AND ($7::text[] IS NULL OR level = ANY ($7)) AND ($8::timestamptz IS NULL OR received_at >= $8) \
         AND ($9::timestamptz IS NULL OR received_at < $9)"
    };
}
pub(super) use wanted;

/// The next rows behind a mark; sizes are summed before payloads are read, and the first row comes
/// however large it is.
macro_rules! page {
    ($order:literal, $kind:literal) => {
        concat!(
            "SELECT ",
            restored!(),
            ", reason, is_wanted, ",
            $order,
            " FROM (SELECT *, sum(CASE WHEN is_wanted THEN octet_length(payload) ELSE 0 END) OVER (ORDER BY ",
            $order,
            ", seq) AS bytes, row_number() OVER (ORDER BY ",
            $order,
            ", seq) AS place FROM (SELECT *, ",
            wanted!(),
            " AS is_wanted FROM raw_logs WHERE ",
            $kind,
            " AND ",
            $order,
            " >= $1 AND (",
            $order,
            ", seq) > ($1, $2) ORDER BY ",
            $order,
            ", seq LIMIT $3) AS page) AS measured WHERE bytes <= $4 OR place = 1 ORDER BY ",
            $order,
            ", seq"
        )
    };
}
const HOME: &str = page!("stored_at", "state = 'home'");
const FORWARDED: &str = page!("forwarded_at", "forwarded_at IS NOT NULL");

impl Postgres {
    /// Wanted rows of a kind behind `mark`, in order: of the next `max_rows` rows, and about `max_bytes` of events, but at
    /// least one row.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn kept_after(
        &mut self,
        kind: RowKind,
        mark: Mark,
        max_rows: usize,
        max_bytes: usize,
        wanted: &Wanted,
    ) -> Result<Page<(Kept, Mark), Mark>, StoreError> {
        let (sql, state) = match kind {
            RowKind::Home => (HOME, RowState::Home),
            RowKind::Forwarded => (FORWARDED, RowState::Forwarded),
        };
        let since = time(mark.micros);
        let (rows, bytes) = (max_rows.cast_signed() as i64, max_bytes.cast_signed() as i64);
        let filter = FilterValues::of(wanted);
        self.query("read events", move |session, until| {
            let found = session.rows(sql, until, &filter.after([&since, &mark.seq, &rows, &bytes]))?;
            let at = |row: &Row| Mark { micros: micros(row.get(RESTORED + 2)), seq: row.get(0) };
            let kept = found.iter().filter(|row| row.get(RESTORED + 1));
            let rows = kept.map(|row| (self::kept(row, state, row.get(RESTORED)), at(row))).collect();
            Ok(Page { rows, next: found.last().map(at) })
        })
    }
}

/// A row whose first columns are those of [`rows::restore`].
pub(super) fn kept(row: &Row, state: RowState, reason: String) -> Kept {
    Kept {
        seq: row.get(0),
        ingest_id: row.get::<_, uuid::Uuid>(1).to_string(),
        state,
        reason,
        event: rows::restore(row),
    }
}

/// The filter's parameters.
pub(super) struct FilterValues {
    request_id: Option<String>,
    service: Option<String>,
    levels: Option<Vec<String>>,
    from: Option<SystemTime>,
    to: Option<SystemTime>,
}

impl FilterValues {
    pub(super) fn of(wanted: &Wanted) -> Self {
        let at = |ms: i64| time(ms.saturating_mul(1_000));
        Self {
            request_id: wanted.request_id.clone(),
            service: wanted.service.clone(),
            levels: (!wanted.levels.is_empty()).then(|| wanted.levels.clone()),
            from: wanted.from_ms.map(at),
            to: wanted.to_ms.map(at),
        }
    }

    /// The parameters of a statement: these, then the filter's.
    pub(super) fn after<'a>(&'a self, first: [&'a (dyn ToSql + Sync); 4]) -> Vec<&'a (dyn ToSql + Sync)> {
        let own: [&(dyn ToSql + Sync); 5] =
            [&self.request_id, &self.service, &self.levels, &self.from, &self.to];
        first.into_iter().chain(own).collect()
    }
}

/// The last microsecond of the year 9999.
const MICROS_MAX: i64 = 253_402_300_799_999_999;

fn time(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros.clamp(0, MICROS_MAX).unsigned_abs())
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_is_shown() {
        let mark = Mark { micros: 1_793_491_200_000_001, seq: 12 };
        assert_eq!(mark.to_string().parse(), Ok(mark));
        for text in ["", "12", "/", "1/", "/1", "-1/2", "1/-2", "a/b", "1/2/3"] {
            assert!(text.parse::<Mark>().is_err(), "{text}");
        }
        assert_eq!(micros(time(mark.micros)), mark.micros);
    }
}
