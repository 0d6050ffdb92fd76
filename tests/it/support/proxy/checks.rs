//! Each mode of the proxy, seen from both sides of it: a fault test is worth what its fault is.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use logs_ingest::host::thread;

use super::{Mode, Proxy};
use crate::support::http::is_timeout;
use crate::support::poll;

const LIMIT: Duration = Duration::from_secs(10);
/// Long enough for an answer over loopback that will not come.
const SILENCE: Duration = Duration::from_millis(150);

/// Sends back what it gets, to four clients at most, one after the other, and counts it.
struct Echo {
    addr: SocketAddr,
    received: Arc<AtomicU64>,
    server: Option<JoinHandle<()>>,
}

impl Echo {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let received = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&received);
        let server = thread::start("echo", move || {
            // The last connection is the one that `drop` makes: it sends nothing and ends the loop.
            while let Ok((stream, _)) = listener.accept() {
                if !Self::serve(stream, &counter) {
                    return;
                }
            }
        });
        Self { addr, received, server: Some(server.expect("the system gives a thread")) }
    }

    /// Whether the client sent anything but the end.
    fn serve(mut stream: TcpStream, counter: &AtomicU64) -> bool {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if buffer[..count] == *b"the end" {
                return false;
            }
            counter.fetch_add(count as u64, Ordering::SeqCst);
            if stream.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        true
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let told = TcpStream::connect(self.addr).and_then(|mut stream| stream.write_all(b"the end"));
        if let (Ok(()), Some(server)) = (told, self.server.take()) {
            server.join().expect("the echo server does not panic");
        }
    }
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.addr()).expect("the proxy accepts");
    stream.set_read_timeout(Some(LIMIT)).expect("a TCP socket takes the option");
    stream
}

fn echoes(stream: &mut TcpStream, text: &[u8]) -> bool {
    let mut back = vec![0; text.len()];
    stream.write_all(text).and_then(|()| stream.read_exact(&mut back)).is_ok() && back == text
}

fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SILENCE)).expect("a TCP socket takes the option");
    let read = stream.read(&mut [0; 64]);
    stream.set_read_timeout(Some(LIMIT)).expect("a TCP socket takes the option");
    matches!(read, Err(error) if is_timeout(&error))
}

/// A byte may be seen before it is counted.
fn counts(counter: &AtomicU64, wanted: u64) {
    poll(LIMIT, "the counter to be as wanted", || (counter.load(Ordering::SeqCst) >= wanted).then_some(()));
    assert_eq!(counter.load(Ordering::SeqCst), wanted);
}

#[test]
fn passes_bytes_and_ends_both_ways() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.addr);
    let mut stream = connect(&proxy);
    assert!(echoes(&mut stream, &[7; 100_000]));
    counts(&proxy.counters().bytes_up, 100_000);
    counts(&proxy.counters().bytes_down, 100_000);
    stream.shutdown(std::net::Shutdown::Write).expect("an open connection");
    assert_eq!(stream.read(&mut [0]).expect("a polite end"), 0);
    poll(LIMIT, "the connection to end", || (proxy.open() == 0).then_some(()));
}

#[test]
fn refuses_and_listens_again_on_the_same_port() {
    let echo = Echo::start();
    let mut proxy = Proxy::start(echo.addr);
    assert!(proxy.addr().port() < 32_768);
    proxy.set(Mode::Refuse);
    let refused = TcpStream::connect(proxy.addr()).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.set(Mode::Pass);
    assert!(echoes(&mut connect(&proxy), b"back"));
}

#[test]
fn a_target_that_is_away_resets_the_client() {
    let away = SocketAddr::from(([127, 0, 0, 1], Proxy::reserve()));
    let proxy = Proxy::start(away);
    let mut stream = connect(&proxy);
    let reset = stream.read(&mut [0]).expect_err("no polite end");
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    assert_eq!(proxy.counters().turned_away.load(Ordering::SeqCst), 1);
}

#[test]
fn a_blackhole_swallows_on_new_and_on_running_connections() {
    let echo = Echo::start();
    let mut proxy = Proxy::start(echo.addr);
    let mut running = connect(&proxy);
    assert!(echoes(&mut running, b"before"));
    proxy.set(Mode::Blackhole);
    let mut new = connect(&proxy);
    for stream in [&mut running, &mut new] {
        stream.write_all(b"lost").expect("the proxy reads");
        assert!(is_silent(stream));
    }
    counts(&proxy.counters().bytes_swallowed, 8);
    counts(&echo.received, 6);
    // What lost a byte stays silent; it must not go on with a hole in it.
    proxy.set(Mode::Pass);
    running.write_all(b"after").expect("the proxy reads");
    assert!(is_silent(&mut running));
    drop((running, new));
    poll(LIMIT, "the connections to end", || (proxy.open() == 0).then_some(()));
    assert!(echoes(&mut connect(&proxy), b"new"));
}

#[test]
fn a_request_gets_through_and_its_answer_does_not() {
    let echo = Echo::start();
    let mut proxy = Proxy::start(echo.addr);
    proxy.set(Mode::HangAfterRequest);
    let mut stream = connect(&proxy);
    stream.write_all(b"stored").expect("the proxy reads");
    counts(&echo.received, 6);
    assert!(is_silent(&mut stream));
    counts(&proxy.counters().bytes_swallowed, 6);
}

#[test]
fn delays_each_piece_within_the_two_times() {
    let echo = Echo::start();
    let mut proxy = Proxy::start(echo.addr);
    let (min, max) = (Duration::from_millis(40), Duration::from_millis(60));
    proxy.set(Mode::Delay { min, max });
    let mut stream = connect(&proxy);
    let start = Instant::now();
    assert!(echoes(&mut stream, b"late"));
    let took = start.elapsed();
    assert!(took >= 2 * min && took < LIMIT, "{took:?}");
}

#[test]
fn throttles_to_the_rate() {
    let echo = Echo::start();
    let mut proxy = Proxy::start(echo.addr);
    proxy.set(Mode::Throttle { bytes_per_s: 10_000 });
    let mut stream = connect(&proxy);
    let start = Instant::now();
    assert!(echoes(&mut stream, &[1; 3_000]));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(300) && took < LIMIT, "{took:?}");
}

#[test]
fn slices_into_single_bytes() {
    let echo = Echo::start();
    let mut proxy = Proxy::start(echo.addr);
    proxy.set(Mode::Slice);
    let text: Vec<u8> = (0..=255).cycle().take(2_000).collect();
    assert!(echoes(&mut connect(&proxy), &text));
}

#[test]
fn cut_resets_and_leaves_the_mode() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.addr);
    let mut stream = connect(&proxy);
    assert!(echoes(&mut stream, b"before"));
    proxy.cut();
    let reset = stream.read(&mut [0]).expect_err("no polite end");
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    assert_eq!((proxy.open(), proxy.counters().cut.load(Ordering::SeqCst)), (0, 1));
    assert!(echoes(&mut connect(&proxy), b"after"));
}

#[test]
fn forges_answers_that_the_target_never_gave() {
    let echo = Echo::start();
    let mut proxy = Proxy::start(echo.addr);
    let mut answer = [0; 12];
    let mut first = Vec::new();
    for _ in 0..2 {
        proxy.set(Mode::Garbage);
        let mut stream = connect(&proxy);
        stream.write_all(b"what?").expect("the proxy reads");
        stream.read_exact(&mut answer).expect("an answer");
        assert_ne!(first, answer, "random bytes differ");
        first = answer.to_vec();
    }

    proxy.set(Mode::HugeLength);
    let mut stream = connect(&proxy);
    for _ in 0..2 {
        stream.write_all(b"what?").expect("the proxy reads");
        let mut answer = [0; 16];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer[..4], 0x7fff_ffff_u32.to_be_bytes());
    }

    proxy.set(Mode::HttpText);
    let mut stream = connect(&proxy);
    stream.write_all(b"what?").expect("the proxy reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a text and its end");
    assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text:?}");
    assert_eq!(proxy.counters().forged.load(Ordering::SeqCst), 5);
    assert_eq!(echo.received.load(Ordering::SeqCst), 0);
}

#[test]
fn ends_at_once_in_every_mode_with_work_under_way() {
    let hour = Duration::from_secs(3_600);
    for mode in [
        Mode::Pass,
        Mode::Blackhole,
        Mode::HangAfterRequest,
        Mode::Delay { min: hour, max: hour },
        Mode::Throttle { bytes_per_s: 1 },
        Mode::Slice,
        Mode::Garbage,
    ] {
        let echo = Echo::start();
        let mut proxy = Proxy::start(echo.addr);
        proxy.set(mode);
        let mut stream = connect(&proxy);
        stream.write_all(&[0; 1_000]).expect("the proxy reads");
        poll(LIMIT, "the connection to be open", || (proxy.open() == 1).then_some(()));
        let start = Instant::now();
        drop(proxy);
        assert!(start.elapsed() < Duration::from_secs(2), "{mode:?}: {:?}", start.elapsed());
    }
}
