//! Black-box tests of the real binary with real brokers.

#[expect(clippy::unwrap_used, reason = "a panic is how a test fails, and it names the line")]
mod spool; // the spool's own file: round trips, limits, damage, kill -9, faults of the disk
