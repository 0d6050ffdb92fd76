//! Outages of days (F10): the spool fills to its cap, the first events are kept and the later ones refused, and all
//! that is kept is drained in its order.

use std::time::Duration;

use super::daemon::Options;
use super::site::Site;
use super::world::{Mood, look};
use super::{Random, with_seeds};
use crate::host::clock::Clock;
use crate::limits::RECOVERY_EVENTS_MAX;
use crate::store::StoredIn;
use crate::telemetry::health::RemoteState;

const SEEDS: u64 = 1;
const HOUR: Duration = Duration::from_secs(3_600);

/// Hours of outage without an end in sight.
fn outage(seed: u64) {
    let mut random = Random(seed);
    let options = Options {
        spool_bytes: 200 << 10,
        recovery_rate: 200,
        upkeep_every: Duration::from_secs(600),
        ..Options::default()
    };
    let mut site = Site::open("outage", options);
    site.is_plain = true;
    look(&site.world).deadline = Duration::from_secs(3);
    site.sell_for(Duration::from_secs(60), Duration::from_secs(5));
    let began_ms = site.clock.wall_ms();
    let (hours, per_hour) = (random.between(60, 84), random.between(20, 40));
    for _ in 0..hours {
        site.set_kafka(Mood::Unreachable);
        site.set_postgres(Mood::Unreachable);
        match random.below(12) {
            0 => site.restart(),
            // A minute is enough: a broker that answers is asked four times per second.
            1 => refuse(&mut site, Mood::Down, 60),
            2 => refuse(&mut site, Mood::Silent, 20),
            _ => {}
        }
        site.sell_for(HOUR, HOUR / per_hour as u32);
        let full_in = site.daemon().spool.figures().full_in;
        assert!(!site.refused.is_empty() || full_in.is_some(), "it fills, and that is foreseen");
    }
    check_full(&mut site, began_ms, hours);
    let kept: Vec<u128> = site.daemon().spooled().into_iter().map(|row| row.1).collect();
    let rate = u64::from(site.options.recovery_rate);
    let took = site.recover_within(Duration::from_secs(600));
    // One row at a time until the first is acknowledged, and each failed attempt costs a pause.
    let least = Duration::from_secs(kept.len() as u64 / rate);
    println!("{hours} hours, {} kept, {} refused, drained in {took:?}", kept.len(), site.refused.len());
    assert!(
        took + Duration::from_secs(1) >= least && took < 2 * least + Duration::from_secs(10),
        "{took:?}, {least:?}"
    );
    site.assert_kept();
    if !site.copies {
        let topic = look(&site.world).topic.clone();
        let drained: Vec<u128> = topic.into_iter().filter(|id| kept.binary_search(id).is_ok()).collect();
        assert!(drained.is_sorted(), "from the first to the last");
    }
    let figures = site.daemon().spool.figures();
    assert!(!figures.full && figures.held == 0, "{figures:?}");
    assert_eq!(site.post(1), [Some(StoredIn::Kafka)]);
    site.close();
}

/// For some seconds the broker is there, and of no use.
fn refuse(site: &mut Site, mood: Mood, seconds: u64) {
    site.set_kafka(mood);
    site.sell_for(Duration::from_secs(seconds), Duration::from_secs(5));
    site.set_kafka(Mood::Unreachable);
}

/// The first events are there, in their order, and nothing went in behind a refused one.
fn check_full(site: &mut Site, began_ms: i64, hours: u64) {
    let spooled: Vec<u128> = site.daemon().spooled().into_iter().map(|row| row.1).collect();
    let answered: Vec<u128> =
        site.answered.iter().filter(|one| one.1 == StoredIn::Spool).map(|one| one.0).collect();
    assert_eq!(spooled, answered, "the first are kept, in their order");
    let (last, first_refused) = (spooled.last().copied(), site.refused.first().copied());
    assert!(
        spooled.len() > 200 && site.refused.len() > 200,
        "{} kept, {:?}",
        spooled.len(),
        site.refused.len()
    );
    assert!(last < first_refused, "{last:?} went in behind {first_refused:?}");
    let figures = site.daemon().spool.figures();
    assert!(figures.full && figures.writable && figures.bytes <= figures.max_bytes, "{figures:?}");
    let oldest_ms = figures.oldest_held_ms.expect("events are held");
    let hour_ms = HOUR.as_millis() as i64;
    assert!((0..hour_ms).contains(&(oldest_ms - began_ms)), "the first hour is kept: {figures:?}");
    assert!(site.clock.wall_ms() - oldest_ms > (hours as i64 - 1) * hour_ms, "days ago: {figures:?}");
    site.daemon().assert_balanced();
}

/// Few keys have a long backlog, and the broker answers no: what waits behind a key is passed over page by page.
#[test]
fn a_backlog_of_few_keys_is_not_read_row_by_row_while_the_broker_refuses() {
    const ROWS: usize = 2_000;
    let mut site = Site::open("refusing", Options::default());
    site.is_plain = true;
    site.set_kafka(Mood::Down);
    (0..ROWS / 50).for_each(|_| drop(site.post(50)));
    assert_eq!(look(&site.world).held.len(), ROWS);
    let before = look(&site.world).pages;
    site.run_for(Duration::from_secs(60));
    let pages = look(&site.world).pages - before;
    // Four attempts per second, and at most one pass per second.
    let most = 60 * (4 + ROWS / RECOVERY_EVENTS_MAX + 2);
    assert!(pages <= most, "{pages} pages in a minute, at most {most}");
    site.recover_within(Duration::from_secs(60));
    site.assert_kept();
    site.close();
}

#[test]
fn days_without_kafka_and_postgres_keep_the_first_events_and_drain_them_in_order() {
    with_seeds("outages of days", SEEDS, outage);
}

/// Outages of seconds and minutes: at each step of the return, `up` means that the next event goes there.
fn returns(seed: u64) {
    let mut random = Random(seed);
    let mut site = Site::open("returns", Options { recovery_rate: 50, ..Options::default() });
    site.is_plain = true;
    for _ in 0..random.between(1, 3) {
        site.set_kafka(random.pick(&[Mood::Unreachable, Mood::Down]));
        site.set_postgres(Mood::Unreachable);
        site.sell_for(Duration::from_secs(random.between(1, 120)), Duration::from_secs(1));
        site.set_kafka(Mood::Works);
        let began = site.clock.now();
        while site.daemon().health.kafka.state() != RemoteState::Up {
            assert!(
                site.clock.now() - began < Duration::from_secs(30),
                "it is not noticed that kafka is back"
            );
            let next = site.daemon().next_at();
            site.daemon().run_until(next);
        }
        assert_eq!(site.post(1), [Some(StoredIn::Kafka)], "kafka is called up");
    }
    site.recover_within(Duration::from_secs(60));
    site.assert_kept();
    site.close();
}

#[test]
fn kafka_is_called_up_only_when_the_next_event_goes_there() {
    with_seeds("returns", 20, returns);
}
