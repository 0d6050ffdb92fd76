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
/// Commands that wait for the spool's writer; callers beyond that wait at the door of the queue.
pub const SPOOL_COMMANDS_MAX: usize = 64;
/// Commands that share one transaction of the spool.
pub const SPOOL_GROUP_MAX: usize = 16;
/// How long the spool waits for another program's lock on its file.
pub const SPOOL_BUSY: Duration = Duration::from_secs(2);
/// Disk room kept so that deletes still work on a full disk: a write-ahead log and its checkpoint.
pub const SPOOL_RESERVE_BYTES: u64 = 8 * 1024 * 1024;
/// Written to the write-ahead log, roughly, before it is brought into the spool's file.
pub const SPOOL_CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;
/// A spool up to this size is checked whole at start; a larger one by its ends and its rows' checksums.
pub const SPOOL_CHECK_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Rows that one transaction removes to keep the spool within its age or size.
pub const SPOOL_REMOVE_ROWS: usize = 500;
/// Pages that the idle writer gives back to the disk in one transaction, and free pages that it leaves.
pub const SPOOL_GIVE_BACK_PAGES: u64 = 256;
/// Free pages below this number stay in the file for the next rows.
pub const SPOOL_SPARE_PAGES: u64 = 1024;
/// The idle writer looks at rows' age this often.
pub const SPOOL_KEEP_EVERY: Duration = Duration::from_secs(60);
/// Damaged files that one run of the daemon sets aside: each keeps its room on the disk.
pub const SPOOL_RESCUES_MAX: u32 = 3;
/// The idle writer wakes this often.
pub const SPOOL_TICK: Duration = Duration::from_secs(1);

const _: () = assert!(SPOOL_BUSY.as_millis() < SPOOL_DEADLINE.as_millis());
const _: () = assert!(SPOOL_RESERVE_BYTES >= 2 * SPOOL_CHECKPOINT_BYTES);
