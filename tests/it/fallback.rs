//! Postgres between Kafka and the spool, on real servers: who takes over from whom, and that everything
//! comes back. Every test ends with what really is in the topic, the table and the spool.

use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::kafka::{Broker, Version};
use crate::support::ledger::Ledger;
use crate::support::load::{Load, Until, valid_events};
use crate::support::poll;
use crate::support::postgres::Server;
use crate::support::stores::{Found, TOPIC};

const LIMIT: Duration = Duration::from_secs(60);
/// KAFKA_DEADLINE, POSTGRES_DEADLINE, and what a busy machine may add.
const BOTH_DEADLINES: Duration = Duration::from_secs(3 + 3 + 2);

fn post(daemon: &Daemon) -> (String, String) {
    let answer = daemon.client().post_event(events::event().to_string());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let header = |name| answer.header(name).unwrap().to_owned();
    (header("X-Stored-In"), header("X-Ingest-Id"))
}

fn until_stored_in(daemon: &Daemon, place: &str) {
    poll(LIMIT, place, || (post(daemon).0 == place).then_some(()));
}

fn waiting(server: &Server) -> u64 {
    let held = "SELECT count(*) FROM raw_logs WHERE state = 'held' AND forwarded_at IS NULL";
    server.value(held).parse().unwrap()
}

fn all_forwarded(server: &Server, daemon: &Daemon) {
    poll(LIMIT, "everything to be in Kafka", || {
        (waiting(server) == 0 && daemon.health()["spool"]["held"] == 0).then_some(())
    });
}

#[test]
fn kafka_then_postgres_then_the_spool_and_everything_comes_back_to_kafka() {
    let mut broker = Broker::start(Version::V3_9);
    let mut server = Server::start();
    let daemon = Daemon::builder()
        .env("KAFKA_BROKERS", broker.address())
        .env("POSTGRES_URL", server.url())
        .env("RECOVERY_RATE", 0)
        .start();
    for store in ["kafka", "postgres"] {
        daemon.wait_until_up(store);
    }
    assert_eq!(post(&daemon).0, "kafka");

    broker.kill();
    let began = Instant::now();
    assert_eq!(post(&daemon).0, "postgres");
    assert!(began.elapsed() < BOTH_DEADLINES, "{:?}", began.elapsed());
    let in_postgres = Load::run(daemon.addr(), 8, Until::Count(300), valid_events);
    assert!(in_postgres.accepted().all(|answer| answer.stored_in.as_deref() == Some("postgres")));
    assert_eq!(waiting(&server), 301);
    assert_eq!(daemon.health()["status"], "degraded");

    server.kill();
    assert_eq!(post(&daemon).0, "spool");
    let in_spool = Load::run(daemon.addr(), 8, Until::Count(200), valid_events);
    assert!(in_spool.accepted().all(|answer| answer.stored_in.as_deref() == Some("spool")));

    server.restart();
    until_stored_in(&daemon, "postgres");
    broker.restart();
    until_stored_in(&daemon, "kafka");
    all_forwarded(&server, &daemon);

    let found = Found::look(Some(&broker), &daemon.data_dir());
    for answer in in_postgres.accepted().chain(in_spool.accepted()) {
        let id = answer.ingest_id.as_ref().unwrap();
        assert!(found.in_kafka.contains_key(id), "{id} is not in Kafka");
    }
    assert!(found.held.is_empty() && found.dead.is_empty());
    let ledger = Ledger::of(&daemon);
    assert!(daemon.stats()["ledger"]["balanced"] == true, "{ledger:?} {}", daemon.stats());
    assert!(!daemon.log_text().contains(server.password()), "no password in the log");
}

#[test]
fn a_frozen_postgres_is_left_within_its_deadline_and_taken_back() {
    let server = Server::start();
    let daemon = Daemon::builder().env("POSTGRES_URL", server.url()).start();
    until_stored_in(&daemon, "postgres");
    server.freeze();
    let began = Instant::now();
    assert_eq!(post(&daemon).0, "spool");
    assert!(began.elapsed() < BOTH_DEADLINES, "{:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(post(&daemon).0, "spool");
    assert!(began.elapsed() < Duration::from_secs(1), "later events wait for nobody: {:?}", began.elapsed());
    server.thaw();
    until_stored_in(&daemon, "postgres");
    // Without Kafka, Postgres is the home: what waited in the spool moves there.
    poll(LIMIT, "the spool to be empty", || (daemon.health()["spool"]["held"] == 0).then_some(()));
    let total: u64 = server.value("SELECT count(*) FROM raw_logs WHERE state = 'home'").parse().unwrap();
    let stats = daemon.stats();
    assert_eq!(Some(total), stats["ledger"]["home"].as_u64(), "{stats}");
    assert_eq!(stats["ledger"]["balanced"], true, "{stats}");
}

#[test]
fn a_table_that_is_gone_is_passed_over_and_used_again_when_it_is_back() {
    let server = Server::start();
    let daemon = Daemon::builder().env("POSTGRES_URL", server.url()).start();
    until_stored_in(&daemon, "postgres");
    server.sql("ALTER TABLE raw_logs RENAME TO away");
    until_stored_in(&daemon, "spool");
    let report = Load::run(daemon.addr(), 4, Until::Count(100), valid_events);
    assert_eq!(report.with_status(202), 100);
    server.sql("ALTER TABLE away RENAME TO raw_logs");
    until_stored_in(&daemon, "postgres");
    poll(LIMIT, "the spool to be empty", || (daemon.health()["spool"]["held"] == 0).then_some(()));
    assert_eq!(daemon.stats()["ledger"]["balanced"], true);
}

#[test]
fn a_daemon_that_dies_leaves_its_backlog_to_the_other() {
    let mut broker = Broker::start(Version::V3_9);
    let server = Server::start();
    let start = || {
        let builder =
            Daemon::builder().env("KAFKA_BROKERS", broker.address()).env("POSTGRES_URL", server.url());
        builder.env("RECOVERY_RATE", 0).start()
    };
    let (mut first, second) = (start(), start());
    for daemon in [&first, &second] {
        daemon.wait_until_up("postgres");
    }
    broker.kill();
    let mut sent = Load::run(first.addr(), 4, Until::Count(100), valid_events);
    sent.answers.extend(Load::run(second.addr(), 4, Until::Count(100), valid_events).answers);
    assert_eq!(sent.with_status(202), 200);
    first.kill9();
    broker.restart();
    poll(LIMIT, "the backlog of both to be in Kafka", || (waiting(&server) == 0).then_some(()));
    let records = broker.read_all(TOPIC);
    for answer in sent.accepted().filter(|answer| answer.stored_in.as_deref() == Some("postgres")) {
        let id = answer.ingest_id.as_deref();
        assert!(records.iter().any(|record| record.header("ingest_id").as_deref() == id), "{id:?} is lost");
    }
}

/// Two shops, each with a broker of its own, and one database.
#[test]
fn a_daemon_that_lost_kafka_leaves_its_backlog_to_one_that_has_it() {
    let (mut lost, kept) = (Broker::start(Version::V3_9), Broker::start(Version::V3_9));
    let server = Server::start();
    let start = |broker: &Broker| {
        Daemon::builder().env("KAFKA_BROKERS", broker.address()).env("POSTGRES_URL", server.url()).start()
    };
    let first = start(&lost);
    first.wait_for_log("this daemon drains postgres", LIMIT);
    let second = start(&kept);
    assert_eq!(post(&second).0, "kafka");
    lost.kill();
    let (place, id) = post(&first);
    assert_eq!(place, "postgres");
    second.wait_for_log("this daemon drains postgres", LIMIT);
    assert!(first.logged("postgres is left to daemons that reach kafka"));
    poll(LIMIT, "the other's event to be in Kafka", || (waiting(&server) == 0).then_some(()));
    assert!(kept.read_all(TOPIC).iter().any(|record| record.header("ingest_id").as_ref() == Some(&id)));
}

#[test]
fn a_url_that_can_not_be_used_is_78_and_its_password_is_not_shown() {
    for url in [
        "mysql://till:s3cret@db/logs",
        "postgres://till:s3cret@db:port/logs",
        "postgres://till:s3cret@db/logs?x=y",
    ] {
        let (code, said) = Daemon::builder().env("POSTGRES_URL", url).run_to_exit(Duration::from_secs(10));
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("POSTGRES_URL") && !said.contains("s3cret"), "{said}");
    }
    let (_, help) = Daemon::builder()
        .env("POSTGRES_URL", "postgres://till:s3cret@db/logs")
        .arg("--help")
        .run_to_exit(LIMIT);
    assert!(!help.contains("s3cret"), "{help}");
}
