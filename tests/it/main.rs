//! Black-box tests of the real binary with real brokers.
//!
//! An index: what each room of the tests is about.

/// The kit: the daemon as a child process, a strict client, a load generator, a fault proxy.
mod support;
/// Source rules: who may name which crate, lengths, words that have no place here.
mod tidy;
/// Events that must be taken: coercions, odd bodies, every legal way to send one; what is stored.
mod valid;
/// Events that must be refused: every error row, byte for byte; golden answers.
mod validation;
