//! Brings held events back to Kafka: one thread with a client and a reader of its own, so that live
//! events never queue behind it.
//!
//! Invariants: oldest first by sequence, one write at a time, so that the backlog keeps its order; a
//! row leaves the spool only after the broker's ack or as a dead letter; while Kafka is down only
//! one row at a time is risked, and its ack is the proof that Kafka is back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use log::{info, warn};

use crate::event::Event;
use crate::health::Vitals;
use crate::limits::{RECOVERY_BYTES_MAX, RECOVERY_EVENTS_MAX, RECOVERY_TICK};
use crate::pacing::Pace;
use crate::stats::{self, Stats};
use crate::store::link::Link;
use crate::store::spool::{Reader, Spool};
use crate::store::{Batch, Connected, HeldRow, Store, StoreError};

/// The recovery thread's parts. [`Recovery::run`] is its thread.
pub struct Recovery {
    /// Its own connection to Kafka.
    pub link: Link<Connected>,
    /// Where held events are.
    pub spool: Spool,
    /// `RECOVERY_RATE`.
    pub pace: Pace,
    /// Counters.
    pub stats: Arc<Stats>,
    /// Where a proof that Kafka is up goes.
    pub vitals: Arc<Vitals>,
    /// Ends the thread when its sender is gone.
    pub stop: Receiver<()>,
}

/// How one write ended.
enum Step {
    /// Rows went; there may be more.
    Moved(usize),
    /// Nothing is held.
    Empty,
    /// Kafka or the spool did not do its part.
    Stuck,
}

impl Recovery {
    /// Serves until told to stop, then gives the Kafka link back to be closed.
    #[must_use]
    pub fn run(mut self) -> Link<Connected> {
        let mut drain = Drain::default();
        let mut wait = Duration::ZERO;
        loop {
            match self.stop.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return self.link,
            }
            wait = match self.step(&mut drain) {
                Step::Moved(events) => {
                    drain.moved += events as u64;
                    self.pace.wait(Instant::now())
                }
                Step::Empty => {
                    drain.finish();
                    RECOVERY_TICK
                }
                Step::Stuck => RECOVERY_TICK,
            };
        }
    }

    fn step(&mut self, drain: &mut Drain) -> Step {
        if self.spool.figures().held == 0 {
            if let Some(client) = &mut drain.client {
                client.tick();
            }
            return Step::Empty;
        }
        if drain.client.is_none() {
            drain.client = self.link.take().map(|connected| connected.store);
            drain.proven = false;
        }
        if drain.client.is_none() {
            return Step::Stuck;
        }
        match self.page(drain) {
            Ok(rows) if rows.is_empty() => Step::Empty,
            Ok(rows) => self.send(rows, drain),
            Err(error) => {
                drain.reader = None;
                warn_once(&mut drain.trouble, &error);
                Step::Stuck
            }
        }
    }

    fn page(&self, drain: &mut Drain) -> Result<Vec<HeldRow>, StoreError> {
        let reader = match &mut drain.reader {
            Some(reader) => reader,
            empty => empty.insert(self.spool.reader()?),
        };
        let most = if drain.proven { self.pace.portion(RECOVERY_EVENTS_MAX) } else { 1 };
        reader.held_after(0, most, RECOVERY_BYTES_MAX)
    }

    fn send(&mut self, rows: Vec<HeldRow>, drain: &mut Drain) -> Step {
        let Some(client) = &mut drain.client else { return Step::Stuck };
        let mut buried = Vec::new();
        let mut seqs = Vec::with_capacity(rows.len());
        let mut events: Vec<Event> = Vec::with_capacity(rows.len());
        for row in rows {
            match row.event {
                Ok(event) => {
                    seqs.push(row.seq);
                    events.push(event);
                }
                Err(damage) => buried.push((row.seq, damage)),
            }
        }
        let batch: Batch = events.into();
        self.pace.spend(Instant::now(), batch.len());
        let results = if batch.is_empty() { Vec::new() } else { client.write(&batch) };
        let mut acked = Vec::with_capacity(batch.len());
        let mut lost = None;
        for (seq, result) in seqs.into_iter().zip(results) {
            match result {
                Ok(()) => acked.push(seq),
                Err(StoreError::Rejected(why)) => buried.push((seq, why)),
                Err(error @ StoreError::Unavailable(_)) => lost = Some(error),
            }
        }
        let answered = !acked.is_empty() || (lost.is_none() && !batch.is_empty());
        let moved = self.settle(acked, buried, drain);
        if let Some(error) = lost {
            warn_once(&mut drain.trouble, &error);
            drain.client = None;
            self.link.renew();
            return Step::Stuck;
        }
        if answered && !drain.proven {
            drain.begin(self.spool.figures().held);
        }
        if answered {
            self.vitals.prove();
        }
        moved
    }

    /// Takes rows out of the spool that are safe elsewhere.
    fn settle(&self, acked: Vec<i64>, buried: Vec<(i64, Arc<str>)>, drain: &mut Drain) -> Step {
        let (gone, dead) = (acked.len(), buried.len());
        for (seq, why) in &buried {
            warn!("a held event becomes a dead letter seq={seq} cause={why:?}");
        }
        // Until the spool has forgotten them they are sent again: twice is legal, never is not.
        let released = if gone > 0 { self.spool.release(acked) } else { Ok(()) };
        let moved = if dead > 0 { self.spool.bury(buried) } else { Ok(()) };
        if released.is_ok() {
            stats::add(&self.stats.recovered, gone);
        }
        if moved.is_ok() {
            stats::add(&self.stats.recovered_dead_letter, dead);
        }
        match released.and(moved) {
            Ok(()) => Step::Moved(gone + dead),
            Err(error) => {
                warn_once(&mut drain.trouble, &error);
                Step::Stuck
            }
        }
    }
}

/// What lasts from page to page.
#[derive(Default)]
struct Drain {
    client: Option<Box<dyn Store>>,
    reader: Option<Reader>,
    proven: bool,
    began: Option<Instant>,
    moved: u64,
    trouble: Option<String>,
}

impl Drain {
    fn begin(&mut self, held: u64) {
        self.proven = true;
        self.trouble = None;
        if self.began.is_none() {
            self.began = Some(Instant::now());
            info!("held events go back to kafka held={held}");
        }
    }

    fn finish(&mut self) {
        if let Some(began) = self.began.take() {
            let seconds = began.elapsed().as_secs_f64();
            info!("every held event is back in kafka events={} seconds={seconds:.1}", self.moved);
        }
        self.moved = 0;
        // The next held event will be there because Kafka went away: it is a trial again.
        self.proven = false;
    }
}

/// One line a trouble, until it ends or changes.
fn warn_once(last: &mut Option<String>, error: &StoreError) {
    let text = error.to_string();
    if last.as_deref() != Some(&text) {
        warn!("held events can't go back to kafka yet cause={text:?}");
        *last = Some(text);
    }
}
