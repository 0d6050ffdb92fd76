//! The stored form of good bodies, byte for byte.

use super::*;

#[test]
fn a_body_in_normal_form_stays_as_it_is() {
    let full = object(FIELDS);
    assert_eq!(payload(&full), full);
    let minimal = minimal_with("");
    assert_eq!(payload(&minimal), minimal);
}

#[test]
fn fields_come_in_schema_order_and_unknown_ones_behind_in_the_order_sent() {
    let mut members = FIELDS.to_vec();
    members.reverse();
    members.insert(0, ("zeta", "1"));
    members.insert(7, ("alpha", r#"{"z": 1}"#));
    members.push(("Level", "null"));
    let sent =
        object(members).replace(',', " ,\n").replace(':', "\t: ").replace("17\t: 21\t: 35", "17:21:35");
    let rest = r#","zeta":1,"alpha":{"z"	: 1},"Level":null}"#;
    let wanted = object(FIELDS).strip_suffix('}').unwrap().to_owned().replace("\"a\":", "\"a\"\t: ") + rest;
    // Inside raw_data and unknown values, white space stays as sent.
    assert_eq!(payload(&sent), wanted.replace(r#"{"z"	: 1}"#, "{\"z\"\t:  1}"));
}

#[test]
fn absent_stays_absent_and_null_stays_null() {
    for (field, _) in FIELDS.iter().filter(|(name, _)| !REQUIRED.contains(name)) {
        let null = full_with(field, "null");
        assert_eq!(payload(&null), null);
        let absent = full_without(field);
        assert_eq!(payload(&absent), absent);
    }
}

#[test]
fn any_string_is_taken_as_it_is() {
    let long = format!("\"{}\"", "é".repeat(100_000));
    let texts = [
        (r#""""#, r#""""#),
        (r#""  a  ""#, r#""  a  ""#),
        (r#""\u0000\u001f\u007f""#, "\"\\u0000\\u001f\u{7f}\""),
        (r#""\u00e9\ud83d\ude00\/\"\\\b\f\n\r\t""#, r#""é😀/\"\\\b\f\n\r\t""#),
        (r#""\u2028\uffff\ufeff""#, "\"\u{2028}\u{ffff}\u{feff}\""),
        ("\"\u{7f}é😀\"", "\"\u{7f}é😀\""),
        (long.as_str(), long.as_str()),
    ];
    let free =
        FIELDS.iter().filter(|(name, json)| json.starts_with('"') && !["level", "timestamp"].contains(name));
    for (field, _) in free {
        for (sent, stored) in texts {
            assert_eq!(payload(&full_with(field, sent)), full_with(field, stored), "{field}: {sent}");
        }
    }
}

#[test]
fn timestamp_and_level_are_stored_decoded_but_otherwise_as_sent() {
    for (field, sent, stored) in [
        ("timestamp", r#""2025-11-18""#, r#""2025-11-18""#),
        ("timestamp", r#""2025W472 17,21""#, ""),
        ("timestamp", r#""2025-W47-2 172135,75+0130""#, r#""2025-W47-2 172135,75+0130""#),
        ("timestamp", r#""\u0032025-11-18T17:21\u005a""#, r#""2025-11-18T17:21Z""#),
        ("level", r#""critical""#, r#""critical""#),
        ("level", r#""d\u0065bug""#, r#""debug""#),
    ] {
        let body = full_with(field, sent);
        match stored {
            "" => assert!(from_body(body.as_bytes()).is_err(), "{sent}"),
            _ => assert_eq!(payload(&body), full_with(field, stored), "{sent}"),
        }
    }
}

#[test]
fn prices_become_doubles_and_quantities_integers() {
    for (field, sent, stored) in [
        ("price", "10", "10.0"),
        ("price", "12.50", "12.5"),
        ("price", "-0", "-0.0"),
        ("price", "1E300", "1e+300"),
        ("price", "0.1", "0.1"),
        ("price", "5e-324", "5e-324"),
        ("price", "1.7976931348623157e308", "1.7976931348623157e+308"),
        ("price", "true", "1.0"),
        ("price", "false", "0.0"),
        ("price", r#"" 12.5 ""#, "12.5"),
        ("price", r#""00012""#, "12.0"),
        ("quantity", "-7", "-7"),
        ("quantity", "-0.0", "0"),
        ("quantity", "1e18", "1000000000000000000"),
        ("quantity", "true", "1"),
        ("quantity", r#"" +3.00\u00a0""#, "3"),
        ("quantity", "-9223372036854775808", "-9223372036854775808"),
    ] {
        let wanted = full_with(field, stored);
        assert_eq!(payload(&full_with(field, sent)), wanted, "{field}: {sent}");
        assert_eq!(payload(&wanted), wanted);
    }
}

#[test]
fn raw_data_and_unknown_values_are_verbatim() {
    for json in [
        r#"{ "n" : 1.10000000000000000000000001, "n":2, "big": 123456789012345678901234567890, "s":"\u0041\/" }"#,
        "{}",
        "{\n}",
    ] {
        let body = full_with("raw_data", json);
        assert_eq!(payload(&body), body);
        let body = minimal_with(&format!(",\"other\":{json}"));
        assert_eq!(payload(&body), body);
    }
    for json in ["1E5", "-0", "0.10", r#""\u0041\/\ud83d\ude00""#, "[ ]", "null", "[1 ,\t2]"] {
        let body = minimal_with(&format!(",\"other\":{json}"));
        assert_eq!(payload(&body), body);
    }
}

#[test]
fn nesting_of_100_levels_is_accepted() {
    for rest in [
        format!(r#","raw_data":{}1{}"#, r#"{"a":"#.repeat(99), "}".repeat(99)),
        format!(r#","other":{}{}"#, "[".repeat(99), "]".repeat(99)),
    ] {
        let body = minimal_with(&rest);
        assert_eq!(payload(&body), body);
    }
}

#[test]
fn unknown_names_are_decoded_and_the_last_value_wins() {
    for (sent, stored) in [
        (r#","a":1,"b":2,"a":3"#, r#","a":3,"b":2"#),
        (r#","\u0061":1,"a":2"#, r#","a":2"#),
        (r#","a":1,"\u0061":2"#, r#","a":2"#),
        (r#","":1,"\u0000\n\"":2"#, r#","":1,"\u0000\n\"":2"#),
        (r#","é\ud83d\ude00\/":1"#, r#","é😀/":1"#),
        (r#","message ":1,"MESSAGE":2"#, r#","message ":1,"MESSAGE":2"#),
    ] {
        assert_eq!(payload(&minimal_with(sent)), minimal_with(stored), "{sent}");
    }
    let shouted = minimal_with("").replace("\"message\"", r#""\u006dessage""#);
    assert_eq!(payload(&shouted), minimal_with(""));
}

#[test]
fn of_a_repeated_field_the_last_is_stored() {
    let repeated = minimal_with(r#","price":1,"request_id":"r-2","price":"2""#);
    assert_eq!(payload(&repeated), minimal_with(r#","price":2.0"#).replace("r-1", "r-2"));
    assert_eq!(from_body(repeated.as_bytes()).unwrap().key(), "r-2");
}

#[test]
fn a_byte_order_mark_and_white_space_are_left_out() {
    let minimal = minimal_with("");
    assert_eq!(payload(&format!("\u{feff}{minimal}")), minimal);
    assert_eq!(payload(&format!("\u{feff} \r\n\t{minimal}\n\n")), minimal);
}

#[test]
fn the_key_is_the_request_id_decoded_and_shares_the_payloads_memory() {
    for (sent, key) in
        [(r#""r-1""#, "r-1"), (r#""""#, ""), (r#"" é😀 ""#, " é😀 "), (r#""a\"\u0000\u00e9""#, "a\"\0é")]
    {
        let event = from_body(full_with("request_id", sent).as_bytes()).unwrap();
        let row = Event::from_row(arrival(), event.payload().clone()).unwrap();
        let checked = Event::from_checked_row(arrival(), event.payload().clone(), None).unwrap();
        for event in [event, row, checked] {
            assert_eq!(event.key(), key.as_bytes(), "{sent}");
            let inside = event.payload().as_ptr_range().contains(&event.key().as_ptr());
            assert!(key.is_empty() || inside != sent.contains('\\'), "{sent}");
        }
    }
}

#[test]
fn an_event_holds_no_memory_that_it_does_not_count() {
    let body = format!("{}{}", " ".repeat(100_000), minimal_with(""));
    let Event { key, payload, .. } = from_body(body.as_bytes()).unwrap();
    let length = payload.len();
    drop(key);
    let capacity = payload.try_into_mut().unwrap().capacity();
    assert!(capacity < length + 128, "{capacity} bytes for {length}");
}
