//! Rows whose home is the spool leave it by age, whatever the wall clock does meanwhile: days of a shop without
//! stores, compared with plain rules.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::daemon::Options;
use super::site::Site;
use super::{Random, with_seeds};
use crate::host::clock::Clock;
use crate::limits::{RELEASED_MS, SPOOL_CLOCK_JUMP};

const SEEDS: u64 = 2;
const HOUR: Duration = Duration::from_secs(3_600);
const DAY_MS: i64 = 86_400_000;
const KEEP_DAYS: i64 = 7;
/// The daemon looks at its rows that often here.
const STEP: Duration = Duration::from_secs(1_200);

/// What should be there.
#[derive(Default)]
struct Reference {
    /// The time by which each row was received, in order of arrival.
    rows: VecDeque<i64>,
    /// Since start.
    removed: u64,
    removed_before: u64,
    /// The clocks when they were last looked at, and since when both have run alike.
    seen: Option<(Instant, i64)>,
    even_since: Option<Instant>,
}

impl Reference {
    /// The daemon looks: by a clock that has run evenly for an hour, rows that are older than they may be leave. None
    /// leaves before an older one, and a date that is still to come says nothing by itself.
    fn look(&mut self, now: Instant, wall_ms: i64) {
        let even = self.seen.is_some_and(|(at, shown_ms)| {
            let passed_ms = (now - at).as_millis() as i64;
            (wall_ms - shown_ms - passed_ms).unsigned_abs() <= SPOOL_CLOCK_JUMP.as_millis() as u64
        });
        self.seen = Some((now, wall_ms));
        if !even {
            self.even_since = Some(now);
        }
        if self.even_since.is_none_or(|since| now - since < HOUR) {
            return;
        }
        let is_future = |ms: &i64| *ms > wall_ms + DAY_MS;
        let is_old = |ms: &i64| *ms < wall_ms - KEEP_DAYS * DAY_MS;
        let doubtful = self.rows.iter().take_while(|ms| is_future(ms) || is_old(ms)).count();
        let old = self.rows.iter().take(doubtful).rposition(is_old).map_or(0, |last| last + 1);
        self.rows.drain(..old);
        self.removed += old as u64;
    }

    /// A new process trusts no clock yet.
    fn restart(&mut self) {
        (self.seen, self.even_since) = (None, None);
        self.removed_before += std::mem::take(&mut self.removed);
    }
}

/// What a clock may show that somebody sets, or that has lost its battery.
fn wrong(random: &mut Random, right_ms: i64) -> i64 {
    let hour = 3_600_000;
    right_ms
        + random.pick(&[
            -right_ms,
            -400 * DAY_MS,
            -40 * DAY_MS,
            -hour,
            hour,
            3 * DAY_MS,
            400 * DAY_MS,
            4_000 * DAY_MS,
        ])
}

fn weeks(seed: u64) {
    let mut random = Random(seed);
    let keep = Duration::from_secs(KEEP_DAYS as u64 * 86_400);
    let options =
        Options { has_kafka: false, has_postgres: false, keep, upkeep_every: STEP, ..Options::default() };
    let mut site = Site::open("retention", options);
    let mut reference = Reference::default();
    let started = site.clock.now();
    let right_from = site.clock.wall_ms();
    let mut is_right = true;
    while site.clock.now() - started < 24 * 24 * HOUR {
        let right_ms = right_from + (site.clock.now() - started).as_millis() as i64;
        match random.below(100) {
            0 => {
                let wall_ms = wrong(&mut random, right_ms);
                site.clock.set_wall(wall_ms);
                is_right = false;
            }
            1..=8 if !is_right => {
                site.clock.set_wall(right_ms);
                is_right = true;
            }
            9 => {
                site.restart();
                reference.restart();
            }
            _ => {}
        }
        // So few that one transaction removes what a week of doubt has left.
        if random.below(2) == 0 {
            let received_ms = site.clock.record_ms();
            site.post(1);
            reference.rows.push_back(received_ms);
        }
        site.run_for(STEP);
        reference.look(site.clock.now(), site.clock.record_ms());
        compare(&mut site, &reference);
    }
    // By a clock that is right again, everything that is old is gone once nothing in doubt is before it.
    site.clock.set_wall(right_from + (site.clock.now() - started).as_millis() as i64);
    for _ in 0..8 * KEEP_DAYS {
        site.run_for(6 * HOUR);
        reference.look(site.clock.now(), site.clock.record_ms());
    }
    compare(&mut site, &reference);
    let removed = reference.removed_before + reference.removed;
    println!("{removed} removed, {} left", reference.rows.len());
    assert!(removed > 500, "{removed} removed");
    assert!(reference.rows.iter().all(|ms| *ms >= RELEASED_MS), "no event is older than the program");
    site.close();
}

fn compare(site: &mut Site, reference: &Reference) {
    let figures = site.daemon().spool.figures();
    let found = (figures.home, figures.removed);
    let wanted = (reference.rows.len() as u64, reference.removed);
    assert_eq!(found, wanted, "rows at home, rows removed");
    site.daemon().assert_balanced();
}

#[test]
fn home_rows_leave_by_age_and_never_by_a_clock_that_was_just_set() {
    with_seeds("retention", SEEDS, weeks);
}
