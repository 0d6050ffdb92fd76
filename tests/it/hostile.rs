//! Clients that are slow, many, broken or hostile, against the whole daemon with a real spool. Each time a healthy client
//! goes on being served, and what the daemon uses stays below its caps.

mod crowd;
mod huge;
mod storm;
mod stuck;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use logs_ingest::host::thread;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::healthy::healthy;
use crate::support::http::INGEST;
use crate::support::load::{Load, Report, Until, valid_events};
use crate::support::stores::Found;

/// Default caps: MAX_CONNECTIONS, 3 descriptors for each of UPSTREAM_CONNECTIONS, and the rest.
const FDS_MAX: usize = 1_024 + 3 * 256 + 128;
const THREADS_MAX: u64 = 256 + 64;

/// A client is served in time, and the daemon is below its caps.
fn serves(daemon: &Daemon) -> Report {
    let report = healthy(daemon.addr());
    assert!(daemon.fds() <= FDS_MAX, "{} descriptors", daemon.fds());
    assert!(daemon.threads() <= THREADS_MAX, "{} threads", daemon.threads());
    assert!(daemon.rss_kib() < 64 * 1024, "{} KiB resident", daemon.rss_kib());
    report
}

/// Lets this test process have as many descriptors as its connections need.
fn allow_descriptors(need: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < need) {
        let raised = Rlimit { current: Some(need), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).expect("the hard limit of descriptors allows this test");
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect_timeout(&addr, Duration::from_secs(10)).expect("the listener takes connections")
}

#[test]
fn five_thousand_idle_connections_make_room_for_a_healthy_client() {
    allow_descriptors(6_000);
    let daemon = Daemon::start();
    let idle: Vec<TcpStream> = (0..5_000).map(|_| connect(daemon.addr())).collect();
    let report = serves(&daemon);
    drop(idle);
    Found::look(None, &daemon.data_dir()).assert_safe(&report);
}

#[test]
fn dripping_heads_and_stalled_bodies_cost_only_themselves() {
    let daemon = Daemon::builder().env("HEAD_TIMEOUT", "3s").env("BODY_TIMEOUT", "3s").start();
    let addr = daemon.addr();
    let mut stalled: Vec<TcpStream> = (0..200).map(|_| connect(addr)).collect();
    for client in &mut stalled {
        client
            .write_all(b"POST /api/logs/ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n{\"a")
            .unwrap();
    }
    let mut dripping: Vec<TcpStream> = (0..100).map(|_| connect(addr)).collect();
    let (over, is_over) = bounded::<()>(0);
    let drip = thread::start("drip", move || {
        // A byte every 200 ms, until the daemon has closed all of them, which should be in the third second.
        for byte in b"POST /api/logs/ingest HTTP/1.1\r\nHost: x\r\nX-Slow: ".iter().cycle() {
            dripping.retain_mut(|client| client.write_all(&[*byte]).is_ok());
            let gave_up =
                is_over.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Disconnected);
            if dripping.is_empty() || gave_up {
                break;
            }
        }
        dripping.len()
    })
    .unwrap();
    serves(&daemon);
    daemon.wait_for("/stats", Duration::from_secs(10), |stats| {
        stats["door"]["refused"]["408"].as_u64() >= Some(300)
    });
    daemon.wait_for("/stats", Duration::from_secs(10), |stats| {
        stats["door"]["connections"].as_u64() < Some(10)
    });
    crate::support::poll(Duration::from_secs(10), "every drip to be closed", || {
        drip.is_finished().then_some(())
    });
    drop(over);
    assert_eq!(drip.join().unwrap(), 0, "a drip does not renew its time");
    serves(&daemon);
}

#[test]
fn clients_that_never_read_cost_only_themselves() {
    let daemon = Daemon::builder().env("BODY_TIMEOUT", "2s").start();
    let request = format!("GET /stats HTTP/1.1\r\nHost: x\r\n\r\n{}", "");
    let mut deaf: Vec<TcpStream> = (0..8).map(|_| connect(daemon.addr())).collect();
    for client in &mut deaf {
        client.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        // Until the daemon stops reading because its answers are not read.
        for _ in 0..20_000 {
            if client.write_all(request.as_bytes()).is_err() {
                break;
            }
        }
    }
    serves(&daemon);
    daemon.wait_for("/stats", Duration::from_secs(20), |stats| {
        stats["door"]["connections"].as_u64() < Some(10)
    });
}

#[test]
fn lengths_that_can_not_be_and_pipelined_events_and_bursts_are_survived() {
    let daemon = Daemon::start();
    for length in ["30000000000", "18446744073709551615", "99999999999999999999999"] {
        for body in ["", "{\"request_id\":"] {
            let mut client = daemon.client();
            let head = format!("POST {INGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
            client.send_raw(head).unwrap();
            let answer = client.read_response().unwrap();
            assert!(matches!(answer.status, 413 | 400), "{length}: {}", answer.status);
        }
    }
    let mut client = daemon.client();
    let (first, second) = (events::event(), events::event());
    let post = |event: &serde_json::Value| {
        let body = event.to_string();
        format!("POST {INGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    client.send_raw(format!("{}{}", post(&first), post(&second))).unwrap();
    for event in [&first, &second] {
        let answer = client.read_response().unwrap();
        assert_eq!((answer.status, &answer.json()["request_id"]), (202, &event["request_id"]));
    }
    let burst = Load::run(daemon.addr(), 64, Until::Count(64), valid_events);
    assert_eq!((burst.with_status(202), burst.connection_errors), (64, 0));
    serves(&daemon);
}

/// F15: the descriptors are used up, then free again.
#[test]
fn listening_resumes_by_itself_when_descriptors_are_free_again() {
    let daemon = Daemon::start();
    // Open what is opened on demand, so that the connections use up their own share.
    let warm_up = serves(&daemon);
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
    let limit = daemon.fds() as u64 + 4;
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(limit), maximum: Some(limit + 10_000) }).unwrap();
    let crowd: Vec<TcpStream> = (0..100).map(|_| connect(daemon.addr())).collect();
    // New connections make room for themselves among the idle ones, or wait for it.
    let mut report = Load::run(daemon.addr(), 2, Until::Count(200), valid_events);
    assert!(
        report.with_status(202) >= 190,
        "{} of 200 are stored while descriptors are short",
        report.with_status(202)
    );
    drop(crowd);
    let began = Instant::now();
    let event = events::event();
    let answer = daemon.client().post_event(event.to_string());
    assert_eq!(answer.status, 202);
    report.add(warm_up);
    report.unanswered.push(event["request_id"].as_str().unwrap().to_owned());
    assert!(began.elapsed() < Duration::from_secs(5), "listening again after {:?}", began.elapsed());
    Found::look(None, &daemon.data_dir()).assert_safe(&report);
}

/// The inner server's socket is taken from under it, again and again: it is replaced, and no worker is lost.
#[test]
fn an_inner_server_that_is_gone_is_replaced_and_no_worker_is_lost() {
    let mut daemon = Daemon::builder().env("WORKERS", 1).start();
    for round in 0..3 {
        // It is gone already if the pool has the connections that it needs.
        let _ = std::fs::remove_file(daemon.data_dir().join("private/http.sock"));
        let burst = Load::run(daemon.addr(), 40, Until::Count(40), valid_events);
        assert!(burst.answers.len() + burst.unanswered.len() == 40, "round {round}: {burst:?}");
        crate::support::poll(Duration::from_secs(20), "events to be stored again", || {
            (daemon.client().post_event(events::event().to_string()).status == 202).then_some(())
        });
    }
    assert!(daemon.logged("was replaced"));
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.log_text());
}

/// A client that stalls in the middle of a body does not keep the daemon from stopping in time.
#[test]
fn a_stalled_client_does_not_hold_up_a_stop() {
    let mut daemon = Daemon::builder().env("SHUTDOWN_TIMEOUT", "4s").start();
    let mut stalled = connect(daemon.addr());
    stalled.write_all(b"POST /api/logs/ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n{").unwrap();
    daemon.wait_for("/stats", Duration::from_secs(5), |stats| stats["door"]["connections"] == 2);
    let began = Instant::now();
    daemon.signal(rustix::process::Signal::TERM);
    let status = daemon.wait_for_exit(Duration::from_secs(6));
    assert_eq!(status.code(), Some(0), "{}", daemon.log_text());
    assert!(began.elapsed() < Duration::from_millis(4_500), "{:?}", began.elapsed());
}
