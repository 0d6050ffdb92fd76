//! What the daemon reports about itself: log lines, counters, health, timings, refused requests.
//!
//! Invariant: this room only observes; it never changes what happens to an event.

pub mod counters;
pub mod health;
pub mod history;
pub mod logging;
pub mod refused;
pub mod skews;
pub mod stats;
pub mod timings;
