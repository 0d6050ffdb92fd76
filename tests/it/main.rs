//! Black-box tests of the real binary with real brokers.
#![allow(clippy::unwrap_used)]

mod kafka_clients; // store/kafka on real brokers of three generations
mod support;
