//! For each known fault, worlds in which it can happen: it must be found in one of them while it stands, and in none
//! once it is cured.

use super::faults::Fault;
use super::general::{Done, PLAIN, live};
use super::moves::{Move, Profile};
use super::outside::Settings;
use super::server::ROW_BYTES;
use crate::delivery::tests::Random;

/// Worlds within which a fault that stands is found: most need ten, the rarest (F34) one in a hundred.
const WORLDS_MAX: u64 = 1_500;
/// Worlds without one that is cured.
const WORLDS_CURED: u64 = 60;

/// Shops that are all set to one topic, and hold events in one server.
const TWO: fn(&mut Random) -> Vec<Settings> = |_| vec![PLAIN; 2];
const ONE: fn(&mut Random) -> Vec<Settings> = |_| vec![PLAIN];
/// A server as home.
const HOME: Settings = Settings { kafka: None, ..PLAIN };

const fn worlds(shops: fn(&mut Random) -> Vec<Settings>, moves: &'static [(Move, u64)]) -> Profile {
    Profile { shops, moves, length: 30, keys: 3, many: 20, may_be_refused: false }
}

/// Lives through worlds until the fault is found.
#[track_caller]
fn check(fault: Fault, profile: &Profile) {
    let given = std::env::var("LOGS_INGEST_SEED").ok().and_then(|text| text.parse().ok());
    let first: u64 = given.unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1);
    let mut done = Done::default();
    let mut worlds = 0;
    let most = if fault.known().stands { WORLDS_MAX } else { WORLDS_CURED };
    let found = loop {
        let seed = first.wrapping_add(worlds);
        live(profile, seed, &mut done);
        worlds += 1;
        let kinds: Vec<_> = done.found.iter().filter(|(kind, _)| kind.0 == fault).collect();
        if !kinds.is_empty() || worlds == most || given.is_some() {
            println!("{fault:?} with LOGS_INGEST_SEED={seed}, world {worlds}: {kinds:?} of {:?}", done.found);
            break !kinds.is_empty();
        }
    };
    assert_eq!(found, fault.known().stands, "{fault:?} is found, and stands");
}

#[test]
fn f26_a_wiped_broker_takes_new_events_for_repeats_of_another_producer() {
    let moves = &[(Move::Sell, 4), (Move::Seconds, 2), (Move::DiskIsWiped, 1), (Move::OtherWrites, 2)];
    check(Fault::F26, &worlds(TWO, moves));
}

#[test]
fn f27_held_rows_became_home_after_a_start_without_kafka() {
    let moves = &[
        (Move::Sell, 4),
        (Move::Seconds, 3),
        (Move::Minutes, 1),
        (Move::KafkaFails, 3),
        (Move::KafkaHeals, 1),
        (Move::PostgresFails, 1),
        (Move::PostgresHeals, 1),
        (Move::Reconfigure, 3),
        (Move::Reinstate, 1),
    ];
    check(Fault::F27, &worlds(ONE, moves));
}

#[test]
fn f28_rows_in_a_shared_server_went_to_the_topic_of_whoever_drained() {
    let moves = &[(Move::Sell, 4), (Move::Seconds, 3), (Move::KafkaFails, 2), (Move::KafkaHeals, 2)];
    let shops = |_: &mut Random| vec![PLAIN, Settings { kafka: Some((0, 1)), ..PLAIN }];
    check(Fault::F28, &worlds(shops, moves));
}

#[test]
fn f29_a_daemon_that_cannot_send_kept_the_lock_of_the_drain() {
    let moves = &[
        (Move::Sell, 4),
        (Move::Seconds, 2),
        (Move::Minutes, 3),
        (Move::KafkaFails, 2),
        (Move::KafkaHeals, 2),
    ];
    check(Fault::F29, &worlds(|_| vec![HOME, PLAIN], moves));
}

#[test]
fn f30_ages_were_measured_by_the_clocks_of_two_machines() {
    let moves =
        &[(Move::Sell, 4), (Move::Minutes, 3), (Move::Days, 1), (Move::SetClock, 2), (Move::RightClock, 1)];
    check(Fault::F30, &worlds(|_| vec![HOME], moves));
}

#[test]
fn f31_events_older_than_the_retention_were_removed_as_they_came() {
    let moves = &[
        (Move::Sell, 4),
        (Move::Minutes, 2),
        (Move::Days, 2),
        (Move::KafkaFails, 2),
        (Move::KafkaHeals, 2),
        (Move::SetTopic, 1),
    ];
    check(Fault::F31, &worlds(ONE, moves));
}

#[test]
fn f31_what_a_clock_behind_dated_was_removed_as_it_came() {
    let moves =
        &[(Move::Sell, 4), (Move::Minutes, 2), (Move::Days, 2), (Move::SetClock, 2), (Move::RightClock, 1)];
    check(Fault::WrongClock, &worlds(ONE, moves));
}

#[test]
fn f32_events_of_a_clock_ahead_waited_for_that_time() {
    let moves = &[
        (Move::Sell, 4),
        (Move::Seconds, 2),
        (Move::Minutes, 2),
        (Move::SetClock, 1),
        (Move::RightClock, 2),
    ];
    check(Fault::F32, &worlds(ONE, moves));
}

#[test]
fn f33_a_spool_whose_files_were_removed_took_more() {
    let moves = &[
        (Move::Sell, 4),
        (Move::Seconds, 2),
        (Move::KafkaFails, 2),
        (Move::KafkaHeals, 1),
        (Move::LoseFiles, 1),
        (Move::Restart, 1),
    ];
    check(Fault::F33, &worlds(|_| vec![Settings { postgres: None, ..PLAIN }], moves));
}

#[test]
fn f34_a_server_that_died_before_the_mark_kept_the_spool_from_being_sent() {
    let moves = &[
        (Move::SellMany, 4),
        (Move::Minutes, 3),
        (Move::KafkaFails, 2),
        (Move::KafkaHeals, 2),
        (Move::PostgresFails, 2),
        (Move::PostgresHeals, 3),
        (Move::FailsAtWork, 3),
    ];
    check(Fault::F34, &worlds(ONE, moves));
}

#[test]
fn f35_what_an_unreachable_server_holds_counted_as_nothing() {
    let moves = &[
        (Move::Sell, 4),
        (Move::Minutes, 3),
        (Move::KafkaFails, 2),
        (Move::KafkaHeals, 2),
        (Move::PostgresFails, 2),
        (Move::PostgresHeals, 1),
    ];
    check(Fault::F35, &worlds(ONE, moves));
}

#[test]
fn f36_what_a_server_holds_was_forgotten_when_it_was_taken_out() {
    let moves = &[
        (Move::Sell, 4),
        (Move::Minutes, 3),
        (Move::KafkaFails, 2),
        (Move::KafkaHeals, 2),
        (Move::Reconfigure, 2),
    ];
    check(Fault::F36, &worlds(ONE, moves));
}

#[test]
fn f37_a_column_that_somebody_added_made_dead_letters_of_all_events() {
    let moves = &[(Move::Sell, 4), (Move::Seconds, 3), (Move::AddColumn, 1), (Move::MendTable, 1)];
    check(Fault::F37, &worlds(|_| vec![HOME], moves));
}

#[test]
fn f38_rows_that_a_trigger_dropped_were_answered_as_stored() {
    let moves = &[(Move::Sell, 4), (Move::Seconds, 3), (Move::AddTrigger, 1), (Move::MendTable, 1)];
    check(Fault::F38, &worlds(|_| vec![HOME], moves));
}

#[test]
fn f40_a_key_did_not_keep_its_order_across_two_stores() {
    let moves = &[
        (Move::Sell, 4),
        (Move::SellHashed, 3),
        (Move::Seconds, 3),
        (Move::KafkaFails, 3),
        (Move::KafkaHeals, 2),
        (Move::PostgresFails, 3),
        (Move::PostgresHeals, 3),
    ];
    check(Fault::F40, &worlds(ONE, moves));
}

#[test]
fn f42_more_was_removed_for_room_than_had_to_be() {
    let moves = &[(Move::SellMany, 4), (Move::Seconds, 2), (Move::Minutes, 2)];
    check(Fault::F42, &worlds(|_| vec![Settings { postgres_bytes: 40 * ROW_BYTES, ..HOME }], moves));
}

#[test]
fn f43_connections_that_stand_by_starved_those_that_write() {
    let moves = &[
        (Move::Sell, 4),
        (Move::Minutes, 3),
        (Move::SetSessions, 2),
        (Move::PostgresFails, 1),
        (Move::PostgresHeals, 2),
        (Move::Restart, 2),
    ];
    check(Fault::F43, &worlds(|_| vec![PLAIN; 3], moves));
}

#[test]
fn f52_a_compacted_topic_kept_only_the_last_event_of_a_key() {
    let moves = &[(Move::Sell, 4), (Move::Minutes, 3), (Move::SetTopic, 2)];
    check(Fault::F52, &worlds(ONE, moves));
}

#[test]
fn f54_one_daemon_removed_by_its_own_age_limit_what_another_keeps() {
    let moves = &[(Move::Sell, 4), (Move::Minutes, 2), (Move::Days, 3)];
    check(Fault::F54, &worlds(|_| vec![PLAIN, Settings { keep_days: 3_650, ..HOME }], moves));
}

#[test]
fn dead_letters_waited_and_all_was_said_to_be_well() {
    let moves = &[(Move::SellMany, 4), (Move::Seconds, 3)];
    check(Fault::QuietLetters, &Profile { may_be_refused: true, ..worlds(ONE, moves) });
}

#[test]
fn an_idle_daemon_said_of_a_store_what_was_true_at_its_last_write() {
    let moves = &[
        (Move::Sell, 4),
        (Move::Seconds, 2),
        (Move::Minutes, 3),
        (Move::KafkaFails, 2),
        (Move::KafkaHeals, 2),
        (Move::Restart, 1),
    ];
    check(Fault::Stale, &worlds(TWO, moves));
}
