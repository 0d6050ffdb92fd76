//! Black-box tests of the real binary with real brokers.

mod door;
