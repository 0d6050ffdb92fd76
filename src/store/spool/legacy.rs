//! Rows of versions 1 and 2: one table of wide rows with typed columns, and another of dead letters.
//!
//! Invariant: a row whose checksum matches gives the event that it was; what can be read of another one is kept, with a
//! checksum that does not match.

use bytes::Bytes;
use rusqlite::{Connection, Row};
use uuid::Uuid;

use super::row::{self, Failure, Inserter, Label, Parts, To};
use crate::event::{Arrival, Event};
use crate::store::Standing;

/// The tables, by what their rows become.
pub(super) const TABLES: [&str; 2] = ["raw_logs", "dead_letters"];

/// The rows of a table after a number, without an order.
pub(super) fn select(table: &str) -> String {
    let failure = if table == "dead_letters" { "failed_at, error" } else { "NULL, NULL" };
    format!(
        "SELECT seq, ingest_id, received_at, traceparent, payload, crc, state, reason, instance, {failure} \
         FROM {table} NOT INDEXED WHERE seq > ?1"
    )
}

/// The event of a row of [`select`]. `None`: the row is damaged.
fn event(row: &Row<'_>) -> Option<Event> {
    let text = |index: usize| row.get_ref(index).ok()?.as_str().ok();
    let (id, received_at) = (text(1)?, text(2)?);
    let ingest_id = Uuid::try_parse(id).ok()?;
    let received_at_ms = row::time_ms(received_at)?;
    let traceparent = row.get_ref(3).ok()?.as_str_or_null().ok()?;
    let payload = Bytes::copy_from_slice(row.get_ref(4).ok()?.as_blob().ok()?);
    let crc: u32 = row.get(5).ok()?;
    let arrival =
        Arrival { traceparent: traceparent.map(Box::from), ..Arrival::new(ingest_id, received_at_ms) };
    let event = Event::from_row(arrival, payload)?;
    let expected = row::exported_checksum(id, received_at, event.key(), event.payload(), traceparent);
    (expected == crc).then_some(event)
}

/// A row of [`select`], of `table`.
pub(super) struct OldRow<'a> {
    row: &'a Row<'a>,
    is_letter: bool,
    event: Option<Event>,
}

impl<'a> OldRow<'a> {
    pub(super) fn of(row: &'a Row<'a>, table: &str) -> Self {
        Self { row, is_letter: table == "dead_letters", event: event(row) }
    }

    pub(super) fn is_intact(&self) -> bool {
        self.event.is_some()
    }

    /// Bytes of its payload.
    pub(super) fn bytes(&self) -> usize {
        self.row.get_ref(4).ok().and_then(|value| value.as_blob().ok()).map_or(0, <[u8]>::len)
    }

    /// Puts it into the tables of version 3, under the number `seq`. `false`: its id is there already.
    pub(super) fn insert(&self, db: &Connection, seq: i64) -> rusqlite::Result<bool> {
        let (reason, instance) = (self.text(7), self.text(8));
        let label =
            Label { standing: self.standing(), reason: &reason, instance: &instance, to: To::default() };
        let error = self.text(10);
        let failure = Failure { failed_at_ms: row::time_ms(&self.text(9)).unwrap_or(0), error: &error };
        match &self.event {
            Some(event) if self.is_letter => row::insert_letter(db, event, &label, &failure, Some(seq)),
            Some(event) => Inserter::new(db, label.standing)?.insert(event, &label, seq),
            None => self.insert_remains(db, &label, &failure, seq),
        }
    }

    fn insert_remains(
        &self,
        db: &Connection,
        label: &Label<'_>,
        failure: &Failure<'_>,
        seq: i64,
    ) -> rusqlite::Result<bool> {
        let payload = self.row.get_ref(4).ok().and_then(|value| value.as_bytes_or_null().ok().flatten());
        let id = match self.text(1) {
            id if id.is_empty() => format!("damaged-{seq}"),
            id => id,
        };
        let id = row::id_bytes(&id);
        let traceparent = self.row.get_ref(3).ok().and_then(|value| value.as_str_or_null().ok().flatten());
        let parts = Parts {
            id: &id,
            received_at: row::time_ms(&self.text(2)),
            skew_ms: None,
            texts: [None, None, None, None, traceparent, Some(label.instance), Some(label.reason)],
            payload: payload.unwrap_or_default(),
        };
        let mut values = row::values(&parts, !parts.checksum());
        values.push(seq.into());
        if self.is_letter {
            let error = failure.error.to_owned();
            values.extend([
                label.standing.as_str().to_owned().into(),
                failure.failed_at_ms.into(),
                error.into(),
            ]);
            return row::insert_values(db, row::LETTERS, &values);
        }
        Ok(row::note_id(db, &id, seq)? && row::insert_values(db, row::table(label.standing), &values)?)
    }

    fn standing(&self) -> Standing {
        let state = self.row.get_ref(6).ok().and_then(|value| value.as_bytes_or_null().ok().flatten());
        Standing::of_column(state.unwrap_or_default())
    }

    /// A column as text, however damaged.
    fn text(&self, index: usize) -> String {
        let bytes = self.row.get_ref(index).ok().and_then(|value| value.as_bytes_or_null().ok().flatten());
        String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
    }
}
