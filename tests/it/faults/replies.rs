//! What a broker answers (F6): each answer has its class, none is a panic, none costs an acknowledged event.
//! Garbage, huge lengths and text of another protocol: see `failover`.

use super::*;
use crate::support::kafka::Version;
use crate::support::load::{Load, Until, paced_events, valid_events};
use crate::support::proxy::Mode;
use crate::support::stores::TOPIC;

#[test]
fn an_answer_that_is_lost_after_the_append_costs_a_copy_and_no_event() {
    let (broker, mut proxy) = behind_a_proxy(Broker::builder(Version::V4_3));
    let daemon = daemon_of(&proxy.addr().to_string(), None).env("KAFKA_DEADLINE", "1s").start();
    state_is(&daemon, "kafka", "up");
    let mut sent = Report::default();
    assert_eq!(post(&daemon, &mut sent), "kafka");
    for mode in [Mode::HangAfterRequest, Mode::CutAnswers] {
        proxy.set(mode);
        let report = Load::run(daemon.addr(), 4, Until::Count(100), valid_events);
        assert_eq!(report.with_status(202), 100, "{mode:?}");
        assert!(report.accepted().all(|answer| answer.stored_in.as_deref() == Some("spool")), "{mode:?}");
        sent.add(report);
        proxy.set(Mode::Pass);
        proxy.cut();
        all_in_kafka(&daemon, None);
    }
    let found = Found::look(Some(&broker), &daemon.data_dir());
    assert_all_arrived(&found, &sent);
    // Copies have the id of the event: whoever reads can tell.
    let copies = found.in_kafka.values().filter(|count| **count > 1).count();
    assert!((1..=50).contains(&copies), "{copies} events have copies");
    assert_balanced(&daemon);
}

#[test]
fn a_topic_that_is_deleted_is_named_and_used_again_when_it_is_there() {
    let broker = Broker::builder(Version::V4_3).auto_create(false).start();
    broker.create_topic(TOPIC, 3, &[]);
    let daemon = daemon_of(&broker.address(), None).start();
    state_is(&daemon, "kafka", "up");
    let mut gone = Report::default();
    assert_eq!(post(&daemon, &mut gone), "kafka");
    broker.delete_topic(TOPIC);
    let mut sent = Report::default();
    let load = Load::start(daemon.addr(), 4, Until::Stopped, paced_events);
    until_stored_in(&daemon, &mut sent, "spool");
    let named = |health: &serde_json::Value| {
        let why = health["kafka"]["error"].as_str().unwrap_or_default();
        why.contains(&format!("topic '{TOPIC}' does not exist")) && why.contains("auto.create.topics.enable")
    };
    daemon.wait_for("/health", PATIENCE, named);
    daemon.wait_for("/stats", PATIENCE, |stats| stats["counters"]["stored_held"].as_u64() > Some(100));
    broker.create_topic(TOPIC, 3, &[]);
    until_stored_in(&daemon, &mut sent, "kafka");
    sent.add(load.stop());
    assert_eq!(sent.with_status(202), sent.answers.len());
    all_in_kafka(&daemon, None);
    let found = Found::look(Some(&broker), &daemon.data_dir());
    // What the topic had acknowledged before it was deleted went with it: that is what deleting means.
    sent.answers.retain(|answer| {
        let id = answer.ingest_id.as_ref().expect("it was accepted");
        answer.stored_in.as_deref() != Some("kafka") || found.in_kafka.contains_key(id)
    });
    assert!(sent.answers.len() > 100, "{}", sent.answers.len());
    assert_all_arrived(&found, &sent);
    assert_balanced(&daemon);
}

#[test]
fn a_broker_that_throttles_is_waited_for_within_the_deadline_and_loses_nothing() {
    let broker = Broker::start(Version::V4_3);
    let daemon = daemon_of(&broker.address(), None).start();
    state_is(&daemon, "kafka", "up");
    broker.limit_producers("logs-ingest", Some(2_000));
    let mut sent = Load::run(daemon.addr(), 4, Until::Elapsed(Duration::from_secs(5)), paced_events);
    assert_eq!(sent.with_status(202), sent.answers.len());
    let slowest = sent.percentile(1.0);
    assert!(slowest < Duration::from_secs(2 * 3) + MARGIN, "{slowest:?}");
    let spooled = counter(&daemon, "stored_held");
    assert!(counter(&daemon, "kafka_lost") > 0 || slowest > Duration::from_secs(1), "no limit was felt");
    eprintln!("{} events, {spooled} by way of the spool, slowest {slowest:?}", sent.answers.len());
    broker.limit_producers("logs-ingest", None);
    until_stored_in(&daemon, &mut sent, "kafka");
    all_in_kafka(&daemon, None);
    assert_all_arrived(&Found::look(Some(&broker), &daemon.data_dir()), &sent);
    assert!(daemon.peak_rss_kib() < RESIDENT_KIB_MAX, "{} KiB", daemon.peak_rss_kib());
    assert_balanced(&daemon);
}
