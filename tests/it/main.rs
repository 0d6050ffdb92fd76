//! Black-box tests of the real binary with real brokers.
//!
//! An index: what each room of the tests is about.

/// The kit: the daemon as a child process, a strict client, a load generator, a fault proxy.
mod support;
/// Source rules: who may name which crate, lengths, words that have no place here.
mod tidy;
