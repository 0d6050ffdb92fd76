//! The way of a body: scan, redaction, members, validation, normal form. What is accepted is JSON for others
//! too, is its own normal form, and has no card number left.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logs_ingest::event::{Arrival, Columns, Event, Rules, mask_text};
use uuid::Uuid;

const RULES: Rules = Rules { max_event_bytes: 1 << 20, redact_pan: true };

fn arrival() -> Arrival {
    Arrival::new(Uuid::nil(), 0)
}

fn read(body: &[u8]) -> Option<Event> {
    match Event::from_body(body, arrival(), RULES) {
        Ok(event) => Some(event),
        Err(refusal) => {
            let _ = (refusal.to_string(), refusal.detail_json());
            None
        }
    }
}

fuzz_target!(|body: &[u8]| {
    if let Ok(text) = std::str::from_utf8(body) {
        let masked = mask_text(text);
        assert_eq!(masked.len(), text.len());
        assert_eq!(mask_text(&masked), masked);
    }
    // Most bytes are no event: what is good JSON stands in one as well.
    let mut inside = br#"{"request_id":"r","service":"s","env":"e","timestamp":"2025-11-18","action":"a","level":"info","message":"m","x":"#.to_vec();
    inside.extend_from_slice(body);
    inside.push(b'}');
    for body in [body, &inside] {
        let Some(event) = read(body) else { continue };
        let value: serde_json::Value = serde_json::from_slice(event.payload()).expect("JSON for others too");
        assert_eq!(value["request_id"].as_str().map(str::as_bytes), Some(&event.key()[..]));
        let restored = Event::from_row(arrival(), event.payload().clone()).expect("a row of its own");
        assert_eq!((restored.key(), restored.skew_ms()), (event.key(), event.skew_ms()));
        assert!(Columns::of(event.payload()).request_id.is_some());
        let again = read(event.payload()).expect("its own normal form");
        assert_eq!(again.payload(), event.payload());
        assert_eq!(again.cards_masked(), 0);
    }
});
