//! Properties of any body.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value};

use super::*;
use crate::event::{Columns, Labels};

/// An accepted payload is JSON for other parsers too, and is its own normal form.
fn judge(body: &[u8]) -> Result<(), TestCaseError> {
    let Ok(event) = from_body(body) else { return Ok(()) };
    let value: Value = serde_json::from_slice(event.payload()).unwrap();
    prop_assert_eq!(value["request_id"].as_str().map(str::as_bytes), Some(&event.key()[..]));
    let again = from_body(event.payload()).unwrap();
    prop_assert_eq!(again.payload(), event.payload());
    prop_assert_eq!(again.key(), event.key());
    let restored = Event::from_row(arrival(), event.payload().clone()).unwrap();
    prop_assert_eq!((restored.key(), restored.skew_ms()), (event.key(), event.skew_ms()));
    let checked = Event::from_checked_row(arrival(), event.payload().clone(), event.skew_ms()).unwrap();
    prop_assert_eq!((checked.key(), checked.skew_ms()), (event.key(), event.skew_ms()));
    let columns = Columns::of(event.payload());
    let labels = Labels::of(event.payload());
    prop_assert_eq!((&labels.service, &labels.level), (&columns.service, &columns.level));
    prop_assert_eq!(columns.request_id.as_deref(), value["request_id"].as_str());
    prop_assert_eq!(columns.quantity, value["quantity"].as_i64());
    prop_assert_eq!(columns.raw_data.is_some(), value["raw_data"].is_object());
    Ok(())
}

/// JSON that fits some field, and JSON that fits none, in several spellings.
fn token() -> impl Strategy<Value = String> {
    let spelled = select(vec![
        "null",
        "true",
        "false",
        "0",
        "-0.0",
        "12.50",
        "1e2",
        "1e400",
        "3.5",
        "9223372036854775808",
        "NaN",
        "{}",
        "[]",
        r#"{ "a" : 1.0, "a":[{"b":"\n"}] }"#,
        r#""""#,
        r#"" 3 ""#,
        r#""1e3""#,
        r#""inf""#,
        r#""info""#,
        r#""\u0069nfo""#,
        r#""2025-11-18""#,
        r#""2025-W47T17""#,
        r#""\ud83d\ude00""#,
        r#""\ud83d""#,
        r#""\u0000""#,
    ]);
    prop_oneof![
        spelled.prop_map(str::to_owned),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        any::<i128>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| Value::from(text).to_string()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        select(FIELDS.to_vec()).prop_map(|(name, _)| name.to_owned()),
        select(vec![r"\u006cevel", "a", r"\u0061", "", "Price"]).prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        judge(&body)?;
    }

    #[test]
    fn no_broken_event_panics(
        changes in proptest::collection::vec((any::<Index>(), any::<u8>(), 0..3), 1..4),
        end in any::<Index>(),
        is_cut: bool,
    ) {
        let mut body = object(FIELDS).into_bytes();
        for (at, byte, change) in changes {
            let at = at.index(body.len());
            match change {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => drop(body.remove(at)),
            }
        }
        if is_cut {
            body.truncate(end.index(body.len()));
        }
        judge(&body)?;
    }

    #[test]
    fn what_is_accepted_is_its_own_normal_form(
        members in proptest::collection::vec((name(), token()), 0..8),
    ) {
        let good = FIELDS.map(|(name, json)| (name.to_owned(), json.to_owned()));
        judge(object(good.into_iter().chain(members)).as_bytes())?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn good_events_are_accepted_whatever_their_texts(
        texts in proptest::collection::vec(any::<String>(), 9),
        level in select(vec!["debug", "info", "warn", "error", "critical"]),
        price in any::<f64>().prop_filter("finite", |price| price.is_finite()),
        quantity: i64,
        unknown in proptest::collection::vec((any::<String>(), any::<String>()), 0..40),
    ) {
        let mut sent = Map::new();
        for (name, text) in unknown {
            sent.insert(format!("x{name}"), text.into());
        }
        let names = ["request_id", "service", "env", "action", "message", "user_id", "product_id", "stack", "error_code"];
        for (name, text) in names.into_iter().zip(texts) {
            sent.insert(name.to_owned(), text.into());
        }
        sent.insert("timestamp".to_owned(), "2025-11-18T17:21:35Z".into());
        sent.insert("level".to_owned(), level.into());
        sent.insert("price".to_owned(), price.into());
        sent.insert("quantity".to_owned(), quantity.into());
        let sent = Value::Object(sent);

        let event = from_body(sent.to_string().as_bytes()).unwrap();
        let mut stored: Value = serde_json::from_slice(event.payload()).unwrap();
        // serde reads a double to the last bit only when it is asked to.
        let columns = Columns::of(event.payload());
        prop_assert_eq!(columns.price, Some(price));
        stored["price"] = price.into();
        prop_assert_eq!(stored, sent);
        judge(event.payload())?;
    }
}
