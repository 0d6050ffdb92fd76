//! The other endpoints, and the answers to unknown paths and methods.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::events::{self, Body};
use crate::support::http::{Client, INGEST, once};
use crate::support::ledger::Ledger;
use crate::support::load::{Load, Until, valid_events};
use crate::support::proxy::Proxy;

const GETS: [&str; 5] = ["/health", "/livez", "/readyz", "/stats", "/metrics"];
const NOT_FOUND: &str = r#"{"detail":"Not Found"}"#;
const NOT_ALLOWED: &str = r#"{"detail":"Method Not Allowed"}"#;
const LIMIT: Duration = Duration::from_secs(15);

/// Whether the answer has these keys in this order.
fn keys_in_order(text: &str, keys: &[&str]) -> bool {
    let places: Vec<Option<usize>> = keys.iter().map(|key| text.find(&format!("\"{key}\":"))).collect();
    places.iter().all(Option::is_some) && places.is_sorted()
}

#[test]
fn health_has_the_contracts_shape() {
    let daemon = Daemon::start();
    let response = daemon.get("/health");
    assert_eq!((response.status, response.header("Content-Type")), (200, Some("application/json")));
    let keys = ["status", "service", "version", "timestamp", "kafka", "postgres", "spool"];
    assert!(keys_in_order(response.text(), &keys), "{}", response.text());
    let health = response.json();
    assert_eq!(health.as_object().map(serde_json::Map::len), Some(keys.len()), "{health}");
    // No other store is configured, so using the spool is not a fault.
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["service"], "logs-ingest");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    let timestamp = health["timestamp"].as_str().expect("a text");
    assert!(timestamp.len() == 24 && timestamp.ends_with('Z'), "{timestamp}");
    let said = DateTime::parse_from_rfc3339(timestamp).expect("a real time");
    assert!((Utc::now() - said.to_utc()).num_seconds().abs() < 60, "{timestamp} is not now");
    for part in ["kafka", "postgres", "spool"] {
        assert!(health[part].is_object(), "{part} in {health}");
    }
}

#[test]
fn livez_and_readyz_say_yes() {
    let daemon = Daemon::start();
    for path in ["/livez", "/readyz"] {
        let response = daemon.get(path);
        assert_eq!(
            (response.status, response.header("Content-Type")),
            (200, Some("application/json")),
            "{path}"
        );
        assert!(response.json().is_object(), "{path}: {}", response.text());
    }
}

#[test]
fn health_is_degraded_but_ready_while_the_broker_is_down() {
    let daemon = Daemon::builder().env("KAFKA_BROKERS", format!("127.0.0.1:{}", Proxy::reserve())).start();
    let event = daemon.client().post_event(events::event().to_string());
    assert_eq!((event.status, event.header("X-Stored-In")), (202, Some("spool")), "{}", event.text());
    let health = daemon.wait_for("/health", LIMIT, |health| health["status"] == "degraded");
    assert!(health["kafka"].as_object().is_some_and(|kafka| !kafka.is_empty()), "{health}");
    assert_eq!(daemon.get("/livez").status, 200);
    assert_eq!(daemon.get("/readyz").status, 200);
    let ledger = Ledger::settled(&daemon, LIMIT);
    assert_eq!((ledger.accepted, ledger.held_now, ledger.home, ledger.sent_to_kafka), (1, 1, 0, 0));
    assert!(ledger.balances(), "{ledger:?}");
}

#[test]
fn the_ledger_balances_under_load_and_over_a_restart() {
    const EVENTS: usize = 400;
    let mut daemon =
        Daemon::builder().env("KAFKA_BROKERS", format!("127.0.0.1:{}", Proxy::reserve())).start();
    let report = Load::run(daemon.addr(), 8, Until::Count(EVENTS), valid_events);
    assert_eq!((report.connection_errors, report.with_status(202)), (0, EVENTS));
    for _ in 0..3 {
        assert_eq!(daemon.client().post_event("{").status, 422);
    }
    let ledger = Ledger::settled(&daemon, LIMIT);
    assert_eq!((ledger.held_at_start, ledger.accepted, ledger.held_now), (0, EVENTS as u64, EVENTS as u64));
    assert!(ledger.balances(), "{ledger:?}");

    daemon.restart();
    let ledger = Ledger::settled(&daemon, LIMIT);
    assert_eq!((ledger.held_at_start, ledger.accepted, ledger.held_now), (EVENTS as u64, 0, EVENTS as u64));
    assert!(ledger.balances(), "{ledger:?}");
}

#[test]
fn stats_is_an_object_of_counters() {
    let daemon = Daemon::start();
    let response = daemon.get("/stats");
    assert_eq!((response.status, response.header("Content-Type")), (200, Some("application/json")));
    let zero = Ledger::from_stats(&response.json());
    assert_eq!((zero.held_at_start, zero.accepted, zero.home), (0, 0, 0));
    assert!(zero.balances());
    // Every leaf is a number, a text or a boolean, so that scripts can read it.
    fn check(value: &Value, path: &str) {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(key, value)| check(value, &format!("{path}.{key}")))
            }
            Value::Array(_) => panic!("a list at {path}"),
            _ => {}
        }
    }
    check(&response.json(), "stats");
}

#[test]
fn unknown_paths_are_404_whatever_the_method() {
    let daemon = Daemon::start();
    for path in [
        "/nowhere",
        "/api",
        "/api/logs",
        "/api/logs/ingest/",
        "/api/logs/ingestion",
        "/api//logs/ingest",
        "//api/logs/ingest",
        "/API/logs/ingest",
        "/Health",
        "/health/",
        "/livez/",
        "/readyz/",
        "/stats/",
        "/health%2F",
        "/health%3Fa",
        "/health%00",
        "/health%zz",
        "/health%",
        "/health%2",
        "/%ff",
        "http://shop.example/nowhere",
    ] {
        for method in ["GET", "POST", "DELETE", "BREW", "OPTIONS"] {
            let response = once(daemon.addr(), method, path, &[], b"");
            assert_eq!((response.status, response.text()), (404, NOT_FOUND), "{method} {path}");
            assert_eq!(response.header("Content-Type"), Some("application/json"), "{method} {path}");
            assert_eq!(response.header("Allow"), None, "{method} {path}");
        }
    }
}

#[test]
fn other_methods_are_405_and_name_the_one_that_exists() {
    let daemon = Daemon::start();
    let paths = GETS.iter().map(|path| (*path, "GET")).chain([(INGEST, "POST")]);
    for (path, allowed) in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get", "post"] {
            if method == allowed {
                continue;
            }
            let response = once(daemon.addr(), method, path, &[], b"");
            assert_eq!((response.status, response.text()), (405, NOT_ALLOWED), "{method} {path}");
            assert_eq!(response.header("Allow"), Some(allowed), "{method} {path}");
        }
    }
}

#[test]
fn head_is_405_without_a_body() {
    let daemon = Daemon::start();
    for path in GETS.iter().chain([&INGEST]) {
        let mut client = daemon.client();
        client
            .send_raw(format!("HEAD {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"))
            .expect("the daemon reads");
        let response = client.read_head().expect("an answer");
        assert_eq!(response.status, 405, "{path}");
        assert!(response.header("Allow").is_some(), "{path}");
        assert!(client.is_closed(), "{path}: a body after a HEAD answer");
    }
    let mut client = daemon.client();
    client
        .send_raw("HEAD /nowhere HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        .expect("the daemon reads");
    assert_eq!(client.read_head().expect("an answer").status, 404);
    assert!(client.is_closed(), "a body after a HEAD answer");
}

#[test]
fn a_target_is_decoded_its_query_ignored_its_absolute_form_accepted() {
    let daemon = Daemon::start();
    for target in [
        "/health",
        "/health?",
        "/health?a=b&c=%zz",
        "/health?/nowhere",
        "/%68ealth",
        "/%68%65%61%6C%74%68",
        "http://shop.example/health",
        "http://shop.example:8000/health?a=b",
        "HTTP://SHOP.EXAMPLE/health",
    ] {
        let response = daemon.get(target);
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        assert_eq!(response.json()["service"], "logs-ingest", "{target}");
    }
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for round in 0..20 {
        for path in GETS {
            assert_eq!(client.get(path).status, 200, "round {round}, {path}");
        }
        assert_eq!(client.post_event(Body::minimal().text()).status, 202, "round {round}");
        assert_eq!(client.post_event("{").status, 422, "round {round}");
    }
    let last = client.request("GET", "/health", &[("Connection", "close")], b"");
    assert!(last.closes() && client.is_closed());

    let mut old = daemon.client();
    for _ in 0..2 {
        old.send_raw("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").expect("the daemon reads");
        let response = old.read_response().expect("an answer");
        assert_eq!(response.header("Connection").map(str::to_lowercase).as_deref(), Some("keep-alive"));
    }
}

#[test]
fn flags_do_what_the_environment_does() {
    let home = crate::support::TempDir::new();
    let port = Proxy::reserve();
    let dir = home.path().join("deeper/data");
    let daemon = Daemon::builder()
        .env("PORT", "1")
        .arg("--port")
        .arg(&port.to_string())
        .arg("--data-dir")
        .arg(&dir.display().to_string())
        .start();
    assert_eq!(daemon.addr().port(), port, "a flag wins over the environment");
    assert_eq!(Client::connect(daemon.addr()).post_event(Body::minimal().text()).status, 202);
    assert!(dir.join("spool.sqlite3").is_file(), "the folder is made, the spool is in it");
}
