//! SIGTERM in every state of the stores (F19): the end comes within `SHUTDOWN_TIMEOUT`, and what was answered
//! 202 is stored.

use std::time::Instant;

use rustix::process::Signal;

use super::*;
use crate::support::kafka::Version;
use crate::support::load::{Load, Until, paced_events, valid_events};

/// `SHUTDOWN_TIMEOUT`'s default, and a second for the end of the process.
const STOP_LIMIT: Duration = Duration::from_secs(10 + 1);

/// Ends the daemon with these signals under the load of eight tills, and gives their report.
fn stop_under_load(daemon: &mut Daemon, load: Load, signals: &[Signal], what: &str) -> Report {
    let began = Instant::now();
    signals.iter().for_each(|signal| daemon.signal(*signal));
    let status = daemon.wait_for_exit(STOP_LIMIT);
    assert_eq!(status.code(), Some(0), "{what}: {}", daemon.log_text());
    assert!(began.elapsed() < STOP_LIMIT, "{what}: {:?}", began.elapsed());
    assert!(daemon.logged("stopped"), "{what}");
    let report = load.stop();
    let refused = report.answers.iter().filter(|answer| ![202, 503].contains(&answer.status)).count();
    assert_eq!(refused, 0, "{what}: stored or asked to come again, nothing else");
    assert!(report.with_status(202) > 20, "{what}: {}", report.with_status(202));
    report
}

/// Waits until so many more events were taken.
fn accepts(daemon: &Daemon, more: u64) {
    let enough = counter(daemon, "accepted") + more;
    daemon.wait_for("/stats", PATIENCE, |stats| stats["counters"]["accepted"].as_u64() > Some(enough));
}

#[test]
fn a_stop_under_load_loses_nothing_whatever_the_stores_do() {
    let broker = Broker::start(Version::V3_9);
    let server = Server::start();
    let mut daemon = daemon_of(&broker.address(), Some(&server)).start();
    let mut sent = Report::default();
    let (term, hup) = (Signal::TERM, Signal::HUP);
    let signals = [&[term][..], &[hup, term, hup, term, hup]];
    for (round, frozen) in [&[][..], &["kafka"], &["kafka", "postgres"]].into_iter().enumerate() {
        state_is(&daemon, "kafka", "up");
        state_is(&daemon, "postgres", "up");
        let load = Load::start(daemon.addr(), 8, Until::Stopped, paced_events);
        let accepted = |more: u64| {
            let enough = counter(&daemon, "accepted") + more;
            daemon
                .wait_for("/stats", PATIENCE, |stats| stats["counters"]["accepted"].as_u64() > Some(enough));
        };
        accepted(100);
        if frozen.contains(&"kafka") {
            broker.freeze();
        }
        if frozen.contains(&"postgres") {
            server.freeze();
        }
        // The first round stops in the middle of it all; the others also while the deadline runs.
        if round % 2 == 0 {
            accepts(&daemon, 20);
        }
        sent.add(stop_under_load(&mut daemon, load, signals[round % 2], &format!("frozen: {frozen:?}")));
        broker.thaw();
        server.thaw();
        daemon.restart();
    }
    all_in_kafka(&daemon, Some(&server));
    let found = Found::look(Some(&broker), &daemon.data_dir()).and_postgres(&server);
    assert_all_arrived(&found, &sent);
    assert_balanced(&daemon);
}

#[test]
fn a_stop_while_postgres_is_drained_forgets_nothing() {
    let mut broker = Broker::builder(Version::V3_9).absent();
    let server = Server::start();
    let mut daemon = daemon_of(&broker.address(), Some(&server))
        .env("RECOVERY_RATE", 100)
        .env("KAFKA_DEADLINE", "1s")
        .start();
    state_is(&daemon, "kafka", "down");
    let mut sent = Load::run(daemon.addr(), 8, Until::Count(500), valid_events);
    assert_eq!(sent.with_status(202), 500);
    broker.restart();
    daemon.wait_for("/stats", PATIENCE, |stats| stats["counters"]["recovered_postgres"].as_u64() > Some(50));
    let load = Load::start(daemon.addr(), 8, Until::Stopped, paced_events);
    until_stored_in(&daemon, &mut sent, "kafka");
    accepts(&daemon, 100);
    sent.add(stop_under_load(&mut daemon, load, &[Signal::TERM], "draining"));
    let found = Found::look(Some(&broker), &daemon.data_dir()).and_postgres(&server);
    found.assert_safe(&sent);
    assert!(!found.held.is_empty(), "the stop came in the middle");
    daemon.restart();
    all_in_kafka(&daemon, Some(&server));
    let found = Found::look(Some(&broker), &daemon.data_dir()).and_postgres(&server);
    assert_all_arrived(&found, &sent);
}
