//! What holds for any text and any event.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Texts of mostly digits, card numbers and separators.
fn cardlike() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => select(published().collect::<Vec<_>>()).prop_map(str::to_owned),
        2 => (select(published().collect::<Vec<_>>()), select(vec![" ", "-"]))
            .prop_map(|(number, separator)| grouped(number, &fours(number.len()), &[separator])),
        4 => select(vec![" ", "-", "*", "****", ".", "a", "\u{a0}", "é", "1", "4", "  ", "\\", "n", ","]).prop_map(str::to_owned),
        3 => "[0-9]{1,6}",
        1 => "[0-9 *-]{1,12}",
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// The text as JSON, with some characters escaped unnecessarily.
fn escaped(text: &str, every: usize) -> String {
    let mut json = String::from("\"");
    for (at, c) in text.chars().enumerate() {
        let needs = matches!(c, '"' | '\\') || c < ' ';
        if needs || at % every == 0 {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| json.push_str(&format!("\\u{unit:04X}")));
        } else {
            json.push(c);
        }
    }
    json.push('"');
    json
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn only_digits_change_and_only_once(text in cardlike()) {
        let masked = mask_text(&text);
        prop_assert_eq!(masked.len(), text.len());
        for (before, after) in text.chars().zip(masked.chars()) {
            prop_assert!(before == after || before.is_ascii_digit() && after == '*', "{text} {masked}");
        }
        prop_assert_eq!(mask_text(&masked), masked.clone());
    }

    #[test]
    fn json_is_masked_as_its_text_is_and_its_normal_form_is_stable(text in cardlike(), every in 1_usize..9) {
        let json = escaped(&text, every);
        let body = minimal_with(&format!(r#","other":[{json}],{json}:1,"raw":{{{json}:{json}}}"#));
        let event = from_body(body.as_bytes()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(event.payload()).unwrap();
        prop_assert_eq!(value["other"][0].as_str(), Some(&*mask_text(&text)));
        prop_assert!(value.get(&*mask_text(&text)).is_some());
        prop_assert_eq!(value["raw"][&*mask_text(&text)].as_str(), Some(&*mask_text(&text)));
        let again = from_body(event.payload()).unwrap();
        prop_assert_eq!(again.payload(), event.payload());
        prop_assert_eq!(again.cards_masked(), 0);
    }

    #[test]
    fn no_card_is_missed_wherever_it_lies(
        number in select(published().collect::<Vec<_>>()),
        before in "[a-z]{0,20}",
        spelling in any::<proptest::sample::Index>(),
        behind in "[a-z]{0,20}",
    ) {
        let spellings = spellings(number);
        let (sent, stored) = &spellings[spelling.index(spellings.len())];
        let body = minimal_with(&format!(r#","x":"{before}={sent};{behind}""#));
        let event = from_body(body.as_bytes()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(event.payload()).unwrap();
        prop_assert_eq!(value["x"].as_str(), Some(&*format!("{before}={stored};{behind}")));
    }

    /// The walk is for JSON that passed the scan; for other text the result does not matter, but it must end.
    #[test]
    fn no_text_panics(text in ".{0,60}", card in cardlike()) {
        let _ = super::super::json::mask(&text);
        let _ = super::super::json::mask(&format!("{text}{card}{text}"));
        let _ = super::super::json::mask(&format!("{{\"{card}{text}\\u{card}\\"));
    }
}

#[test]
fn an_escape_that_json_does_not_have_is_no_digit() {
    let masked = |text: &str| super::super::json::mask(text).map(|masked| masked.json);
    assert_eq!(masked(r#""411111111111111\u0031""#).as_deref(), Some(r#""411111******111\u0031""#));
    assert_eq!(masked(r#""411111111111111\1""#), None);
}
