//! Everyone at once (F14): more connections than there is room for, drips, stalls, the deaf and the greedy.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use logs_ingest::host::thread;
use socket2::{Domain, Socket, Type};

use super::{allow_descriptors, connect, serves};
use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::http::{Client, INGEST};
use crate::support::stores::Found;

/// A byte to each, five times a second, until the test is over.
fn drip(mut clients: Vec<TcpStream>, over: Receiver<()>) -> JoinHandle<()> {
    thread::start("drip", move || {
        let wait = Duration::from_millis(200);
        while over.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            for client in &mut clients {
                // Some have had their time and are closed.
                let _ = client.write_all(b"a");
            }
        }
    })
    .unwrap()
}

#[test]
fn a_healthy_client_is_served_among_all_others_at_once() {
    allow_descriptors(6_000);
    let daemon = Daemon::builder().env("HEAD_TIMEOUT", "60s").env("BODY_TIMEOUT", "60s").start();
    let addr = daemon.addr();
    let begin = |bytes: &str| {
        let mut client = connect(addr);
        client.write_all(bytes.as_bytes()).unwrap();
        client
    };
    let body = format!("POST {INGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n{{");
    let (over, is_over) = bounded(0);
    let heads = (0..250).map(|_| begin("GET /livez HTTP/1.1\r\nHost: x\r\nA: ")).collect();
    let bodies = (0..250).map(|_| begin(&body)).collect();
    let drips = [drip(heads, is_over.clone()), drip(bodies, is_over)];
    let stalled: Vec<TcpStream> = (0..200).map(|_| begin(&body)).collect();
    // Deaf: their answers fill the sockets, and the daemon stops taking their requests.
    let deaf: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut client = connect_from([127, 0, 0, 1], addr);
            client.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
            let _ = client.write_all("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5_000).as_bytes());
            client
        })
        .collect();
    // Beyond what is left of MAX_CONNECTIONS, by a thousand.
    let idle: Vec<TcpStream> = (0..1_024 - 750 + 1_000).map(|_| connect(addr)).collect();
    let report = serves(&daemon);
    let figures = daemon.stats()["door"].clone();
    assert!(figures["connections"].as_u64() <= Some(1_024 + 64), "{figures}");
    assert!(figures["evicted"].as_u64() >= Some(1_000), "{figures}");
    println!(
        "p50 {:?}, p99 {:?}, {} KiB, {} threads, {} descriptors",
        report.percentile(0.5),
        report.percentile(0.99),
        daemon.rss_kib(),
        daemon.threads(),
        daemon.fds()
    );
    drop(over);
    drips.into_iter().for_each(|drip| drip.join().unwrap());
    drop((stalled, deaf, idle));
    Found::look(None, &daemon.data_dir()).assert_safe(&report);
}

/// As many requests as the daemon takes, many of them on their way at a time.
fn greedy(addr: SocketAddr, request: Vec<u8>, over: Receiver<()>) -> JoinHandle<()> {
    thread::start("greedy", move || {
        let stream = connect(addr);
        let mut reader = stream.try_clone().unwrap();
        let answers = thread::start("answers", move || {
            let mut buffer = vec![0; 65_536];
            while matches!(reader.read(&mut buffer), Ok(1..)) {}
        })
        .unwrap();
        let mut writer = &stream;
        while over.try_recv() == Err(crossbeam_channel::TryRecvError::Empty) {
            writer.write_all(&request).unwrap();
        }
        stream.shutdown(Shutdown::Both).unwrap();
        answers.join().unwrap();
    })
    .unwrap()
}

#[test]
fn greedy_clients_get_no_more_than_their_turn() {
    let daemon = Daemon::start();
    let (over, is_over) = bounded(0);
    let mut event = events::event();
    event["message"] = "x".repeat(300_000).into();
    // Refused requests do not write to the disk.
    event["level"] = "loud".into();
    let event = event.to_string();
    let upload =
        format!("POST {INGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{event}", event.len());
    let small = "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let clients: Vec<JoinHandle<()>> = [upload.into_bytes(), small.into_bytes()]
        .into_iter()
        .map(|request| greedy(daemon.addr(), request, is_over.clone()))
        .collect();
    daemon.wait_for("/stats", Duration::from_secs(10), |stats| {
        let refused = |status: &str| stats["door"]["refused"][status].as_u64();
        refused("404") > Some(1_000)
    });
    serves(&daemon);
    drop(over);
    clients.into_iter().for_each(|client| client.join().unwrap());
}

/// Connects from one of this machine's addresses, with little room for answers.
fn connect_from(source: [u8; 4], addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&addr.into()).unwrap();
    socket.into()
}

#[test]
fn one_address_has_no_more_connections_than_it_may() {
    let daemon = Daemon::builder().env("MAX_CONNECTIONS_PER_ADDRESS", 3).start();
    let asks = |stream: &mut TcpStream| {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    };
    let mut three: Vec<TcpStream> = (0..3).map(|_| connect_from([127, 0, 0, 2], daemon.addr())).collect();
    three.iter_mut().for_each(|stream| assert_eq!(asks(stream), "HTTP/1.1 200"));
    for _ in 0..5 {
        let mut fourth = connect_from([127, 0, 0, 2], daemon.addr());
        let mut said = String::new();
        fourth.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 503") && said.contains("Retry-After"), "{said}");
    }
    // Others have their own, and one that leaves makes room.
    let mut other = Client::connect(daemon.addr());
    assert_eq!(other.get("/livez").status, 200);
    assert_eq!(other.get("/stats").json()["door"]["refused_by_address"], 5);
    drop(three.pop());
    crate::support::poll(Duration::from_secs(5), "room for the fourth", || {
        (other.get("/stats").json()["door"]["connections"] == 3).then_some(())
    });
    assert_eq!(asks(&mut connect_from([127, 0, 0, 2], daemon.addr())), "HTTP/1.1 200");
    assert!(daemon.logged("MAX_CONNECTIONS_PER_ADDRESS"));
}
