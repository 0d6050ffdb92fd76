//! What ordinary and odd but honest clients send.

use std::net::Shutdown;

use crate::door::inner::{Client, House, post, post_to, release, settings, wait_until};

#[test]
fn requests_on_one_connection_are_answered_one_by_one() {
    let house = House::new(settings());
    let mut client = house.client();
    for round in 0..50 {
        client.send(post(format!("{{\"round\":{round}}}").as_bytes()));
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("X-Stored-In")), (202, Some("spool")));
        assert_eq!(answer.header("Connection"), None);
        assert!(answer.text().ends_with(&format!("\n\n{{\"round\":{round}}}")), "{}", answer.text());
        assert!(answer.text().contains("\nX-Door-Peer: 127.0.0.1\n"));
    }
    client.send(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Request-ID: r-1\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("X-Request-ID")), (404, Some("r-1")));
    client.send(post(b"{}"));
    assert_eq!(client.answer().header("X-Request-ID"), None);
    let figures = house.door().figures();
    assert_eq!((figures.accepted, figures.requests), (1, 52));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let house = House::new(settings());
    let mut client = house.client();
    let mut bytes = post_to("/api/logs/ingest?hold", b"first");
    for body in ["second", "third"] {
        bytes.extend_from_slice(&post(body.as_bytes()));
    }
    bytes.extend_from_slice(&post_to("/wrong", b"skipped"));
    bytes.extend_from_slice(b"\r\nGET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.send(&bytes);
    let first = house.held.recv().unwrap();
    // The second is not inside before the first is answered.
    house.serves();
    wait_until("only the first is inside", || house.door().figures().in_flight == 1);
    assert!(house.held.is_empty());
    release(first, b"first");
    for body in ["first", "second", "third"] {
        let answer = client.answer();
        assert!(answer.status == 202 && answer.text().ends_with(body), "{}", answer.text());
    }
    assert_eq!(client.answer().status, 404);
    assert_eq!(client.answer().header("Connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn hundreds_of_pipelined_requests_are_answered() {
    let house = House::new(settings());
    let mut client = house.client();
    let count = 700;
    let one = [post(b"{}"), b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()].concat();
    client.send(one.repeat(count));
    for _ in 0..count {
        assert_eq!(client.answer().status, 202);
        assert_eq!(client.answer().status, 404);
    }
}

#[test]
fn split_packets_give_the_same_answers() {
    let house = House::new(settings());
    let mut client = house.client();
    let chunked = b"POST /api/logs/ingest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5;x\r\nhello\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n";
    for bytes in [post(b"hello!"), chunked.to_vec()] {
        for byte in &bytes {
            client.send([*byte]);
        }
        let answer = client.answer();
        assert!(answer.status == 202 && answer.text().ends_with("\n\nhello!"), "{}", answer.text());
        assert!(answer.text().contains("Content-Length: 6\n"));
    }
    for at in 1..chunked.len() {
        client.send(&chunked[..at]);
        client.send(&chunked[at..]);
        assert!(client.answer().text().ends_with("\n\nhello!"));
    }
}

#[test]
fn who_expects_to_continue_is_told_to() {
    let house = House::new(settings());
    let head =
        "POST /api/logs/ingest HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut client = house.client();
    client.send(head);
    assert_eq!((client.line(), client.line()), ("HTTP/1.1 100 Continue".to_owned(), String::new()));
    client.send("{}");
    assert!(!client.answer().text().contains("Expect"));
    // The body has arrived already: no 100 Continue.
    client.send(format!("{head}{{}}"));
    assert_eq!(client.answer().status, 202);
    // Refused by its head: the body is never asked for.
    client.send(head.replace("ingest", "nowhere"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("Connection")), (404, Some("close")));
    let mut other = house.client();
    other.send(head.replace("100-continue", "200-maybe"));
    assert_eq!(other.answer().status, 417);
    assert!(other.is_closed());
}

#[test]
fn older_and_fuller_forms_work() {
    let house = House::new(settings());
    let mut client = house.client();
    client.send("POST http://till.example/api/logs%2Fingest?atomic=true HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}");
    assert!(client.answer().text().starts_with("POST /api/logs/ingest?atomic=true\n"));
    client.send("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("Connection")), (202, Some("keep-alive")));
    client.send("POST /api/logs/ingest HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("Connection")), (202, Some("close")));
    assert!(client.is_closed());
    let mut client = house.client();
    client.send("HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    let answer = client.answer_to(true);
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET")));
    assert_ne!(answer.header("Content-Length"), Some("0"));
    let answer = client.answer();
    assert!(
        answer.text().starts_with("GET /livez\n") && answer.text().ends_with("\n\n"),
        "{}",
        answer.text()
    );
    house.serves();
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let house = House::new(settings());
    let mut client = house.client();
    client.send(post_to("/api/logs/ingest?hold", b"{}"));
    client.stream.shutdown(Shutdown::Write).unwrap();
    let held = house.held.recv().unwrap();
    house.serves();
    release(held, b"");
    assert_eq!(client.answer().status, 202);
    assert!(client.is_closed());
    let mut client = house.client();
    let cut = post(b"cut off");
    client.send(&cut[..cut.len() - 3]);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.answer().status, 400);
    assert!(client.is_closed());
}

#[test]
fn bursts_of_new_clients_are_all_served() {
    let house = House::new(settings());
    for count in [64, 500] {
        let mut clients: Vec<Client> = (0..count).map(|_| house.client()).collect();
        for (nth, client) in clients.iter_mut().enumerate() {
            client.send(post(format!("{{\"nth\":{nth}}}").as_bytes()));
        }
        for (nth, client) in clients.iter_mut().enumerate() {
            let answer = client.answer();
            assert!(answer.text().ends_with(&format!("{{\"nth\":{nth}}}")), "{}", answer.text());
        }
    }
    assert_eq!(house.door().figures().upstream_lost, 0);
}

#[test]
fn large_bodies_and_answers_pass_whole() {
    let house = House::new(settings());
    let mut client = house.client();
    let body: Vec<u8> = (0..1024 * 1024).map(|nth: u32| b"abcdefghijklmnopq"[nth as usize % 17]).collect();
    client.send(post(&body));
    assert!(client.answer().body.ends_with(&body));
    // The server answers before it has read the body.
    client.send(post_to("/api/logs/ingest?bytes=3000000", &body));
    assert_eq!(client.answer().body.len(), 3_000_000);
    client.send(post(b"{}"));
    assert_eq!(client.answer().status, 202);
    house.holds_nothing();
}
