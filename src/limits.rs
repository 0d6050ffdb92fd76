//! Every cap and time limit that is not a setting, units in their names, relations asserted.

use std::time::Duration;

/// No record is dated before this: 2026-11-01, the month of this release.
pub const RELEASED_MS: i64 = 1_793_491_200_000;

/// Levels of nesting that a body may have, the outermost object being the first.
pub const JSON_DEPTH_MAX: usize = 100;

/// A request head (request line, fields, blank line) in bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Fields in a request head.
pub const HEAD_FIELDS_MAX: usize = 100;
/// `X-Request-ID` is echoed up to this many characters.
pub const REQUEST_ID_HEADER_MAX: usize = 128;

/// Events that the producer writes in one round.
pub const BATCH_EVENTS_MAX: usize = 2_000;
/// Bytes that the producer writes in one round, unless a single event is larger.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The classic Kafka client's reads last 120 s on a host that lost power: this many helper threads
/// may be left behind at once.
pub const CLASSIC_LEFT_BEHIND_MAX: usize = 4;

/// How long the producer waits for the spool's writer. An fsync has no time limit of its own.
pub const SPOOL_DEADLINE: Duration = Duration::from_secs(10);
