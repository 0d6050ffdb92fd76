//! Wall clocks that are wrong or set (F18): the daemon's own, and those of the tills.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::support::clock::{WallClock, now_s};
use crate::support::daemon::Daemon;
use crate::support::events::Body;
use crate::support::load::{Load, Until, valid_events};
use crate::support::stores::rows;

const LIMIT: Duration = Duration::from_secs(20);
const HOUR: i64 = 3_600;

#[test]
fn a_clock_that_jumps_stops_no_timer_and_every_event_is_dated() {
    let clock = WallClock::new();
    let daemon = clock.drive(Daemon::builder().env("HEAD_TIMEOUT", "500ms")).start();
    let mut sent = 0;
    for (what, time_s) in [
        ("an hour ahead", now_s() + HOUR),
        ("an hour back", now_s() - HOUR),
        ("1970", 5),
        ("2038", (1 << 31) + 5),
        ("2106", (1 << 32) + 5),
        ("right again", now_s()),
    ] {
        // This client's time runs when the clock is set: not longer, not shorter.
        let mut slow = daemon.client();
        slow.send_raw("POST ").expect("the daemon reads");
        let began = Instant::now();
        clock.set_to(time_s);
        let late = slow.read_response().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(late.status, 408, "{what}");
        assert!(began.elapsed() > Duration::from_millis(350), "{what}: {:?}", began.elapsed());

        let report = Load::run(daemon.addr(), 8, Until::Count(200), valid_events);
        assert_eq!(report.with_status(202), 200, "{what}");
        assert!(report.percentile(0.99) < Duration::from_secs(2), "{what}: {:?}", report.percentile(0.99));
        sent += 200;
        assert_eq!(daemon.get("/livez").status, 200, "{what}");
        assert_eq!(daemon.get("/readyz").status, 200, "{what}");
    }
    let stats = daemon.stats();
    assert_eq!((&stats["ledger"]["home"], &stats["ledger"]["balanced"]), (&sent.into(), &true.into()));
    assert_eq!(daemon.health()["spool"]["home"], sent);
    let sql = Connection::open(daemon.data_dir().join("spool.sqlite3")).expect("a spool");
    let count = |of: &str| {
        let sql_of = format!("SELECT count(*) FROM raw_logs WHERE received_at {of}");
        sql.query_row(&sql_of, [], |row| row.get::<_, u32>(0)).expect("a count")
    };
    assert_eq!((count("LIKE '2038-01-19%'"), count("LIKE '2106-02-07%'")), (200, 200));
    assert_eq!(count("< '2026-11-01'"), 0, "no event is older than the program");
}

#[test]
fn a_clock_that_is_wrong_at_a_start_removes_no_event_for_its_age() {
    let clock = WallClock::new();
    let settings = Daemon::builder().env("KEEP_DAYS", 1).env("LOG_LEVEL", "debug");
    let mut daemon = clock.drive(settings).start();
    assert_eq!(Load::run(daemon.addr(), 4, Until::Count(50), valid_events).with_status(202), 50);
    clock.set_to(4_000_000_000);
    daemon.restart();
    daemon.wait_for_log("no row is removed for its age yet", LIMIT);
    assert_eq!(daemon.client().post_event(Body::minimal().text()).status, 202);
    assert_eq!(daemon.health()["spool"]["home"], 51);
    clock.set_off_by(0);
    daemon.restart();
    daemon.wait_for_log("no row is removed for its age yet", LIMIT);
    assert_eq!(daemon.health()["spool"]["home"], 51);
}

#[test]
fn a_till_whose_clock_is_years_off_is_served_like_any_other() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let times =
        ["2015-01-01T00:00:00Z", "2036-12-31T23:59:59Z", "0001-01-01", "9999-12-31T23:59:59.999-23:59"];
    for time in times {
        let answer = client.post_event(Body::minimal().with("timestamp", &format!("\"{time}\"")).text());
        assert_eq!(answer.status, 202, "{time}: {}", answer.text());
    }
    let stored = rows(&daemon.data_dir(), "raw_logs");
    for (row, time) in stored.iter().zip(times) {
        assert!(String::from_utf8_lossy(&row.payload).contains(&format!("\"timestamp\":\"{time}\"")));
    }
    assert_eq!(stored.len(), times.len());
}
