//! What each store does, and what the live path thinks of it, decides where the next event goes: every
//! combination that leads to another place, by name.

use super::model::Operation::{self, Drain, Kafka, Post, Postgres, Rest, Restart, SpoolEnds};
use super::model::Run;
use super::world::Mood::{Down, Silent, Unreachable, Without, Works};
use crate::store::StoredIn;

/// Both stores behind the network are down, and the spool holds one event.
const OUTAGE: [Operation; 3] = [Kafka(Down), Postgres(Down), Post(1)];

const IN_KAFKA: Option<StoredIn> = Some(StoredIn::Kafka);
const IN_POSTGRES: Option<StoredIn> = Some(StoredIn::Postgres);
const IN_SPOOL: Option<StoredIn> = Some(StoredIn::Spool);
const DEAD: Option<StoredIn> = Some(StoredIn::DeadLetter);

/// The place of the event that follows these operations.
#[track_caller]
fn check(name: &str, operations: &[Operation], place: Option<StoredIn>) {
    let mut run = Run::new("combination");
    operations.iter().for_each(|operation| run.apply(*operation));
    assert_eq!(run.next_outcome(), place, "{name}: {operations:?}");
    run.finish();
}

#[test]
fn the_first_store_that_works_keeps_the_event() {
    for (name, operations, place) in [
        ("all work", &[][..], IN_KAFKA),
        ("postgres is down", &[Postgres(Down)], IN_KAFKA),
        ("the spool is shut", &[SpoolEnds], IN_KAFKA),
        ("kafka alone works", &[Postgres(Down), SpoolEnds], IN_KAFKA),
        ("kafka is down", &[Kafka(Down)], IN_POSTGRES),
        ("kafka is silent", &[Kafka(Silent)], IN_POSTGRES),
        ("kafka is unreachable", &[Kafka(Unreachable)], IN_POSTGRES),
        ("nothing is reachable", &[Kafka(Unreachable), Postgres(Unreachable)], IN_SPOOL),
        ("the key has no leader", &[Kafka(Without(1))], IN_POSTGRES),
        ("another key has no leader", &[Kafka(Without(2))], IN_KAFKA),
        ("postgres alone works", &[Kafka(Down), SpoolEnds], IN_POSTGRES),
        ("the spool alone works", &[Kafka(Down), Postgres(Down)], IN_SPOOL),
        ("neither answers", &[Kafka(Silent), Postgres(Silent)], IN_SPOOL),
        ("nothing works", &[Kafka(Down), Postgres(Down), SpoolEnds], None),
        ("nothing answers", &[Kafka(Silent), Postgres(Silent), SpoolEnds], None),
    ] {
        check(name, operations, place);
    }
}

#[test]
fn a_store_that_failed_is_left_alone_until_it_may_be_tried() {
    for (name, operations, place) in [
        ("kafka rests", &[Kafka(Down), Post(1), Kafka(Works)][..], IN_POSTGRES),
        ("kafka has rested", &[Kafka(Down), Post(1), Kafka(Works), Rest], IN_KAFKA),
        ("kafka has rested in vain", &[Kafka(Down), Post(1), Rest], IN_POSTGRES),
        ("a new process asks again", &[Kafka(Down), Post(1), Kafka(Works), Restart], IN_KAFKA),
        ("postgres has rested in vain", &[Kafka(Down), Postgres(Down), Post(1), Rest], IN_SPOOL),
    ] {
        check(name, operations, place);
    }
    for (name, then, place) in [
        ("both rest", &[Kafka(Works), Postgres(Works)][..], IN_SPOOL),
        ("both rest and the spool is shut", &[Kafka(Works), Postgres(Works), SpoolEnds], None),
        ("postgres rests", &[Postgres(Works)], IN_SPOOL),
        ("postgres has rested", &[Postgres(Works), Rest], IN_POSTGRES),
    ] {
        check(name, &[&OUTAGE[..], then].concat(), place);
    }
}

#[test]
fn while_the_spool_holds_events_one_of_those_must_prove_that_kafka_is_back() {
    let works = [Kafka(Works), Postgres(Works), Rest];
    for (name, then, place) in [
        ("unproven", &[][..], IN_POSTGRES),
        ("unproven and postgres is down", &[Postgres(Down)], IN_SPOOL),
        ("proven", &[Drain], IN_KAFKA),
        ("proven and down again", &[Drain, Kafka(Down)], IN_POSTGRES),
        ("a new process needs no proof", &[Restart], IN_KAFKA),
        ("a spool that is shut proves nothing", &[SpoolEnds], IN_KAFKA),
    ] {
        check(name, &[&OUTAGE[..], &works, then].concat(), place);
    }
    // Event 1 goes on waiting for its leader, event 2 is the proof.
    let partly = [Kafka(Down), Postgres(Down), Post(2), Kafka(Without(1)), Rest, Drain];
    check("proven by another key", &[&partly[..], &[Kafka(Works)]].concat(), IN_KAFKA);
    check("proof before its time", &[&OUTAGE[..], &[Kafka(Works), Drain]].concat(), IN_SPOOL);
}

#[test]
fn what_a_store_refuses_for_its_own_sake_is_no_fault_of_the_store() {
    // Event 7 is poison to Kafka, event 5 is odd to Postgres.
    for (name, operations, place) in [
        ("poison", &[Post(6)][..], DEAD),
        ("poison and the spool is shut", &[Post(6), SpoolEnds], DEAD),
        ("poison and kafka alone works", &[Post(6), SpoolEnds, Postgres(Down)], None),
        ("poison and kafka is down", &[Post(6), Kafka(Down)], IN_POSTGRES),
        ("after poison", &[Post(7)], IN_KAFKA),
        ("odd", &[Post(4), Kafka(Down)], IN_SPOOL),
        ("odd and kafka works", &[Post(4)], IN_KAFKA),
        ("odd and the spool is shut", &[Post(4), Kafka(Down), SpoolEnds], None),
        ("after odd", &[Post(4), Kafka(Down), Post(1)], IN_POSTGRES),
    ] {
        check(name, operations, place);
    }
}
