//! A daemon that is killed under load: whatever it answered 202 is there afterwards, and nothing
//! that was never sent. The short form; the rounds by the thousand belong to the long command.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::support::daemon::Daemon;
use crate::support::ledger::Ledger;
use crate::support::load::{Load, Until, valid_events};
use crate::support::proxy::Proxy;

const ROUNDS: usize = 5;
const CLIENTS: usize = 8;
const LIMIT: Duration = Duration::from_secs(30);

fn stored_request_ids(daemon: &Daemon) -> Vec<String> {
    let path = daemon.data_dir().join("spool.sqlite3");
    let spool = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a spool");
    let mut rows = spool.prepare("SELECT request_id FROM raw_logs").expect("its table");
    let ids = rows.query_map([], |row| row.get(0)).expect("its rows");
    ids.collect::<Result<_, _>>().expect("readable rows")
}

#[test]
fn what_was_accepted_survives_every_kill() {
    let mut daemon = Daemon::builder().env("PORT", Proxy::reserve()).start();
    let load = Load::start(daemon.addr(), CLIENTS, Until::Stopped, valid_events);
    for round in 0..ROUNDS {
        // Each time somewhere else in the writer's work: no two rounds take the same time to here.
        let enough = 50 + 30 * round as u64;
        daemon.wait_for("/stats", LIMIT, |stats| Ledger::from_stats(stats).accepted >= enough);
        daemon.kill9();
        daemon.restart();
    }
    daemon.wait_for("/stats", LIMIT, |stats| Ledger::from_stats(stats).accepted >= 50);
    let report = load.stop();
    assert!(daemon.terminate().success());

    let stored = stored_request_ids(&daemon);
    let distinct: HashSet<&str> = stored.iter().map(String::as_str).collect();
    let accepted: Vec<&str> = report.accepted().map(|answer| answer.request_id.as_str()).collect();
    assert!(accepted.len() >= 50 * ROUNDS, "only {} were accepted", accepted.len());
    let lost: Vec<&&str> = accepted.iter().filter(|id| !distinct.contains(**id)).collect();
    assert!(lost.is_empty(), "{} of {} accepted events are lost: {lost:?}", lost.len(), accepted.len());
    assert!(report.connection_errors > 0, "the daemon was killed and no client saw it");

    // Sent once each: what is stored was accepted, or its answer got lost with the daemon.
    assert_eq!(stored.len(), distinct.len(), "an event is stored twice");
    let unanswered: HashSet<&str> = report.unanswered.iter().map(String::as_str).collect();
    let known: HashSet<&str> = accepted.iter().copied().chain(unanswered).collect();
    let foreign: Vec<&&str> = distinct.iter().filter(|id| !known.contains(**id)).collect();
    assert!(foreign.is_empty(), "stored, and never sent: {foreign:?}");
}
