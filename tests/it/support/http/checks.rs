//! The client takes no answer that a strict reader would not, and the load counts what goes wrong:
//! a test that trusts them is only as good.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use logs_ingest::host::thread;

use super::{Client, chunked};
use crate::support::load::{Answer, Load, Report, Until, valid_events};

/// What the client makes of these bytes, which are all that comes.
fn answered(bytes: &'static [u8]) -> std::io::Result<Vec<(u16, Vec<u8>)>> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a bound socket has an address");
    let server = thread::start("server", move || {
        let (mut stream, _) = listener.accept().expect("the client connects");
        // Sliced, so that no answer arrives in one piece. The client may leave at the first bad line.
        let sent = bytes.chunks(7).try_for_each(|piece| stream.write_all(piece));
        drop(sent.and_then(|()| stream.shutdown(std::net::Shutdown::Write)));
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let mut client = Client::connect(addr);
    let mut answers = Vec::new();
    let outcome = loop {
        match client.read_response() {
            Ok(response) => answers.push((response.status, response.body)),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && client.unread.is_empty() => {
                break Ok(answers);
            }
            Err(error) => break Err(error),
        }
    };
    drop(client);
    server.expect("the system gives a thread").join().expect("the server does not panic");
    outcome
}

#[test]
fn well_formed_answers_are_read_one_after_the_other() {
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nA: b\r\n\r\n{}\
        HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let answers = answered(bytes).expect("three answers");
    assert_eq!(answers, [(100, vec![]), (202, b"{}".to_vec()), (404, vec![])]);
}

#[test]
fn malformed_answers_are_errors() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\n\r\n{}"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA\r\n\r\n{}",
        b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"{}\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ] {
        let outcome = answered(bytes);
        assert!(outcome.is_err(), "{:?}: {outcome:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn chunks_are_coded_as_the_standard_has_them() {
    assert_eq!(chunked(b"0123456789abcdefg", 16), b"10\r\n0123456789abcdef\r\n1\r\ng\r\n0\r\n\r\n");
    assert_eq!(chunked(b"", 16), b"0\r\n\r\n");
}

#[test]
fn a_load_on_a_dead_port_ends_and_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a bound socket has an address");
    drop(listener);
    let report = Load::run(addr, 3, Until::Count(10), valid_events);
    assert_eq!((report.answers.len(), report.unanswered.len(), report.connection_errors), (0, 0, 10));
    let report = Load::run(addr, 2, Until::Elapsed(Duration::from_millis(50)), valid_events);
    assert!(report.connection_errors > 0);
    let load = Load::start(addr, 2, Until::Stopped, valid_events);
    assert_eq!(load.stop().answers.len(), 0);
}

#[test]
fn percentiles_are_taken_by_rank() {
    let answer = |ms| Answer {
        request_id: String::new(),
        status: 202,
        ingest_id: None,
        stored_in: None,
        latency: Duration::from_millis(ms),
    };
    let report = Report { answers: (1..=100).rev().map(answer).collect(), ..Report::default() };
    for (share, ms) in [(0.0, 1), (0.5, 50), (0.99, 99), (0.995, 100), (1.0, 100)] {
        assert_eq!(report.percentile(share), Duration::from_millis(ms), "{share}");
    }
}
