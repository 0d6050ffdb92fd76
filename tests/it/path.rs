//! An event's way to Kafka on a real broker: what arrives, and the rules of the path.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::http::INGEST;
use crate::support::kafka::{Broker, Version, read_by_java};
use crate::support::ledger::Ledger;
use crate::support::load::{Load, Until, valid_events};
use crate::support::stores::{Found, TOPIC};

fn daemon(broker: &Broker) -> Daemon {
    let daemon = Daemon::builder()
        .env("KAFKA_BROKERS", broker.address())
        .env("INSTANCE", "back office")
        .patient()
        .start();
    daemon.wait_until_up("kafka");
    daemon
}

#[test]
fn what_arrives_in_kafka_is_what_the_contract_says() {
    let broker = Broker::start(Version::V3_9);
    let daemon = daemon(&broker);
    let body = concat!(
        "\u{feff}{ \"extra\" : [1.10, 1e5,  true], \"level\":\"info\", \"price\":\" 12.50 \", \"quantity\":\"007\",",
        " \"request_id\":\"till-7 \\u00fc\", \"service\":\"till\", \"env\":\"shop\", \"action\":\"sale\",",
        " \"timestamp\":\"2026-01-31 09:15\", \"message\":\"a\\u0000b\", \"user_id\":null,",
        " \"raw_data\":{ \"n\" : 0.10000000000000000000001 } }"
    );
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer =
        daemon.client().post(INGEST, &[("traceparent", parent), ("X-Request-ID", "req 1")], body.as_bytes());
    assert_eq!((answer.status, answer.header("X-Stored-In")), (202, Some("kafka")), "{}", answer.text());
    let records = broker.read_all(TOPIC);
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert_eq!(record.key.as_deref(), Some("till-7 ü".as_bytes()));
    assert_eq!(
        String::from_utf8(record.value.clone()).unwrap(),
        concat!(
            "{\"request_id\":\"till-7 ü\",\"service\":\"till\",\"env\":\"shop\",\"timestamp\":\"2026-01-31 09:15\",",
            "\"action\":\"sale\",\"level\":\"info\",\"message\":\"a\\u0000b\",\"user_id\":null,\"price\":12.5,\"quantity\":7,",
            "\"raw_data\":{ \"n\" : 0.10000000000000000000001 },\"extra\":[1.10, 1e5,  true]}"
        )
    );
    assert_eq!(record.header("ingest_id").as_deref(), answer.header("X-Ingest-Id"));
    assert_eq!(record.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(record.header("traceparent").as_deref(), Some(parent));
    assert_eq!(record.header("x-request-id").as_deref(), Some("req 1"));
    assert_eq!(record.header("instance").as_deref(), Some("back office"));
    assert_eq!(record.header("client"), None, "no keys are used");
    let received = chrono::DateTime::parse_from_rfc3339(&record.header("received_at").unwrap()).unwrap();
    assert_eq!(received.timestamp_millis(), record.timestamp);
    let lines = read_by_java(&broker, TOPIC, 1);
    assert!(
        lines[0].contains("till-7 ü") && lines[0].contains("ingest_id:"),
        "Kafka's own reader sees: {lines:?}"
    );
}

#[test]
fn every_event_of_a_load_is_in_the_topic_once_and_the_books_balance() {
    let broker = Broker::builder(Version::V4_3).partitions(3).start();
    let daemon = daemon(&broker);
    let report = Load::run(daemon.addr(), 32, Until::Count(3_000), valid_events);
    assert_eq!(report.with_status(202), 3_000);
    let found = Found::look(Some(&broker), &daemon.data_dir());
    found.assert_safe(&report);
    assert_eq!(found.in_kafka.len(), 3_000);
    assert!(found.in_kafka.values().all(|times| *times == 1), "nothing failed, so nothing is there twice");
    let stats = daemon.stats();
    let ledger = Ledger::from_stats(&stats);
    assert!(ledger.balances() && ledger.sent_to_kafka == 3_000, "{stats}");
    let rounds = stats["counters"]["rounds"].as_u64().unwrap();
    assert!(rounds < 3_000, "under load events share rounds: {rounds}");
}

#[test]
fn an_old_broker_is_served_by_the_classic_client() {
    let broker = Broker::start(Version::V2_8);
    let daemon = daemon(&broker);
    assert_eq!(daemon.health()["kafka"]["client"], "classic");
    let event = events::event();
    let answer = daemon.client().post_event(event.to_string());
    assert_eq!((answer.status, answer.header("X-Stored-In")), (202, Some("kafka")));
    let records = broker.read_all(TOPIC);
    assert_eq!(records[0].key.as_deref(), event["request_id"].as_str().map(str::as_bytes));
    let value: Value = serde_json::from_slice(&records[0].value).unwrap();
    assert_eq!(value["message"], event["message"]);
}

#[test]
fn a_broker_too_new_for_the_classic_client_is_named_and_events_go_to_the_spool() {
    let broker = Broker::start(Version::V4_3);
    let daemon =
        Daemon::builder().env("KAFKA_BROKERS", broker.address()).env("KAFKA_CLIENT", "classic").start();
    let answer = daemon.client().post_event(events::event().to_string());
    assert_eq!((answer.status, answer.header("X-Stored-In")), (202, Some("spool")));
    let line = daemon.wait_for_log("too new", Duration::from_secs(10));
    assert!(line.contains("KAFKA_CLIENT"), "{line}");
}

#[test]
fn a_topic_that_may_not_be_created_is_named_and_used_once_it_is_there() {
    let broker = Broker::builder(Version::V3_9).auto_create(false).start();
    let daemon = Daemon::builder().env("KAFKA_BROKERS", broker.address()).start();
    let began = std::time::Instant::now();
    let line = daemon.wait_for_log("does not exist", Duration::from_secs(10));
    assert!(line.contains("'pos-logs'"), "{line}");
    assert!(began.elapsed() < Duration::from_secs(3), "named after {:?}", began.elapsed());
    let answer = daemon.client().post_event(events::event().to_string());
    assert_eq!((answer.status, answer.header("X-Stored-In")), (202, Some("spool")));
    broker.create_topic(TOPIC, 1, &[]);
    daemon.wait_for("/health", Duration::from_secs(20), |health| health["spool"]["held"] == 0);
    assert_eq!(broker.read_all(TOPIC).len(), 1);
}

#[test]
fn an_event_that_the_topic_refuses_is_kept_as_a_dead_letter_and_the_rest_goes_on() {
    let broker = Broker::start(Version::V3_9);
    broker.create_topic(TOPIC, 1, &[("max.message.bytes", "20000")]);
    let daemon = daemon(&broker);
    // One bad in 500, sent by many at once so that they share rounds.
    let make = |number: usize| {
        let mut event = events::event();
        if number == 7 {
            event["message"] = json!("x".repeat(100_000));
        }
        (event["request_id"].as_str().unwrap().to_owned(), event.to_string().into_bytes())
    };
    let report = Load::run(daemon.addr(), 25, Until::Count(500), make);
    assert_eq!(report.with_status(202), 500);
    let dead = report.accepted().filter(|answer| answer.stored_in.as_deref() == Some("dead-letter")).count();
    let kafka = report.accepted().filter(|answer| answer.stored_in.as_deref() == Some("kafka")).count();
    assert_eq!((dead, kafka), (25, 475), "each of the 25 clients sent one bad event");
    let found = Found::look(Some(&broker), &daemon.data_dir());
    found.assert_safe(&report);
    assert_eq!((found.dead.len(), found.in_kafka.len()), (25, 475));
    assert!(Ledger::of(&daemon).balances());
    assert!(daemon.logged("max.message.bytes"), "the reason is said");
}

#[test]
fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
    let broker = Broker::start(Version::V3_9);
    let daemon = Daemon::builder()
        .env("KAFKA_BROKERS", broker.address())
        .env("KAFKA_DEADLINE", "10s")
        .env("SHUTDOWN_TIMEOUT", "20s")
        .env("QUEUE_EVENTS", 4)
        .start();
    daemon.wait_until_up("kafka");
    broker.freeze();
    let report = Load::run(daemon.addr(), 24, Until::Elapsed(Duration::from_secs(3)), valid_events);
    let refused: Vec<_> = report.answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(refused.len() > 20, "{} of {} are refused", refused.len(), report.answers.len());
    let slow = refused.iter().filter(|answer| answer.latency > Duration::from_secs(1)).count();
    assert_eq!(slow, 0, "a refusal does not wait for the broker");
    broker.thaw();
    Found::look(Some(&broker), &daemon.data_dir()).assert_safe(&report);
}
