//! Faults of the stores behind the network, under load, on the whole daemon. Each test ends with the
//! invariant on the real stores: what was answered 202 is in the topic, in a backlog or a dead letter.

mod away;
mod cluster;
mod drain;
mod flapping;
mod replies;
mod slow;
mod stopping;
mod wiped;

use std::time::Duration;

use crate::support::daemon::{Builder, Daemon};
use crate::support::events;
use crate::support::kafka::Broker;
use crate::support::load::Report;
use crate::support::poll;
use crate::support::postgres::Server;
use crate::support::proxy::{Proxy, behind_a_proxy};
use crate::support::stores::Found;

/// For what takes as long as a busy machine lets it.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a busy machine may add to a deadline.
const MARGIN: Duration = Duration::from_secs(2);
/// More than this is a leak: an unoptimised daemon under load has some 40 MiB.
const RESIDENT_KIB_MAX: u64 = 150 * 1024;

fn is_long() -> bool {
    std::env::var_os("LOGS_INGEST_LONG").is_some()
}

/// A daemon between these stores, whose recovery is not slowed down.
fn daemon_of(brokers: &str, server: Option<&Server>) -> Builder {
    let builder = Daemon::builder().env("KAFKA_BROKERS", brokers).env("RECOVERY_RATE", 0);
    match server {
        Some(server) => builder.env("POSTGRES_URL", server.url()),
        None => builder,
    }
}

/// The server's address behind a proxy.
fn url_through(proxy: &Proxy, server: &Server) -> String {
    server.url().replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.addr().port()))
}

fn state_is(daemon: &Daemon, store: &str, state: &str) {
    daemon.wait_for("/health", PATIENCE, |health| health[store]["state"] == state);
}

/// Posts one event, notes it, and tells where it is.
fn post(daemon: &Daemon, sent: &mut Report) -> String {
    let event = events::event();
    sent.unanswered.push(event["request_id"].as_str().unwrap().to_owned());
    let answer = daemon.client().post_event(event.to_string());
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.header("X-Stored-In").unwrap().to_owned()
}

fn until_stored_in(daemon: &Daemon, sent: &mut Report, place: &str) {
    poll(PATIENCE, &format!("events to be stored in {place}"), || {
        (post(daemon, sent) == place).then_some(())
    });
}

/// Rows of Postgres that wait for Kafka.
fn waiting(server: &Server) -> u64 {
    let held = "SELECT count(*) FROM raw_logs WHERE state = 'held' AND forwarded_at IS NULL";
    server.value(held).parse().unwrap()
}

/// Kafka is used again and nothing waits for it any more.
fn all_in_kafka(daemon: &Daemon, server: Option<&Server>) {
    poll(2 * PATIENCE, "everything to be in Kafka", || {
        let health = daemon.health();
        let spooled = health["spool"]["held"] != 0 || health["kafka"]["state"] != "up";
        (!spooled && server.is_none_or(|server| waiting(server) == 0)).then_some(())
    });
}

/// The invariant, with nothing left to wait for: everything is in the topic, or a dead letter.
fn assert_all_arrived(found: &Found, sent: &Report) {
    found.assert_safe(sent);
    assert!(found.held.is_empty() && found.home.is_empty(), "{:?} {:?}", found.held, found.home);
}

fn assert_balanced(daemon: &Daemon) {
    let quiet = |stats: &serde_json::Value| stats["ledger"]["in_flight"] == 0;
    let stats = daemon.wait_for("/stats", PATIENCE, quiet);
    assert_eq!(stats["ledger"]["balanced"], true, "{stats}");
}

fn counter(daemon: &Daemon, name: &str) -> u64 {
    daemon.stats()["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name}"))
}
