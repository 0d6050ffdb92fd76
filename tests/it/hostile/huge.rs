//! Requests without an end (F16): each is answered 4xx or cut off, over plain HTTP and over TLS, and takes no
//! more memory than an ordinary one.

use std::sync::Arc;

use crate::support::daemon::Daemon;
use crate::support::http::{Client, INGEST, Place};
use crate::support::tls::Certificate;

/// Sent of each, unless the daemon closes before.
const BYTES: usize = 128 * 1024 * 1024;
/// What the daemon may take for it: its buffers, and what the allocator keeps.
const GROWTH_KIB: u64 = 8 * 1024;

/// What is wrong, how it begins, what follows without an end, and the answer.
const TABLE: &[(&str, &str, &str, u16)] = &[
    ("a header line", "GET /livez HTTP/1.1\r\nHost: x\r\nA: ", "a", 431),
    ("headers", "GET /livez HTTP/1.1\r\nHost: x\r\n", "A: b\r\n", 431),
    ("a header's name", "GET /livez HTTP/1.1\r\nHost: x\r\n", "a", 431),
    ("a request line", "GET /", "a", 431),
    ("a method", "", "A", 431),
    ("empty lines", "", "\r\n", 400),
    ("bytes that are nothing", "", "\0", 400),
    ("a counted body", "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 134217728\r\n\r\n", "a", 413),
    ("a body for nobody", "POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 134217728\r\n\r\n", "a", 404),
    ("one chunk", "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8000000\r\n", "a", 413),
    ("small chunks", "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", 413),
    ("a chunk's size", "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "0", 400),
    ("an extension", "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;", "a", 400),
    ("extensions", "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1;b\r\na\r\n", 400),
    ("trailers", "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "A: b\r\n", 400),
    ("bytes after a request", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", "\x01", 400),
];

/// Sends until the daemon has had enough. The last answer, where it could still be read.
fn flood(place: Place, begin: &str, rest: &str) -> Option<u16> {
    let mut client = Client::connect(place);
    let block = rest.repeat(64 * 1024 / rest.len());
    let mut sent = client.send_raw(begin.replace("{}", INGEST));
    for _ in 0..BYTES / block.len() {
        if sent.is_err() {
            break;
        }
        sent = client.send_raw(&block);
    }
    assert!(sent.is_err(), "all of it was read");
    // The end may come as a reset, which takes the answer from a client that did not stop sending.
    std::iter::from_fn(|| client.read_response().ok()).map(|answer| answer.status).last()
}

fn assert_flat(daemon: &Daemon, place: &Place) {
    let probe = |daemon: &Daemon| (daemon.rss_kib(), daemon.fds());
    Client::connect(place.clone()).get("/livez");
    let (before, fds) = probe(daemon);
    for (what, begin, rest, status) in TABLE {
        let last = flood(place.clone(), begin, rest);
        assert!(last.is_none_or(|last| last == *status), "{what}: {last:?}");
        let now = daemon.rss_kib();
        assert!(now < before + GROWTH_KIB, "{what}: {before} KiB before, {now} KiB after");
    }
    assert!(daemon.peak_rss_kib() < before + GROWTH_KIB, "{} KiB at most", daemon.peak_rss_kib());
    assert!(daemon.fds() <= fds + 4, "{} descriptors, {fds} before", daemon.fds());
    assert_eq!(Client::connect(place.clone()).get("/livez").status, 200);
}

#[test]
fn requests_without_an_end_take_no_memory() {
    let daemon = Daemon::start();
    assert_flat(&daemon, &daemon.addr().into());
    let figures = daemon.stats()["door"].clone();
    // All were answered, read or not; none went inside.
    for (status, least) in [("400", 6), ("404", 1), ("413", 3), ("431", 5)] {
        assert!(figures["refused"][status].as_u64() >= Some(least), "{status}: {figures}");
    }
    assert_eq!(daemon.stats()["ledger"]["accepted"], 0);
}

#[test]
fn requests_without_an_end_take_no_memory_over_tls() {
    let certificate = Certificate::make();
    let daemon = certificate.daemon().start();
    assert_flat(&daemon, &(daemon.addr(), Arc::clone(&certificate.trust())).into());
}
