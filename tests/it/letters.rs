//! Dead letters: what Kafka refuses as it is gets kept, and costs its neighbours nothing, whether it comes
//! live or out of a backlog.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use logs_ingest::event::{Arrival, Event};
use logs_ingest::host::clock;
use logs_ingest::store::kafka::{ClientChoice, Settings, connect};
use logs_ingest::store::{Batch, StoreError};
use serde_json::json;
use uuid::Uuid;

use crate::support::daemon::{Builder, Daemon};
use crate::support::events;
use crate::support::kafka::{Broker, Version};
use crate::support::ledger::Ledger;
use crate::support::load::{Load, Report, Until};
use crate::support::poll;
use crate::support::postgres::Server;
use crate::support::stores::{Found, TOPIC, rows};

const LIMIT: Duration = Duration::from_secs(60);
/// What the topics here take.
const SMALL: (&str, &str) = ("max.message.bytes", "20000");

fn event(number: usize, is_too_large: bool) -> (String, Vec<u8>) {
    let mut event = events::event();
    if is_too_large {
        event["message"] = json!("x".repeat(30_000 + 37 * number));
    }
    (event["request_id"].as_str().unwrap().to_owned(), event.to_string().into_bytes())
}

/// 500 events, one of them too large, by one client after the other's so that its place is known.
fn one_bad_in_500(daemon: &Daemon) -> Report {
    let report = Load::run(daemon.addr(), 1, Until::Count(500), |number| event(number, number == 321));
    assert_eq!(report.with_status(202), 500);
    report
}

/// A daemon whose broker is down, and events that wait for it.
fn backlog(daemon: Builder, place: &str) -> (Broker, Daemon, Report) {
    let mut broker = Broker::start(Version::V3_9);
    broker.create_topic(TOPIC, 1, &[SMALL]);
    let daemon = daemon.env("KAFKA_BROKERS", broker.address()).env("RECOVERY_RATE", 0);
    broker.kill();
    let daemon = daemon.start();
    daemon.wait_for("/health", LIMIT, |health| {
        health["kafka"]["state"] == "down" && health["postgres"]["state"] != "connecting"
    });
    let report = one_bad_in_500(&daemon);
    assert!(report.accepted().all(|answer| answer.stored_in.as_deref() == Some(place)));
    broker.restart();
    (broker, daemon, report)
}

#[test]
fn live_events_give_up_their_one_bad_in_500() {
    for client in ["modern", "classic"] {
        let broker = Broker::start(Version::V3_9);
        broker.create_topic(TOPIC, 3, &[SMALL]);
        let daemon = Daemon::builder()
            .env("KAFKA_BROKERS", broker.address())
            .env("KAFKA_CLIENT", client)
            .patient()
            .start();
        daemon.wait_until_up("kafka");
        // Of all clients together, so that it shares its round with others.
        let next = AtomicUsize::new(0);
        let report = Load::run(daemon.addr(), 16, Until::Count(500), move |_| {
            let number = next.fetch_add(1, Ordering::Relaxed);
            event(number, number == 321)
        });
        let stored_in = |place: &str| {
            report.accepted().filter(|answer| answer.stored_in.as_deref() == Some(place)).count()
        };
        assert_eq!((stored_in("kafka"), stored_in("dead-letter")), (499, 1), "{client}");
        assert_eq!(broker.read_all(TOPIC).len(), 499, "{client}");
        let letters = rows(&daemon.data_dir(), "dead_letters");
        let dead =
            report.accepted().find(|answer| answer.stored_in.as_deref() == Some("dead-letter")).unwrap();
        assert_eq!(letters.len(), 1, "{client}");
        assert_eq!(Some(&letters[0].ingest_id), dead.ingest_id.as_ref(), "{client}");
        assert!(daemon.logged("max.message.bytes"), "{client}: the reason is said");
        assert_eq!(daemon.stats()["counters"]["kafka_lost"], 0, "{client}: the broker is not to blame");
        assert!(Ledger::settled(&daemon, LIMIT).balances());
    }
}

#[test]
fn the_spools_backlog_gives_up_its_one_bad_event_in_500() {
    for client in ["modern", "classic"] {
        let (broker, daemon, report) = backlog(Daemon::builder().env("KAFKA_CLIENT", client), "spool");
        daemon.wait_for("/health", LIMIT, |health| health["spool"]["held"] == 0);
        assert_eq!(broker.read_all(TOPIC).len(), 499, "{client}");
        assert_eq!(rows(&daemon.data_dir(), "dead_letters").len(), 1, "{client}");
        if client == "modern" {
            Found::look(Some(&broker), &daemon.data_dir()).assert_safe(&report);
        }
        let ledger = Ledger::settled(&daemon, LIMIT);
        assert_eq!((ledger.sent_to_kafka, ledger.dead_letters), (499, 1), "{client}: {ledger:?}");
        assert!(ledger.balances(), "{ledger:?}");
    }
}

#[test]
fn the_backlog_in_postgres_gives_up_its_one_bad_event_in_500() {
    let server = Server::start();
    let (broker, daemon, report) = backlog(Daemon::builder().env("POSTGRES_URL", server.url()), "postgres");
    let held = "SELECT count(*) FROM raw_logs WHERE forwarded_at IS NULL";
    poll(LIMIT, "the backlog to be gone", || (server.value(held) == "0").then_some(()));
    let bad = &report.answers[321];
    let letter = server.sql("SELECT ingest_id, error, failed_at > received_at FROM dead_letters");
    assert_eq!(letter.len(), 1);
    assert_eq!((&letter[0][0], letter[0][2].as_str()), (bad.ingest_id.as_ref().unwrap(), "t"));
    assert!(letter[0][1].contains("max.message.bytes"), "{letter:?}");
    let found = Found::look(Some(&broker), &daemon.data_dir());
    assert_eq!((found.in_kafka.len(), found.held.len(), found.dead.len()), (499, 0, 0));
    daemon.wait_for("/stats", LIMIT, |stats| stats["counters"]["recovered_postgres_dead_letter"] == 1);
}

#[test]
fn a_spool_without_room_leaves_dead_letters_to_postgres() {
    const EVENTS: usize = 60;
    let broker = Broker::start(Version::V3_9);
    broker.create_topic(TOPIC, 1, &[SMALL]);
    let server = Server::start();
    let daemon = Daemon::builder()
        .env("KAFKA_BROKERS", broker.address())
        .env("POSTGRES_URL", server.url())
        .env("MAX_EVENT_BYTES", "64KiB")
        .env("SPOOL_MAX_BYTES", "1MiB")
        .start();
    daemon.wait_until_up("postgres");
    let report = Load::run(daemon.addr(), 1, Until::Count(EVENTS), |number| event(number, true));
    assert_eq!(report.with_status(202), EVENTS);
    assert!(report.accepted().all(|answer| answer.stored_in.as_deref() == Some("dead-letter")));
    let in_spool = rows(&daemon.data_dir(), "dead_letters").len();
    let in_postgres: usize = server.value("SELECT count(*) FROM dead_letters").parse().unwrap();
    assert!(in_spool > 0 && in_postgres > 0, "{in_spool} and {in_postgres}");
    assert_eq!(in_spool + in_postgres, EVENTS);
    assert!(Ledger::settled(&daemon, LIMIT).balances());
    assert_eq!(daemon.stats()["counters"]["kafka_lost"], 0);
}

/// On real brokers too, one refusal implies that of larger events only: nothing that fits is taken for too large.
#[test]
fn many_events_too_large_for_the_topic_are_told_from_those_that_fit() {
    let broker = Broker::start(Version::V3_9);
    for client in [ClientChoice::Modern, ClientChoice::Classic] {
        let topic = format!("many-{client:?}").to_lowercase();
        broker.create_topic(&topic, 2, &[SMALL]);
        let settings = Settings {
            brokers: vec![broker.address()],
            topic: topic.clone(),
            client,
            deadline: LIMIT,
            max_event_bytes: 400 * 1024,
            embed_id: false,
            security: Default::default(),
            destination: None,
        };
        let event = |number: usize, size: usize| {
            let received_at_ms = clock::record_ms();
            let arrival = Arrival::new(Uuid::now_v7(), received_at_ms);
            Event::restored(arrival, format!("{number:03}").into(), vec![b'x'; size].into())
        };
        // A topic that was just made may lack a leader yet.
        let mut connected = poll(LIMIT, "both partitions to take events", || {
            let mut connected = connect(&settings).ok()?;
            let first: Batch = (0..8).map(|number| event(number, 10)).collect();
            connected.store.write(&first).iter().all(Result::is_ok).then_some(connected)
        });
        // Around the limit byte by byte: the broker's own word on each is what counts.
        let batch: Batch = (0..401).map(|number| event(number, 19_700 + number * 7 % 401)).collect();
        let outcomes = connected.store.write(&batch);
        let size = |number: usize| batch[number].payload().len();
        let is_stored = |number: &usize| outcomes[*number].is_ok();
        let largest_stored = (0..401).filter(is_stored).map(size).max().unwrap();
        let mut refused = (0..401).filter(|number| !is_stored(number));
        for (number, outcome) in outcomes.iter().enumerate() {
            assert!(!matches!(outcome, Err(StoreError::Unavailable(..))), "{client:?} {number}: {outcome:?}");
        }
        assert!(refused.all(|number| size(number) > largest_stored), "{client:?}");
        let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!((50..400).contains(&stored), "{stored}");
        let records = broker.read_all(&topic);
        let large = records.iter().filter(|record| record.value.len() > 10);
        assert_eq!(large.count(), stored, "{client:?}");
    }
}
