//! The scan against tables of good and bad bodies.

use super::*;
use proptest::prelude::*;

#[test]
fn what_json_has_passes() {
    let deep = format!("{}{}", "[".repeat(JSON_DEPTH_MAX), "]".repeat(JSON_DEPTH_MAX));
    let mixed = format!("{}1{}", r#"{"a":["#.repeat(50), "]}".repeat(50));
    for text in [
        "{}",
        "[]",
        " \t\r\n{ \n} ",
        "[ ]",
        r#"{"a":1,"a":2,"":[{}, []]}"#,
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-1.5e-7",
        "1E+2",
        "10",
        r#""""#,
        r#""\"\\\/\b\f\n\r\t\u00e9\uD83d\uDe00""#,
        "\"\u{7f}é😀\u{2028}\"",
        "1e308",
        "1e-400",
        "0e999999999",
        "123456789012345678901234567890",
        r#""\u0000""#,
        deep.as_str(),
        mixed.as_str(),
    ] {
        assert_eq!(scan(text), Ok(()), "{text}");
    }
    assert_eq!(scan(&"9".repeat(308)), Ok(()));
    assert_eq!(scan(&format!("{}e-400", "9".repeat(400))), Ok(()));
}

/// The offsets were taken from Python 3.11.
#[test]
fn a_fault_is_where_python_has_it() {
    for (text, offset) in [
        // a value is missing
        ("", 0),
        ("   ", 3),
        ("\n", 1),
        ("tru", 0),
        ("nul", 0),
        ("True", 0),
        ("'a'", 0),
        ("]", 0),
        ("-", 0),
        ("+1", 0),
        (".5", 0),
        ("-a", 0),
        ("[-]", 1),
        ("[1,]", 3),
        ("[1, ]", 4),
        ("[,1]", 1),
        ("[", 1),
        ("[1,", 3),
        (r#"{"a":}"#, 5),
        (r#"{"a": "#, 6),
        (r#"{"a":'b'}"#, 5),
        (r#"{"é😀":nope}"#, 6),
        ("\u{a0}1", 0),
        ("-Inf", 0),
        ("[nan]", 1),
        ("\u{feff}{}", 0),
        // a name is missing
        ("{", 1),
        ("{ ", 2),
        ("{a:1}", 1),
        ("{1:2}", 1),
        (r#"{"a":1,}"#, 7),
        (r#"{"a":1, }"#, 8),
        ("{,}", 1),
        (r#"{"a":1,"#, 7),
        ("{]", 1),
        ("{\0\"\0", 1),
        // a colon is missing
        (r#"{"a"}"#, 4),
        (r#"{"a" 1}"#, 5),
        (r#"{"a""#, 4),
        (r#"{"a" "#, 5),
        // a comma is missing
        (r#"{"a":1 "b":2}"#, 7),
        (r#"{"a":1"#, 6),
        ("[1 2]", 3),
        ("[1", 2),
        ("[1 ", 3),
        ("[1}", 2),
        (r#"{"a":1]"#, 6),
        ("[01]", 2),
        ("[1.]", 2),
        ("[1.e5]", 2),
        ("[1e]", 2),
        ("[1e+]", 2),
        ("[--1]", 1),
        ("[0x10]", 2),
        ("[1_0]", 2),
        // there is more after the value
        ("{}x", 2),
        ("{} {}", 3),
        ("01", 1),
        ("1.", 1),
        ("1e+", 1),
        ("-01", 2),
        ("nullnull", 4),
        ("{}\n\0", 3),
        ("[]]", 2),
        ("{}\u{a0}", 2),
        // strings
        (r#"""#, 0),
        (r#""abc"#, 0),
        (r#"{"a":"b"#, 5),
        (r#"["a","#, 5),
        (r#"["\"#, 1),
        ("[\"a\nb\"]", 3),
        ("\"\t\"", 1),
        ("\"é\u{1f}\"", 2),
        (r#""\x41""#, 1),
        (r#""é\é""#, 2),
        (r#""\'""#, 1),
        (r#""\u12""#, 2),
        (r#""\u123g""#, 2),
        (r#""\u+123""#, 2),
        (r#""\u"#, 2),
        (r#""\u1234"#, 2),
        (r#""\U0041""#, 1),
        (r#""\ud83d\u12""#, 8),
        (r#""\ud83d\ude0"#, 8),
        (r#""\ud83d\x""#, 7),
        (r#""\ud83d\ude00"#, 8),
    ] {
        assert_eq!(scan(text), Err(offset), "{text}");
    }
}

#[test]
fn what_python_lets_pass_is_refused_where_it_starts() {
    let digits_400 = format!("[1,{}]", "9".repeat(400));
    let digits_309 = format!("-{}.5", "9".repeat(309));
    for (text, offset) in [
        ("NaN", 0),
        ("[Infinity]", 1),
        (r#"{"é":-Infinity}"#, 5),
        ("[1e400]", 1),
        ("-1e999", 0),
        ("[0, -1e309]", 4),
        (digits_400.as_str(), 3),
        (digits_309.as_str(), 0),
        ("1.8e308", 0),
        (r#""a\ud800""#, 2),
        (r#""\udc00\ud800""#, 1),
        (r#""\ud800\ud83d\ude00""#, 1),
        (r#""\ud83d""#, 1),
        (r#""\ud83d\u0041""#, 1),
        (r#""\ud83d\ude00\uDFFF""#, 13),
        (r#"{"\udead":1}"#, 2),
        (r#""\ud83dx\ude00""#, 1),
        // the first of several, unless there is a fault for Python too
        (r#"["\ud800", NaN]"#, 2),
        ("[NaN, 1e400] x", 13),
        ("[NaN", 4),
    ] {
        assert_eq!(scan(text), Err(offset), "{text}");
    }
}

#[test]
fn depth_is_bounded_and_costs_no_stack() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let nested = |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
        assert_eq!(scan(&nested(JSON_DEPTH_MAX)), Ok(()));
        assert_eq!(scan(&nested(JSON_DEPTH_MAX + 1)), Err(JSON_DEPTH_MAX * open.len()));
        assert_eq!(scan(&nested(200_000)), Err(JSON_DEPTH_MAX * open.len()));
        assert_eq!(scan(&open.repeat(200_000)), Err(JSON_DEPTH_MAX * open.len()));
    }
    let wide = format!("[{}1]", "[[]],".repeat(10_000));
    assert_eq!(scan(&wide), Ok(()));
    let noted = format!("[NaN,{}", "[".repeat(JSON_DEPTH_MAX));
    assert_eq!(scan(&noted), Err(1));
}

fn fragments() -> impl Strategy<Value = String> {
    let fragment = proptest::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\\", "\\u", "\\ud83d", "\\ude00", "\\n", " ", "\n",
        "1", "-", "0", ".", "e", "E+", "1e308", "1e309", "true", "null", "NaN", "é", "😀", "\0", "\"b\":",
        "\"c\":2,", "[1,",
    ]);
    proptest::collection::vec(fragment, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// `serde_json::Value` is strict where a raw value is not: escapes, and numbers beyond a double.
    #[test]
    fn the_scan_and_serde_agree_on_what_json_is(text in fragments()) {
        let serde = serde_json::from_str::<serde_json::Value>(&text);
        prop_assert_eq!(scan(&text).is_ok(), serde.is_ok(), "{:?}", serde);
    }
}
