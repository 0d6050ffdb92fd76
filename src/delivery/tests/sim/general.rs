//! Worlds of every kind, in which everything happens. What is known to go wrong is forgiven there, and counted; nothing
//! else is.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use super::book::Broken;
use super::faults::Fault;
use super::moves::{Move, Profile};
use super::outside::Settings;
use super::server::ROW_BYTES;
use super::town::Town;
use crate::delivery::tests::Random;

/// The first of the gate's worlds.
const SEED: u64 = 1;
/// In each run.
const MOVES_MIN: u64 = 100_000;
const CRASHES_MIN: u64 = 5_000;
/// Of all moves, each kind is at least one in so many.
const SHARE_MIN: u64 = 50;
/// The long form.
const LONG: Duration = Duration::from_secs(3_600);

/// Everything.
const GENERAL: Profile = Profile {
    shops: general_shops,
    moves: &[
        (Move::Sell, 16),
        (Move::SellMany, 5),
        (Move::SellHashed, 5),
        (Move::Seconds, 12),
        (Move::Minutes, 5),
        (Move::Days, 4),
        (Move::KafkaFails, 5),
        (Move::KafkaHeals, 6),
        (Move::PostgresFails, 5),
        (Move::PostgresHeals, 6),
        (Move::FailsAtWork, 5),
        (Move::DiskIsWiped, 4),
        (Move::OtherWrites, 4),
        (Move::Restart, 4),
        (Move::CrashSelling, 5),
        (Move::CrashWorking, 5),
        (Move::PowerFails, 5),
        (Move::SpoolEnds, 4),
        (Move::Reconfigure, 4),
        (Move::Reinstate, 4),
        (Move::SetClock, 4),
        (Move::RightClock, 5),
        (Move::SetServerClock, 4),
        (Move::LoseFiles, 4),
        (Move::AddColumn, 4),
        (Move::AddTrigger, 4),
        (Move::MendTable, 5),
        (Move::SetTopic, 4),
        (Move::SetSessions, 4),
    ],
    length: 120,
    keys: 3,
    many: 24,
    may_be_refused: true,
};

pub(super) const PLAIN: Settings =
    Settings { kafka: Some((0, 0)), postgres: Some(0), keep_days: 30, postgres_bytes: 0, instance: "till-7" };

/// Most towns share a topic and a server; in some everybody is set as he likes.
fn general_shops(random: &mut Random) -> Vec<Settings> {
    let many = random.pick(&[1, 2, 2, 2, 3]);
    let kind = random.below(10);
    let shop = |random: &mut Random| match kind {
        0..=5 => Settings { postgres: (random.below(5) > 0).then_some(0), ..PLAIN },
        6 => Settings {
            kafka: None,
            keep_days: random.pick(&[30, 3_650]),
            postgres_bytes: random.pick(&[0, 40 * ROW_BYTES]),
            ..PLAIN
        },
        7 => Settings { kafka: None, postgres: None, ..PLAIN },
        _ => Settings {
            kafka: (random.below(4) > 0).then(|| (random.below(2) as usize, random.below(2) as u8)),
            postgres: (random.below(4) > 0).then_some(0),
            ..PLAIN
        },
    };
    (0..many).map(|_| shop(random)).collect()
}

/// What was done, and found.
#[derive(Default)]
pub(super) struct Done {
    worlds: u64,
    passed: Duration,
    moves: BTreeMap<Move, u64>,
    crashes: u64,
    torn: u64,
    pub(super) found: BTreeMap<(Fault, Broken), u64>,
}

impl Done {
    fn moves(&self) -> u64 {
        self.moves.values().sum()
    }
}

/// One world, from its first move to the day on which everything works again.
pub(super) fn live(profile: &Profile, seed: u64, done: &mut Done) {
    let mut random = Random(seed);
    let shops = (profile.shops)(&mut random);
    let mut town = Town::open(&shops);
    let mut made = Vec::new();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..profile.length {
            let kind = profile.draw(&mut random);
            made.push(kind);
            profile.apply(kind, &mut town, &mut random);
            town.check();
            town.assert_explained();
        }
        town.heal();
        town.assert_explained();
    }));
    if let Err(thrown) = ended {
        eprintln!("{shops:?}\nit fails after {made:?}");
        resume_unwind(thrown);
    }
    done.worlds += 1;
    done.passed += town.time.passed();
    made.into_iter().for_each(|kind| *done.moves.entry(kind).or_default() += 1);
    done.crashes += town.crashes;
    done.torn += town.torn;
    town.found.iter().for_each(|(kind, many)| *done.found.entry(*kind).or_default() += many);
    town.shops.into_iter().for_each(super::shop::Shop::close);
}

#[test]
fn shops_on_shared_servers_keep_their_promises() {
    let given = std::env::var("LOGS_INGEST_SEED").ok().and_then(|text| text.parse().ok());
    let (began, is_long) = (Instant::now(), std::env::var_os("LOGS_INGEST_LONG").is_some());
    // The long form looks for what nobody knows yet; the gate asks whether what was well still is.
    let usual = || if is_long { uuid::Uuid::now_v7().as_u64_pair().1 } else { SEED };
    let first: u64 = given.unwrap_or_else(usual);
    println!("shops: LOGS_INGEST_SEED from {first}");
    let mut done = Done::default();
    loop {
        let seed = first.wrapping_add(done.worlds);
        if let Err(thrown) = catch_unwind(AssertUnwindSafe(|| live(&GENERAL, seed, &mut done))) {
            eprintln!("shops fail with LOGS_INGEST_SEED={seed}");
            resume_unwind(thrown);
        }
        let is_enough = done.moves() >= MOVES_MIN && done.crashes >= CRASHES_MIN;
        if given.is_some() || is_enough && !(is_long && began.elapsed() < LONG) {
            break;
        }
    }
    let days = done.passed.as_secs() / 86_400;
    println!(
        "{} worlds, {days} days, {} moves, {} crashes ({} with a torn log)",
        done.worlds,
        done.moves(),
        done.crashes,
        done.torn
    );
    println!("{:?}", done.moves);
    println!("known faults that were met: {:?}", done.found);
    if given.is_none() {
        let rare = done.moves.iter().find(|(_, many)| **many * SHARE_MIN < done.moves());
        assert_eq!(rare, None, "every kind of move has its share");
    }
}
