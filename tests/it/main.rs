//! Black-box tests of the real binary with real brokers.
//!
//! An index: what each room of the tests is about.

/// The kit: the daemon as a child process, a strict client, a load generator, a fault proxy.
mod support;

/// Health, readiness, counters; 404, 405, how a target is read.
mod endpoints;
/// What is refused before a body is judged: sizes, times, other framings; no room.
mod errors;
/// Requests whose framing can't be trusted, smuggling among them: 400 and the end.
mod framing;
/// A daemon that is killed under load: what was accepted is there.
mod kill;
/// Bad settings, and what else ends the daemon at once: the exit code and the text.
mod startup;
/// Source rules: who may name which crate, lengths, words that have no place here.
mod tidy;
/// Events that must be taken: coercions, odd bodies, every legal way to send one; what is stored.
mod valid;
/// Events that must be refused: every error row, byte for byte; golden answers.
mod validation;
