//! Where held events wait: one trait over the stores that keep a backlog, and the spool's.
//!
//! Invariant: a page has rows in the order in which the store took them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::merge::Page;
use crate::store::spool::{Reader, Spool};
use crate::store::{StoreError, StoredIn, WriteResult};
use crate::telemetry::stats::Stats;

/// Held events of one store.
pub(in crate::delivery) trait Backlog: Send {
    /// The store that has them.
    fn store(&self) -> StoredIn;

    /// Called now and then, also while nothing can be sent: to count what is shown to people.
    fn look(&mut self, now: Instant) {
        let _ = now;
    }

    /// Where events that left it are counted: acknowledged, and dead letters.
    fn counters<'a>(&self, stats: &'a Stats) -> (&'a AtomicU64, &'a AtomicU64);

    /// Its oldest rows behind `after`, at most `rows` and about `bytes`, but at least one if there is any.
    fn page(&mut self, after: i64, rows: usize, bytes: usize, now: Instant) -> Result<Page, StoreError>;

    /// Called instead while there is no connection to the target, which has been down for this time.
    fn rest(&mut self, down: Duration) {
        let _ = down;
    }

    /// These rows are safe elsewhere.
    fn release(&mut self, seqs: Vec<i64>) -> WriteResult;

    /// These rows become dead letters, each for its reason.
    fn dead_letter(&mut self, rows: Vec<(i64, Arc<str>)>) -> WriteResult;
}

/// The spool's backlog. Its deletes are commands to the one writer.
pub(in crate::delivery) struct SpoolBacklog {
    spool: Spool,
    reader: Option<Reader>,
}

impl SpoolBacklog {
    pub(in crate::delivery) fn new(spool: Spool) -> Self {
        Self { spool, reader: None }
    }
}

impl Backlog for SpoolBacklog {
    fn store(&self) -> StoredIn {
        StoredIn::Spool
    }

    fn counters<'a>(&self, stats: &'a Stats) -> (&'a AtomicU64, &'a AtomicU64) {
        (&stats.recovered, &stats.recovered_dead_letter)
    }

    fn page(&mut self, after: i64, rows: usize, bytes: usize, _: Instant) -> Result<Page, StoreError> {
        let held = self.spool.figures().held;
        if held == 0 {
            return Ok(Page::default());
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            empty => empty.insert(self.spool.reader()?),
        };
        let read = reader.held_after(after, rows, bytes);
        if read.is_err() {
            self.reader = None;
        }
        let rows = read?;
        Ok(Page { more: !rows.is_empty() && held > rows.len() as u64, rows: rows.into() })
    }

    fn release(&mut self, seqs: Vec<i64>) -> WriteResult {
        self.spool.release(seqs)
    }

    fn dead_letter(&mut self, rows: Vec<(i64, Arc<str>)>) -> WriteResult {
        self.spool.dead_letter(rows)
    }
}
