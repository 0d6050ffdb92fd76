//! Black-box tests of the real binary with real brokers.
#![allow(clippy::unwrap_used)]

mod spool; // the spool's own file: round trips, limits, damage, kill -9, faults of the disk

mod door;
mod kafka_clients; // store/kafka on real brokers of three generations
mod support;
