//! A backlog goes back to Kafka while tills go on (F11): paced, in order, without slowing them down, and
//! kill -9 in the middle costs nothing. Rates and orders of all kinds are played in virtual time by
//! `src/delivery/tests/pace.rs`.

use std::collections::HashMap;
use std::time::Instant;

use super::*;
use crate::support::kafka::Version;
use crate::support::load::{Load, Until, paced_events};
use crate::support::stores::TOPIC;

const RATE: u64 = 2_000;
/// Keys of the backlog: each has many events, whose order counts.
const KEYS: usize = 40;
/// A latency below this is as good as any on a machine whose two cores are shared with broker, server and tills.
const FLOOR: Duration = Duration::from_millis(100);

/// Rows as a daemon of former days left them: this many, over all keys in turn, numbered.
fn fill_postgres(server: &Server, rows: u64) {
    server.sql(&format!(
        "INSERT INTO raw_logs (ingest_id, received_at, state, reason, instance, request_id, payload) \
         SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, now(), 'held', 'an outage', \
         'till-7', 'key-' || n % {KEYS}, convert_to(json_build_object('request_id', 'key-' || n % {KEYS}, \
         'number', n, 'message', repeat('x', 200))::text, 'UTF8') FROM generate_series(1, {rows}) n"
    ));
}

/// One till a key; its events are numbered.
fn fill_spool(daemon: &Daemon, events: usize) -> Report {
    let mut sent = Report::default();
    let mut client = daemon.client();
    for number in 0..events {
        let mut event = events::event();
        let key = format!("spool-key-{}", number % KEYS);
        event["request_id"] = key.clone().into();
        event["number"] = number.into();
        let answer = client.post_event(event.to_string());
        assert_eq!((answer.status, answer.header("X-Stored-In")), (202, Some("spool")));
        sent.unanswered.push(key);
    }
    sent
}

/// The numbers of each key's first copies, in the topic's order.
fn numbers_by_key(broker: &Broker) -> HashMap<String, Vec<u64>> {
    let mut numbers: HashMap<String, Vec<u64>> = HashMap::new();
    for record in broker.read_all(TOPIC) {
        let value: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
        if let Some(number) = value["number"].as_u64() {
            let of_key = numbers.entry(String::from_utf8(record.key.unwrap()).unwrap()).or_default();
            if !of_key.contains(&number) {
                of_key.push(number);
            }
        }
    }
    numbers
}

fn recovered(daemon: &Daemon) -> u64 {
    counter(daemon, "recovered_postgres") + counter(daemon, "recovered")
}

/// Watches the drain of `total` events for a second at a time: the most that went in any.
fn fastest_second(daemon: &Daemon, until: u64) -> u64 {
    let mut seen: Vec<(Instant, u64)> = Vec::new();
    let mut most = 0;
    poll(PATIENCE, "the drain to get on", || {
        let (now, moved) = (Instant::now(), recovered(daemon));
        let window = seen.iter().rev().find(|(at, _)| now - *at >= Duration::from_secs(1));
        if let Some((at, before)) = window {
            let per_second = (moved - before) as f64 / (now - *at).as_secs_f64();
            most = most.max(per_second as u64);
        }
        seen.push((now, moved));
        (moved >= until).then_some(())
    });
    most
}

#[test]
fn a_backlog_is_drained_at_its_rate_in_order_beside_live_events_and_through_kill_9() {
    let (rows, spooled) = if is_long() { (60_000, 6_000) } else { (8_000, 200) };
    let mut broker = Broker::start(Version::V3_9);
    let mut server = Server::start();
    let mut daemon = daemon_of(&broker.address(), Some(&server))
        .env("RECOVERY_RATE", RATE)
        .env("KAFKA_DEADLINE", "1s")
        .env("POSTGRES_DEADLINE", "1s")
        .start();
    state_is(&daemon, "kafka", "up");
    state_is(&daemon, "postgres", "up");
    let calm = Load::run(daemon.addr(), 4, Until::Elapsed(Duration::from_secs(2)), paced_events);
    broker.kill();
    server.kill();
    let mut sent = Report::default();
    until_stored_in(&daemon, &mut sent, "spool");
    sent.add(fill_spool(&daemon, spooled));
    server.restart();
    fill_postgres(&server, rows);
    sent.unanswered.extend((0..KEYS).map(|key| format!("key-{key}")));
    broker.restart();
    let total = rows + spooled as u64;
    daemon.wait_for("/stats", 2 * PATIENCE, |_| recovered(&daemon) > RATE / 2);

    let load = Load::start(daemon.addr(), 4, Until::Stopped, paced_events);
    let most = fastest_second(&daemon, total / 2);
    let busy = load.stop();
    assert!(most <= RATE + RATE / 10, "{most} a second, RECOVERY_RATE is {RATE}");
    let (normal, draining) = (calm.percentile(0.99), busy.percentile(0.99));
    eprintln!("at most {most} a second; p99 {normal:?} before, {draining:?} in the drain");
    assert!(draining < 2 * normal.max(FLOOR), "p99 {draining:?} in the drain, {normal:?} before");
    assert_eq!(busy.with_status(202), busy.answers.len());

    let load = Load::start(daemon.addr(), 4, Until::Stopped, paced_events);
    let moved = recovered(&daemon);
    daemon.wait_for("/stats", PATIENCE, |_| recovered(&daemon) > moved + RATE / 4);
    daemon.kill9();
    for report in [calm, busy, load.stop()] {
        sent.add(report);
    }
    assert!(waiting(&server) > 0, "it was killed in the middle");
    daemon.restart();
    all_in_kafka(&daemon, Some(&server));
    let found = Found::look(Some(&broker), &daemon.data_dir()).and_postgres(&server);
    assert_all_arrived(&found, &sent);
    let numbers = numbers_by_key(&broker);
    assert_eq!(numbers.values().map(Vec::len).sum::<usize>(), total as usize, "each of the backlog is there");
    for (key, numbers) in numbers {
        assert!(numbers.is_sorted(), "the order of {key}: {numbers:?}");
    }
    assert_balanced(&daemon);
}
