//! What the daemon says of itself: log lines, counters, health, timings, refused requests.
//!
//! Invariant: it looks at stores and never changes what happens to an event.

pub mod counters;
pub mod health;
pub mod history;
pub mod logging;
pub mod refused;
pub mod skews;
pub mod stats;
pub mod timings;
