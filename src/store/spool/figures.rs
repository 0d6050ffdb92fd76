//! How the spool stands: one coherent reading, stored by the writer after each transaction.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How the spool stands. Cheap to read: nothing comes from the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Rows that wait for Kafka.
    pub held: u64,
    /// Rows whose destination is the spool.
    pub home: u64,
    /// Events that Kafka refuses as they are, and damaged rows.
    pub dead_letters: u64,
    /// Bytes of the file that hold data.
    pub bytes: u64,
    /// The limit for `bytes`.
    pub max_bytes: u64,
    /// The time until `bytes` reaches its limit or the disk is full, at the rate of the last minutes. None: it does not
    /// grow, or it is too early to know.
    pub full_in: Option<Duration>,
    /// Bytes that are free on the spool's disk.
    pub disk_free: u64,
    /// When the held row that is next in order arrived.
    pub oldest_held_ms: Option<i64>,
    /// Rows since start whose checksum did not match or that could not be read from a damaged file.
    pub damaged: u64,
    /// Times since start that the file was found damaged and set aside.
    pub rescues: u64,
    /// Damaged files that are kept.
    pub damaged_files: u64,
    /// Home rows removed since start for their age or for room.
    pub removed: u64,
    /// Held rows since start whose callers had stopped waiting, or got the error of a failed fsync.
    pub late: u64,
    /// Events since start that were to be held and whose ids were there already.
    pub repeated: u64,
    /// Dead letters since start that wait for Kafka again.
    pub retried: u64,
    /// Held rows since start that were lost with a damaged file.
    pub lost: u64,
    /// The last append was refused because there was no room, and there still is none.
    pub full: bool,
    /// The last write reached the disk.
    pub writable: bool,
    /// The last error of a write; it stays when the spool is writable again.
    pub last_error: Option<Arc<str>>,
}

/// What handles, readers and the writer share.
#[derive(Debug, Default)]
pub(super) struct SpoolState {
    figures: Mutex<Figures>,
    /// Grows from 0 when another file gets the name: readers open it again.
    generation: AtomicU64,
    /// The generation in which a reader found damage, for the writer to check; 0 is none.
    suspect: AtomicU64,
}

impl SpoolState {
    pub(super) fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the generation before.
    pub(super) fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::AcqRel)
    }

    pub(super) fn suspect(&self, generation: u64) {
        self.suspect.fetch_max(generation, Ordering::AcqRel);
    }

    /// Whether damage was found in the file that has the name now, and not in one that was set aside since.
    pub(super) fn take_suspicion(&self) -> bool {
        self.suspect.swap(0, Ordering::AcqRel) == self.generation()
    }
}
