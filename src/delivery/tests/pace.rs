//! A backlog that goes back to Kafka while tills go on (F11): at its rate, in order, and through the end of the
//! process in the middle.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::daemon::Options;
use super::site::Site;
use super::world::{Crash, Crashed, Mood, look};
use super::{Random, with_seeds};
use crate::host::clock::Clock;
use crate::store::StoredIn;

const SEEDS: u64 = 6;
const SECOND: Duration = Duration::from_secs(1);

/// The most events that were acknowledged in any second.
fn fastest_second(site: &Site) -> usize {
    let recovered = &look(&site.world).recovered;
    let within = |from: usize| {
        let began = recovered[from].0;
        recovered[from..].iter().take_while(|(at, _)| *at - began < SECOND).map(|(_, count)| count).sum()
    };
    (0..recovered.len()).map(within).max().unwrap_or(0)
}

fn drain(seed: u64) {
    let mut random = Random(seed);
    let rate = random.pick(&[20, 100, 500, 2_000]);
    let backlog = u64::from(rate) * random.between(3, 6);
    let options = Options { recovery_rate: rate, ..Options::default() };
    let mut site = Site::open("drain", options);
    site.is_plain = true;
    site.sell_for(SECOND, SECOND / 10);
    // Some of it in Postgres, the rest in the spool.
    let in_postgres = random.below(backlog);
    site.set_kafka(Mood::Down);
    fill(&mut site, in_postgres);
    site.set_postgres(Mood::Unreachable);
    fill(&mut site, backlog - in_postgres);
    look(&site.world).latency = Duration::from_millis(random.between(1, 40));
    look(&site.world).recovered.clear();
    site.set_kafka(Mood::Works);
    site.set_postgres(Mood::Works);
    let (began, held) = (site.clock.now(), site.held());
    // Half of it with live events beside it, then the process ends in the middle of a write.
    while 2 * site.held() > held {
        site.sell_for(SECOND / 4, SECOND / 20);
        assert!(site.clock.now() - began < 60 * SECOND, "{} of {held} are held", site.held());
    }
    let live = site.answered.iter().rev().take(10).filter(|one| one.1 == StoredIn::Kafka).count();
    assert_eq!(live, 10, "live events go to Kafka beside the backlog");
    let most = fastest_second(&site);
    let has_rows = !look(&site.world).held.is_empty();
    crash(
        &mut site,
        random.pick(&[Crash::AfterKafka, if has_rows { Crash::BeforeForwarded } else { Crash::BeforeKafka }]),
    );
    let left = site.held();
    assert!(left > 0, "it was the middle");
    look(&site.world).recovered.clear();
    site.recover_within(60 * SECOND);
    let most = most.max(fastest_second(&site));
    let took = site.clock.now() - began;
    println!("{backlog} at {rate} in {took:?}, at most {most} in a second, {left} left behind by the crash");
    assert!(
        most <= rate as usize + (rate as usize / 10).max(1),
        "{most} in a second, RECOVERY_RATE is {rate}"
    );
    // Not much longer than the rate says: the start is careful, and a write takes its time.
    let least = Duration::from_secs(backlog / u64::from(rate));
    assert!(took < 2 * least + 15 * SECOND, "{took:?} for {least:?}");
    site.assert_kept();
    site.close();
}

fn fill(site: &mut Site, events: u64) {
    for from in (0..events).step_by(50) {
        site.post(50.min(events - from));
    }
}

/// The process ends where it next gets to, and another one starts.
fn crash(site: &mut Site, at: Crash) {
    look(&site.world).crash = Some(at);
    let ended = catch_unwind(AssertUnwindSafe(|| site.run_for(10 * SECOND)));
    assert!(ended.is_err_and(|thrown| thrown.is::<Crashed>()), "a crash, and no other panic");
    site.copies = true;
    site.restart();
}

#[test]
fn a_backlog_is_drained_at_its_rate_in_order_beside_live_events_and_through_a_crash() {
    with_seeds("drains", SEEDS, drain);
}
