//! The broker refuses, dies, hangs, is slow to answer, or was never there. Every test ends with what
//! really is in the topic and the spool.

use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::http::INGEST;
use crate::support::kafka::{Broker, Version};
use crate::support::ledger::Ledger;
use crate::support::load::{Load, Report, Until, valid_events};
use crate::support::proxy::{Mode, Proxy};
use crate::support::stores::{Found, TOPIC};

/// KAFKA_DEADLINE's default, and what a busy machine may add.
const DEADLINE: Duration = Duration::from_secs(3);
const MARGIN: Duration = Duration::from_secs(2);
/// From the broker's return to events in it.
const BACK: Duration = Duration::from_secs(5);

fn drained(daemon: &Daemon, limit: Duration) {
    daemon.wait_for("/health", limit, |health| {
        health["spool"]["held"] == 0 && health["kafka"]["state"] == "up"
    });
}

/// Posts one event, notes it as sent, and returns where it is.
fn stored_in(daemon: &Daemon, sent: &mut Report) -> String {
    let event = events::event();
    sent.unanswered.push(event["request_id"].as_str().unwrap().to_owned());
    let answer = daemon.client().post_event(event.to_string());
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.header("X-Stored-In").unwrap().to_owned()
}

fn assert_nothing_lost(broker: &Broker, daemon: &Daemon, report: &Report) {
    Found::look(Some(broker), &daemon.data_dir()).assert_safe(report);
    let ledger = Ledger::of(daemon);
    assert!(ledger.balances(), "{ledger:?}");
}

/// A broker whose clients all come through a proxy.
fn broker_behind_a_proxy() -> (Broker, Proxy) {
    let port = Proxy::reserve();
    let advertised = format!("PLAINTEXT://127.0.0.1:{port}");
    let broker = Broker::builder(Version::V3_9).property("advertised.listeners", &advertised).start();
    let proxy = Proxy::start_on(port, broker.address().parse().unwrap());
    (broker, proxy)
}

#[test]
fn a_broker_that_is_not_there_at_start_is_used_when_it_comes() {
    let mut broker = Broker::builder(Version::V3_9).absent();
    let daemon = Daemon::builder().env("KAFKA_BROKERS", broker.address()).start();
    let began = Instant::now();
    let mut report = Load::run(daemon.addr(), 4, Until::Count(200), valid_events);
    assert!(began.elapsed() < DEADLINE + MARGIN, "{:?}", began.elapsed());
    assert_eq!(report.with_status(202), 200);
    assert!(report.accepted().all(|answer| answer.stored_in.as_deref() == Some("spool")));
    assert_eq!(daemon.health()["status"], "degraded");
    broker.restart();
    drained(&daemon, Duration::from_secs(60));
    let tries = || (stored_in(&daemon, &mut report) == "kafka").then_some(());
    crate::support::poll(BACK, "live events to reach Kafka", tries);
    drained(&daemon, Duration::from_secs(10));
    let found = Found::look(Some(&broker), &daemon.data_dir());
    found.assert_safe(&report);
    assert_eq!((found.in_kafka.len(), found.held.len()), (200 + report.unanswered.len(), 0));
    // Oldest first: the topic has them in the order in which the spool took them.
    let times: Vec<i64> = broker.read_all(TOPIC).iter().take(200).map(|record| record.timestamp).collect();
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1] + 50), "held events keep their order");
}

/// F4: killed and restarted, while tills go on.
#[test]
fn a_broker_that_is_killed_and_restarted_is_left_and_taken_back() {
    let rounds = if std::env::var_os("LOGS_INGEST_LONG").is_some() { 100 } else { 3 };
    let mut broker = Broker::start(Version::V3_9);
    let daemon = Daemon::builder().env("KAFKA_BROKERS", broker.address()).env("RECOVERY_RATE", 0).start();
    daemon.wait_until_up("kafka");
    let load = Load::start(daemon.addr(), 8, Until::Stopped, |n| {
        // Tills, not a benchmark.
        std::thread::sleep(Duration::from_millis(5));
        valid_events(n)
    });
    let mut extra = Report::default();
    for round in 0..rounds {
        let lost =
            |n: u64| move |stats: &serde_json::Value| stats["counters"]["kafka_lost"].as_u64() >= Some(n);
        let before = daemon.stats()["counters"]["kafka_lost"].as_u64().unwrap();
        broker.kill();
        daemon.wait_for("/stats", DEADLINE + MARGIN, lost(before + 1));
        assert_eq!(stored_in(&daemon, &mut extra), "spool", "round {round}");
        broker.restart();
        let acks_again = returns(&broker);
        live_again(&daemon, acks_again, round as u64 + 1);
    }
    let mut report = load.stop();
    report.unanswered.extend(extra.unanswered);
    assert_eq!(report.with_status(202), report.answers.len());
    let slowest = report.answers.iter().map(|answer| answer.latency).max().unwrap();
    assert!(slowest < DEADLINE + MARGIN, "an outage costs the batch in hand its deadline: {slowest:?}");
    drained(&daemon, Duration::from_secs(30));
    assert_nothing_lost(&broker, &daemon, &report);
}

/// When the broker acknowledges again, by a produce of the test's own.
fn returns(broker: &Broker) -> Instant {
    use logs_ingest::event::{Arrival, Event};
    use logs_ingest::store::{Batch, kafka};
    let settings = kafka::Settings {
        brokers: vec![broker.address()],
        topic: "test-probe".to_owned(),
        client: kafka::ClientChoice::Modern,
        deadline: Duration::from_secs(2),
        max_event_bytes: 1024,
        embed_id: false,
        security: Default::default(),
        destination: None,
    };
    let arrival = Arrival::new(uuid::Uuid::now_v7(), 1);
    let batch: Batch = vec![Event::restored(arrival, "probe".into(), "{}".into())].into();
    crate::support::poll(Duration::from_secs(60), "the broker to acknowledge again", || {
        let mut connected = kafka::connect(&settings).ok()?;
        connected.store.write(&batch)[0].is_ok().then(Instant::now)
    })
}

/// Live events, which go on coming, reach Kafka again soon after it acknowledges again.
fn live_again(daemon: &Daemon, acks_again: Instant, times: u64) {
    let back = |stats: &serde_json::Value| stats["counters"]["kafka_back"].as_u64() >= Some(times);
    daemon.wait_for("/stats", Duration::from_secs(60), back);
    let took = acks_again.elapsed();
    assert!(took < BACK + MARGIN, "back in use {took:?} after the broker acknowledged again");
}

/// F5: no RST, no answer.
#[test]
fn a_frozen_broker_is_left_within_the_deadline_and_taken_back() {
    let broker = Broker::start(Version::V4_3);
    let daemon = Daemon::builder().env("KAFKA_BROKERS", broker.address()).start();
    daemon.wait_until_up("kafka");
    let mut sent = Report::default();
    assert_eq!(stored_in(&daemon, &mut sent), "kafka");
    broker.freeze();
    let began = Instant::now();
    assert_eq!(stored_in(&daemon, &mut sent), "spool");
    assert!(began.elapsed() < DEADLINE + MARGIN, "{:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(stored_in(&daemon, &mut sent), "spool");
    assert!(
        began.elapsed() < Duration::from_millis(500),
        "later events wait for nobody: {:?}",
        began.elapsed()
    );
    let report = Load::run(daemon.addr(), 8, Until::Count(400), valid_events);
    assert_eq!(report.with_status(202), 400);
    assert!(report.percentile(0.99) < Duration::from_secs(1), "{:?}", report.percentile(0.99));
    broker.thaw();
    let acks_again = returns(&broker);
    let tries = || (stored_in(&daemon, &mut sent) == "kafka").then_some(());
    crate::support::poll(Duration::from_secs(30), "live events to reach Kafka again", tries);
    live_again(&daemon, acks_again, 1);
    drained(&daemon, Duration::from_secs(30));
    sent.answers.extend(report.answers);
    assert_nothing_lost(&broker, &daemon, &sent);
}

#[test]
fn every_way_a_network_can_fail_ends_in_the_spool_and_back_in_kafka() {
    let (broker, mut proxy) = broker_behind_a_proxy();
    let daemon = Daemon::builder()
        .env("KAFKA_BROKERS", proxy.addr())
        .env("KAFKA_DEADLINE", "2s")
        .env("RECOVERY_RATE", 0)
        .start();
    daemon.wait_until_up("kafka");
    let mut total = Report::default();
    for mode in [
        Mode::Blackhole,
        Mode::HangAfterRequest,
        Mode::Refuse,
        Mode::Garbage,
        Mode::HugeLength,
        Mode::HttpText,
    ] {
        proxy.set(mode);
        if mode == Mode::Refuse {
            proxy.cut();
        }
        let began = Instant::now();
        let report = Load::run(daemon.addr(), 4, Until::Count(100), valid_events);
        let took = began.elapsed();
        assert_eq!(report.with_status(202), 100, "{mode:?}");
        assert!(took < Duration::from_secs(2) + 2 * MARGIN, "{mode:?} took {took:?}");
        assert!(report.accepted().any(|answer| answer.stored_in.as_deref() == Some("spool")), "{mode:?}");
        let live = daemon.get("/livez");
        assert_eq!(live.status, 200, "{mode:?}");
        proxy.set(Mode::Pass);
        proxy.cut();
        drained(&daemon, Duration::from_secs(20));
        total.answers.extend(report.answers);
        assert!(daemon.rss_kib() < 100 * 1024, "{mode:?}: {} KiB resident", daemon.rss_kib());
    }
    assert_nothing_lost(&broker, &daemon, &total);
    let found = Found::look(Some(&broker), &daemon.data_dir());
    assert_eq!((found.in_kafka.len(), found.held.len(), found.dead.len()), (600, 0, 0));
}

/// F13: what is wrong is refused, what is odd is delivered, one bad request costs nobody else.
#[test]
fn poison_is_refused_or_delivered_and_never_stops_the_rest() {
    let broker = Broker::start(Version::V3_9);
    let daemon = Daemon::builder().env("KAFKA_BROKERS", broker.address()).start();
    daemon.wait_until_up("kafka");
    let body = |member: &str| events::Body::minimal().and("poison", member).text();
    let mut client = daemon.client();
    for refused in [r#""\ud800""#, "1e400", &"[".repeat(10_000), "NaN", "\"\u{0}\"", "01"] {
        let answer = client.post(INGEST, &[], body(refused).as_bytes());
        assert_eq!(answer.status, 422, "{refused:.20}");
    }
    let deep = format!("{}{}", "[".repeat(99), "]".repeat(99));
    let kept = [r#""\u0000""#, r#""\ud83d\ude00""#, "1e-400", "123456789012345678901234567890", &deep];
    for odd in kept {
        let answer = client.post(INGEST, &[], body(odd).as_bytes());
        assert_eq!((answer.status, answer.header("X-Stored-In")), (202, Some("kafka")), "{odd:.20}");
    }
    let records = broker.read_all(TOPIC);
    for (record, odd) in records.iter().zip(kept) {
        let value = String::from_utf8(record.value.clone()).unwrap();
        assert!(value.ends_with(&format!("\"poison\":{odd}}}")), "verbatim: {value}");
    }
    assert_eq!(records.len(), kept.len());
}

/// A line so slow that a large event never gets through within the deadline: it waits, the rest goes on.
#[test]
fn an_event_that_can_not_be_sent_holds_back_only_its_own_key() {
    let (broker, mut proxy) = broker_behind_a_proxy();
    let daemon = Daemon::builder().env("KAFKA_BROKERS", proxy.addr()).env("RECOVERY_RATE", 0).start();
    daemon.wait_until_up("kafka");
    proxy.set(Mode::Refuse);
    proxy.cut();
    let mut sent = Report::default();
    let mut large = events::event();
    large["message"] = "x".repeat(380_000).into();
    let large_id = large["request_id"].as_str().unwrap().to_owned();
    assert_eq!(daemon.client().post_event(large.to_string()).header("X-Stored-In"), Some("spool"));
    sent.unanswered.push(large_id.clone());
    for _ in 0..50 {
        assert_eq!(stored_in(&daemon, &mut sent), "spool");
    }
    proxy.set(Mode::Throttle { bytes_per_s: 60_000 });
    let held_is = |held: u64| move |health: &serde_json::Value| health["spool"]["held"] == held;
    daemon.wait_for("/health", Duration::from_secs(60), held_is(1));
    let tries = || (stored_in(&daemon, &mut sent) == "kafka").then_some(());
    crate::support::poll(Duration::from_secs(30), "live events to reach Kafka", tries);
    proxy.set(Mode::Pass);
    proxy.cut();
    daemon.wait_for("/health", Duration::from_secs(30), held_is(0));
    let found = Found::look(Some(&broker), &daemon.data_dir());
    found.assert_safe(&sent);
    assert!(found.events.values().any(|id| *id == large_id));
}
