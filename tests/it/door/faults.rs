//! Too many connections, too few descriptors, slow storage, an inner server that dies, and a stop in the middle of all
//! that.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use logs_ingest::door::{Options, Settings};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::door::inner::{
    Client, House, Inner, PATIENCE, post, post_to, release, settings, wait_until, with,
};

fn allow_descriptors(count: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum }).unwrap();
}

fn hold(house: &House, count: usize) -> (Vec<Client>, Vec<tiny_http::Request>) {
    let ask = |_| {
        let mut client = house.client();
        client.send(post_to("/api/logs/ingest?hold", b"{}"));
        (client, house.held.recv_timeout(PATIENCE).unwrap())
    };
    (0..count).map(ask).unzip()
}

/// Runs one test of this file in a process of its own.
fn in_a_child(test: &str) -> bool {
    if std::env::var_os("DOOR_TEST_CHILD").is_some() {
        return true;
    }
    let name = format!("door::faults::{test}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env("DOOR_TEST_CHILD", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

#[test]
fn thousands_of_idle_connections_make_room_for_others() {
    if !in_a_child("thousands_of_idle_connections_make_room_for_others") {
        return;
    }
    allow_descriptors(12_000);
    let house = House::new(settings());
    let mut idle: Vec<TcpStream> = Vec::new();
    for nth in 0..5_000 {
        idle.push(TcpStream::connect(house.address).unwrap());
        if nth % 100 == 0 {
            // A client that finds the backlog full waits for a second, whoever listens.
            wait_until("the backlog is empty", || house.door().figures().accepted >= nth);
            house.serves();
        }
    }
    house.serves();
    wait_until("all were accepted", || house.door().figures().accepted >= 5_000);
    let figures = house.door().figures();
    assert!(figures.connections <= 1_024, "{} connections", figures.connections);
    assert!(figures.evicted >= 5_000 - 1_024, "{} evicted", figures.evicted);
    // The ones that came last are still there, the first are not.
    assert!(Client::over(idle.swap_remove(0)).is_gone());
    let mut last = Client::over(idle.pop().unwrap());
    last.send(post(b"{}"));
    assert_eq!(last.answer().status, 202);
}

#[test]
fn only_when_all_are_in_mid_request_is_a_new_one_refused() {
    let house = House::new(with(Options { max_connections: 8, ..settings().options }));
    let (mut clients, held) = hold(&house, 7);
    let mut idle = house.client();
    idle.send(post(b"{}"));
    assert_eq!(idle.answer().status, 202);
    house.serves();
    assert!(idle.is_gone());
    let (mut eighth, last) = hold(&house, 1);
    for _ in 0..3 {
        let mut refused = house.client();
        refused.send(post(b"{}"));
        let answer = refused.answer();
        assert_eq!((answer.status, answer.header("Connection")), (503, Some("close")));
        let seconds: u32 = answer.header("Retry-After").unwrap().parse().unwrap();
        assert!((1..=5).contains(&seconds));
        assert!(refused.is_closed());
    }
    held.into_iter().chain(last).for_each(|request| release(request, b""));
    for client in clients.iter_mut().chain(&mut eighth) {
        assert_eq!(client.answer().status, 202);
    }
    house.serves();
}

#[test]
fn running_out_of_descriptors_is_survived() {
    if !in_a_child("running_out_of_descriptors_is_survived") {
        return;
    }
    let house = House::new(with(Options { max_connections: 10_000, ..settings().options }));
    let (mut busy, held) = hold(&house, 12);
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    // Each client below takes two descriptors of this process, its own and the door's.
    allow_descriptors(used + 61);
    let mut clients = Vec::new();
    while house.door().figures().accept_errors == 0 {
        clients.push(TcpStream::connect(house.address).unwrap());
        wait_until("it is accepted, or cannot be", || {
            let figures = house.door().figures();
            figures.accepted >= 12 + clients.len() as u64 || figures.accept_errors > 0
        });
    }
    wait_until("an idle one made room", || house.door().figures().accepted >= 12 + clients.len() as u64);
    assert!(house.door().figures().evicted > 0);
    let rest: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    // Nothing but the door's reserve is left now: enough for one more connection to the inner server.
    let mut last = clients.pop().unwrap();
    last.write_all(&post_to("/api/logs/ingest?hold", b"{}")).unwrap();
    let thirteenth = house.held.recv_timeout(PATIENCE).unwrap();
    held.into_iter().chain([thirteenth]).for_each(|request| release(request, b""));
    for client in &mut busy {
        assert_eq!(client.answer().status, 202);
    }
    drop((clients, rest));
    assert_eq!(Client::over(last).answer().status, 202);
    wait_until("only the busy ones are left", || house.door().figures().connections <= 12);
    // More requests at once than connections to the inner server: new ones can be opened again, too.
    let (mut many, held) = hold(&house, 15);
    held.into_iter().for_each(|request| release(request, b""));
    many.iter_mut().for_each(|client| assert_eq!(client.answer().status, 202));
    house.serves();
    assert_eq!(house.door().figures().rebuilds, 0, "the inner server never noticed");
}

#[test]
fn health_answers_while_all_ingest_connections_wait_for_storage() {
    let house = House::new(settings());
    let (mut clients, held) = hold(&house, settings().options.upstream_connections - 4);
    assert_eq!(house.door().figures().waiting, 0);
    let mut waiting: Vec<_> = (0..20).map(|_| house.client()).collect();
    waiting.iter_mut().for_each(|client| client.send(post(b"{}")));
    wait_until("they wait", || house.door().figures().waiting == 20);
    let mut health = house.client();
    for _ in 0..100 {
        health.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(health.answer().status, 202);
    }
    assert_eq!(house.door().figures().waiting, 20);
    // One that leaves while it waits is forgotten.
    drop(waiting.pop());
    let gone = clients.pop();
    drop(gone);
    held.into_iter().for_each(|request| release(request, b""));
    for client in clients.iter_mut().chain(&mut waiting) {
        assert_eq!(client.answer().status, 202);
    }
    house.serves();
    assert_eq!(house.door().figures().upstream_lost, 0);
}

#[test]
fn who_waits_too_long_for_its_turn_is_told_so() {
    let house = House::new(with(Options { upstream_connections: 4 + 1, ..settings().options }));
    let (mut clients, held) = hold(&house, 1);
    let mut waiting = house.client();
    waiting.send(post(b"{}"));
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.header("Connection")), (503, None));
    assert!(answer.text().contains("nothing was stored"), "{}", answer.text());
    held.into_iter().for_each(|request| release(request, b""));
    assert_eq!(clients[0].answer().status, 202);
    waiting.send(post(b"{}"));
    assert_eq!(waiting.answer().status, 202);
    house.holds_nothing();
}

#[test]
fn an_answer_that_does_not_come_is_not_waited_for() {
    let house = House::new(Settings { upstream_timeout: Duration::from_millis(400), ..settings() });
    let (mut clients, held) = hold(&house, 5);
    house.serves();
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("may have been stored or not"), "{}", answer.text());
        assert!(answer.header("Retry-After").is_some());
        client.send(post(b"{}"));
        assert_eq!(client.answer().status, 202);
    }
    assert_eq!(house.door().figures().upstream_lost, 5);
    drop(held);
    // One that the inner server drops is a bug, and is answered as one.
    let mut client = house.client();
    client.send(post_to("/api/logs/ingest?drop", b"{}"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (500, "{\"detail\":\"Internal Server Error\"}"));
    house.serves();
}

#[test]
fn a_server_that_died_is_replaced_and_the_new_one_is_used() {
    let mut house = House::new(settings());
    house.serves();
    for round in 0..2 {
        let (mut clients, held) = hold(&house, 3);
        // Its threads stop reading, its connections stay open: silence.
        house.inner.take().unwrap().stop();
        house.rebuild.recv_timeout(PATIENCE).unwrap();
        let _ = std::fs::remove_file(&house.path);
        house.inner = Some(Inner::start(&house.path, &house.hold));
        wait_until("it is in use", || {
            let mut client = house.client();
            client.send(post(b"{}"));
            client.answer().status == 202
        });
        house.serves();
        // Requests that the old one had taken are still answered.
        held.into_iter().for_each(|request| release(request, b""));
        clients.iter_mut().for_each(|client| assert_eq!(client.answer().status, 202));
        house.serves();
        assert!(house.door().figures().rebuilds > round);
    }
}

#[test]
fn a_stop_answers_what_has_begun() {
    let house = House::new(settings());
    let (mut clients, held) = hold(&house, 20);
    let mut idle = house.client();
    idle.send(post(b"{}"));
    assert_eq!(idle.answer().status, 202);
    let bytes = post(b"{\"half\":1}");
    let mut half = house.client();
    half.send(&bytes[..bytes.len() - 4]);
    wait_until("all have begun", || house.door().figures().requests == 22);
    assert!(!house.door().is_empty());
    house.door().close_listeners();
    assert!(idle.is_closed());
    wait_until("nobody is let in", || TcpStream::connect(house.address).is_err());
    assert!(!house.door().is_empty());
    half.send(&bytes[bytes.len() - 4..]);
    held.into_iter().for_each(|request| release(request, b""));
    for client in clients.iter_mut().chain([&mut half]) {
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("Connection")), (202, Some("close")));
        assert!(client.is_closed());
    }
    wait_until("it is empty", || house.door().is_empty());
    house.holds_nothing();
}

#[test]
fn a_stop_need_not_wait_for_anyone() {
    let mut house = House::new(settings());
    let (mut clients, held) = hold(&house, 3);
    let beat = house.door().figures().heartbeat_ms;
    wait_until("the loop turns by itself", || house.door().figures().heartbeat_ms > beat);
    house.door.take().unwrap().stop();
    assert!(clients.iter_mut().all(Client::is_gone));
    drop(held);
}
