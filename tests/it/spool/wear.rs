//! What the spool costs a disk: an SD card lives as long as little is written to it.

use std::fs;
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::pause;

/// Bytes that the process has handed to the disk.
fn written(daemon: &Daemon) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", daemon.pid())).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn a_lone_event_costs_at_most_10_kib_and_an_idle_second_nothing() {
    const EVENTS: u64 = 1_500;
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let mut event = events::event();
    event["message"] = "x".repeat(40).into();
    let post = |client: &mut crate::support::http::Client| {
        let answer = client.post_event(event.to_string());
        assert_eq!((answer.status, answer.header("X-Stored-In")), (202, Some("spool")));
    };
    assert!((300..400).contains(&event.to_string().len()), "{}", event.to_string().len());
    post(&mut client);
    let before = written(&daemon);
    (0..EVENTS).for_each(|_| post(&mut client));
    // More than a checkpoint's worth of events.
    let each = (written(&daemon) - before) / EVENTS;
    assert!(each <= 10 * 1_024, "{each} bytes per event");
    let before = written(&daemon);
    pause(Duration::from_secs(4));
    assert_eq!(written(&daemon) - before, 0, "an idle spool writes");
}
