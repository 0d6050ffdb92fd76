//! Every framing rule, one line each.

use super::*;

fn whole(head: &str) -> Result<(Framing, bool), u16> {
    match parse(head.as_bytes()) {
        Parsed::Partial => Err(0),
        Parsed::Refused(reply) => Err(reply.status()),
        Parsed::Whole(whole) => {
            assert_eq!(whole.len, head.len());
            whole.verdict.map(|head| (head.framing, head.keep_alive)).map_err(|reply| reply.status())
        }
    }
}

fn post(fields: &str) -> Result<(Framing, bool), u16> {
    whole(&format!("POST /api/logs/ingest HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

#[test]
fn lines_and_names_are_strict() {
    for head in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\r c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: \x7f\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA\x01: b\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET / b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /ü HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET health HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        assert_eq!(whole(head), Err(400), "{head:?}");
    }
    assert_eq!(whole("GET / HTTP/1.1\r\nHost: a\r\nA: ü\tb \r\nB:\r\n\r\n"), Ok((Framing::Empty, true)));
    assert_eq!(whole("GET / HTTP/1.1\r\nHost: a\r\n"), Err(0));
}

#[test]
fn framing_has_one_reading() {
    assert_eq!(post("Content-Length: 5\r\n"), Ok((Framing::Length(5), true)));
    assert_eq!(post("content-LENGTH:0005\r\n"), Ok((Framing::Length(5), true)));
    assert_eq!(post("Transfer-Encoding: chunked\r\n"), Ok((Framing::Chunked, true)));
    assert_eq!(post("Transfer-Encoding: Chunked\r\n"), Ok((Framing::Chunked, true)));
    assert_eq!(post("Content-Length: 18446744073709551615\r\n"), Ok((Framing::Length(u64::MAX), true)));
    assert_eq!(post("Content-Length: 99999999999999999999999\r\n"), Ok((Framing::Length(u64::MAX), true)));
    for fields in [
        "Content-Length:\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length: ٣\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chun\r\n ked\r\n",
        "Content-Encoding: gzip\u{e9}\r\n",
        "Host: a\r\n",
    ] {
        assert_eq!(post(fields), Err(400), "{fields:?}");
    }
    let chunked10 = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(whole(chunked10), Err(400));
}

#[test]
fn hosts_and_keep_alive_follow_the_version() {
    for (head, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", Err(400)),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Ok(true)),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Err(400)),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Err(400)),
        ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", Ok(true)),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Ok(true)),
        ("GET http://b/ HTTP/1.1\r\n\r\n", Err(400)),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", Ok(false)),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", Ok(false)),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", Ok(true)),
        ("GET / HTTP/1.0\r\n\r\n", Ok(false)),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Err(400)),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", Ok(true)),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", Ok(false)),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", Err(417)),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\n\r\n", Err(417)),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n", Ok(true)),
    ] {
        assert_eq!(whole(head).map(|(_, keep_alive)| keep_alive), expected, "{head:?}");
    }
}

#[test]
fn heads_have_a_size() {
    let sized = |bytes: usize| {
        let rest = bytes - "GET / HTTP/1.1\r\nHost: a\r\nA: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "a".repeat(rest))
    };
    assert!(whole(&sized(HEAD_BYTES_MAX)).is_ok());
    assert_eq!(whole(&sized(HEAD_BYTES_MAX + 1)), Err(431));
    assert_eq!(whole(&sized(HEAD_BYTES_MAX)[..HEAD_BYTES_MAX - 1]), Err(0));
    assert_eq!(whole(&"a".repeat(HEAD_BYTES_MAX)), Err(431));
    let fields = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    assert!(whole(&fields(HEAD_FIELDS_MAX)).is_ok());
    assert_eq!(whole(&fields(HEAD_FIELDS_MAX + 1)), Err(431));
}

#[test]
fn only_printable_fields_are_kept() {
    let long = "r".repeat(REQUEST_ID_HEADER_MAX + 1);
    for (field, expected) in [
        ("X-Request-ID: r-1", Some("r-1")),
        ("x-request-id: a b~", Some("a b~")),
        ("X-Request-ID:", None),
        ("X-Request-ID: r\t1", None),
        ("X-Request-ID: ré", None),
        (&format!("X-Request-ID: {long}"), Some(&long[1..])),
    ] {
        let text = format!("BAD\u{e9} HTTP/1.1\r\n{field}\r\n\r\n");
        assert!(matches!(parse(text.as_bytes()), Parsed::Refused(_)));
        let text = format!("GET / HTTP/1.1\r\n{field}\r\n\r\n");
        let Parsed::Whole(whole) = parse(text.as_bytes()) else { panic!("{field}") };
        assert_eq!(whole.request_id, expected, "{field}");
        assert!(whole.verdict.is_err(), "it has no Host, and its id is known all the same");
    }
    let text = "GET /a?b=%20 HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\ntraceparent: 1\r\n\
                Traceparent: 2\r\nContent-Encoding: gzip\r\nContent-Encoding: br\r\nContent-Type: é\r\n\
                Content-Type: b\r\nX-Door-Peer: 1.2.3.4\r\n\r\n";
    let Parsed::Whole(Whole { verdict: Ok(head), .. }) = parse(text.as_bytes()) else { panic!() };
    assert_eq!(head.fields.idempotency_key, Some("k"));
    assert_eq!(head.fields.traceparent, None);
    assert_eq!(head.fields.content_encoding, ["gzip", "br"]);
    assert_eq!((head.target.path.as_deref(), head.target.query), (Some("/a"), Some("b=%20")));
}

#[test]
fn an_idempotency_key_that_is_sent_is_never_taken_for_none() {
    for (fields, expected) in [
        ("", None),
        ("Idempotency-Key: k 1\r\n", Some("k 1")),
        ("idempotency-key: \"k\"\r\n", Some("\"k\"")),
        ("Idempotency-Key:\r\n", Some("")),
        ("Idempotency-Key: \u{e9}\r\n", Some("")),
        ("Idempotency-Key: a\tb\r\n", Some("")),
        ("Idempotency-Key: a\r\nIdempotency-Key: a\r\n", Some("")),
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let Parsed::Whole(Whole { verdict: Ok(head), .. }) = parse(text.as_bytes()) else {
            panic!("{fields}")
        };
        assert_eq!(head.fields.idempotency_key, expected, "{fields:?}");
    }
}

#[test]
fn a_key_is_shown_in_one_of_three_ways() {
    for (fields, expected) in [
        ("", None),
        ("X-API-Key: k1\r\n", Some("k1")),
        ("x-api-key:   k1  \r\n", Some("k1")),
        ("Authorization: Bearer k1\r\n", Some("k1")),
        ("AUTHORIZATION: bearer   k1\r\n", Some("k1")),
        ("Authorization: Digest k1\r\n", None),
        ("Authorization: k1\r\n", None),
        ("Authorization: Bearerk1\r\n", None),
        ("Authorization: Bearer\r\n", None),
        // A proxy may use the one for itself.
        ("Authorization: Basic p\r\nX-API-Key: k1\r\n", Some("k1")),
        ("Authorization: Bearer k2\r\nX-API-Key: k1\r\n", Some("k1")),
        ("X-API-Key: k1\r\nX-API-Key: k1\r\n", None),
        ("Authorization: Bearer k1\r\nAuthorization: Bearer k2\r\n", None),
        ("X-API-Key: schlüssel\r\n", None),
    ] {
        let head = format!("GET /stats HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let Parsed::Whole(whole) = parse(head.as_bytes()) else { panic!("{head:?}") };
        let head = whole.verdict.unwrap();
        assert_eq!(head.api_key, expected.map(Shown::Key), "{fields:?}");
        assert!(!format!("{head:?}").contains("k1"), "{head:?}");
    }
    let Parsed::Whole(whole) = parse(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic azE6azE=\r\n\r\n")
    else {
        panic!("a head")
    };
    assert_eq!(whole.verdict.unwrap().api_key, Some(Shown::Basic("azE6azE=")));
}
