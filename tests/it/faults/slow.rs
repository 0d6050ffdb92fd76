//! A broker that is slow in every way (F7): no hang, no copies that no failure explains, and 503 when
//! everything is full.

use std::time::Instant;

use super::*;
use crate::support::kafka::Version;
use crate::support::load::{Load, Until, paced_events};
use crate::support::pause;
use crate::support::proxy::Mode;

const DEADLINE: Duration = Duration::from_secs(1);

#[test]
fn a_slow_broker_holds_nobody_longer_than_its_deadline_and_makes_no_copies_of_its_own() {
    let (broker, mut proxy) = behind_a_proxy(Broker::builder(Version::V4_3));
    let daemon = daemon_of(&proxy.addr().to_string(), None).env("KAFKA_DEADLINE", "1s").start();
    state_is(&daemon, "kafka", "up");
    let rounds = if is_long() { 10 } else { 1 };
    let mut sent = Report::default();
    let slow = [
        Mode::Throttle { bytes_per_s: 1_000 },
        Mode::Delay { min: Duration::ZERO, max: Duration::from_secs(4) },
        Mode::Slice,
    ];
    for mode in slow.into_iter().cycle().take(3 * rounds) {
        proxy.set(mode);
        let began = Instant::now();
        let report = Load::run(daemon.addr(), 4, Until::Elapsed(2 * DEADLINE), paced_events);
        assert_eq!(report.with_status(202), report.answers.len(), "{mode:?}");
        assert!(report.answers.len() > 20, "{mode:?}: only {} answers", report.answers.len());
        // The batch in hand, and the one that waited behind it.
        assert!(report.percentile(1.0) < 2 * DEADLINE + MARGIN, "{mode:?}: {:?}", report.percentile(1.0));
        assert!(began.elapsed() < 4 * DEADLINE + MARGIN, "{mode:?}: {:?}", began.elapsed());
        assert_eq!(daemon.get("/livez").status, 200, "{mode:?}");
        sent.add(report);
        proxy.set(Mode::Pass);
        proxy.cut();
        all_in_kafka(&daemon, None);
    }
    let found = Found::look(Some(&broker), &daemon.data_dir());
    assert_all_arrived(&found, &sent);
    // A copy is what a write leaves whose answer did not come in time: at most one a failure and event.
    let copies: usize = found.in_kafka.values().map(|count| count - 1).sum();
    let most = found.in_kafka.values().max().unwrap();
    eprintln!("{} events, {copies} copies, at most {most} of one", found.in_kafka.len());
    assert!(copies < found.in_kafka.len() / 2, "{copies} copies of {} events", found.in_kafka.len());
    assert!(daemon.peak_rss_kib() < RESIDENT_KIB_MAX, "{} KiB", daemon.peak_rss_kib());
    assert_balanced(&daemon);
}

#[test]
fn when_the_broker_is_slow_and_the_spool_is_full_the_answer_is_503_and_not_a_hang() {
    let (broker, mut proxy) = behind_a_proxy(Broker::builder(Version::V3_9));
    let daemon = daemon_of(&proxy.addr().to_string(), None)
        .env("KAFKA_DEADLINE", "1s")
        .env("MAX_EVENT_BYTES", "64KiB")
        .env("SPOOL_MAX_BYTES", "1MiB")
        .start();
    state_is(&daemon, "kafka", "up");
    proxy.set(Mode::Throttle { bytes_per_s: 1_000 });
    let load = Load::start(daemon.addr(), 8, Until::Stopped, large_events);
    let refused = |stats: &serde_json::Value| stats["counters"]["refused_unstored"].as_u64() > Some(20);
    daemon.wait_for("/stats", PATIENCE, refused);
    assert_eq!(daemon.get("/readyz").status, 503);
    let mut sent = load.stop();
    let (stored, full) = (sent.with_status(202), sent.with_status(503));
    assert_eq!(stored + full, sent.answers.len(), "202 or 503, nothing else");
    assert!(stored > 10 && full > 20, "{stored} stored, {full} refused");
    // One deadline for the batch in hand, one for that before it.
    assert!(sent.percentile(1.0) < Duration::from_secs(2) + MARGIN, "{:?}", sent.percentile(1.0));
    proxy.set(Mode::Pass);
    proxy.cut();
    all_in_kafka(&daemon, None);
    until_stored_in(&daemon, &mut sent, "kafka");
    // Some of those may have gone to the spool.
    all_in_kafka(&daemon, None);
    assert_eq!(daemon.get("/readyz").status, 200);
    let found = Found::look(Some(&broker), &daemon.data_dir());
    assert_all_arrived(&found, &sent);
    assert_balanced(&daemon);
}

fn large_events(n: usize) -> (String, Vec<u8>) {
    pause(Duration::from_millis(5));
    let mut event = events::event();
    event["stack"] = "x".repeat(20_000 + n % 100).into();
    (event["request_id"].as_str().unwrap().to_owned(), event.to_string().into_bytes())
}
