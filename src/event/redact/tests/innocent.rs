//! Texts without card numbers: a million that must stay whole, and the share of plain numbers that do not.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::*;

/// Pseudo-random numbers, the same in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 ^ (self.0 >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }

    /// A moment of the years 2012 to 2035, in microseconds.
    fn time(&mut self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
            + TimeDelta::microseconds(1_325_376_000_000_000 + self.below(757_382_400_000_000) as i64)
    }
}

/// A time as logs, databases and programs write it.
const TIMES: [&str; 24] = [
    "%Y-%m-%dT%H:%M:%S%.3fZ",
    "%Y-%m-%dT%H:%M:%S%.6f+00:00",
    "%Y-%m-%d %H:%M:%S%.9f",
    "%Y-%m-%d %H:%M:%S,%3f",
    "%Y-%m-%d %H-%M-%S",
    "%Y-%m-%d-%H-%M-%S-%3f",
    "%Y-%m-%d %H %M %S %6f",
    "%Y%m%d%H%M%S",
    "%Y%m%d%H%M%S%3f",
    "%Y%m%d%H%M%S%f",
    "%Y%m%dT%H%M%SZ",
    "%Y%m%d %H%M%S-0500",
    "%Y%m%d-%H%M%S-%6f",
    "%Y/%m/%d %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%d-%m-%Y %H-%M-%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%m%d%Y%H%M%S",
    "%y%m%d%H%M%S",
    "%Y-%jT%H:%M:%S",
    "%G-W%V-%u %H%M",
    "%s",
    "%s%3f",
    "%a, %d %b %Y %H:%M:%S +0000",
];

#[track_caller]
fn hits(texts: impl Iterator<Item = String>) -> usize {
    texts.filter(|text| mask_text(text) != *text).count()
}

#[test]
fn times_stay_whole() {
    let mut chance = Chance(1);
    for format in TIMES {
        let texts = (0..20_000).map(|_| format!("at {} till 7", chance.time().format(format)));
        assert_eq!(hits(texts), 0, "{format}");
    }
    let mut epochs = [0; 3];
    for _ in 0..40_000 {
        let time = chance.time();
        let nanoseconds = time.timestamp_nanos_opt().unwrap();
        let ticks = nanoseconds / 100 + 621_355_968_000_000_000;
        for (hits, number) in epochs.iter_mut().zip([time.timestamp_micros(), nanoseconds, ticks]) {
            let text = format!("{number}");
            *hits += usize::from(mask_text(&text) != text);
        }
    }
    assert_eq!(epochs, [0; 3]);
}

#[test]
fn two_times_in_a_row_stay_whole() {
    let mut chance = Chance(2);
    for format in ["%Y-%m-%d", "%Y%m%d", "%Y-%m-%d %H-%M-%S", "%d-%m-%Y", "%Y%m%d%H%M", "%s"] {
        let texts =
            (0..20_000).map(|_| format!("{} {}", chance.time().format(format), chance.time().format(format)));
        assert_eq!(hits(texts), 0, "{format}");
    }
}

#[test]
fn uuids_stay_whole() {
    let mut chance = Chance(3);
    let mut random =
        || (u128::from(chance.next()) << 75) ^ (u128::from(chance.next()) << 32) ^ u128::from(chance.next());
    let texts = (0..100_000).flat_map(|_| {
        let uuid = uuid::Builder::from_random_bytes(random().to_be_bytes()).into_uuid();
        [uuid.to_string(), uuid.simple().to_string(), uuid.urn().to_string()]
    });
    assert_eq!(hits(texts), 0);
    // Those without a letter, which are rare at random.
    let mut chance = Chance(4);
    let texts = (0..100_000).map(|_| [8, 4, 4, 4, 12].map(|count| chance.digits(count)).join("-"));
    assert_eq!(hits(texts), 0);
    let texts = (0..50_000).map(|_| Uuid::now_v7().to_string());
    assert_eq!(hits(texts), 0);
}

#[test]
fn article_numbers_and_ids_up_to_13_digits_stay_whole() {
    let mut chance = Chance(5);
    let ean = |chance: &mut Chance| {
        let digits = chance.digits(12);
        let weighted =
            |(place, digit): (usize, u8)| u32::from(digit - b'0') * if place % 2 == 1 { 3 } else { 1 };
        let sum: u32 = digits.bytes().enumerate().map(weighted).sum();
        format!("{digits}{}", (10 - sum % 10) % 10)
    };
    let texts =
        (0..100_000).map(|_| format!("{} {} {}", ean(&mut chance), chance.below(1_000), ean(&mut chance)));
    assert_eq!(hits(texts), 0);
    let mut chance = Chance(6);
    for count in 1..=13 {
        let texts = (0..20_000).flat_map(|_| {
            let id = chance.digits(count);
            [format!("order {id}"), id, format!("A{}", chance.digits(count + 4))]
        });
        assert_eq!(hits(texts), 0, "{count} digits");
    }
}

/// The share of plain numbers in `docs/card-numbers.md`.
#[test]
fn of_random_numbers_few_are_taken_for_cards() {
    let mut chance = Chance(7);
    let mut share = |count: usize| {
        let texts = (0..30_000).map(|_| chance.digits(count));
        hits(texts) as f64 / 30_000.0
    };
    let shares = [14, 15, 16, 17, 18, 19].map(&mut share);
    assert!((0.030..0.040).contains(&shares[2]), "{shares:?}");
    assert!(shares.iter().all(|share| (0.005..0.045).contains(share)), "{shares:?}");
}
