//! A stored event as one line of JSON: what `events --json`, `spool export` and `dead-letters --json` write
//! and what `replay` reads back.
//!
//! Invariant: a line that is read back gives the event that was written, or says what is wrong with it.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::event::{Arrival, Event, Rules};
use crate::host::clock;
use crate::limits::{REQUEST_ID_HEADER_MAX, TRACEPARENT_MAX};
use crate::store::browse::{Kept, Letter, RowState};
use crate::store::spool::{self, Entry};

/// What was stored once is taken back as it is, whatever the settings are now.
const AS_STORED: Rules = Rules { max_event_bytes: usize::MAX, redact_pan: false };

/// What is absent in one command's lines is left out.
#[derive(Default, Serialize)]
struct ExportedLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    ingest_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_at: Option<&'a str>,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x_request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crc: Option<u32>,
    /// What is wrong with the row; then there is no event.
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<&'a str>,
    event: Option<&'a RawValue>,
}

impl ExportedLine<'_> {
    /// Line ends in JSON are white space between tokens: inside strings they are escaped.
    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default().replace(['\n', '\r'], " ")
    }
}

/// `{"ingest_id":..,"received_at":..,"state":..,"event":{..}}`
pub(super) fn of_entry(entry: &Entry) -> String {
    let event = entry.payload.as_deref().and_then(|payload| serde_json::from_slice(payload).ok());
    let received_at = Some(&*entry.received_at);
    let state = entry.standing.as_str();
    ExportedLine { ingest_id: &entry.ingest_id, received_at, state, event, ..ExportedLine::default() }.text()
}

/// `{"seq":..,"ingest_id":..,"received_at":..,"state":..,"reason":..,"crc":..,"event":{..}}`
pub(super) fn of_kept(kept: &Kept) -> String {
    with_event(kept, ExportedLine { seq: Some(kept.seq), ..ExportedLine::default() })
}

/// The same, with its store, and why and when it became a dead letter.
pub(super) fn of_letter(letter: &Letter, store: &str) -> String {
    let (failed_at, error) = (Some(&*letter.failed_at), Some(&*letter.error));
    with_event(&letter.kept, ExportedLine { store: Some(store), failed_at, error, ..ExportedLine::default() })
}

fn with_event(kept: &Kept, line: ExportedLine<'_>) -> String {
    let (state, reason) = (kept.state.as_str(), Some(&*kept.reason));
    let line = ExportedLine { ingest_id: &kept.ingest_id, state, reason, ..line };
    let event = match &kept.event {
        Ok(event) => on_one_line(event),
        Err(why) => return ExportedLine { damaged: Some(why), ..line }.text(),
    };
    let received_at = clock::rfc3339(event.received_at_ms());
    ExportedLine {
        received_at: Some(&received_at),
        traceparent: event.traceparent(),
        x_request_id: event.x_request_id(),
        client: event.client(),
        instance: event.instance(),
        crc: Some(spool::checksum(&event)),
        event: serde_json::from_slice(event.payload()).ok(),
        ..line
    }
    .text()
}

/// The event as its line will have it, so that the checksum is that of the bytes in the line.
fn on_one_line(event: &Event) -> Event {
    if memchr::memchr2(b'\n', b'\r', event.payload()).is_none() {
        return event.clone();
    }
    let byte = |&byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
    let payload: Vec<u8> = event.payload().iter().map(byte).collect();
    Event::restored(event.arrival().clone(), event.key().clone(), payload.into())
}

#[derive(Deserialize)]
struct ReadLine<'a> {
    ingest_id: &'a str,
    received_at: &'a str,
    state: &'a str,
    #[serde(default, borrow)]
    traceparent: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    x_request_id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    client: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    instance: Option<Cow<'a, str>>,
    #[serde(default)]
    crc: Option<u32>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}

/// The event in a line, validated as a client's is, and its state if that is one. A line without `crc` is taken
/// as it is.
pub(super) fn parse(line: &[u8]) -> Result<(Event, Option<RowState>), Arc<str>> {
    let wrong = |what: &str| Arc::from(format!("the line is damaged: {what}"));
    let written: ReadLine<'_> = serde_json::from_slice(line)
        .map_err(|error| wrong(&format!("it is not an exported event ({error})")))?;
    let ingest_id = Uuid::try_parse(written.ingest_id).map_err(|_| wrong("ingest_id is not a UUID"))?;
    let received_at = DateTime::parse_from_rfc3339(written.received_at);
    let received_at_ms = received_at.map_err(|_| wrong("received_at is not a time"))?.timestamp_millis();
    // They become record headers, which the daemon has limits for.
    let header = |text: Option<Cow<'_, str>>, most: usize| -> Option<Box<str>> {
        let text = text?;
        let is_fit = text.len() <= most && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        is_fit.then(|| (*text).into())
    };
    let arrival = Arrival {
        traceparent: header(written.traceparent, TRACEPARENT_MAX),
        x_request_id: header(written.x_request_id, REQUEST_ID_HEADER_MAX),
        client: written.client.map(|text| (*text).into()),
        instance: written.instance.map(|text| (*text).into()),
        ..Arrival::new(ingest_id, received_at_ms)
    };
    let body = written.event.ok_or_else(|| wrong("it has no event"))?;
    let event = Event::from_body(body.get().as_bytes(), arrival, AS_STORED)
        .map_err(|_| wrong("its event is not one that the daemon would take"))?;
    match written.crc {
        Some(crc) if crc != spool::checksum(&event) => Err(wrong("its checksum does not fit its bytes")),
        _ => Ok((event, written.state.parse().ok())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &str = concat!(
        r#"{"request_id":"r-1","service":"till","env":"shop","timestamp":"2026-01-31T09:15:00Z","#,
        r#""action":"sale","level":"info","message":"a\nb","raw_data":{"#,
        "\n\"a\" : 1.10,\r\n\"b\":[ ]},\"unknown\":1e2}"
    );

    fn kept() -> Kept {
        let arrival = Arrival {
            traceparent: Some("00-ab-cd-01".into()),
            x_request_id: Some("req-1".into()),
            client: Some("till-1".into()),
            instance: Some("back office".into()),
            ..Arrival::new(Uuid::from_u128(7), crate::limits::RELEASED_MS + 7)
        };
        let event = Event::restored(arrival, "r-1".into(), PAYLOAD.into());
        let id = Uuid::from_u128(7).to_string();
        Kept {
            seq: 9,
            ingest_id: id,
            state: RowState::Held,
            reason: "kafka is down".into(),
            event: Ok(event),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let line = of_kept(&kept());
        assert!(!line.contains(['\n', '\r']), "{line}");
        assert!(
            line.starts_with(r#"{"seq":9,"ingest_id":"00000000-0000-0000-0000-000000000007","#),
            "{line}"
        );
        let (event, state) = parse(line.as_bytes()).unwrap();
        let sent = kept().event.unwrap();
        assert_eq!(state, Some(RowState::Held));
        assert_eq!(event.ingest_id(), sent.ingest_id());
        assert_eq!(event.received_at_ms(), sent.received_at_ms());
        assert_eq!(event.key(), sent.key());
        assert!(event.headers().eq(sent.headers()));
        assert_eq!(*event.payload(), PAYLOAD.replace(['\n', '\r'], " ").into_bytes());
        let again = Kept { event: Ok(event), ..kept() };
        assert_eq!(of_kept(&again), line);
    }

    #[test]
    fn a_flipped_digit_is_found() {
        let line = of_kept(&kept());
        for (from, to) in [("1.10", "1.20"), ("r-1", "r-2"), ("00:00.007", "00:00.008"), ("ab-cd", "ab-ce")] {
            let flipped = line.replace(from, to);
            assert_ne!(flipped, line, "{from}");
            assert!(parse(flipped.as_bytes()).unwrap_err().contains("checksum"), "{from}");
        }
    }

    #[test]
    fn what_is_not_an_exported_event_is_named() {
        let line = of_kept(&kept());
        for (text, part) in [
            ("", "not an exported event"),
            ("{}", "not an exported event"),
            (&line[..line.len() - 2], "not an exported event"),
            (&line.replace("00000000-", "0000000-"), "UUID"),
            (&line.replace("2026-11", "2026-13"), "received_at"),
            (&line.replace("\"info\"", "\"INFO\""), "would take"),
            (&line.replace(r#""event":{"#, r#""event":null,"x":{"#), "no event"),
        ] {
            let why = parse(text.as_bytes()).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn a_damaged_row_has_its_line_without_an_event() {
        let kept = Kept { event: Err("the row is damaged: its checksum".into()), ..kept() };
        let line = of_kept(&kept);
        assert!(line.ends_with(r#""damaged":"the row is damaged: its checksum","event":null}"#), "{line}");
        assert!(parse(line.as_bytes()).is_err());
    }
}
