//! An event as a row, and a row as an event: the one place that knows the columns.
//!
//! Invariant: what comes back as an [`Event`] has the bytes that went in: a row whose checksum does not match is
//! reported, never passed on.

use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, Row, params, params_from_iter};
use uuid::Uuid;

use crate::event::{Arrival, Event};
use crate::host::clock;
use crate::store::Standing;

/// The last millisecond that a time can show with a year of four digits.
const RECEIVED_MS_MAX: i64 = 253_402_300_799_999;

/// The columns of every row, `seq` aside, in the order that [`bind`] binds them.
macro_rules! columns {
    () => {
        "ingest_id, received_at, skew_ms, crc, topic, cluster_id, client, x_request_id, traceparent, instance, \
         reason, payload"
    };
}
pub(super) const COLUMNS: &str = columns!();
/// The columns that [`restore`] reads, in its order.
pub(super) const RESTORE_COLUMNS: &str = concat!("seq, ", columns!());
/// How many those are.
pub(super) const RESTORED: usize = 13;

/// The table of dead letters.
pub(super) const LETTERS: &str = "letter_rows";

/// The table of such rows.
pub(super) const fn table(standing: Standing) -> &'static str {
    match standing {
        Standing::Held => "held_rows",
        Standing::Home => "home_rows",
    }
}

macro_rules! insert_into {
    ($table:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (",
            columns!(),
            ", seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        )
    };
}
const INSERT_HELD: &str = insert_into!("held_rows");
const INSERT_HOME: &str = insert_into!("home_rows");
const INSERT_LETTER: &str = concat!(
    "INSERT INTO letter_rows (",
    columns!(),
    ", seq, state, failed_at, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) \
     ON CONFLICT (ingest_id) DO NOTHING"
);

/// What a row holds beside the event itself.
pub(super) struct Label<'a> {
    pub(super) standing: Standing,
    pub(super) reason: &'a str,
    /// The daemon that took the event, where the event does not say so itself.
    pub(super) instance: &'a str,
    pub(super) to: To<'a>,
}

/// Where a held event is to go, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct To<'a> {
    pub(super) topic: Option<&'a str>,
    pub(super) cluster_id: Option<&'a str>,
}

/// Why and when an event became a dead letter.
pub(super) struct Failure<'a> {
    pub(super) failed_at_ms: i64,
    pub(super) error: &'a str,
}

/// Puts events into a table, one after the other.
pub(super) struct Inserter<'db> {
    db: &'db Connection,
    statement: CachedStatement<'db>,
}

impl<'db> Inserter<'db> {
    pub(super) fn new(db: &'db Connection, standing: Standing) -> rusqlite::Result<Self> {
        let sql = match standing {
            Standing::Held => INSERT_HELD,
            Standing::Home => INSERT_HOME,
        };
        Ok(Self { db, statement: db.prepare_cached(sql)? })
    }

    /// Puts the event in as row `seq`. `false`: its id is there already.
    pub(super) fn insert(&mut self, event: &Event, label: &Label<'_>, seq: i64) -> rusqlite::Result<bool> {
        if !note_id(self.db, event.ingest_id().as_bytes(), seq)? {
            return Ok(false);
        }
        bind(&mut self.statement, event, label, Some(seq))?;
        self.statement.raw_execute()?;
        Ok(true)
    }
}

/// Puts the event into the dead letters. `false`: its id is there already.
pub(super) fn insert_letter(
    db: &Connection,
    event: &Event,
    label: &Label<'_>,
    failure: &Failure<'_>,
    seq: Option<i64>,
) -> rusqlite::Result<bool> {
    let mut statement = db.prepare_cached(INSERT_LETTER)?;
    bind(&mut statement, event, label, seq)?;
    statement.raw_bind_parameter(RESTORED + 1, label.standing.as_str())?;
    statement.raw_bind_parameter(RESTORED + 2, failure.failed_at_ms)?;
    statement.raw_bind_parameter(RESTORED + 3, failure.error)?;
    Ok(statement.raw_execute()? == 1)
}

/// Notes the id of a new row, if a repeat of its event can come. `false`: it is there already.
pub(super) fn note_id(db: &Connection, id: &[u8], seq: i64) -> rusqlite::Result<bool> {
    if Uuid::from_slice(id).is_ok_and(|id| id.get_version_num() == 7) {
        return Ok(true);
    }
    let sql = "INSERT INTO derived_ids (seq, ingest_id) VALUES (?1, ?2) ON CONFLICT (ingest_id) DO NOTHING";
    Ok(db.prepare_cached(sql)?.execute(params![seq, id])? == 1)
}

fn bind(
    statement: &mut rusqlite::Statement<'_>,
    event: &Event,
    label: &Label<'_>,
    seq: Option<i64>,
) -> rusqlite::Result<()> {
    let id = event.ingest_id();
    let parts = Parts {
        id: id.as_bytes(),
        received_at: Some(event.received_at_ms().clamp(0, RECEIVED_MS_MAX)),
        skew_ms: event.skew_ms(),
        texts: [
            label.to.topic,
            label.to.cluster_id,
            event.client(),
            event.x_request_id(),
            event.traceparent(),
            event.instance().or(Some(label.instance)),
            Some(label.reason),
        ],
        payload: event.payload(),
    };
    let [topic, cluster_id, client, x_request_id, traceparent, instance, reason] = parts.texts;
    let values = params![
        parts.id,
        parts.received_at,
        parts.skew_ms,
        parts.checksum(),
        topic,
        cluster_id,
        client,
        x_request_id,
        traceparent,
        instance,
        reason,
        parts.payload,
        seq,
    ];
    values.iter().enumerate().try_for_each(|(index, value)| statement.raw_bind_parameter(index + 1, value))
}

/// The values of the columns with another checksum, for [`insert_values`].
pub(super) fn values(parts: &Parts<'_>, crc: u32) -> Vec<Value> {
    let mut values =
        vec![parts.id.to_vec().into(), parts.received_at.into(), parts.skew_ms.into(), i64::from(crc).into()];
    values.extend(parts.texts.iter().map(|text| Value::from(text.map(str::to_owned))));
    values.push(parts.payload.to_vec().into());
    values
}

/// Inserts a row as it is: the values of the columns, its number, and of a dead letter state, time and error. `false`: a
/// dead letter has this id already.
pub(super) fn insert_values(db: &Connection, table: &str, values: &[Value]) -> rusqlite::Result<bool> {
    let letter = if table == LETTERS { ", state, failed_at, error" } else { "" };
    let conflict = if table == LETTERS { " ON CONFLICT (ingest_id) DO NOTHING" } else { "" };
    let places = vec!["?"; values.len()].join(", ");
    let sql = format!("INSERT INTO {table} ({COLUMNS}, seq{letter}) VALUES ({places}){conflict}");
    Ok(db.prepare_cached(&sql)?.execute(params_from_iter(values))? == 1)
}

/// What the checksum of a row covers.
pub(super) struct Parts<'a> {
    pub(super) id: &'a [u8],
    pub(super) received_at: Option<i64>,
    pub(super) skew_ms: Option<i64>,
    /// Topic, cluster, client, `X-Request-ID`, traceparent, instance, reason.
    pub(super) texts: [Option<&'a str>; 7],
    pub(super) payload: &'a [u8],
}

impl Parts<'_> {
    /// Lengths go in too, so that no byte can move from one part to the next unseen.
    pub(super) fn checksum(&self) -> u32 {
        let length = |text: &Option<&str>| text.map_or(u64::MAX, |text| text.len() as u64);
        let times = [self.received_at, self.skew_ms];
        let mut head = [0_u64; 13];
        head[..7].copy_from_slice(&self.texts.each_ref().map(length));
        head[7..9].copy_from_slice(&times.map(|time| time.unwrap_or(0).cast_unsigned()));
        head[9..11].copy_from_slice(&times.map(|time| u64::from(time.is_some())));
        head[11..].copy_from_slice(&[self.id.len() as u64, self.payload.len() as u64]);
        let mut crc = crc32fast::Hasher::new();
        // At once: many small updates cost more than the payload.
        crc.update(head.map(u64::to_le_bytes).as_flattened());
        crc.update(self.id);
        self.texts.iter().flatten().for_each(|text| crc.update(text.as_bytes()));
        crc.update(self.payload);
        crc.finalize()
    }
}

/// A row of [`RESTORE_COLUMNS`] as the event it was, or what is wrong with it.
pub(super) fn restore(row: &Row<'_>) -> Result<Event, Arc<str>> {
    let damaged = |what: &str| Arc::from(format!("the row is damaged: {what}"));
    let text = |index: usize, name: &str| {
        let value = row.get_ref(index).ok().and_then(|value| value.as_str_or_null().ok());
        value.ok_or_else(|| damaged(name))
    };
    let blob = |index: usize, name: &str| {
        row.get_ref(index).ok().and_then(|value| value.as_blob().ok()).ok_or_else(|| damaged(name))
    };
    let number = |index: usize, name: &str| row.get::<_, Option<i64>>(index).map_err(|_| damaged(name));
    let parts = Parts {
        id: blob(1, "ingest_id cannot be read")?,
        received_at: number(2, "received_at cannot be read")?,
        skew_ms: number(3, "skew_ms cannot be read")?,
        texts: [
            text(5, "topic cannot be read")?,
            text(6, "cluster_id cannot be read")?,
            text(7, "client cannot be read")?,
            text(8, "x_request_id cannot be read")?,
            text(9, "traceparent cannot be read")?,
            text(10, "instance cannot be read")?,
            text(11, "reason cannot be read")?,
        ],
        payload: blob(12, "payload cannot be read")?,
    };
    let crc: u32 = row.get(4).map_err(|_| damaged("crc cannot be read"))?;
    if parts.checksum() != crc {
        return Err(damaged("its checksum does not match its bytes"));
    }
    let ingest_id = Uuid::from_slice(parts.id).map_err(|_| damaged("ingest_id is not a UUID"))?;
    let received_at_ms = parts.received_at.ok_or_else(|| damaged("received_at is missing"))?;
    let [_, _, client, x_request_id, traceparent, instance, _] = parts.texts;
    let arrival = Arrival {
        ingest_id,
        received_at_ms,
        traceparent: traceparent.map(Box::from),
        x_request_id: x_request_id.map(Box::from),
        client: client.map(Arc::from),
        instance: instance.map(Arc::from),
    };
    let payload = Bytes::copy_from_slice(parts.payload);
    Event::from_checked_row(arrival, payload, parts.skew_ms)
        .ok_or_else(|| damaged("its payload is not an event"))
}

/// The id in a row's column, as people read it, however damaged.
pub(super) fn shown_id(id: &[u8]) -> String {
    match Uuid::from_slice(id) {
        Ok(id) => id.hyphenated().to_string(),
        Err(_) => String::from_utf8_lossy(id).into_owned(),
    }
}

/// The bytes of the id that people write.
pub(super) fn id_bytes(shown: &str) -> Vec<u8> {
    Uuid::try_parse(shown).map_or_else(|_| shown.as_bytes().to_vec(), |id| id.as_bytes().to_vec())
}

/// A time in milliseconds since 1970, as people read it: such texts sort as the times do.
pub(super) fn shown_time(ms: i64) -> String {
    clock::rfc3339(ms.clamp(0, RECEIVED_MS_MAX))
}

/// A shown time in milliseconds since 1970.
pub(super) fn time_ms(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

/// The checksum of an event in an export, and in the rows of versions 1 and 2.
#[must_use]
pub fn checksum(event: &Event) -> u32 {
    let id = event.ingest_id().hyphenated().to_string();
    let received_at = shown_time(event.received_at_ms());
    exported_checksum(&id, &received_at, event.key(), event.payload(), event.traceparent())
}

/// Over everything that makes the event, and nothing that changes while it is kept.
pub(super) fn exported_checksum(
    id: &str,
    received_at: &str,
    key: &[u8],
    payload: &[u8],
    traceparent: Option<&str>,
) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    let traceparent = traceparent.unwrap_or_default();
    for part in [id.as_bytes(), received_at.as_bytes(), key, payload, traceparent.as_bytes()] {
        crc.update(&(part.len() as u64).to_le_bytes());
        crc.update(part);
    }
    crc.finalize()
}

/// The room of a row in the file, rounded up: its bytes, and the unused rest of its pages.
pub(super) fn row_bytes(event: &Event) -> u64 {
    let bytes = event.payload().len() as u64 + 200;
    bytes + if bytes <= 1_000 { bytes / 2 + 64 } else { 4_096 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_moves_between_parts_changes_the_checksum() {
        let at = "2025-11-18T17:21:35.750Z";
        let one = exported_checksum("id", at, b"ab", b"c", None);
        assert_ne!(one, exported_checksum("id", at, b"a", b"bc", None));
        assert_ne!(one, exported_checksum("id", at, b"ab", b"c", Some("x")));
        assert_eq!(one, exported_checksum("id", at, b"ab", b"c", Some("")));
    }

    #[test]
    fn every_part_of_a_row_changes_its_checksum() {
        let parts = || Parts {
            id: b"id",
            received_at: Some(1),
            skew_ms: None,
            texts: [Some("ab"), Some("c"), None, None, None, Some("till"), Some("why")],
            payload: b"{}",
        };
        let one = parts().checksum();
        let texts = |texts| Parts { texts, ..parts() }.checksum();
        for (what, other) in [
            ("id", Parts { id: b"ie", ..parts() }.checksum()),
            ("time", Parts { received_at: None, ..parts() }.checksum()),
            ("skew", Parts { skew_ms: Some(0), ..parts() }.checksum()),
            ("moved", texts([Some("a"), Some("bc"), None, None, None, Some("till"), Some("why")])),
            ("absent", texts([Some("ab"), Some("c"), Some(""), None, None, Some("till"), Some("why")])),
            ("payload", Parts { payload: b"{ }", ..parts() }.checksum()),
        ] {
            assert_ne!(one, other, "{what}");
        }
    }

    #[test]
    fn an_id_that_is_none_is_shown_as_it_is() {
        let id = "0190b5c7-7a3e-7c4d-8f00-1a2b3c4d5e6f";
        for shown in [id, "damaged-17"] {
            assert_eq!(shown_id(&id_bytes(shown)), shown);
        }
        assert_eq!(id_bytes(id).len(), 16);
    }
}
