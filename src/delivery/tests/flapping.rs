//! A store that comes and goes each second (F8): how often events are sent elsewhere and back is bounded by the
//! switch's memory, not by the store, and so is the log.

use std::time::Duration;

use super::daemon::Options;
use super::site::Site;
use super::world::{Mood, look};
use super::{Random, log_lines, with_seeds};

const SEEDS: u64 = 6;
const TIME: Duration = Duration::from_secs(600);
const LINES_MAX: usize = 60;
/// Left alone for 1, 2, and then 4 s after each loss.
const SWITCHES_MAX: u64 = 3 + TIME.as_secs() / 4;

/// Times that the live path left a store, and times that it came back.
fn switches(site: &mut Site) -> [(u64, u64); 2] {
    let health = &site.daemon().health;
    [&health.kafka, &health.postgres].map(|vitals| {
        let load =
            |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        (load(&vitals.lost), load(&vitals.back))
    })
}

/// One of the ways in which a store is not there.
fn fault(random: &mut Random) -> Mood {
    random.pick(&[Mood::Unreachable, Mood::Down, Mood::Silent])
}

/// About a second, so that the flaps meet every moment of the daemon's own pauses.
fn second(random: &mut Random) -> Duration {
    Duration::from_millis(random.between(800, 1_200))
}

/// Ten minutes of it. `both`: Postgres comes and goes as well, in its own time.
fn flap(seed: u64, both: bool) {
    let mut random = Random(seed);
    let mut site = Site::open("flapping", Options::default());
    site.is_plain = true;
    let every = Duration::from_millis(random.between(50, 500));
    {
        let mut world = look(&site.world);
        world.latency = Duration::from_millis(random.between(1, 30));
        // Shorter than a flap, or the client rides it out and nothing is lost.
        world.deadline = Duration::from_millis(500);
    }
    site.sell_for(Duration::from_secs(2), every);
    assert_eq!(switches(&mut site), [(0, 0); 2]);
    log_lines::begin();
    let (mut passed, mut flaps) = (Duration::ZERO, 0);
    while passed < TIME {
        let (down, up) = (second(&mut random), second(&mut random));
        site.set_kafka(fault(&mut random));
        if both && random.below(2) == 0 {
            site.set_postgres(fault(&mut random));
        }
        site.sell_for(down, every);
        site.set_kafka(Mood::Works);
        site.sell_for(up, every);
        site.set_postgres(Mood::Works);
        passed += down + up;
        flaps += 1;
    }
    let lines = log_lines::take();
    let [kafka, postgres] = switches(&mut site);
    println!("{flaps} flaps: kafka {kafka:?}, postgres {postgres:?}, {} lines", lines.len());
    for (lost, back) in [kafka, postgres] {
        assert!(lost <= SWITCHES_MAX, "lost {lost} times, at most {SWITCHES_MAX}");
        assert!(lost.abs_diff(back) <= 1, "lost {lost} times, back {back} times");
    }
    assert!(kafka.0 > 50, "lost {} times: no fault was felt", kafka.0);
    let most = if both { 2 * LINES_MAX } else { LINES_MAX };
    assert!(lines.len() < most, "{} lines:\n{}", lines.len(), lines.join("\n"));
    assert!(site.refused.is_empty(), "the spool takes what no other store does");
    site.recover_within(Duration::from_secs(600));
    site.assert_kept();
    site.close();
}

#[test]
fn a_broker_that_flaps_each_second_is_left_alone_longer_each_time() {
    with_seeds("a broker that flaps", SEEDS, |seed| flap(seed, false));
}

#[test]
fn a_broker_and_a_server_that_flap_lose_nothing_and_fill_no_log() {
    with_seeds("a broker and a server that flap", SEEDS, |seed| flap(seed, true));
}
