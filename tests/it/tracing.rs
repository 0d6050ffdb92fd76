//! What travels with an event: trace contexts, the skew of clocks, ids inside the value.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::support::daemon::{Builder, Daemon};
use crate::support::events::{self, Body};
use crate::support::http::{BATCH, INGEST};
use crate::support::kafka::{Broker, Version};
use crate::support::postgres::Server;
use crate::support::stores::TOPIC;
use crate::support::{TempDir, poll};

const LIMIT: Duration = Duration::from_secs(30);
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn in_spool(daemon: &Daemon, column: &str) -> Vec<Option<String>> {
    let file = daemon.data_dir().join("spool.sqlite3");
    let spool = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut query =
        spool.prepare(&format!("SELECT CAST({column} AS TEXT) FROM raw_logs ORDER BY seq")).unwrap();
    let rows = query.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_valid_traceparent_is_echoed_logged_and_stored_and_no_other() {
    let daemon = Daemon::builder().env("LOG_LEVEL", "debug").start();
    let event = Body::minimal().text();
    for path in [INGEST, BATCH] {
        let answer = daemon.client().post(path, &[("traceparent", PARENT)], &event);
        assert_eq!((answer.status, answer.header("traceparent")), (202, Some(PARENT)));
    }
    daemon.wait_for_log(&format!("traceparent={PARENT}"), LIMIT);
    let with_query = format!("{INGEST}?token=secret");
    let refused =
        daemon.client().post(&with_query, &[("traceparent", PARENT), ("X-Request-ID", "x-9")], b"{");
    assert_eq!((refused.status, refused.header("traceparent")), (422, Some(PARENT)));
    let line = daemon.wait_for_log("x_request_id=\"x-9\"", LIMIT);
    assert!(line.contains(&format!("traceparent={PARENT}")) && !line.contains("secret"), "{line}");
    for wrong in ["", "1", &PARENT[1..], &PARENT.to_uppercase(), &PARENT.replacen("4bf9", "xxxx", 1)] {
        let answer = daemon.client().post(INGEST, &[("traceparent", wrong)], &event);
        assert_eq!((answer.status, answer.header("traceparent")), (202, None), "{wrong}");
    }
    let parent = Some(PARENT.to_owned());
    assert_eq!(in_spool(&daemon, "traceparent"), [parent.clone(), parent, None, None, None, None, None]);
}

#[test]
fn a_wrong_clock_refuses_nothing_and_is_reported() {
    let daemon = Daemon::start();
    for (service, timestamp) in [
        ("old", "2016-02-29T12:00:00Z"),
        ("new", "2036-02-29"),
        ("new", "9999-12-31T23:59:59-23:59"),
        ("old", "0001-01-01"),
    ] {
        let event = Body::minimal()
            .with("service", &format!("\"{service}\""))
            .with("timestamp", &format!("\"{timestamp}\""));
        assert_eq!(daemon.client().post_event(event.text()).status, 202, "{timestamp}");
    }
    let received = in_spool(&daemon, "received_at");
    let skews = in_spool(&daemon, "skew_ms");
    let skews: Vec<i64> = skews.into_iter().map(|skew| skew.unwrap().parse().unwrap()).collect();
    let received =
        chrono::DateTime::parse_from_rfc3339(received[0].as_ref().unwrap()).unwrap().timestamp_millis();
    assert_eq!(skews[0], received - 1_456_747_200_000);
    assert!(skews[1] < 0 && skews[2] < skews[1] && skews[3] > skews[0], "{skews:?}");
    assert_eq!(daemon.stats()["worst_skew_ms"], json!({"new": skews[2], "old": skews[3]}));
}

#[test]
fn kafka_gets_the_skew_and_with_embed_id_the_id_inside_the_value() {
    let broker = Broker::start(Version::V3_9);
    for (client, embed) in [("modern", "off"), ("modern", "on"), ("classic", "on")] {
        let topic = format!("{TOPIC}-{client}-{embed}");
        broker.create_topic(&topic, 1, &[]);
        let daemon = Daemon::builder()
            .env("KAFKA_BROKERS", broker.address())
            .env("KAFKA_TOPIC", &topic)
            .env("KAFKA_CLIENT", client)
            .env("KAFKA_EMBED_ID", embed)
            .start();
        daemon.wait_until_up("kafka");
        let mut event = events::event();
        event["ingest_id"] = json!("the client's own");
        let answer = daemon.client().post_event(event.to_string());
        assert_eq!((answer.status, answer.header("X-Stored-In")), (202, Some("kafka")), "{}", answer.text());
        let id = answer.header("X-Ingest-Id").unwrap();
        let records = broker.read_all(&topic);
        let value: Value = serde_json::from_slice(&records[0].value).unwrap();
        let received = value["received_at"].as_str().map(str::to_owned);
        if client == "modern" {
            assert_eq!(records[0].header("ingest_id").as_deref(), Some(id));
            let skew: i64 = records[0].header("skew_ms").unwrap().parse().unwrap();
            assert_eq!(skew, records[0].timestamp - 1_763_486_495_750);
            assert!(received.is_none() || received == records[0].header("received_at"));
        }
        let expected = if embed == "on" { id } else { "the client's own" };
        assert_eq!(
            (&value["ingest_id"], received.is_some()),
            (&json!(expected), embed == "on"),
            "{client} {embed}"
        );
        let text = std::str::from_utf8(&records[0].value).unwrap();
        assert_eq!(text.matches("\"ingest_id\"").count(), 1, "{text}");
    }
}

/// A till with a key, and a daemon of this broker that knows it.
struct Till {
    home: TempDir,
}

impl Till {
    const KEY: &str = "5f0c2b8e9d7a41630c1e";

    fn new() -> Self {
        let home = TempDir::new();
        let file = home.path().join("keys");
        fs::write(&file, format!("till-7 {}\n", Self::KEY)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        Self { home }
    }

    fn daemon(&self, broker: &Broker) -> Builder {
        Daemon::builder()
            .env("KAFKA_BROKERS", broker.address())
            .env("API_KEYS_FILE", self.home.path().join("keys").display())
            .env("INSTANCE", "back office")
    }

    /// An event with everything that can come with one.
    fn sells(daemon: &Daemon, place: &str) {
        let bearer = format!("Bearer {}", Self::KEY);
        let headers = [("Authorization", &*bearer), ("X-Request-ID", "req 1"), ("traceparent", PARENT)];
        let answer = daemon.client().post(INGEST, &headers, events::event().to_string());
        assert_eq!((answer.status, answer.header("X-Stored-In")), (202, Some(place)), "{}", answer.text());
    }

    fn is_known_to(broker: &Broker) {
        poll(LIMIT, "the event in Kafka", || (!broker.read_all(TOPIC).is_empty()).then_some(()));
        let record = &broker.read_all(TOPIC)[0];
        for (name, value) in [
            ("client", "till-7"),
            ("x-request-id", "req 1"),
            ("traceparent", PARENT),
            ("instance", "back office"),
        ] {
            assert_eq!(record.header(name).as_deref(), Some(value), "{name}");
        }
    }
}

#[test]
fn kafka_gets_what_came_with_an_event_that_waited_in_postgres() {
    let (mut broker, server, till) = (Broker::start(Version::V3_9), Server::start(), Till::new());
    let daemon = till.daemon(&broker).env("POSTGRES_URL", server.url()).start();
    daemon.wait_until_up("kafka");
    daemon.wait_until_up("postgres");
    broker.kill();
    Till::sells(&daemon, "postgres");
    let row =
        "SELECT topic, length(cluster_id) > 10, client, x_request_id, trace_parent, instance FROM raw_logs";
    assert_eq!(server.sql(row), [[TOPIC, "t", "till-7", "req 1", PARENT, "back office"]]);
    broker.restart();
    Till::is_known_to(&broker);
}

#[test]
fn kafka_gets_what_came_with_an_event_that_waited_in_the_spool() {
    let (mut broker, till) = (Broker::start(Version::V3_9), Till::new());
    let mut daemon = till.daemon(&broker).start();
    daemon.wait_until_up("kafka");
    broker.kill();
    Till::sells(&daemon, "spool");
    let text = |text: &str| Some(text.to_owned());
    for (column, value) in [
        ("topic", text(TOPIC)),
        ("length(cluster_id) > 10", text("1")),
        ("client", text("till-7")),
        ("x_request_id", text("req 1")),
        ("traceparent", text(PARENT)),
        ("instance", text("back office")),
    ] {
        assert_eq!(in_spool(&daemon, column), [value], "{column}");
    }
    // Of another process, which has it from the row alone.
    daemon.kill9();
    broker.restart();
    daemon.restart();
    Till::is_known_to(&broker);
}
