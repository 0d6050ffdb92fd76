//! Outages that last longer than the spool (F10): which events are kept, and that they are drained in order. Outages of
//! all kinds are played in virtual time by `src/delivery/tests/outages.rs`.

use std::time::Duration;

use serde_json::Value;

use crate::support::clock::WallClock;
use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::kafka::{Broker, Version};
use crate::support::load::{Load, Until};
use crate::support::proxy::Proxy;
use crate::support::stores::{TOPIC, rows};

const LIMIT: Duration = Duration::from_secs(60);
const HOURS: i64 = 72;

/// An event of which a small spool takes some 300.
fn large_event() -> Value {
    let mut event = events::event();
    event["stack"] = "s".repeat(1_000).into();
    event
}

fn large_events(_: usize) -> (String, Vec<u8>) {
    let event = large_event();
    (event["request_id"].as_str().expect("an id").to_owned(), event.to_string().into_bytes())
}

#[test]
fn three_days_without_kafka_and_postgres_keep_the_first_events_and_drain_them_in_order() {
    let mut broker = Broker::start(Version::V3_9);
    // One partition has one order.
    broker.create_topic(TOPIC, 1, &[]);
    broker.kill();
    let clock = WallClock::new();
    clock.set_off_by(-HOURS * 3_600);
    let settings = Daemon::builder()
        .env("KAFKA_BROKERS", broker.address())
        .env("KAFKA_DEADLINE", "1s")
        .env("POSTGRES_URL", format!("postgres://till:none@127.0.0.1:{}/logs", Proxy::reserve()))
        .env("POSTGRES_DEADLINE", "1s")
        .env("SPOOL_MAX_BYTES", "1MiB")
        .env("MAX_EVENT_BYTES", "64KiB")
        .env("RECOVERY_RATE", 0);
    let mut daemon = clock.drive(settings).start();
    let mut kept = Vec::new();
    let mut refused = 0;
    for hour in 0..HOURS {
        clock.set_off_by((hour - HOURS) * 3_600);
        if hour == 12 {
            daemon.kill9();
            daemon.restart();
        }
        let mut client = daemon.client();
        for _ in 0..12 {
            let answer = client.post_event(large_event().to_string());
            match answer.status {
                202 => kept.push(answer.header("X-Ingest-Id").expect("an id").to_owned()),
                503 => refused += 1,
                other => panic!("hour {hour}: {other}: {}", answer.text()),
            }
            assert!(answer.status == 202 || answer.header("Retry-After").is_some());
            assert!(refused == 0 || answer.status == 503, "nothing goes in behind a refused event");
        }
    }
    assert!(kept.len() > 200 && refused > 200, "{} kept, {refused} refused", kept.len());
    clock.set_off_by(0);
    let health = daemon.health();
    assert_eq!((&health["spool"]["full"], &health["status"]), (&true.into(), &"degraded".into()));
    assert_eq!(health["spool"]["held"], kept.len());
    let age_h = health["spool"]["oldest_held_age_s"].as_i64().map(|age_s| age_s / 3_600);
    assert!(age_h.is_some_and(|age_h| (HOURS - 1..=HOURS).contains(&age_h)), "{health}");
    assert_eq!(daemon.get("/readyz").status, 503);
    let held: Vec<_> = rows(&daemon.data_dir(), "raw_logs").into_iter().map(|row| row.ingest_id).collect();
    assert_eq!(held, kept, "the first are kept, in their order");

    broker.restart();
    daemon.wait_for("/health", LIMIT, |health| {
        health["kafka"]["state"] == "up" && health["spool"]["held"] == 0 && health["spool"]["full"] == false
    });
    let mut drained: Vec<_> =
        broker.read_all(TOPIC).iter().filter_map(|record| record.header("ingest_id")).collect();
    drained.dedup();
    assert_eq!(drained, kept, "drained from the first to the last");
    let stats = daemon.stats();
    assert_eq!(stats["ledger"]["balanced"], true, "{stats}");
    assert_eq!(daemon.client().post_event(events::event().to_string()).header("X-Stored-In"), Some("kafka"));
}

#[test]
fn a_spool_that_is_home_and_full_keeps_the_last_events_and_refuses_none() {
    let daemon = Daemon::builder().env("SPOOL_MAX_BYTES", "1MiB").env("MAX_EVENT_BYTES", "64KiB").start();
    let report = Load::run(daemon.addr(), 1, Until::Count(1_000), large_events);
    assert_eq!(report.with_status(202), 1_000);
    let sent: Vec<_> = report.accepted().filter_map(|answer| answer.ingest_id.clone()).collect();
    let kept: Vec<_> = rows(&daemon.data_dir(), "raw_logs").into_iter().map(|row| row.ingest_id).collect();
    assert!((100..900).contains(&kept.len()), "{} are kept", kept.len());
    assert_eq!(kept, sent[sent.len() - kept.len()..], "the oldest went first");
    assert_eq!(daemon.stats()["counters"]["spool_removed"], 1_000 - kept.len());
    assert_eq!(daemon.health()["spool"]["full"], false);
}
