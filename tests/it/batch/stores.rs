//! Large batches and their stores: several rounds, outages between them, no room, and others that wait.

use std::collections::{HashMap, HashSet};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{assert_result, gzip, post, some};
use crate::support::daemon::Daemon;
use crate::support::events::Body;
use crate::support::http::{BATCH, Client};
use crate::support::kafka::{Broker, Version};
use crate::support::ledger::Ledger;
use crate::support::load::{Load, Until, valid_events};
use crate::support::pause;
use crate::support::proxy::{Mode, behind_a_proxy};
use crate::support::stores::{TOPIC, rows};

const LIMIT: Duration = Duration::from_secs(60);

fn daemon(broker: &Broker) -> Daemon {
    let daemon = Daemon::builder().env("KAFKA_BROKERS", broker.address()).env("RECOVERY_RATE", 0).start();
    daemon.wait_until_up("kafka");
    daemon
}

/// Clients that send their batches one after the other; each `send` returns the ids in its batch.
fn senders(
    count: usize,
    batches: usize,
    daemon: &Daemon,
    send: fn(&mut Client) -> Vec<String>,
) -> Vec<JoinHandle<Vec<String>>> {
    let addr = daemon.addr();
    let sender = move || (0..batches).flat_map(|_| send(&mut Client::connect(addr))).collect();
    (0..count).map(|n| logs_ingest::host::thread::start(&format!("sender-{n}"), sender).unwrap()).collect()
}

fn ids(senders: Vec<JoinHandle<Vec<String>>>) -> Vec<String> {
    senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
}

#[test]
fn ten_thousand_events_reach_kafka_in_their_order_by_key() {
    let broker = Broker::builder(Version::V4_3).partitions(3).start();
    let daemon = daemon(&broker);
    let event = |n: usize| {
        let key = format!("\"till-{}\"", n % 7);
        Body::minimal().with("request_id", &key).with("message", &format!("\"{n}\"")).text()
    };
    let lines: Vec<String> = (0..10_000).map(event).collect();
    let response =
        daemon.client().post(BATCH, &[("Content-Encoding", "gzip")], gzip(lines.join("\n").as_bytes()));
    assert_eq!(
        (response.status, response.header("X-Stored-In")),
        (202, Some("kafka")),
        "{}",
        response.text()
    );
    assert_eq!(response.json()["accepted"], 10_000);
    let records = broker.read_all(TOPIC);
    assert_eq!(records.len(), 10_000);
    let mut last: HashMap<Vec<u8>, u64> = HashMap::new();
    for record in records {
        let value: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
        let number = value["message"].as_str().unwrap().parse().unwrap();
        let before = last.insert(record.key.unwrap(), number);
        assert!(before.is_none_or(|before| before + 7 == number), "{before:?} before {number}");
    }
    assert!(Ledger::settled(&daemon, LIMIT).balances());
}

#[test]
fn over_a_slow_link_large_batches_reach_kafka_once_and_none_goes_elsewhere() {
    let (broker, mut proxy) = behind_a_proxy(Broker::builder(Version::V4_3));
    let daemon = Daemon::builder()
        .env("KAFKA_BROKERS", proxy.addr())
        .env("KAFKA_DEADLINE", "9s")
        .env("SHUTDOWN_TIMEOUT", "30s")
        .start();
    daemon.wait_until_up("kafka");
    assert_eq!(daemon.client().post_event(Body::minimal().text()).status, 202);
    // A round of 2,000 takes much of the 3 s that one request may take, and the next round waits for it. In shorter times
    // a busy machine would count for more than the link.
    let piece = Duration::from_millis(45);
    proxy.set(Mode::Delay { min: piece, max: piece });
    let (texts, _) = some(6_000);
    let response = post(&daemon, texts.join("\n"));
    assert_eq!(
        (response.status, response.header("X-Stored-In")),
        (202, Some("kafka")),
        "{}",
        response.text()
    );
    proxy.set(Mode::Pass);
    assert_eq!(broker.read_all(TOPIC).len(), 6_001);
    assert!(Ledger::settled(&daemon, LIMIT).balances());
}

#[test]
fn what_kafka_refuses_costs_no_event_of_other_batches_under_way() {
    let broker = Broker::start(Version::V4_3);
    broker.create_topic(TOPIC, 3, &[("max.message.bytes", "300000")]);
    let daemon = Daemon::builder().env("KAFKA_BROKERS", broker.address()).patient().start();
    daemon.wait_until_up("kafka");
    let senders = senders(6, 5, &daemon, |client| {
        let (mut texts, _) = some(997);
        let huge = || Body::minimal().with("message", &format!("\"{}\"", "m".repeat(350_000)));
        let bad = [huge(), huge()];
        for (at, huge) in [100, 501].into_iter().zip(&bad) {
            texts.insert(at, huge.text());
        }
        let response = client.post(BATCH, &[], texts.join("\n"));
        let places = response.header("X-Stored-In");
        assert_eq!((response.status, places), (202, Some("kafka, dead-letter")), "{}", response.text());
        bad.map(|huge| huge.request_id).to_vec()
    });
    let bad: HashSet<String> = ids(senders).into_iter().collect();
    let dead: Vec<_> = rows(&daemon.data_dir(), "dead_letters");
    let dead_ids: HashSet<String> = dead.iter().map(|row| row.request_id.clone()).collect();
    assert_eq!((dead.len(), dead_ids == bad), (60, true), "the bad events and no others are dead letters");
    assert_eq!(broker.read_all(TOPIC).len(), 6 * 5 * 997);
    assert!(Ledger::settled(&daemon, LIMIT).balances());
}

#[test]
fn batches_sent_while_the_broker_dies_are_stored_completely_and_reach_it_later() {
    let mut broker = Broker::start(Version::V3_9);
    let daemon = daemon(&broker);
    // Together they have more events than one round takes, so that the next round begins before the last has ended.
    let senders = senders(3, 4, &daemon, |client| {
        let (texts, ids) = some(2_500);
        let response = client.post(BATCH, &[], texts.join("\n"));
        assert_eq!(response.status, 202, "{}", response.text());
        ids
    });
    daemon.wait_for("/stats", LIMIT, |stats| stats["ledger"]["accepted"].as_u64() > Some(2_500));
    broker.kill();
    let sent = ids(senders);
    broker.restart();
    daemon.wait_for("/health", LIMIT, |health| {
        health["kafka"]["state"] == "up" && health["spool"]["held"] == 0
    });
    let keys =
        broker.read_all(TOPIC).into_iter().map(|record| String::from_utf8(record.key.unwrap()).unwrap());
    let found: HashSet<String> = keys.collect();
    assert_eq!(sent.iter().filter(|id| !found.contains(*id)).count(), 0);
    assert_eq!(daemon.stats()["ledger"]["balanced"], true, "{}", daemon.stats());
}

#[test]
fn without_a_store_for_the_rest_it_is_503_and_a_repeat_makes_no_new_ids() {
    let daemon = Daemon::builder()
        .env("KAFKA_BROKERS", "127.0.0.1:9")
        .env("MAX_EVENT_BYTES", "1KiB")
        .env("SPOOL_MAX_BYTES", "2MiB")
        .start();
    let (texts, _) = some(10_000);
    let lines = texts.join("\n");
    let send = || daemon.client().post(BATCH, &[("Idempotency-Key", "b")], &lines);
    let response = send();
    assert_eq!(response.status, 503, "{}", response.text());
    assert!(response.header("Retry-After").is_some());
    let stored = rows(&daemon.data_dir(), "raw_logs");
    assert!(!stored.is_empty() && stored.len() < 10_000, "{}", stored.len());
    let part = format!("{} of 10000 events are stored", stored.len());
    assert!(response.detail().contains(&part), "{}", response.text());
    assert_eq!(send().status, 503);
    let again = rows(&daemon.data_dir(), "raw_logs");
    let ids = |rows: &[crate::support::stores::Row]| {
        rows.iter().map(|row| row.ingest_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&again)[..stored.len()], ids(&stored));
    let distinct: HashSet<&str> = again.iter().map(|row| row.request_id.as_str()).collect();
    assert_eq!(distinct.len(), again.len());
    daemon.wait_for("/stats", LIMIT, |stats| stats["ledger"]["in_flight"] == 0);
    assert_eq!(daemon.stats()["ledger"]["balanced"], true, "{}", daemon.stats());
}

#[test]
fn single_events_do_not_wait_for_large_batches() {
    let daemon = Daemon::start();
    let (texts, _) = some(10_000);
    let lines = texts.join("\n");
    let load = Load::start(daemon.addr(), 4, Until::Stopped, valid_events);
    for _ in 0..4 {
        assert_result(&post(&daemon, &lines), 202, "accepted", 10_000, 0);
        pause(Duration::from_millis(50));
    }
    let report = load.stop();
    assert!(report.answers.len() > 50 && report.answers.iter().all(|answer| answer.status == 202));
    // A round of 2,000 rows in an unoptimised build, and the round of the event itself.
    let p99 = report.percentile(0.99);
    assert!(p99 < Duration::from_secs(1), "p99 {p99:?} of {}", report.answers.len());
}
