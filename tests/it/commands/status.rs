//! `status`: what it says and how it ends while everything is well, while a store is down, and while nothing
//! can be stored.

use std::time::Duration;

use super::*;
use crate::support::load::{Load, Until, valid_events};
use crate::support::poll;
use crate::support::postgres::Server;

const LIMIT: Duration = Duration::from_secs(60);

fn status(daemon: &Daemon, args: &[&str]) -> Ran {
    run(&[], &[&["status", "--url", &daemon.url()], args].concat())
}

/// A port that nothing listens on: bound, never accepting.
fn nowhere() -> (std::net::UdpSocket, String) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address").to_string();
    (socket, address)
}

#[test]
fn a_daemon_that_is_well_and_one_that_is_not_there() {
    let mut daemon = Daemon::start();
    post(&daemon, 3, |_, _| {});
    let said = status(&daemon, &[]).ok().out;
    assert!(said.contains("all is well") && said.contains("route         spool, since 20"), "{said}");
    assert!(said.contains("nothing waits") && said.contains("3 events at home"), "{said}");
    assert!(said.contains("ledger        balanced: 0 held before and 3 accepted"), "{said}");
    assert_eq!(status(&daemon, &["--json"]).ok().json()["verdict"], "well");
    let port = daemon.addr().port().to_string();
    run(&[("PORT", &*port)], &["status"]).ok();
    daemon.terminate();
    let gone = status(&daemon, &["--json"]);
    assert_eq!(gone.code, Some(2), "{gone:?}");
    let why = gone.json()["problem"].as_str().expect("a reason").to_owned();
    assert!(why.contains("cannot reach the daemon") && gone.json()["verdict"] == "down", "{why}");
}

#[test]
fn what_waits_is_counted_in_both_stores_and_degraded_is_not_down() {
    let (_kafka, broker) = nowhere();
    let server = Server::start();
    let daemon = Daemon::builder()
        .env("KAFKA_BROKERS", broker)
        .env("KAFKA_DEADLINE", "500ms")
        .env("POSTGRES_URL", server.url())
        .env("MAX_EVENT_BYTES", "10KiB")
        .env("SPOOL_MAX_BYTES", "1MiB")
        .start();
    daemon.wait_until_up("postgres");
    post(&daemon, 4, |_, _| {});
    daemon.wait_for("/health", LIMIT, |health| health["postgres"]["rows"]["held"] == 4);
    let report = status(&daemon, &["--json"]).json();
    assert_eq!((&report["route"]["store"], &report["backlog"]["events"]), (&"postgres".into(), &4.into()));
    let half = status(&daemon, &[]);
    assert_eq!(half.code, Some(1), "{half:?}");
    assert!(
        half.out.contains("DEGRADED BUT SAFE") && half.out.contains("4 in postgres; the oldest for"),
        "{half:?}"
    );
    assert!(!half.out.contains(server.password()), "{half:?}");

    // Both stores are down, and the spool is full: nothing can be stored.
    drop(server);
    let mut client = daemon.client();
    let mut event = crate::support::events::event();
    event["message"] = "x".repeat(9_000).into();
    poll(LIMIT, "the spool to be full", || {
        (client.post_event(event.to_string()).status == 503).then_some(())
    });
    let down = status(&daemon, &[]);
    assert_eq!(down.code, Some(2), "{down:?}");
    assert!(down.out.contains("NOT STORING") && down.out.contains("the spool is full"), "{down:?}");
}

#[test]
fn a_spool_that_grows_says_how_long_it_will_last() {
    let (_kafka, broker) = nowhere();
    let daemon = Daemon::builder().env("KAFKA_BROKERS", broker).env("KAFKA_DEADLINE", "500ms").start();
    assert_eq!(daemon.health()["spool"]["full_in_hours"], Value::Null);
    let load = Load::start(daemon.addr(), 2, Until::Stopped, valid_events);
    let is_known = |health: &Value| health["spool"]["full_in_hours"].as_f64().is_some();
    let health = daemon.wait_for("/health", LIMIT, is_known);
    load.stop();
    let hours = health["spool"]["full_in_hours"].as_f64().expect("a number");
    assert!((0.0..10_000.0).contains(&hours), "{health}");
    assert!(health["spool"]["disk_free_bytes"].as_u64().expect("a number") > 0);
    let said = status(&daemon, &[]);
    assert!(said.code == Some(1) && said.out.contains("at the present rate"), "{said:?}");
}
