//! An event as a row, and a row as an event: the one place that knows the columns.
//!
//! Invariant: what comes back as an [`Event`] has the bytes that went in: a row whose checksum does not match is
//! reported, never passed on.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::event::{Arrival, Columns, Event};
use crate::host::clock;
use crate::store::Standing;

/// The last millisecond that `received_at` can show with a year of four digits.
const RECEIVED_MS_MAX: i64 = 253_402_300_799_999;

/// The columns that [`restore`] reads, in its order.
pub(super) const RESTORE_COLUMNS: &str = "seq, ingest_id, received_at, traceparent, payload, crc";

/// The columns that both tables have, `seq` aside, in the order that [`insert`] binds them.
macro_rules! columns {
    () => {
        "ingest_id, received_at, state, reason, instance, traceparent, crc, event_timestamp, request_id, service, \
         env, action, level, message, user_id, product_id, price, quantity, error_code, app_version, stack, \
         raw_data, payload, skew_ms"
    };
}
pub(super) const COLUMNS: &str = columns!();

const INSERT_LOG: &str = concat!(
    "INSERT INTO raw_logs (",
    columns!(),
    ", seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
     ?20, ?21, ?22, ?23, ?24, ?25) ON CONFLICT (ingest_id) DO NOTHING"
);
const INSERT_DEAD_LETTER: &str = concat!(
    "INSERT INTO dead_letters (",
    columns!(),
    ", seq, failed_at, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, \
     ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27) ON CONFLICT (ingest_id) DO NOTHING"
);

/// What a row holds beside the event itself.
pub(super) struct Label<'a> {
    /// Its number in the order, if it has one already.
    pub(super) seq: Option<i64>,
    pub(super) standing: Standing,
    pub(super) reason: &'a str,
    pub(super) instance: &'a str,
}

/// Why and when an event became a dead letter.
pub(super) struct Failure<'a> {
    pub(super) failed_at: &'a str,
    pub(super) error: &'a str,
}

/// Puts the event into `raw_logs`, or with a failure into `dead_letters`. `false`: its id is there already.
pub(super) fn insert(
    db: &Connection,
    event: &Event,
    label: &Label<'_>,
    failure: Option<&Failure<'_>>,
) -> rusqlite::Result<bool> {
    let mut id = Uuid::encode_buffer();
    let id: &str = event.ingest_id().hyphenated().encode_lower(&mut id);
    let received_at = received_at(event.received_at_ms());
    let crc = checksum_of(id, &received_at, event.key(), event.payload(), event.traceparent());
    let c = Columns::of(event.payload());
    let mut statement = db.prepare_cached(if failure.is_some() { INSERT_DEAD_LETTER } else { INSERT_LOG })?;
    let common = params![
        id,
        received_at,
        label.standing.as_str(),
        label.reason,
        label.instance,
        event.traceparent(),
        crc,
        shown(c.event_timestamp.as_ref()),
        shown(c.request_id.as_ref()),
        shown(c.service.as_ref()),
        shown(c.env.as_ref()),
        shown(c.action.as_ref()),
        shown(c.level.as_ref()),
        shown(c.message.as_ref()),
        shown(c.user_id.as_ref()),
        shown(c.product_id.as_ref()),
        c.price,
        c.quantity,
        shown(c.error_code.as_ref()),
        shown(c.app_version.as_ref()),
        shown(c.stack.as_ref()),
        shown(c.raw_data.as_ref()),
        &event.payload()[..],
        event.skew_ms(),
        label.seq,
    ];
    for (index, value) in common.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, value)?;
    }
    if let Some(failure) = failure {
        statement.raw_bind_parameter(common.len() + 1, failure.failed_at)?;
        statement.raw_bind_parameter(common.len() + 2, failure.error)?;
    }
    Ok(statement.raw_execute()? == 1)
}

/// A row of [`RESTORE_COLUMNS`] as the event it was, or what is wrong with it.
pub(super) fn restore(row: &Row<'_>) -> Result<Event, Arc<str>> {
    let damaged = |what: &str| Arc::from(format!("the row is damaged: {what}"));
    let text = |index: usize, name: &str| {
        row.get_ref(index).ok().and_then(|value| value.as_str().ok()).ok_or_else(|| damaged(name))
    };
    let id = text(1, "ingest_id cannot be read")?;
    let ingest_id = Uuid::try_parse(id).map_err(|_| damaged("ingest_id is not a UUID"))?;
    let received_at = text(2, "received_at cannot be read")?;
    let received_at_ms = time_ms(received_at).ok_or_else(|| damaged("received_at is not a time"))?;
    let traceparent = row
        .get_ref(3)
        .ok()
        .and_then(|value| value.as_str_or_null().ok())
        .ok_or_else(|| damaged("traceparent cannot be read"))?;
    let payload = row
        .get_ref(4)
        .ok()
        .and_then(|value| value.as_blob().ok())
        .map(Bytes::copy_from_slice)
        .ok_or_else(|| damaged("payload cannot be read"))?;
    let crc: u32 = row.get(5).map_err(|_| damaged("crc cannot be read"))?;
    let arrival =
        Arrival { traceparent: traceparent.map(Box::from), ..Arrival::new(ingest_id, received_at_ms) };
    let event = Event::from_row(arrival, payload).ok_or_else(|| damaged("its payload is not an event"))?;
    if checksum_of(id, received_at, event.key(), event.payload(), traceparent) != crc {
        return Err(damaged("its checksum does not match its bytes"));
    }
    Ok(event)
}

/// What the column `state` says, however damaged.
pub(super) fn standing(row: &Row<'_>, index: usize) -> Standing {
    let state = row.get_ref(index).ok().and_then(|value| value.as_bytes_or_null().ok().flatten());
    Standing::of_column(state.unwrap_or_default())
}

/// A time as it stands in the column: such texts sort as the times do.
pub(super) fn received_at(ms: i64) -> String {
    clock::rfc3339(ms.clamp(0, RECEIVED_MS_MAX))
}

/// A column's time in milliseconds since 1970.
pub(super) fn time_ms(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

/// The checksum of an event's row.
#[must_use]
pub fn checksum(event: &Event) -> u32 {
    let mut id = Uuid::encode_buffer();
    let id: &str = event.ingest_id().hyphenated().encode_lower(&mut id);
    let received_at = received_at(event.received_at_ms());
    checksum_of(id, &received_at, event.key(), event.payload(), event.traceparent())
}

/// Over everything that makes the event, and nothing that changes while it is kept. Lengths go in too, so that no byte
/// can move from one part to the next unseen.
fn checksum_of(id: &str, received_at: &str, key: &[u8], payload: &[u8], traceparent: Option<&str>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    let traceparent = traceparent.unwrap_or_default();
    for part in [id.as_bytes(), received_at.as_bytes(), key, payload, traceparent.as_bytes()] {
        crc.update(&(part.len() as u64).to_le_bytes());
        crc.update(part);
    }
    crc.finalize()
}

/// Text as a column shows it: many SQL tools end a text at U+0000.
fn shown<'a>(text: Option<&'a Cow<'_, str>>) -> Option<Cow<'a, str>> {
    let text = text?;
    Some(if memchr::memchr(0, text.as_bytes()).is_some() {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(&**text)
    })
}

/// The room of a row in the file, rounded up: the payload, its fields as columns, the entries of the indexes, and the
/// unused rest of the last page of a large row.
pub(super) fn row_bytes(event: &Event) -> u64 {
    let payload = event.payload().len() as u64;
    2 * payload + 500 + if payload > 1_500 { 4_096 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_moves_between_parts_changes_the_checksum() {
        let at = "2025-11-18T17:21:35.750Z";
        let one = checksum_of("id", at, b"ab", b"c", None);
        assert_ne!(one, checksum_of("id", at, b"a", b"bc", None));
        assert_ne!(one, checksum_of("id", at, b"ab", b"c", Some("x")));
        assert_eq!(one, checksum_of("id", at, b"ab", b"c", Some("")));
    }

    #[test]
    fn nul_is_shown_as_the_replacement_character() {
        assert_eq!(shown(Some(&Cow::Borrowed("a\0b"))).as_deref(), Some("a\u{fffd}b"));
        assert_eq!(shown(Some(&Cow::Borrowed("ab"))).as_deref(), Some("ab"));
        assert_eq!(shown(None), None);
    }
}
