//! The texts in the headers of a batch's records, in one buffer that all of them share: made one by one they would cost
//! six allocations per record. Pure.

use std::fmt::Write;
use std::ops::Range;

use bytes::Bytes;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::event::Event;
use crate::host::clock;

/// What the texts of one event take: an id, a time, some digits.
const TEXT_BYTES: usize = Hyphenated::LENGTH + 24 + 8;

/// The texts of a batch.
pub(super) struct Texts {
    all: Bytes,
    ranges: Vec<Ranges>,
}

/// Where those of one event are.
struct Ranges {
    ingest_id: Range<usize>,
    received_at: Range<usize>,
    skew_ms: Option<Range<usize>>,
}

/// Those of one event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) ingest_id: Bytes,
    pub(super) received_at: Bytes,
    pub(super) skew_ms: Option<Bytes>,
}

impl Texts {
    /// Those of `events`, in that order.
    pub(super) fn of<'e>(events: impl ExactSizeIterator<Item = &'e Event>) -> Self {
        let mut ranges: Vec<Ranges> = Vec::with_capacity(events.len());
        let mut all = String::with_capacity(events.len() * TEXT_BYTES);
        let mut last = (None, 0..0);
        for event in events {
            let id = all.len();
            all.push_str(event.ingest_id().hyphenated().encode_lower(&mut Uuid::encode_buffer()));
            let ingest_id = id..all.len();
            // The events of one request came at one time.
            if last.0 != Some(event.received_at_ms()) {
                let time = all.len();
                all.push_str(&clock::rfc3339(event.received_at_ms()));
                last = (Some(event.received_at_ms()), time..all.len());
            }
            let skew_ms = event.skew_ms().map(|skew_ms| {
                let skew = all.len();
                // Writing to a String cannot fail.
                let _ = write!(all, "{skew_ms}");
                skew..all.len()
            });
            ranges.push(Ranges { ingest_id, received_at: last.1.clone(), skew_ms });
        }
        Self { all: all.into(), ranges }
    }

    /// Those of the `nth` event.
    pub(super) fn own(&self, nth: usize) -> Own {
        let Ranges { ingest_id, received_at, skew_ms } = &self.ranges[nth];
        let slice = |range: &Range<usize>| self.all.slice(range.clone());
        Own {
            ingest_id: slice(ingest_id),
            received_at: slice(received_at),
            skew_ms: skew_ms.as_ref().map(slice),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Arrival;

    fn event(id: u128, received_at_ms: i64, timestamp: Option<&str>) -> Event {
        let arrival = Arrival::new(Uuid::from_u128(id), received_at_ms);
        let payload = timestamp.map_or_else(String::new, |text| format!(r#"{{"timestamp":"{text}"}}"#));
        Event::restored(arrival, Bytes::new(), payload.into())
    }

    #[test]
    fn every_event_has_its_own_texts() {
        let minute = Some("2026-01-31T09:15:00Z");
        let ms = 1_769_850_900_000;
        let events = [
            event(1, ms, minute),
            event(0xffff, ms, None),
            event(2, ms + 1_250, minute),
            event(3, ms, Some("2026-01-31T09:16:00Z")),
        ];
        let texts = Texts::of(events.iter());
        for (nth, (event, (time, skew))) in events
            .iter()
            .zip([
                ("2026-01-31T09:15:00.000Z", Some("0")),
                ("2026-01-31T09:15:00.000Z", None),
                ("2026-01-31T09:15:01.250Z", Some("1250")),
                ("2026-01-31T09:15:00.000Z", Some("-60000")),
            ])
            .enumerate()
        {
            let wanted = Own {
                ingest_id: event.ingest_id().to_string().into(),
                received_at: time.into(),
                skew_ms: skew.map(Bytes::from),
            };
            assert_eq!(texts.own(nth), wanted);
        }
    }
}
