//! `replay`: from the spool, from PostgreSQL and from exported files to a real broker.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::support::TempDir;
use crate::support::kafka::{Broker, Record, Version};
use crate::support::postgres::Server;
use crate::support::stores::{TOPIC, rows};

/// A daemon without Kafka, stopped: its spool has `count` events at home.
fn left_at_home(count: usize) -> Daemon {
    let mut daemon = Daemon::start();
    post(&daemon, count, |n, event| {
        event["service"] = if n % 2 == 0 { "even" } else { "odd" }.into();
        event["level"] = if n % 5 == 0 { "error" } else { "info" }.into();
    });
    daemon.terminate();
    daemon
}

fn replay(dir: &Path, broker: &Broker, args: &[&str]) -> Ran {
    let brokers = broker.address();
    let settings = [("DATA_DIR", dir.to_str().expect("UTF-8")), ("KAFKA_BROKERS", &*brokers)];
    run(&settings, &[&["replay"], args].concat())
}

/// Records by their `ingest_id`.
fn in_topic(broker: &Broker) -> BTreeMap<String, Vec<Record>> {
    let mut found: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in broker.read_all(TOPIC) {
        found.entry(record.header("ingest_id").expect("an id")).or_default().push(record);
    }
    found
}

#[test]
fn the_spools_history_goes_to_kafka_as_it_was_stored() {
    let broker = Broker::start(Version::V3_9);
    let daemon = left_at_home(40);
    let stored = rows(&daemon.data_dir(), "raw_logs");

    let dry = run_on(&daemon.data_dir(), &["replay", "--dry-run"]).ok();
    assert!(dry.out.contains("40 events would be sent, received from "), "{}", dry.out);

    let some = replay(&daemon.data_dir(), &broker, &["--service", "odd", "--level", "error", "--json"]).ok();
    assert_eq!(some.json()["events"], 4);
    let all = replay(&daemon.data_dir(), &broker, &["--rate", "0"]).ok();
    assert!(all.out.contains("40 events acknowledged by kafka"), "{}", all.out);

    let found = in_topic(&broker);
    assert_eq!(found.len(), 40);
    for row in &stored {
        let records = &found[&row.ingest_id];
        let is_picked = std::str::from_utf8(&row.payload).unwrap().contains(r#""level":"error","#)
            && std::str::from_utf8(&row.payload).unwrap().contains(r#""service":"odd""#);
        assert_eq!(records.len(), if is_picked { 2 } else { 1 }, "{}", row.request_id);
        for record in records {
            assert_eq!(record.value, row.payload);
            assert_eq!(record.key.as_deref(), Some(row.request_id.as_bytes()));
        }
    }
    // Nothing has changed where they came from.
    assert_eq!(rows(&daemon.data_dir(), "raw_logs").len(), 40);

    files(&broker, &daemon);
    resumes(&broker, &daemon);
}

/// What was exported is sent from another machine, and a damaged line is left out and named.
fn files(broker: &Broker, daemon: &Daemon) {
    let stick = TempDir::new();
    let file = stick.path().join("events.ndjson.gz");
    let name = file.to_str().expect("UTF-8");
    run_on(&daemon.data_dir(), &["spool", "export", "--gzip", "--output", name]).ok();
    let elsewhere = TempDir::new();
    let before = in_topic(broker);
    replay(elsewhere.path(), broker, &["--file", name]).ok();
    let after = in_topic(broker);
    assert!(after.iter().all(|(id, records)| records.len() == before[id].len() + 1));

    let plain = stick.path().join("events.ndjson");
    let mut lines: Vec<String> =
        run_on(&daemon.data_dir(), &["spool", "export"]).ok().out.lines().map(str::to_owned).collect();
    lines[4] = lines[4].replace("12.5", "12.6");
    lines[9].truncate(100);
    fs::write(&plain, lines.join("\n")).unwrap();
    let said = replay(elsewhere.path(), broker, &["--file", plain.to_str().unwrap(), "--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!((&said.json()["events"], &said.json()["damaged"]), (&38.into(), &2.into()));
    assert!(said.err.contains("line 5: the line is damaged: its checksum"), "{}", said.err);
    assert!(said.err.contains("line 10: the line is damaged: it is not an exported event"), "{}", said.err);
    let now = in_topic(broker);
    let grown = now.iter().filter(|(id, records)| records.len() > after[*id].len()).count();
    assert_eq!(grown, 38);
}

/// Interrupted and started again, it sends each event once more, and only those that were left.
fn resumes(broker: &Broker, daemon: &Daemon) {
    let home = TempDir::new();
    let bookmark = home.path().join("bookmark");
    let bookmark = bookmark.to_str().expect("UTF-8");
    let dir = daemon.data_dir();
    let brokers = broker.address();
    let settings = [("DATA_DIR", dir.to_str().unwrap()), ("KAFKA_BROKERS", &*brokers)];
    let before = in_topic(broker);
    let args = ["replay", "--rate", "10", "--resume", bookmark, "--json"];
    let mut child = command(&settings, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let is_noted = || fs::read_to_string(bookmark).ok().filter(|text| text.contains(r#""after":"#));
    crate::support::poll(std::time::Duration::from_secs(30), "a bookmark", is_noted);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let first: Value = serde_json::from_str(&said).unwrap();
    let sent = first["events"].as_u64().unwrap();
    assert!((1..40).contains(&sent), "{first}");

    let rest = run(&settings, &["replay", "--rate", "0", "--resume", bookmark, "--json"]).ok().json();
    assert_eq!(rest["events"].as_u64().unwrap() + sent, 40);
    let after = in_topic(broker);
    assert!(after.iter().all(|(id, records)| records.len() == before[id].len() + 1));
    let done = run(&settings, &["replay", "--resume", bookmark, "--json"]).ok().json();
    assert_eq!(done["events"], 0);
    let other = run(&settings, &["replay", "--resume", bookmark, "--level", "info"]);
    assert!(other.code == Some(1) && other.err.contains("another replay"), "{other:?}");
}

#[test]
fn rows_of_postgres_are_replayed_by_state_and_stay_as_they_are() {
    let broker = Broker::start(Version::V3_9);
    let server = Server::start();
    let daemon = Daemon::builder().env("POSTGRES_URL", server.url()).start();
    daemon.wait_until_up("postgres");
    post(&daemon, 30, |n, event| event["level"] = if n < 10 { "error" } else { "info" }.into());
    assert_eq!(server.value("SELECT count(*) FROM raw_logs WHERE state = 'home'"), "30");
    let (brokers, url) = (broker.address(), server.url());
    let settings = [("KAFKA_BROKERS", &*brokers), ("POSTGRES_URL", &*url)];

    let errors = run(&settings, &["replay", "--postgres", "--level", "error", "--json"]).ok().json();
    assert_eq!(errors["events"], 10);
    assert_eq!(in_topic(&broker).len(), 10);
    server.sql("UPDATE raw_logs SET state = 'held', forwarded_at = now() WHERE level = 'info'");
    let forwarded = run(&settings, &["replay", "--postgres", "--state", "forwarded", "--json"]).ok().json();
    assert_eq!(forwarded["events"], 20);
    let found = in_topic(&broker);
    assert_eq!(found.len(), 30);
    assert!(found.values().all(|records| records.len() == 1));
    let rest = forwarded["after"].as_str().expect("a place").to_owned();
    let again =
        run(&settings, &["replay", "--postgres", "--state", "forwarded", "--after", &rest, "--json"]).ok();
    assert_eq!(again.json()["events"], 0);
    let held = run(&settings, &["replay", "--postgres", "--state", "held"]);
    assert!(held.code == Some(1) && held.err.contains("the daemon itself sends"), "{held:?}");
    assert_eq!(server.value("SELECT count(*) FROM raw_logs"), "30");
}

#[test]
fn what_is_missing_for_a_replay_is_named() {
    let daemon = left_at_home(1);
    let none = run_on(&daemon.data_dir(), &["replay"]);
    assert!(none.code == Some(1) && none.err.contains("KAFKA_BROKERS is not set"), "{none:?}");
    let none = run_on(&daemon.data_dir(), &["replay", "--postgres"]);
    assert!(none.code == Some(1) && none.err.contains("POSTGRES_URL is not set"), "{none:?}");
    let wrong = run(&[("KAFKA_BROKERS", "a:0")], &["replay"]);
    assert!(wrong.code == Some(78) && wrong.err.contains("KAFKA_BROKERS"), "{wrong:?}");
    let wrong = run_on(&daemon.data_dir(), &["replay", "--from", "yesterday"]);
    assert!(wrong.code == Some(64) && wrong.err.contains("2026-01-31"), "{wrong:?}");
    let file = run_on(&daemon.data_dir(), &["replay", "--file", "/nowhere/x.ndjson", "--dry-run"]);
    assert!(file.code == Some(1) && file.err.contains("cannot read /nowhere/x.ndjson"), "{file:?}");
}
