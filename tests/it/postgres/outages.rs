//! The server does not answer, or is gone: the caller is free within the deadline, and nothing that was
//! answered `Ok` is lost (F9).

use super::*;
use crate::support::proxy::{Mode, Proxy};

#[test]
fn a_frozen_server_is_left_within_the_deadline_and_found_again() {
    let bench = Bench::new();
    let mut store = bench.connect_within(SHORT);
    hold(&mut store, 0..3);
    bench.server.freeze();
    let why = bench.append_fails(&mut store, SHORT, 3..6);
    assert!(why.contains("no answer within the deadline"), "{why}");

    let started = Instant::now();
    let why = bench.append_fails(&mut store, Duration::ZERO, 6..7);
    assert!(why.contains("given up"), "{why}");
    drop(store);
    let why = bench.refused(&bench.server.url());
    assert!(why.contains("still waits"), "{why}");
    assert!(started.elapsed() < MARGIN, "nobody waits for what was left behind");

    bench.server.thaw();
    let mut store = bench.connect_again();
    hold(&mut store, 3..7);
    // The batch that was left behind may have gone in after all, before its repeat or not at all.
    let mut rows = numbers(&held(&mut store));
    rows.sort_unstable();
    assert_eq!(rows, [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_connection_to_a_frozen_server_is_given_up_within_the_deadline() {
    let bench = Bench::new();
    bench.server.freeze();
    let started = Instant::now();
    let error = connect(&settings(&bench.server.url(), SHORT)).err().unwrap();
    assert!(bench.down(&error).contains("cannot connect: no answer"), "{error}");
    assert!(started.elapsed() < SHORT + MARGIN);
    bench.server.thaw();
    hold(&mut bench.connect_again(), [1]);
}

#[test]
fn an_idle_connection_to_a_frozen_server_is_dropped_at_once() {
    let bench = Bench::new();
    let store = bench.connect();
    bench.server.freeze();
    let started = Instant::now();
    drop(store);
    assert!(started.elapsed() < MARGIN, "{:?}", started.elapsed());
    bench.server.thaw();
    hold(&mut bench.connect_again(), [1]);
}

#[test]
fn a_killed_server_has_every_event_that_it_answered_for() {
    let mut bench = Bench::new();
    let mut store = bench.connect();
    for start in (0..200).step_by(20) {
        hold(&mut store, start..start + 20);
    }
    bench.server.kill();
    let started = Instant::now();
    let why = bench.append_fails(&mut store, DEADLINE, 200..203);
    assert!(why.contains("check POSTGRES_URL"), "{why}");
    let why = bench.refused(&bench.server.url());
    assert!(why.contains("refused"), "{why}");
    assert!(started.elapsed() < MARGIN, "a dead server is seen at once");

    bench.server.restart();
    bench.append_fails(&mut store, DEADLINE, 200..203);
    drop(store);
    let mut store = bench.connect();
    hold(&mut store, 200..203);
    assert_eq!(numbers(&held(&mut store)), (0..203).collect::<Vec<u64>>());
}

#[test]
fn a_server_that_is_killed_while_events_go_in_loses_none_that_it_answered_for() {
    let mut bench = Bench::new();
    let mut acked: Vec<u64> = Vec::new();
    for round in 0..5_u64 {
        let mut store = bench.connect_again();
        let writer = thread::start("writer", move || {
            let mut acked = Vec::new();
            for n in round * 1_000_000.. {
                if store.append(&batch([n]), Standing::Held, "kafka is down")[0].is_err() {
                    return acked;
                }
                acked.push(n);
            }
            acked
        })
        .unwrap();
        let first = (round * 1_000_000).to_string();
        let arrived = format!("SELECT count(*) > 20 FROM raw_logs WHERE quantity >= {first}");
        poll(PATIENCE, "some events to arrive", || (bench.server.value(&arrived) == "t").then_some(()));
        bench.server.kill();
        acked.extend(writer.join().unwrap());
        bench.server.restart();
    }
    let stored = numbers(&held(&mut bench.connect_again()));
    let lost: Vec<&u64> = acked.iter().filter(|n| !stored.contains(n)).collect();
    assert!(lost.is_empty(), "of {} lost {lost:?}", acked.len());
    assert!(stored.len() <= acked.len() + 5, "at most the last of each round was not answered for");
}

#[test]
fn a_connection_that_the_server_ends_is_replaced() {
    let bench = Bench::new();
    let mut store = bench.connect();
    bench
        .server
        .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'logs-ingest'");
    bench.append_fails(&mut store, DEADLINE, 0..3);
    drop(store);
    hold(&mut bench.connect(), 0..3);
}

#[test]
fn a_network_that_swallows_everything_is_left_within_the_deadline() {
    let bench = Bench::new();
    let mut proxy = Proxy::start(([127, 0, 0, 1], bench.server.port()).into());
    let port = proxy.addr().port();
    let url = bench.server.url().replace(&bench.server.port().to_string(), &port.to_string());
    for mode in [Mode::Blackhole, Mode::HangAfterRequest] {
        let connected = poll(PATIENCE, "a connection", || connect(&settings(&url, SHORT)).ok());
        let mut store = connected.store;
        proxy.set(mode);
        let started = Instant::now();
        let outcomes = store.append(&batch(0..3), Standing::Held, "kafka is down");
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(StoreError::Unavailable(..)))));
        assert!(started.elapsed() < SHORT + MARGIN, "{mode:?}: {:?}", started.elapsed());
        proxy.set(Mode::Pass);
        proxy.cut();
    }
    // What the second had done without an answer is not done twice.
    let mut store = bench.connect_again();
    hold(&mut store, 0..3);
    assert_eq!(numbers(&held(&mut store)), [0, 1, 2]);
}
