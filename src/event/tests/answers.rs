//! Refusals and their texts: every row of the contract's tables.

use super::*;

/// Fields of any text, or of a timestamp.
const STRINGS: [&str; 11] = [
    "request_id",
    "service",
    "env",
    "timestamp",
    "action",
    "message",
    "user_id",
    "product_id",
    "error_code",
    "stack",
    "app_version",
];

/// The answer's body for a body that must be refused.
fn answer(body: impl AsRef<[u8]>) -> String {
    let body = body.as_ref();
    let Err(refusal) = from_body(body) else { panic!("accepted: {}", String::from_utf8_lossy(body)) };
    String::from_utf8(refusal.detail_json()).unwrap()
}

fn item(loc: &str, kind: &str, msg: &str) -> String {
    format!(r#"{{"loc":["body"{loc}],"msg":"{msg}","type":"{kind}"}}"#)
}

fn detail(items: &[String]) -> String {
    format!(r#"{{"detail":[{}]}}"#, items.join(","))
}

/// Asserts that `field` with this JSON is refused with exactly one item.
#[track_caller]
fn assert_refused(field: &str, json: &str, kind: &str, msg: &str) {
    let wanted = detail(&[item(&format!(",\"{field}\""), kind, msg)]);
    assert_eq!(answer(full_with(field, json)), wanted, "{field}: {json}");
}

#[test]
fn an_empty_body_is_missing() {
    assert_eq!(answer(""), detail(&[item("", "missing", "Field required")]));
}

#[test]
fn what_is_no_json_is_refused_at_its_character() {
    let too_deep = minimal_with(&format!(r#","raw_data":{}{}"#, r#"{"a":"#.repeat(100), "1}".repeat(100)));
    let depth_offset = too_deep.find(r#"{"a":"#).unwrap() + 99 * 5;
    let deep_unknown = minimal_with(&format!(r#","x":{}"#, "[".repeat(200_000)));
    let unknown_offset = deep_unknown.find('[').unwrap() + 99;
    let after_minimal = minimal_with("").len();
    for (body, offset) in [
        (b" ".to_vec(), 1),
        (b" \r\n\t".to_vec(), 4),
        (b"\xEF\xBB\xBF".to_vec(), 0),
        (b"\xEF\xBB\xBF  ".to_vec(), 2),
        (b"hello".to_vec(), 0),
        (b"{\"a\":1,}".to_vec(), 7),
        ("{\"é😀\":1,}".into(), 8),
        ("\u{feff}{\"é😀\":1,}".into(), 8),
        (b"{\"request_id\": \"r".to_vec(), 15),
        (format!("{} x", minimal_with("")).into(), after_minimal + 1),
        (format!("{0}\n{0}", minimal_with("")).into(), after_minimal + 1),
        (full_with("price", "NaN").into(), full_with("price", "NaN").find("NaN").unwrap()),
        (
            full_with("raw_data", r#"{"a":-Infinity}"#).into(),
            full_with("raw_data", "{").rfind('{').unwrap() + 5,
        ),
        (minimal_with(",\"x\":1e400").into(), after_minimal + 4),
        (minimal_with(&format!(",\"x\":{}", "9".repeat(400))).into(), after_minimal + 4),
        (minimal_with(r#","x":"\ud800""#).into(), after_minimal + 5),
        (minimal_with(r#","x":"\udc00\ud800""#).into(), after_minimal + 5),
        (minimal_with(",\"x\":\"\t\"").into(), after_minimal + 5),
        (b"{\"\xff\":1}".to_vec(), 2),
        (b"{\"\xC3\xA9\xC3\":1}".to_vec(), 3),
        (b"\xEF\xBB\xBF{\"\xC3\xA9\xED\xA0\x80\":1}".to_vec(), 3),
        (b"{} \xff".to_vec(), 3),
        (b"\xFF\xFE{\0}\0".to_vec(), 0),
        (b"{\0}\0".to_vec(), 1),
        (too_deep.into(), depth_offset),
        (deep_unknown.into(), unknown_offset),
        ("[".repeat(200_000).into(), 100),
    ] {
        let wanted = detail(&[item(&format!(",{offset}"), "json_invalid", "JSON decode error")]);
        assert_eq!(answer(&body), wanted, "{}", String::from_utf8_lossy(&body[..body.len().min(300)]));
    }
}

#[test]
fn json_that_is_no_object_is_refused_as_a_whole() {
    for body in
        ["null", "true", "12.5", "\"{}\"", "[]", " [{}] ", "\u{feff}0", &format!("[{}]", minimal_with(""))]
    {
        let msg = "Input should be a valid dictionary or object to extract fields from";
        assert_eq!(answer(body), detail(&[item("", "model_attributes_type", msg)]), "{body}");
    }
}

#[test]
fn every_required_field_may_not_be_absent() {
    for field in REQUIRED {
        let wanted = detail(&[item(&format!(",\"{field}\""), "missing", "Field required")]);
        assert_eq!(answer(full_without(field)), wanted);
        let renamed = full_without(field).replacen('{', &format!(r#"{{"{}":"x","#, field.to_uppercase()), 1);
        assert_eq!(answer(renamed), wanted, "{field} in capitals");
    }
    let all = REQUIRED.map(|field| item(&format!(",\"{field}\""), "missing", "Field required"));
    assert_eq!(answer("{}"), detail(&all));
}

#[test]
fn strings_are_not_coerced() {
    for field in STRINGS {
        for json in ["1", "12.5", "true", "false", "[]", r#"["a"]"#, "{}", r#"{"a":"b"}"#] {
            assert_refused(field, json, "string_type", "Input should be a valid string");
        }
        if REQUIRED.contains(&field) {
            assert_refused(field, "null", "string_type", "Input should be a valid string");
        }
    }
}

#[test]
fn a_timestamp_is_iso_8601() {
    for json in [
        r#""""#,
        r#"" ""#,
        r#""1763486495""#,
        r#""Tue, 18 Nov 2025 17:21:35 GMT""#,
        r#""2025-11-31""#,
        r#""2025-11""#,
        r#""2025-11-18T""#,
        r#""2025-11-18T17:21:35Z\n""#,
        r#""2025-11-18T24:00""#,
        r#""2025-11-18\u0000""#,
    ] {
        assert_refused("timestamp", json, "value_error", "timestamp must be ISO 8601 format");
    }
}

#[test]
fn a_level_is_one_of_five() {
    for json in [
        "null",
        "1",
        "true",
        "[]",
        "{}",
        r#""""#,
        r#""INFO""#,
        r#""warning""#,
        r#""fatal""#,
        r#"" info""#,
        r#""info ""#,
        r#"["info"]"#,
        r#""info\u0000""#,
    ] {
        let msg = "Input should be 'debug', 'info', 'warn', 'error' or 'critical'";
        assert_refused("level", json, "enum", msg);
    }
}

#[test]
fn a_price_is_a_finite_number() {
    for json in ["[]", "{}", "[1]"] {
        assert_refused("price", json, "float_type", "Input should be a valid number");
    }
    for json in [r#""""#, r#""1,5""#, r#""0x10""#, r#""$12""#, r#""٣""#] {
        let msg = "Input should be a valid number, unable to parse string as a number";
        assert_refused("price", json, "float_parsing", msg);
    }
    for json in [r#""inf""#, r#""nan""#, r#""-Infinity""#, r#""1e400""#] {
        assert_refused("price", json, "finite_number", "Input should be a finite number");
    }
}

#[test]
fn a_quantity_is_a_whole_number_of_64_bits() {
    for json in ["[]", "{}", "[1]"] {
        assert_refused("quantity", json, "int_type", "Input should be a valid integer");
    }
    for json in [r#""""#, r#""3.""#, r#"".0""#, r#""3e2""#, r#""3 pcs""#, r#""3.5""#, r#""inf""#] {
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        assert_refused("quantity", json, "int_parsing", msg);
    }
    for json in ["3.5", "1e-1"] {
        let msg = "Input should be a valid integer, got a number with a fractional part";
        assert_refused("quantity", json, "int_from_float", msg);
    }
    for json in ["9223372036854775808", "-1e300", "9223372036854775808.0", r#""9223372036854775808""#] {
        let msg = "Unable to parse input string as an integer, exceeded maximum size";
        assert_refused("quantity", json, "int_parsing_size", msg);
    }
}

#[test]
fn raw_data_is_an_object() {
    for json in ["[]", "1", "true", r#""{}""#, r#""""#] {
        assert_refused("raw_data", json, "dict_type", "Input should be a valid dictionary");
    }
}

#[test]
fn all_wrong_fields_are_told_at_once_in_schema_order() {
    let body = r#"{"raw_data":[],"quantity":"x","price":{},"level":"loud","timestamp":"now","env":7,"service":null,
        "product_id":1,"action":"sale","user_id":null,"unknown":[]}"#;
    let item = |field: &str, kind: &str, msg: &str| item(&format!(",\"{field}\""), kind, msg);
    let wanted = detail(&[
        item("request_id", "missing", "Field required"),
        item("service", "string_type", "Input should be a valid string"),
        item("env", "string_type", "Input should be a valid string"),
        item("timestamp", "value_error", "timestamp must be ISO 8601 format"),
        item("level", "enum", "Input should be 'debug', 'info', 'warn', 'error' or 'critical'"),
        item("message", "missing", "Field required"),
        item("product_id", "string_type", "Input should be a valid string"),
        item("price", "float_type", "Input should be a valid number"),
        item(
            "quantity",
            "int_parsing",
            "Input should be a valid integer, unable to parse string as an integer",
        ),
        item("raw_data", "dict_type", "Input should be a valid dictionary"),
    ]);
    assert_eq!(answer(body), wanted);
}

#[test]
fn of_a_repeated_field_only_the_last_is_judged() {
    let level = "Input should be 'debug', 'info', 'warn', 'error' or 'critical'";
    let wanted = detail(&[item(",\"level\"", "enum", level)]);
    assert_eq!(answer(minimal_with(r#","level":7"#)), wanted);
    assert_eq!(answer(minimal_with(r#","\u006cevel":null"#)), wanted);
    assert!(from_body(minimal_with("").replacen('{', r#"{"level":7,"#, 1).as_bytes()).is_ok());
}

#[test]
fn too_large_counts_key_payload_and_headers() {
    let within = |max_event_bytes| Rules { max_event_bytes, ..RULES };
    let body = minimal_with("");
    let key_and_payload = "r-1".len() + body.len();
    // ingest_id, received_at, content-type, skew_ms
    let headers = (9 + 36) + (11 + 24) + (12 + 16) + (7 + 20);
    let traced = Arrival {
        traceparent: Some("00-4bf9-00f0-01".into()),
        x_request_id: Some("req-1".into()),
        client: Some("till-7".into()),
        instance: Some("back-office".into()),
        ..arrival()
    };
    let traces = (11 + 15) + (12 + 5) + (6 + 6) + (8 + 11);
    for (arrival, exact) in
        [(arrival(), key_and_payload + headers), (traced, key_and_payload + headers + traces)]
    {
        assert!(Event::from_body(body.as_bytes(), arrival.clone(), within(exact)).is_ok());
        let refusal = Event::from_body(body.as_bytes(), arrival, within(exact - 1)).unwrap_err();
        assert_eq!(refusal, Refusal::TooLarge { limit_bytes: exact - 1 });
    }
    // White space and escapes of the body are not stored.
    let blank = format!("{}{body}", " ".repeat(1_000)).replace("Sold", r"\u0053old");
    assert!(Event::from_body(blank.as_bytes(), arrival(), within(key_and_payload + headers)).is_ok());
}
