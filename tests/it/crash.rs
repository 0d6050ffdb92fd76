//! kill -9 at any moment, stopping on request, and a panic in a thread that is not the daemon's own: nothing that was
//! answered 202 is lost.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::http::{Client, INGEST};
use crate::support::kafka::{Broker, Version};
use crate::support::ledger::Ledger;
use crate::support::load::{Load, Report, Until, valid_events};
use crate::support::random::Seed;
use crate::support::stores::Found;

/// F1: rounds of kill -9 under the load of eight tills, the spool as home.
#[test]
fn kill_9_at_random_moments_loses_no_acknowledged_event() {
    let rounds = if std::env::var_os("LOGS_INGEST_LONG").is_some() { 1_000 } else { 100 };
    let mut seed = Seed::new();
    let mut daemon = Daemon::builder().start();
    let mut total = Report::default();
    for round in 0..rounds {
        let load = Load::start(daemon.addr(), 8, Until::Stopped, valid_events);
        let moment = Duration::from_millis(20 + seed.below(200));
        crate::support::pause(moment);
        daemon.kill9();
        total.add(load.stop());
        let began = Instant::now();
        daemon.restart();
        let ready = daemon.get("/readyz");
        assert_eq!(ready.status, 200, "round {round}: {}", ready.text());
        assert!(began.elapsed() < Duration::from_secs(2), "round {round}: ready after {:?}", began.elapsed());
    }
    assert!(total.with_status(202) > rounds * 10, "{} acknowledged", total.with_status(202));
    let found = Found::look(None, &daemon.data_dir());
    found.assert_safe(&total);
    let home = daemon.health()["spool"]["home"].as_u64();
    assert_eq!(home, Some(found.home.len() as u64), "the daemon counts what is there");
}

/// F1 with Kafka: acknowledged by the broker or held, and drained after each restart.
#[test]
fn kill_9_between_kafka_and_spool_loses_no_acknowledged_event() {
    let mut seed = Seed::new();
    let broker = Broker::start(Version::V3_9);
    let mut daemon = Daemon::builder()
        .env("KAFKA_BROKERS", broker.address())
        .env("KAFKA_DEADLINE", "1s")
        .env("RECOVERY_RATE", 0)
        .start();
    let mut total = Report::default();
    for round in 0..6 {
        let load = Load::start(daemon.addr(), 8, Until::Stopped, valid_events);
        let frozen = round % 2 == 1;
        if frozen {
            broker.freeze();
            daemon.wait_for("/health", Duration::from_secs(60), |health| health["spool"]["held"] != 0);
        }
        // On a busy machine that takes its time.
        daemon.wait_for("/stats", Duration::from_secs(60), |stats| {
            stats["counters"]["accepted"].as_u64() > Some(50)
        });
        crate::support::pause(Duration::from_millis(seed.below(400)));
        daemon.kill9();
        total.add(load.stop());
        if frozen {
            broker.thaw();
        }
        daemon.restart();
    }
    daemon.wait_for("/health", Duration::from_secs(60), |health| {
        health["kafka"]["state"] == "up" && health["spool"]["held"] == 0
    });
    assert!(total.with_status(202) > 100, "{} acknowledged", total.with_status(202));
    let found = Found::look(Some(&broker), &daemon.data_dir());
    found.assert_safe(&total);
    assert!(found.held.is_empty() && found.dead.is_empty());
    assert!(Ledger::of(&daemon).balances());
}

/// F19: asked to stop under load.
#[test]
fn a_stop_under_load_answers_what_was_taken_and_ends_in_time() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start();
        let load = Load::start(daemon.addr(), 16, Until::Stopped, valid_events);
        daemon.wait_for("/stats", Duration::from_secs(10), |stats| {
            stats["counters"]["accepted"].as_u64() > Some(200)
        });
        let began = Instant::now();
        daemon.signal(signal);
        let status = daemon.wait_for_exit(Duration::from_secs(11));
        assert_eq!(status.code(), Some(0), "{signal:?}: {}", daemon.log_text());
        assert!(began.elapsed() < Duration::from_secs(11));
        let report = load.stop();
        Found::look(None, &daemon.data_dir()).assert_safe(&report);
        assert!(daemon.logged("stopped"));
    }
}

#[test]
fn a_stop_while_the_broker_hangs_stores_the_batch_in_hand() {
    let broker = Broker::start(Version::V3_9);
    let mut daemon = Daemon::builder().env("KAFKA_BROKERS", broker.address()).start();
    daemon.wait_until_up("kafka");
    broker.freeze();
    let mut client = daemon.client();
    let event = events::event();
    client.send("POST", INGEST, &[], event.to_string().as_bytes()).unwrap();
    daemon.wait_for("/stats", Duration::from_secs(5), |stats| stats["counters"]["in_flight"] == 1);
    // Twice, and a storm of reloads: one stop, nothing else.
    for signal in [Signal::HUP, Signal::TERM, Signal::HUP, Signal::TERM, Signal::HUP] {
        daemon.signal(signal);
    }
    let answer = client.read_response().expect("what was taken is answered");
    assert_eq!((answer.status, answer.header("X-Stored-In")), (202, Some("spool")));
    assert!(answer.closes());
    assert_eq!(daemon.wait_for_exit(Duration::from_secs(11)).code(), Some(0), "{}", daemon.log_text());
    let found = Found::look(None, &daemon.data_dir());
    assert!(found.held.contains(answer.header("X-Ingest-Id").unwrap()));
    broker.thaw();
}

#[test]
fn a_stop_during_a_drain_forgets_nothing() {
    let mut broker = Broker::builder(Version::V3_9).absent();
    let mut daemon =
        Daemon::builder().env("KAFKA_BROKERS", broker.address()).env("RECOVERY_RATE", 200).start();
    let report = Load::run(daemon.addr(), 8, Until::Count(1_000), valid_events);
    assert_eq!(report.with_status(202), 1_000);
    broker.restart();
    daemon.wait_for("/stats", Duration::from_secs(60), |stats| {
        stats["counters"]["recovered"].as_u64() > Some(50)
    });
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.log_text());
    let found = Found::look(Some(&broker), &daemon.data_dir());
    found.assert_safe(&report);
    assert!(!found.held.is_empty(), "the stop came in the middle");
    daemon.restart();
    daemon.wait_for("/health", Duration::from_secs(60), |health| health["spool"]["held"] == 0);
    Found::look(Some(&broker), &daemon.data_dir()).assert_safe(&report);
}

#[test]
fn a_storm_of_reloads_changes_nothing() {
    let mut daemon = Daemon::start();
    for _ in 0..500 {
        daemon.signal(Signal::HUP);
    }
    let mut client = Client::connect(daemon.addr());
    assert_eq!(client.post_event(events::event().to_string()).status, 202);
    assert!(daemon.is_running());
    assert!(daemon.log_text().matches("SIGHUP").count() < 10);
}

/// tiny_http panics on its accepting thread where a connection has no second descriptor. The daemon goes on.
#[test]
fn a_panic_in_the_inner_servers_own_thread_costs_that_connection_only() {
    let mut daemon = Daemon::start();
    let socket = daemon.data_dir().join("private/http.sock");
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
    let mut report = Load::run(daemon.addr(), 1, Until::Count(1), valid_events);
    let maximum = getrlimit(Resource::Nofile).maximum;
    crate::support::poll(Duration::from_secs(20), "the inner server's thread to panic", || {
        // Exactly one descriptor is free below this.
        let free = (0..).find(|fd| !Path::new(&format!("/proc/{}/fd/{fd}", daemon.pid())).exists())?;
        let short = Rlimit { current: Some(free + 1), maximum };
        let long = prlimit(pid, Resource::Nofile, short).unwrap();
        let refused = UnixStream::connect(&socket);
        crate::support::pause(Duration::from_millis(50));
        prlimit(pid, Resource::Nofile, long).unwrap();
        drop(refused);
        report.add(Load::run(daemon.addr(), 1, Until::Count(1), valid_events));
        daemon.logged("BUG: panic").then_some(())
    });
    // More connections than there are already: the server that cannot accept any more is replaced.
    let burst = Load::run(daemon.addr(), 64, Until::Count(640), valid_events);
    assert_eq!((burst.with_status(202), burst.connection_errors), (640, 0));
    report.add(burst);
    assert_eq!(daemon.log_text().matches("BUG: ").count(), 1, "{}", daemon.log_text());
    assert!(daemon.logged("thread=unnamed"), "{}", daemon.log_text());
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.log_text());
    Found::look(None, &daemon.data_dir()).assert_safe(&report);
}
