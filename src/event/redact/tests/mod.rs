//! Card numbers of every network, in every spelling and place, through the whole path of a body; texts that must stay
//! whole, by the hundred thousand; and properties of any text.

mod innocent;
mod properties;

use super::mask_text;
use crate::event::tests::{FIELDS, RULES, arrival, from_body, full_with, minimal_with, object, payload};
use crate::event::{Event, Rules};

/// The numbers that networks and payment providers publish for tests: per line a network and a number.
const PUBLISHED: &str = include_str!("../../../../tests/cards.txt");

fn published() -> impl Iterator<Item = &'static str> {
    PUBLISHED.lines().filter_map(|line| line.split(' ').nth(1))
}

/// The number as the contract wants it stored, independent of the code under test.
fn masked(number: &str) -> String {
    let last = number.len() - 4;
    number.char_indices().map(|(at, digit)| if (6..last).contains(&at) { '*' } else { digit }).collect()
}

/// The sizes of the groups in which a number of this length is printed on cards.
fn printed_groups(length: usize) -> Vec<usize> {
    match length {
        14 => vec![4, 6, 4],
        15 => vec![4, 6, 5],
        _ => fours(length),
    }
}

fn fours(length: usize) -> Vec<usize> {
    (0..length).step_by(4).map(|from| (length - from).min(4)).collect()
}

/// `number` in groups, with the separators in turn.
fn grouped(number: &str, sizes: &[usize], separators: &[&str]) -> String {
    let mut rest = number;
    let mut text = String::new();
    for (index, &size) in sizes.iter().enumerate() {
        let (group, behind) = rest.split_at(size);
        if index > 0 {
            text.push_str(separators[(index - 1) % separators.len()]);
        }
        text.push_str(group);
        rest = behind;
    }
    text
}

/// Every way to write a number inside a JSON string, and its masked and decoded form.
fn spellings(number: &str) -> Vec<(String, String)> {
    let hidden = masked(number);
    let escape = |digit: char| format!("\\u{:04x}", u32::from(digit));
    let all_escaped: String = number.chars().map(escape).collect();
    let every_third: String = number
        .chars()
        .enumerate()
        .map(|(at, digit)| if at % 3 == 1 { escape(digit) } else { digit.to_string() })
        .collect();
    let mut spellings = vec![
        (number.to_owned(), hidden.clone()),
        (all_escaped, hidden.clone()),
        (every_third, hidden.clone()),
    ];
    let separators: [(&[&str], &[&str]); 7] = [
        (&[" "], &[" "]),
        (&["-"], &["-"]),
        (&["-", " "], &["-", " "]),
        (&[r"\u0020"], &[" "]),
        (&[r"\u002D", r"\u002d"], &["-"]),
        (&["\u{a0}", r"\u00A0"], &["\u{a0}"]),
        (&["\u{2011}", r"\u2011"], &["\u{2011}"]),
    ];
    for sizes in [printed_groups(number.len()), fours(number.len())] {
        for (sent, stored) in separators {
            spellings.push((grouped(number, &sizes, sent), grouped(&hidden, &sizes, stored)));
        }
    }
    spellings
}

/// A body with `text` in a string of every place that an event has.
fn body_with(text: &str) -> String {
    let line = format!(r#""at {text}, \n""#);
    let deep = |value: &str| format!("{}{value}{}", r#"{"a":["#.repeat(48), "]}".repeat(48));
    let nested = [
        format!(r#"{{"card" : "{text}"}}"#),
        format!(r#"{{"{text}":1, "x":[ "{text}" ]}}"#),
        deep(&format!(r#""{text}""#)),
        deep(&format!(r#"{{"pan {text}":null}}"#)),
        format!(r#"{{"request_id":"{text}","price":"{text}","timestamp":["{text}"]}}"#),
        format!(r#"{{"nested":"{{\"pan\":\"{text}\"}}"}}"#),
        format!(r#"{{"line":"a\n{text}\tb","1":"\u0022{text}\\"}}"#),
    ];
    let nested = format!("[{}]", nested.join(" , "));
    let fields = FIELDS.map(|(name, good)| match name {
        "request_id" | "timestamp" | "level" | "price" | "quantity" => (name, good.to_owned()),
        "raw_data" => (name, format!(r#"{{"all":{nested}}}"#)),
        _ => (name, line.clone()),
    });
    let unknown = [("other", nested.clone()), ("plain", format!("\"{text}\"")), (text, "0".to_owned())];
    object(fields.into_iter().chain(unknown))
}

/// The texts of a value: names and strings at any depth.
fn texts(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => found.push(text.clone()),
        serde_json::Value::Number(number) => found.push(number.to_string()),
        serde_json::Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        serde_json::Value::Object(members) => members.iter().for_each(|(name, value)| {
            found.push(name.clone());
            texts(value, found);
        }),
        _ => {}
    }
}

#[test]
fn every_published_number_is_masked_in_every_spelling_and_place() {
    assert!(published().count() >= 60);
    for number in published() {
        for (sent, stored) in spellings(number) {
            let body = body_with(&sent);
            let event = from_body(body.as_bytes()).unwrap_or_else(|refusal| panic!("{body}: {refusal}"));
            let wanted = body.matches(&sent).count();
            assert!(wanted >= 30);
            assert_eq!(event.cards_masked() as usize, wanted, "{body}");
            let value = serde_json::from_slice(event.payload()).unwrap();
            let mut found = Vec::new();
            texts(&value, &mut found);
            let shown: usize = found.iter().map(|text| text.matches(&stored).count()).sum();
            assert_eq!(shown, wanted, "{body}: {value}");
        }
    }
}

#[test]
fn a_number_that_is_a_card_becomes_a_text() {
    for number in published() {
        let hidden = masked(number);
        for (sent, stored) in [
            (number.to_owned(), format!("\"{hidden}\"")),
            (format!("[1,{number} , 2.50]"), format!("[1,\"{hidden}\" , 2.50]")),
            (format!(r#"{{"a":{number}}}"#), format!(r#"{{"a":"{hidden}"}}"#)),
            (format!("-{number}"), format!("\"-{hidden}\"")),
            (format!("{number}.0"), format!("\"{hidden}.0\"")),
            (format!("{number}e0"), format!("\"{hidden}e0\"")),
        ] {
            assert_eq!(
                payload(&minimal_with(&format!(",\"x\":{sent}"))),
                minimal_with(&format!(",\"x\":{stored}"))
            );
        }
        let inside = |json: &str| full_with("raw_data", &format!(r#"{{"price":{json}, "quantity":{json}}}"#));
        assert_eq!(payload(&inside(number)), inside(&format!("\"{hidden}\"")));
    }
}

#[test]
fn what_is_the_clients_own_key_a_time_or_an_amount_stays() {
    for (field, json, stored) in [
        ("request_id", r#""4111111111111111""#, r#""4111111111111111""#),
        ("request_id", r#""4111 1111 1111 1111""#, r#""4111 1111 1111 1111""#),
        ("price", "4111111111111111", "4111111111111111.0"),
        ("price", r#""4111111111111111""#, "4111111111111111.0"),
        ("quantity", "4111111111111111", "4111111111111111"),
        ("quantity", r#""4111111111111111""#, "4111111111111111"),
        ("timestamp", r#""22210101 171717-0008""#, r#""22210101 171717-0008""#),
        (
            "timestamp",
            r#""2025-11-18T17:21:35,4111111111111111""#,
            r#""2025-11-18T17:21:35,4111111111111111""#,
        ),
    ] {
        assert_eq!(payload(&full_with(field, json)), full_with(field, stored));
        let twice = full_with(field, json).replacen('{', &format!("{{\"{field}\" : {json} ,"), 1);
        assert_eq!(payload(&twice), full_with(field, stored));
        let escaped = full_with(field, json)
            .replace(&format!("\"{field}\""), &format!("\"\\u{:04x}{}\"", field.as_bytes()[0], &field[1..]));
        assert_eq!(payload(&escaped), full_with(field, stored));
    }
    let event = from_body(full_with("request_id", r#""4111111111111111""#).as_bytes()).unwrap();
    assert_eq!((&event.key()[..], event.cards_masked()), (&b"4111111111111111"[..], 0));
}

#[test]
fn masking_changes_no_verdict() {
    for field in ["service", "message", "user_id", "stack", "level", "raw_data", "timestamp", "request_id"] {
        let refusal = from_body(full_with(field, "4111111111111111").as_bytes()).unwrap_err();
        assert!(refusal.to_string().starts_with(&format!("body.{field}: ")), "{refusal}");
    }
    let refusal = from_body(full_with("level", r#""4111111111111111""#).as_bytes()).unwrap_err();
    assert!(!String::from_utf8(refusal.detail_json()).unwrap().contains("1111"));
}

#[test]
fn all_but_the_digits_stays_as_it_was_sent() {
    let sent = r#"{ "n" : 1.10000000000000000000000001,"n":2, "pan":"\u0041\/ 4111-1111\u002d1111-1111\ud83d\ude00",
        "p":4111111111111111 , "big": 123456789012345678901234567890,"4111111111111111":[ 1E5 ] }"#;
    let stored = r#"{ "n" : 1.10000000000000000000000001,"n":2, "pan":"\u0041\/ 4111-11**\u002d****-1111\ud83d\ude00",
        "p":"411111******1111" , "big": 123456789012345678901234567890,"411111******1111":[ 1E5 ] }"#;
    assert_eq!(payload(&full_with("raw_data", sent)), full_with("raw_data", stored));
}

#[test]
fn of_names_that_masking_makes_one_the_last_value_wins() {
    let sent = minimal_with(r#","4111111111111111":1,"x":2,"4111 1111 1111 1111":3,"4111112000051111":4"#);
    let stored = minimal_with(r#","411111******1111":4,"x":2,"4111 11** **** 1111":3"#);
    assert_eq!(payload(&sent), stored);
}

#[test]
fn off_is_off() {
    let rules = Rules { redact_pan: false, ..RULES };
    let body = full_with("message", r#""4111111111111111""#);
    let event = Event::from_body(body.as_bytes(), arrival(), rules).unwrap();
    assert_eq!((&event.payload()[..], event.cards_masked()), (body.as_bytes(), 0));
}
