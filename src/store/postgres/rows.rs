//! Events as rows, one array per column, and a row as an event: the one place that knows the columns.
//!
//! Invariant: every text column fits the server's encoding; `payload` goes as it is.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use postgres::Row;
use postgres::types::ToSql;
use uuid::Uuid;

use crate::event::{Arrival, Columns, Event};

/// The last millisecond of the year 9999: no record is dated later.
const RECEIVED_MS_MAX: i64 = 253_402_300_799_999;

/// The columns that differ from row to row and that both tables have, in the order in which [`Rows`] binds them.
macro_rules! columns {
    () => {
        "ingest_id, received_at, traceparent, payload, price, quantity, event_timestamp, request_id, service, env, \
         action, level, message, user_id, product_id, error_code, stack, app_version, raw_data, skew_ms"
    };
}
/// The same as arrays, from the fourth parameter on: those before are the same for all rows.
macro_rules! arrays {
    () => {
        "$4::uuid[], $5::timestamptz[], $6::text[], $7::bytea[], $8::float8[], $9::int8[], $10::text[], $11::text[], \
         $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], \
         $20::text[], $21::text[], $22::text[], $23::int8[]"
    };
}

/// Stores rows in the order of the arrays. A row whose id is there already is left as it is.
pub(super) const INSERT_LOGS: &str = concat!(
    "INSERT INTO raw_logs (state, reason, instance, ",
    columns!(),
    ") SELECT $1::text, $2::text, $3::text, ",
    columns!(),
    " FROM unnest(",
    arrays!(),
    ") WITH ORDINALITY AS row (",
    columns!(),
    ", place) ORDER BY place ON CONFLICT (ingest_id) DO NOTHING"
);

/// The same for dead letters, with an array of errors at the end.
pub(super) const INSERT_DEAD_LETTERS: &str = concat!(
    "INSERT INTO dead_letters (state, reason, instance, ",
    columns!(),
    ", error) SELECT $1::text, $2::text, $3::text, ",
    columns!(),
    ", error FROM unnest(",
    arrays!(),
    ", $24::text[]) WITH ORDINALITY AS row (",
    columns!(),
    ", error, place) ORDER BY place ON CONFLICT (ingest_id) DO NOTHING"
);

/// Moves held rows ($1) to the dead letters with their errors ($2).
pub(super) const DEAD_LETTER: &str = concat!(
    "WITH letters AS (SELECT * FROM unnest($1::int8[], $2::text[]) AS letter (number, error)), \
     gone AS (DELETE FROM raw_logs WHERE seq = ANY ($1) AND state = 'held' AND forwarded_at IS NULL RETURNING *) \
     INSERT INTO dead_letters (state, reason, instance, ",
    columns!(),
    ", error) SELECT state, reason, instance, ",
    columns!(),
    ", error FROM gone JOIN letters ON number = seq ORDER BY seq ON CONFLICT (ingest_id) DO NOTHING"
);

/// Lets dead letters ($1) wait for Kafka again and returns which. What is in `raw_logs` already, forwarded or not, waits
/// again too.
pub(super) const RETRY: &str = concat!(
    "WITH gone AS (DELETE FROM dead_letters WHERE ingest_id = ANY ($1) RETURNING *), \
     back AS (INSERT INTO raw_logs (state, reason, instance, ",
    columns!(),
    ") SELECT 'held', 'retried by hand', instance, ",
    columns!(),
    " FROM gone ORDER BY seq ON CONFLICT (ingest_id) DO UPDATE SET state = 'held', forwarded_at = NULL) \
     SELECT ingest_id FROM gone"
);

/// Which characters the text columns can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    /// Every character but U+0000.
    Utf8,
    /// Another encoding, which may lack any character beyond ASCII.
    Ascii,
}

impl Charset {
    /// By the database's `server_encoding`. SQL_ASCII keeps bytes as they come.
    pub(super) fn of(server_encoding: &str) -> Self {
        if matches!(server_encoding, "UTF8" | "SQL_ASCII") { Self::Utf8 } else { Self::Ascii }
    }

    /// Text as a column can hold it.
    pub(super) fn shown<'a>(self, text: Cow<'a, str>) -> Cow<'a, str> {
        let shown = match self {
            Self::Utf8 => memchr::memchr(0, text.as_bytes()).map(|_| text.replace('\0', "\u{fffd}")),
            Self::Ascii => {
                let is_plain = text.bytes().all(|byte| byte.is_ascii() && byte != 0);
                (!is_plain).then(|| text.replace(|c: char| !c.is_ascii() || c == '\0', "?"))
            }
        };
        shown.map_or(text, Cow::Owned)
    }
}

/// Columns of text after the first six.
const TEXTS: usize = 13;

/// Events, one array per column.
#[derive(Default)]
pub(super) struct Rows<'a> {
    ids: Vec<Uuid>,
    received: Vec<SystemTime>,
    traceparents: Vec<Option<&'a str>>,
    payloads: Vec<&'a [u8]>,
    prices: Vec<Option<f64>>,
    quantities: Vec<Option<i64>>,
    skews: Vec<Option<i64>>,
    texts: [Vec<Option<Cow<'a, str>>>; TEXTS],
}

impl<'a> Rows<'a> {
    pub(super) fn of(events: impl Iterator<Item = &'a Event>, charset: Charset) -> Self {
        let mut rows = Self::default();
        for event in events {
            rows.push(event, charset);
        }
        rows
    }

    fn push(&mut self, event: &'a Event, charset: Charset) {
        let c = Columns::of(event.payload());
        self.ids.push(event.ingest_id());
        self.received.push(time(event.received_at_ms()));
        self.traceparents.push(event.traceparent());
        self.payloads.push(event.payload());
        self.prices.push(c.price);
        self.quantities.push(c.quantity);
        self.skews.push(event.skew_ms());
        let texts: [_; TEXTS] = [
            c.event_timestamp,
            c.request_id,
            c.service,
            c.env,
            c.action,
            c.level,
            c.message,
            c.user_id,
            c.product_id,
            c.error_code,
            c.stack,
            c.app_version,
            c.raw_data,
        ];
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.push(text.map(|text| charset.shown(text)));
        }
    }

    /// The parameters of [`INSERT_LOGS`].
    pub(super) fn parameters<'p>(
        &'p self,
        for_all: [&'p (dyn ToSql + Sync); 3],
    ) -> Vec<&'p (dyn ToSql + Sync)> {
        let mut parameters = Vec::from(for_all);
        let first: [&(dyn ToSql + Sync); 6] =
            [&self.ids, &self.received, &self.traceparents, &self.payloads, &self.prices, &self.quantities];
        parameters.extend(first);
        parameters.extend(self.texts.iter().map(|column| column as &(dyn ToSql + Sync)));
        parameters.push(&self.skews);
        parameters
    }
}

/// A row with `ingest_id, received_at, traceparent, payload` from the second column on, as the event that it was, or
/// what is wrong with it.
pub(super) fn restore(row: &Row) -> Result<Event, Arc<str>> {
    let damaged = |what: &str| Arc::from(format!("the row is damaged: {what}"));
    let arrival = Arrival {
        ingest_id: row.try_get(1).map_err(|_| damaged("ingest_id cannot be read"))?,
        received_at_ms: received_ms(row.try_get(2).map_err(|_| damaged("received_at cannot be read"))?),
        traceparent: row.try_get(3).map_err(|_| damaged("traceparent cannot be read"))?,
        x_request_id: None,
    };
    let payload: &[u8] = row.try_get(4).map_err(|_| damaged("payload cannot be read"))?;
    let payload = Bytes::copy_from_slice(payload);
    Event::from_row(arrival, payload).ok_or_else(|| damaged("its payload is not an event"))
}

fn time(ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms.clamp(0, RECEIVED_MS_MAX).unsigned_abs())
}

/// Milliseconds since 1970 of a row's time.
pub(super) fn received_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shown_as_far_as_the_encoding_goes() {
        for (text, utf8, ascii) in [
            ("plain", "plain", "plain"),
            ("a\0b", "a\u{fffd}b", "a?b"),
            ("\u{1F9FE} für", "\u{1F9FE} für", "? f?r"),
            ("", "", ""),
        ] {
            assert_eq!(Charset::Utf8.shown(text.into()), utf8);
            assert_eq!(Charset::Ascii.shown(text.into()), ascii);
        }
        assert!(matches!(Charset::Ascii.shown("plain".into()), Cow::Borrowed(_)));
        assert_eq!(Charset::of("UTF8"), Charset::Utf8);
        assert_eq!(Charset::of("LATIN1"), Charset::Ascii);
    }

    #[test]
    fn times_come_back_to_the_millisecond() {
        for ms in [0, 1, 1_793_491_200_007, RECEIVED_MS_MAX] {
            assert_eq!(received_ms(time(ms)), ms);
        }
        assert_eq!(received_ms(time(-5)), 0);
        assert_eq!(received_ms(time(i64::MAX)), RECEIVED_MS_MAX);
    }
}
