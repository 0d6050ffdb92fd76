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
use crate::store::{Destination, Standing};

/// The last millisecond of the year 9999: no record is dated later.
const RECEIVED_MS_MAX: i64 = 253_402_300_799_999;

/// The columns that differ from row to row and that both tables have, in the order in which [`Rows`] binds them.
macro_rules! columns {
    () => {
        "ingest_id, received_at, payload, price, quantity, skew_ms, event_timestamp, request_id, service, env, action, \
         level, message, user_id, product_id, error_code, stack, app_version, raw_data, trace_parent, x_request_id, \
         client, instance"
    };
}
/// The same as arrays, from the fifth parameter on: those before are the same for all rows.
macro_rules! arrays {
    () => {
        "$5::uuid[], $6::timestamptz[], $7::bytea[], $8::float8[], $9::int8[], $10::int8[], $11::text[], $12::text[], \
         $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], \
         $21::text[], $22::text[], $23::text[], $24::text[], $25::text[], $26::text[], $27::text[]"
    };
}
/// The columns that are the same for all rows of a batch.
macro_rules! shared {
    () => {
        "state, reason, topic, cluster_id"
    };
}
/// What [`restore`] reads, and no other first columns.
macro_rules! restored {
    () => {
        "seq, ingest_id, received_at, payload, trace_parent, x_request_id, client, instance"
    };
}
pub(super) use restored;
/// The number of columns that [`restore`] reads.
pub(super) const RESTORED: usize = 8;

/// Stores rows in the order of the arrays. A row whose id is there already is left as it is.
pub(super) const INSERT_LOGS: &str = concat!(
    "INSERT INTO raw_logs (",
    shared!(),
    ", ",
    columns!(),
    ") SELECT $1::text, $2::text, $3::text, $4::text, ",
    columns!(),
    " FROM unnest(",
    arrays!(),
    ") WITH ORDINALITY AS row (",
    columns!(),
    ", place) ORDER BY place ON CONFLICT (ingest_id) DO NOTHING"
);

/// The same for dead letters, with an array of errors at the end.
pub(super) const INSERT_DEAD_LETTERS: &str = concat!(
    "INSERT INTO dead_letters (",
    shared!(),
    ", ",
    columns!(),
    ", error) SELECT $1::text, $2::text, $3::text, $4::text, ",
    columns!(),
    ", error FROM unnest(",
    arrays!(),
    ", $28::text[]) WITH ORDINALITY AS row (",
    columns!(),
    ", error, place) ORDER BY place ON CONFLICT (ingest_id) DO NOTHING"
);

/// Moves held rows ($1) to the dead letters with their errors ($2).
pub(super) const DEAD_LETTER: &str = concat!(
    "WITH letters AS (SELECT * FROM unnest($1::int8[], $2::text[]) AS letter (number, error)), \
     gone AS (DELETE FROM raw_logs WHERE seq = ANY ($1) AND state = 'held' AND forwarded_at IS NULL RETURNING *) \
     INSERT INTO dead_letters (",
    shared!(),
    ", ",
    columns!(),
    ", error) SELECT ",
    shared!(),
    ", ",
    columns!(),
    ", error FROM gone JOIN letters ON number = seq ORDER BY seq ON CONFLICT (ingest_id) DO NOTHING"
);

/// Lets dead letters ($1) wait for Kafka again and returns which. What is in `raw_logs` already, forwarded or not, waits
/// again too.
pub(super) const RETRY: &str = concat!(
    "WITH gone AS (DELETE FROM dead_letters WHERE ingest_id = ANY ($1) RETURNING *), \
     back AS (INSERT INTO raw_logs (",
    shared!(),
    ", ",
    columns!(),
    ") SELECT 'held', 'retried by hand', topic, cluster_id, ",
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

/// Columns of text, which are the last ones.
const TEXTS: usize = 17;

/// Events, one array per column.
#[derive(Default)]
pub(super) struct Rows<'a> {
    ids: Vec<Uuid>,
    received: Vec<SystemTime>,
    payloads: Vec<&'a [u8]>,
    prices: Vec<Option<f64>>,
    quantities: Vec<Option<i64>>,
    skews: Vec<Option<i64>>,
    texts: [Vec<Option<Cow<'a, str>>>; TEXTS],
}

/// What all rows of a batch share, as the columns can hold it.
pub(super) struct Shared<'a> {
    state: &'static str,
    reason: Cow<'a, str>,
    topic: Option<Cow<'a, str>>,
    cluster_id: Option<String>,
}

impl<'a> Shared<'a> {
    /// `destination`: of held rows.
    pub(super) fn new(
        standing: Standing,
        reason: &'a str,
        destination: Option<&'a Destination>,
        charset: Charset,
    ) -> Self {
        let destination = destination.filter(|_| standing == Standing::Held);
        let cluster_id = destination.and_then(Destination::cluster_id);
        Self {
            state: standing.as_str(),
            reason: charset.shown(reason.into()),
            topic: destination.map(|destination| charset.shown(destination.topic().into())),
            cluster_id: cluster_id.map(|id| charset.shown((&*id).into()).into_owned()),
        }
    }
}

impl<'a> Rows<'a> {
    /// `instance`: of events that name none.
    pub(super) fn of(events: impl Iterator<Item = &'a Event>, instance: &'a str, charset: Charset) -> Self {
        let mut rows = Self::default();
        for event in events {
            rows.push(event, instance, charset);
        }
        rows
    }

    fn push(&mut self, event: &'a Event, instance: &'a str, charset: Charset) {
        let c = Columns::of(event.payload());
        self.ids.push(event.ingest_id());
        self.received.push(time(event.received_at_ms()));
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
            event.traceparent().map(Cow::from),
            event.x_request_id().map(Cow::from),
            event.client().map(Cow::from),
            Some(event.instance().unwrap_or(instance).into()),
        ];
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.push(text.map(|text| charset.shown(text)));
        }
    }

    /// The parameters of [`INSERT_LOGS`].
    pub(super) fn parameters<'p>(&'p self, shared: &'p Shared<'_>) -> Vec<&'p (dyn ToSql + Sync)> {
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &shared.state,
            &shared.reason,
            &shared.topic,
            &shared.cluster_id,
            &self.ids,
            &self.received,
            &self.payloads,
            &self.prices,
            &self.quantities,
            &self.skews,
        ];
        parameters.extend(self.texts.iter().map(|column| column as &(dyn ToSql + Sync)));
        parameters
    }
}

/// A row that begins with the columns `restored!`, as the event that it was, or what is wrong with it.
pub(super) fn restore(row: &Row) -> Result<Event, Arc<str>> {
    let damaged = |what: &str| Arc::from(format!("the row is damaged: {what}"));
    let text = |index: usize, name: &str| {
        row.try_get::<_, Option<&str>>(index).map_err(|_| damaged(&format!("{name} cannot be read")))
    };
    let payload: &[u8] = row.try_get(3).map_err(|_| damaged("payload cannot be read"))?;
    let arrival = Arrival {
        ingest_id: row.try_get(1).map_err(|_| damaged("ingest_id cannot be read"))?,
        received_at_ms: received_ms(row.try_get(2).map_err(|_| damaged("received_at cannot be read"))?),
        traceparent: text(4, "trace_parent")?.map(Box::from),
        x_request_id: text(5, "x_request_id")?.map(Box::from),
        client: text(6, "client")?.map(Arc::from),
        instance: text(7, "instance")?.map(Arc::from),
    };
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
