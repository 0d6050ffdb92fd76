//! The daemon's own producer stands still or panics (F20), by a clock that fails in that thread
//! (`clock_faults.c`): whoever watches learns it in time, and nothing that was acknowledged is lost.

use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::load::{Load, Until, valid_events};
use crate::support::notify::Manager;
use crate::support::shim::Shim;
use crate::support::stores::Found;

fn clock() -> Shim {
    Shim::new("hostile/clock_faults.c", "CLOCK_FAULTS")
}

#[test]
fn a_producer_that_stands_still_is_told_by_readyz_first_and_then_by_livez() {
    let (clock, manager) = (clock(), Manager::new());
    let told =
        Daemon::builder().env("NOTIFY_SOCKET", manager.path().display()).env("WATCHDOG_USEC", 1_500_000);
    let daemon = clock.under(told).start();
    assert_eq!(daemon.client().post_event(events::event().to_string()).status, 202);
    assert_eq!((daemon.get("/readyz").status, daemon.get("/livez").status), (200, 200));

    clock.begin("wedge");
    let mut waiting = daemon.client();
    let body = events::event().to_string();
    waiting.send("POST", crate::support::http::INGEST, &[], body.as_bytes()).unwrap();
    let not_ready = crate::support::poll(Duration::from_secs(20), "readyz to be 503", || {
        Some(daemon.get("/readyz")).filter(|answer| answer.status == 503)
    });
    assert!(not_ready.text().contains("the producer has not moved"), "{}", not_ready.text());
    assert_eq!(daemon.get("/livez").status, 200, "it may still go on by itself");
    manager.forget();
    manager.wait_for("WATCHDOG=1");
    let dead = crate::support::poll(Duration::from_secs(30), "livez to be 503", || {
        Some(daemon.get("/livez")).filter(|answer| answer.status == 503)
    });
    assert!(dead.text().contains("the producer has not moved"), "{}", dead.text());
    // Fed twice a second until now, and no more: systemd starts it again after WatchdogSec.
    manager.forget();
    manager.said_within(Duration::from_millis(600), "WATCHDOG=1");
    assert!(!manager.said_within(Duration::from_secs(2), "WATCHDOG=1"), "a daemon that stands still is fed");

    clock.end("wedge");
    crate::support::poll(Duration::from_secs(10), "both to be 200", || {
        (daemon.get("/readyz").status == 200 && daemon.get("/livez").status == 200).then_some(())
    });
    manager.wait_for("WATCHDOG=1");
    // The till that waited was told to send again, in time; so it does.
    assert_eq!(waiting.read_response().unwrap().status, 503);
    assert_eq!(waiting.post_event(body).status, 202);
}

#[test]
fn a_producer_that_panics_ends_the_process_with_70_and_nothing_acknowledged_is_lost() {
    let clock = clock();
    let mut daemon = clock.under(Daemon::builder()).start();
    let before = Load::run(daemon.addr(), 4, Until::Count(200), valid_events);
    let load = Load::start(daemon.addr(), 4, Until::Stopped, valid_events);
    clock.begin("panic");
    let status = daemon.wait_for_exit(Duration::from_secs(10));
    let report = load.stop();
    assert_eq!(status.code(), Some(70), "{}", daemon.log_text());
    for line in ["BUG: panic thread=producer", "an essential thread has ended thread=producer by=panic"] {
        assert!(daemon.logged(line), "{}", daemon.log_text());
    }

    clock.end("panic");
    daemon.restart();
    assert_eq!(daemon.get("/readyz").status, 200);
    let mut all = before;
    all.add(report);
    assert!(all.with_status(202) >= 200);
    Found::look(None, &daemon.data_dir()).assert_safe(&all);
}
