//! Events that must be refused: every row of the contract's error tables and every example in its text, with the answer
//! byte for byte.

use std::fs;
use std::path::Path;

use crate::support::daemon::Daemon;
use crate::support::events::{Body, FIELDS};
use crate::support::http::{Client, Response};

const STRING: (&str, &str) = ("string_type", "Input should be a valid string");
const TIMESTAMP: (&str, &str) = ("value_error", "timestamp must be ISO 8601 format");
const LEVEL: (&str, &str) = ("enum", "Input should be 'debug', 'info', 'warn', 'error' or 'critical'");
const FLOAT: (&str, &str) = ("float_type", "Input should be a valid number");
const FLOAT_PARSING: (&str, &str) =
    ("float_parsing", "Input should be a valid number, unable to parse string as a number");
const FINITE: (&str, &str) = ("finite_number", "Input should be a finite number");
const INT: (&str, &str) = ("int_type", "Input should be a valid integer");
const INT_PARSING: (&str, &str) =
    ("int_parsing", "Input should be a valid integer, unable to parse string as an integer");
const INT_FROM_FLOAT: (&str, &str) =
    ("int_from_float", "Input should be a valid integer, got a number with a fractional part");
const INT_SIZE: (&str, &str) =
    ("int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size");
const DICT: (&str, &str) = ("dict_type", "Input should be a valid dictionary");
const MISSING: (&str, &str) = ("missing", "Field required");

/// Field, what is wrong, and the tokens that are wrong in this way.
type Wrong = (&'static str, (&'static str, &'static str), &'static [&'static str]);

const WRONG: &[Wrong] = &[
    ("request_id", STRING, &["null", "7", "1.5", "true", "[]", "{}"]),
    ("service", STRING, &["null", "7", "false", "[\"a\"]", "{}"]),
    ("env", STRING, &["null", "7", "true", "[]", "{}"]),
    ("timestamp", STRING, &["null", "1763486495", "1763486495.75", "true", "[]", "{}"]),
    ("action", STRING, &["null", "7", "true", "[]", "{}"]),
    ("message", STRING, &["null", "7", "true", "[]", r#"{"a":1}"#]),
    ("user_id", STRING, &["7", "1e2", "true", "[]", "{}"]),
    ("product_id", STRING, &["7", "false", "[null]", "{}"]),
    ("error_code", STRING, &["404", "true", "[]", "{}"]),
    ("stack", STRING, &["7", "true", r#"["at main()"]"#, "{}"]),
    ("app_version", STRING, &["2.7", "true", "[]", "{}"]),
    (
        "level",
        LEVEL,
        &[
            "null",
            "3",
            "true",
            "[]",
            "{}",
            r#""""#,
            r#""INFO""#,
            r#""Info""#,
            r#"" info""#,
            r#""warning""#,
            r#""trace""#,
        ],
    ),
    ("price", FLOAT, &["[]", "[1]", "{}"]),
    (
        "price",
        FLOAT_PARSING,
        &[
            r#""""#,
            r#"" ""#,
            r#""1,5""#,
            r#""0x10""#,
            r#""$12""#,
            r#""٣""#,
            r#""12 5""#,
            r#""1e""#,
            r#""1_000""#,
            r#"".""#,
        ],
    ),
    (
        "price",
        FINITE,
        &[
            r#""inf""#,
            r#""-inf""#,
            r#""+Infinity""#,
            r#""infinity""#,
            r#""nan""#,
            r#""NaN""#,
            r#""1e400""#,
            r#""-1e999""#,
        ],
    ),
    ("quantity", INT, &["[]", "[1]", "{}"]),
    (
        "quantity",
        INT_PARSING,
        &[
            r#""""#,
            r#"" ""#,
            r#""3.""#,
            r#"".0""#,
            r#""3e2""#,
            r#""3 pcs""#,
            r#""3.5""#,
            r#""0x10""#,
            r#""٣""#,
            r#""+""#,
            r#""--3""#,
            r#""1_000""#,
            r#""three""#,
            r#""nan""#,
        ],
    ),
    ("quantity", INT_FROM_FLOAT, &["3.5", "1e-1", "-0.25", "2.5e0"]),
    (
        "quantity",
        INT_SIZE,
        &[
            "9223372036854775808",
            "-9223372036854775809",
            "123456789012345678901234567890",
            "1e19",
            "1e300",
            "-1e19",
            r#""9223372036854775808""#,
            r#""-9223372036854775809""#,
            r#""99999999999999999999.00""#,
        ],
    ),
    ("raw_data", DICT, &["[]", "\"{}\"", "7", "1.5", "true", "[{}]"]),
];

/// Strings that are not timestamps.
const NO_TIMESTAMPS: &[&str] = &[
    "",
    " ",
    "2025",
    "2025-11",
    "202511",
    "2025-1-1",
    "2025-1118",
    "202511-18",
    "2025/11/18",
    "18.11.2025",
    "2025-13-01",
    "2025-00-10",
    "2025-11-00",
    "2025-11-31",
    "2025-02-29",
    "1900-02-29",
    "0000-01-01",
    "10000-01-01",
    "+2025-11-18",
    "2025-W00-1",
    "2025-W54-1",
    "2025-W53-1",
    "2025-W47-0",
    "2025-W47-8",
    "2025-W472",
    "2025W47-2",
    "2025-w47-2",
    "2025-322",
    "2025-11-18T",
    "2025-11-18 ",
    " 2025-11-18",
    "2025-11-18  17:21",
    "2025-11-18_17:21",
    "2025-11-18t17:21",
    "2025-11-18T7:21",
    "2025-11-18T24:00",
    "2025-11-18T17:60",
    "2025-11-18T17:21:60",
    "2025-11-18T17:2135",
    "2025-11-18T1721:35",
    "2025-11-18T17:21:",
    "2025-11-18T17:21:35.",
    "2025-11-18T17:21:35.Z",
    "2025-11-18T17:21.5",
    "2025-11-18T17:21:35+5",
    "2025-11-18T17:21:35+24:00",
    "2025-11-18T17:21:35+01:60",
    "2025-11-18T17:21:35+01:00:00",
    "2025-11-18T17:21:35+",
    "2025-11-18T17:21:35 Z",
    "2025-11-18T17:21:35UTC",
    "2025-11-18T17:21:35Z ",
    "2025-11-18T17:21:35ZZ",
    "2025-11-18Z",
    "2025-11-18T17:21:35Z\n",
    "٢٠٢٥-11-18",
    "2025-11-18T17:21:3５",
    "1763486495",
    "1763486495.75",
    "Tue, 18 Nov 2025 17:21:35 GMT",
    "yesterday",
];

fn item(field: &str, (kind, msg): (&str, &str)) -> String {
    format!(r#"{{"loc":["body","{field}"],"msg":"{msg}","type":"{kind}"}}"#)
}

fn assert_refused(response: &Response, items: &str, body: &str) {
    let shown: String = body.chars().take(200).collect();
    assert_eq!(response.status, 422, "{shown}: {}", response.text());
    assert_eq!(response.text(), format!(r#"{{"detail":[{items}]}}"#), "{shown}");
    assert_eq!(response.header("Content-Type"), Some("application/json"), "{shown}");
    assert_eq!(response.header("X-Ingest-Id"), None, "{shown}: nothing was stored");
    assert_eq!(response.header("X-Stored-In"), None, "{shown}: nothing was stored");
}

fn refuse(client: &mut Client, body: &Body, items: &str) {
    let text = body.text();
    assert_refused(&client.post_event(&text), items, &text);
}

/// `json_invalid` at `offset`, or anywhere.
fn refuse_json(client: &mut Client, body: &[u8], offset: Option<usize>) {
    let response = client.post_event(body);
    let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    let said = response.json()["detail"][0]["loc"][1].as_u64();
    let said = said.unwrap_or_else(|| panic!("{shown}: no offset in {}", response.text()));
    if let Some(offset) = offset {
        assert_eq!(said, offset as u64, "{shown}: {}", response.text());
    }
    let items = format!(r#"{{"loc":["body",{said}],"msg":"JSON decode error","type":"json_invalid"}}"#);
    assert_refused(&response, &items, &shown);
}

#[test]
fn every_wrong_token_gives_its_one_item() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for (field, error, tokens) in WRONG {
        for token in *tokens {
            refuse(&mut client, &Body::minimal().with(field, token), &item(field, *error));
        }
    }
}

#[test]
fn every_string_that_is_not_a_timestamp_is_refused() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for stamp in NO_TIMESTAMPS {
        let token = serde_json::to_string(stamp).expect("a string is JSON");
        refuse(&mut client, &Body::minimal().with("timestamp", &token), &item("timestamp", TIMESTAMP));
    }
}

#[test]
fn a_missing_field_is_missing_and_an_unknown_case_is_another_key() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let required: Vec<&str> =
        FIELDS.iter().filter(|(_, required)| *required).map(|(field, _)| *field).collect();
    for field in &required {
        refuse(&mut client, &Body::minimal().without(field), &item(field, MISSING));
        let shouted = Body::minimal().without(field).and(&field.to_uppercase(), "\"x\"");
        refuse(&mut client, &shouted, &item(field, MISSING));
    }
    let all: Vec<String> = required.iter().map(|field| item(field, MISSING)).collect();
    assert_refused(&client.post_event("{}"), &all.join(","), "{}");
    assert_refused(&client.post_event(r#"{"unknown":1}"#), &all.join(","), "an unknown field alone");
}

#[test]
fn all_errors_come_at_once_in_schema_order() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    // Sent in another order than the schema's, missing and wrong mixed.
    let body = r#"{"raw_data":[],"app_version":1,"stack":1,"error_code":1,"quantity":"x","price":"x",
        "product_id":1,"user_id":1,"message":1,"level":"x","timestamp":"x","env":1,"request_id":null}"#;
    let items = [
        item("request_id", STRING),
        item("service", MISSING),
        item("env", STRING),
        item("timestamp", TIMESTAMP),
        item("action", MISSING),
        item("level", LEVEL),
        item("message", STRING),
        item("user_id", STRING),
        item("product_id", STRING),
        item("price", FLOAT_PARSING),
        item("quantity", INT_PARSING),
        item("error_code", STRING),
        item("stack", STRING),
        item("app_version", STRING),
        item("raw_data", DICT),
    ];
    assert_refused(&client.post_event(body), &items.join(","), body);
    // Of a duplicated key the last one counts.
    refuse(&mut client, &Body::minimal().and("quantity", "2").and("quantity", "[]"), &item("quantity", INT));
    let unescaped = Body::minimal().and(r"\u006cevel", "\"loud\"");
    refuse(&mut client, &unescaped, &item("level", LEVEL));
}

#[test]
fn an_empty_body_is_missing_however_it_is_framed() {
    const ITEM: &str = r#"{"loc":["body"],"msg":"Field required","type":"missing"}"#;
    let daemon = Daemon::start();
    let mut client = daemon.client();
    assert_refused(&client.post_event(""), ITEM, "Content-Length: 0");
    let head = "POST /api/logs/ingest HTTP/1.1\r\nHost: t\r\n";
    client.send_raw(format!("{head}\r\n")).expect("the daemon reads");
    assert_refused(&client.read_response().expect("an answer"), ITEM, "no framing");
    client.send_raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")).expect("the daemon reads");
    assert_refused(&client.read_response().expect("an answer"), ITEM, "no chunks");
}

#[test]
fn json_that_is_not_an_object_is_refused_as_a_whole() {
    const ITEM: &str = r#"{"loc":["body"],"msg":"Input should be a valid dictionary or object to extract fields from","type":"model_attributes_type"}"#;
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for body in
        ["null", "true", "false", "7", "-0.5e3", "\"\"", "\"{}\"", "[]", "[{}]", " [1] ", "\u{feff}null"]
    {
        assert_refused(&client.post_event(body), ITEM, body);
    }
}

#[test]
fn broken_json_is_refused_with_the_offset_in_characters() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for (body, offset) in [
        (" ", 1),
        ("\r\n\t ", 4),
        ("{", 1),
        ("nul", 0),
        ("None", 0),
        ("é", 0),
        ("{'a':1}", 1),
        ("{a:1}", 1),
        (r#"{"a":}"#, 5),
        (r#"{"a" 1}"#, 5),
        (r#"{"a":1 "b":2}"#, 7),
        (r#"{"a":1"#, 6),
        (r#"{"a":1]"#, 6),
        (r#"{"a":[1,]}"#, 8),
        (r#"{"a":"b"#, 5),
        (r#"{"a":"\x"}"#, 6),
        ("{\"a\":\"\u{1}\"}", 6),
        (r#"{"a":01}"#, 6),
        (r#"{"a":+1}"#, 5),
        (r#"{"a":.5}"#, 5),
        (r#"{"a":1.}"#, 6),
        (r#"{"a":tru}"#, 5),
        (r#"{"é":x}"#, 5),
        (r#"{"a":1} x"#, 8),
        ("{}{}", 2),
        // Python accepts these, the contract does not. The offset is the start of the token.
        (r#"{"price":NaN}"#, 9),
        (r#"{"price":Infinity}"#, 9),
        (r#"{"price":-Infinity}"#, 9),
        (r#"{"price":1e400}"#, 9),
        (r#"{"price":-1e400}"#, 9),
        (r#"{"a":"\ud800"}"#, 6),
        (r#"{"a":"x\udc00"}"#, 7),
    ] {
        refuse_json(&mut client, body.as_bytes(), Some(offset));
    }
    let many_digits = format!(r#"{{"quantity":{}}}"#, "9".repeat(400));
    refuse_json(&mut client, many_digits.as_bytes(), Some(12));
    for anywhere in
        [r#"{"a":1,}"#, r#"{"a":"\ud800\u0041"}"#, r#"{"a":"\udc00\ud800"}"#, "\u{feff}", "{\"a\":1}\0"]
    {
        refuse_json(&mut client, anywhere.as_bytes(), None);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let utf16: Vec<u8> = "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    refuse_json(&mut client, &utf16, None);
    refuse_json(&mut client, &[b"\xff\xfe", &utf16[..]].concat(), Some(0));
    for bad in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"] {
        let body = [b"{\"\xc3\xa9\":\"", bad, b"\"}"].concat();
        refuse_json(&mut client, &body, Some(6));
    }
}

#[test]
fn what_is_passed_on_verbatim_is_checked_just_as_strictly() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for token in ["NaN", "1e400", "01", r#""\ud800""#, "[1,]", "{\"b\":}", "'x'"] {
        for field in ["unknown", "raw_data"] {
            let body = Body::minimal().and(field, &format!(r#"{{"a":{token}}}"#));
            refuse_json(&mut client, body.text().as_bytes(), None);
        }
    }
    // A wrong field does not hide that the body is not valid JSON.
    refuse_json(&mut client, br#"{"level":"loud","unknown":NaN}"#, Some(26));
}

#[test]
fn nesting_above_100_levels_is_refused_and_never_crashes() {
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    let objects = |levels: usize| format!("{}{{}}{}", r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1));
    let arrays = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for field in ["unknown", "raw_data"] {
        let body = Body::minimal().and(field, &objects(100));
        refuse_json(&mut client, body.text().as_bytes(), None);
    }
    refuse_json(&mut client, Body::minimal().and("unknown", &arrays(100)).text().as_bytes(), None);
    refuse_json(&mut client, arrays(101).as_bytes(), Some(100));
    refuse_json(&mut client, arrays(200_000).as_bytes(), Some(100));
    refuse_json(&mut client, "[".repeat(200_000).as_bytes(), None);
    refuse_json(&mut client, r#"{"a":"#.repeat(90_000).as_bytes(), None);
    assert!(daemon.is_running());
    assert_eq!(client.post_event(Body::minimal().text()).status, 202);
}

#[test]
fn golden_answers_hold_byte_for_byte() {
    const CASES_MIN: usize = 10;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("no {}: {error}", dir.display()));
    let names =
        entries.map(|entry| entry.expect("a readable folder").file_name().into_string().expect("UTF-8"));
    let mut answers: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".answer.json").map(str::to_owned)).collect();
    answers.sort();
    assert!(answers.len() >= CASES_MIN, "only {} cases in {}", answers.len(), dir.display());

    let daemon = Daemon::start();
    let mut client = daemon.client();
    for name in answers {
        let read = |file: String| fs::read(dir.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let body = read(format!("{name}.json"));
        let expected = String::from_utf8(read(format!("{name}.answer.json"))).expect("UTF-8");
        let response = client.post_event(body);
        assert_eq!((response.status, response.text()), (422, expected.as_str()), "{name}");
    }
}
