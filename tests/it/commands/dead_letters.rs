//! `dead-letters`: what a broker will not have is found, sent again and deleted, beside a running daemon and
//! without one, in the spool and in PostgreSQL.

use std::time::Duration;

use super::*;
use crate::support::kafka::{Broker, Version};
use crate::support::poll;
use crate::support::postgres::Server;
use crate::support::stores::rows;

const LIMIT: Duration = Duration::from_secs(60);
/// A topic that takes nothing but small events.
const SMALL: &str = "small";
/// One that takes every event.
const LARGE: &str = "large";

fn letters(daemon: &Daemon) -> Vec<Value> {
    run_on(&daemon.data_dir(), &["dead-letters", "list", "--json"]).ok().lines()
}

/// Posts `count` events that the small topic refuses; their ingest ids, oldest first.
fn refused(daemon: &Daemon, count: usize) -> Vec<String> {
    post(daemon, count, |_, event| event["message"] = "x".repeat(20_000).into());
    let found = letters(daemon);
    found.iter().map(|letter| letter["ingest_id"].as_str().expect("an id").to_owned()).collect()
}

fn in_large(broker: &Broker) -> Vec<String> {
    broker.read_all(LARGE).iter().map(|record| record.header("ingest_id").expect("an id")).collect()
}

#[test]
fn letters_of_the_spool_are_settled_beside_a_daemon_and_without_one() {
    let broker = Broker::start(Version::V3_9);
    broker.create_topic(SMALL, 1, &[("max.message.bytes", "10000")]);
    broker.create_topic(LARGE, 1, &[]);
    let on = |topic: &str| Daemon::builder().env("KAFKA_BROKERS", broker.address()).env("KAFKA_TOPIC", topic);
    let mut daemon = on(SMALL).start();
    daemon.wait_until_up("kafka");
    let dir = daemon.data_dir();
    let ids = refused(&daemon, 6);
    assert_eq!(ids.len(), 6);
    let people = run_on(&dir, &["dead-letters", "list"]).ok();
    assert_eq!(people.out.lines().count(), 6);
    assert!(people.out.contains(" spool    ") && people.out.contains(&ids[0]), "{}", people.out);
    let shown = run_on(&dir, &["dead-letters", "show", &ids[1]]).ok().out;
    assert!(shown.contains(&"x".repeat(20_000)) && shown.contains("error        "), "{}", &shown[..500]);

    // Beside the daemon: dropped, refused without a yes, and back to be refused by the broker once more.
    let none = run_on(&dir, &["dead-letters", "drop", "--all"]);
    assert!(none.code == Some(1) && none.err.contains("add --yes"), "{none:?}");
    let some = run_on(&dir, &["dead-letters", "drop", &ids[0], "no-such-id"]);
    assert_eq!(some.code, Some(1), "{some:?}");
    assert!(some.out.contains("1 dead letter deleted"), "{some:?}");
    assert!(some.err.contains("no-such-id: there is no dead letter with this id"), "{some:?}");
    assert_eq!(daemon.health()["spool"]["dead_letters"], 5);
    let again = run_on(&dir, &["dead-letters", "retry", &ids[1], "--json"]).ok();
    assert_eq!((&again.json()["done"], &again.json()["refused"]), (&1.into(), &0.into()));
    let balanced = |stats: &Value| {
        let ledger = &stats["ledger"];
        ledger["balanced"] == true && ledger["held_now"] == 0 && ledger["retried"] == 1
    };
    daemon.wait_for("/stats", LIMIT, balanced);
    assert_eq!(daemon.health()["spool"]["dead_letters"], 5);

    // Without a daemon: they are held, and the next one sends them.
    daemon.terminate();
    let back = run_on(&dir, &["dead-letters", "retry", &ids[2], &ids[3]]).ok();
    assert!(back.out.contains("2 dead letters brought back"), "{back:?}");
    let held: Vec<String> = rows(&dir, "raw_logs").into_iter().map(|row| row.ingest_id).collect();
    assert_eq!(held, ids[2..4]);
    let daemon = on(LARGE).data_dir(&dir).start();
    poll(LIMIT, "the letters in the topic", || (in_large(&broker).len() == 2).then_some(()));
    run_on(&dir, &["dead-letters", "retry", "--all"]).ok();
    poll(LIMIT, "all letters in the topic", || (in_large(&broker).len() == 5).then_some(()));
    let mut found = in_large(&broker);
    found.sort();
    let mut sent = ids[1..].to_vec();
    sent.sort();
    assert_eq!(found, sent);
    daemon.wait_for("/stats", LIMIT, |stats| stats["ledger"]["balanced"] == true);
    assert_eq!(letters(&daemon), [Value::Null; 0]);
}

#[test]
fn letters_of_postgres_are_settled_there() {
    let server = Server::start();
    let daemon = Daemon::builder().env("POSTGRES_URL", server.url()).start();
    daemon.wait_until_up("postgres");
    post(&daemon, 3, |_, _| {});
    server.sql(
        "WITH gone AS (DELETE FROM raw_logs RETURNING *) INSERT INTO dead_letters \
         (ingest_id, received_at, error, state, reason, instance, request_id, service, level, payload) \
         SELECT ingest_id, received_at, 'too large', 'held', reason, instance, request_id, service, level, payload \
         FROM gone",
    );
    let (dir, url) = (daemon.data_dir(), server.url());
    // On a busy machine even a small read has taken more than the default 3 s.
    let settings =
        [("DATA_DIR", dir.to_str().expect("UTF-8")), ("POSTGRES_URL", &*url), ("POSTGRES_DEADLINE", "8s")];
    let listed = run(&settings, &["dead-letters", "list", "--json"]).ok().lines();
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|letter| letter["store"] == "postgres" && letter["error"] == "too large"));
    let id = |n: usize| listed[n]["ingest_id"].as_str().expect("an id").to_owned();
    let shown = run(&settings, &["dead-letters", "show", &id(0)]).ok().out;
    assert!(shown.contains("postgres, seq 1") && shown.contains("too large"), "{shown}");
    let none = run(&settings, &["dead-letters", "list", "--level", "critical"]).ok();
    assert!(none.out.is_empty() && none.err.contains("no dead letters"), "{none:?}");

    let back = run(&settings, &["dead-letters", "retry", &id(0)]).ok();
    assert!(back.out.contains("they wait for a daemon that has KAFKA_BROKERS set"), "{back:?}");
    assert_eq!(
        server.sql("SELECT ingest_id, state, reason FROM raw_logs"),
        [[id(0), "held".to_owned(), "retried by hand".to_owned()]]
    );
    run(&settings, &["dead-letters", "drop", "--all", "--yes"]).ok();
    assert_eq!(server.value("SELECT count(*) FROM dead_letters"), "0");
    let gone = run(&settings, &["dead-letters", "show", &id(1)]);
    assert!(gone.code == Some(1) && gone.err.contains("there is no dead letter"), "{gone:?}");

    // A server that is down is named, and the spool is looked into all the same.
    drop(server);
    let half = run(&settings, &["dead-letters", "list"]);
    assert!(half.code == Some(1) && half.err.contains("not everything was looked into"), "{half:?}");
    assert!(!half.err.contains("secret") && !half.err.contains(&url), "{half:?}");
}
