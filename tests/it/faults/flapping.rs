//! A broker that comes and goes each second (F8), through the real clients. Ten minutes of it, and in every phase, are
//! played in virtual time by `src/delivery/tests/flapping.rs`.

use std::time::Instant;

use super::*;
use crate::support::kafka::Version;
use crate::support::load::{Load, Until, paced_events};
use crate::support::pause;
use crate::support::proxy::Mode;

const LINES_MAX: usize = 60;

#[test]
fn a_broker_that_flaps_each_second_is_left_alone_longer_each_time() {
    let time = Duration::from_secs(if is_long() { 600 } else { 6 });
    let (broker, mut proxy) = behind_a_proxy(Broker::builder(Version::V3_9));
    // Shorter than a flap, or the client may ride it out and nothing is lost.
    let daemon = daemon_of(&proxy.addr().to_string(), None).env("KAFKA_DEADLINE", "500ms").start();
    state_is(&daemon, "kafka", "up");
    let lines_before = daemon.log_text().lines().count();
    let load = Load::start(daemon.addr(), 4, Until::Stopped, paced_events);
    let began = Instant::now();
    let mut flaps = 0_u64;
    // A busy machine may sleep through the first flaps.
    while began.elapsed() < time || (counter(&daemon, "kafka_lost") == 0 && began.elapsed() < PATIENCE) {
        proxy.set(Mode::Refuse);
        proxy.cut();
        pause(Duration::from_secs(1));
        proxy.set(Mode::Pass);
        pause(Duration::from_secs(1));
        flaps += 1;
    }
    let (lost, back) = (counter(&daemon, "kafka_lost"), counter(&daemon, "kafka_back"));
    let sent = load.stop();
    let lines = daemon.log_text().lines().count() - lines_before;
    eprintln!("{flaps} flaps: lost {lost} times, back {back} times, {lines} lines");
    // Left alone for 1, 2, and then 4 s after each loss.
    let (took, most) = (began.elapsed(), 3 + began.elapsed().as_secs() / 4);
    assert!((1..=most).contains(&lost), "lost {lost} times in {took:?}, at most {most}");
    assert!(lost.abs_diff(back) <= 1, "lost {lost} times, back {back} times");
    assert!(lines < LINES_MAX, "{lines} lines:\n{}", daemon.log_text());
    assert_eq!(sent.with_status(202), sent.answers.len());
    all_in_kafka(&daemon, None);
    assert_all_arrived(&Found::look(Some(&broker), &daemon.data_dir()), &sent);
    assert_balanced(&daemon);
}
