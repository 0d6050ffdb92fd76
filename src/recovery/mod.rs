//! Brings held events to the store that they wait for: Kafka, or Postgres where there is no Kafka. One
//! thread with a client and readers of its own, so that live events never queue behind it.
//!
//! Invariants: oldest first, one write at a time, so that the backlog keeps its order; a row leaves
//! its store only after the ack or as a dead letter; while the target is down only one row at a time is
//! risked, and its ack is the proof that the target is back.

mod backlog;
mod merge;
mod source;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use log::{info, warn};

pub use self::backlog::Keep;

use self::backlog::PostgresBacklog;
use self::merge::Picked;
use self::source::{Source, SpoolBacklog};
use crate::event::Event;
use crate::health::Vitals;
use crate::limits::{RECOVERY_BYTES_MAX, RECOVERY_EVENTS_MAX, RECOVERY_TICK};
use crate::pacing::Pace;
use crate::queue::StoredIn;
use crate::stats::{self, Stats};
use crate::store::link::Link;
use crate::store::spool::Spool;
use crate::store::{Batch, Connected, Standing, Store, StoreError, postgres};

/// The recovery thread's parts. [`Recovery::run`] is its thread.
pub struct Recovery {
    link: Link<Connected>,
    sources: Vec<Box<dyn Source>>,
    pace: Pace,
    stats: Arc<Stats>,
    vitals: Arc<Vitals>,
    stop: Receiver<()>,
    drain: Drain,
}

/// What lasts from write to write.
struct Drain {
    target: &'static str,
    client: Option<Box<dyn Store>>,
    /// The target has acknowledged something on this client.
    proven: bool,
    began: Option<Instant>,
    moved: u64,
    trouble: Option<String>,
}

/// How one write ended.
enum Step {
    /// The target answered; there may be more.
    Moving,
    /// Nothing is held.
    Empty,
    /// The target or a store did not do its part.
    Stuck,
}

/// What recovery works with.
pub struct Plan<'a> {
    /// The store that events wait for.
    pub target: StoredIn,
    /// Its own connection to it.
    pub link: Link<Connected>,
    /// The daemon's spool.
    pub spool: &'a Spool,
    /// Postgres, if there is one: its settings, what rows are there for, and how long they stay.
    pub postgres: Option<(postgres::Settings, Standing, Keep)>,
    /// `RECOVERY_RATE`.
    pub pace: Pace,
    /// Counters.
    pub stats: &'a Arc<Stats>,
    /// Where a proof that the target is up goes.
    pub vitals: &'a Arc<Vitals>,
    /// Ends the thread when its sender is gone.
    pub stop: Receiver<()>,
}

impl Recovery {
    /// # Errors
    /// No thread to be had for the connection to Postgres.
    pub fn new(plan: Plan<'_>) -> io::Result<Self> {
        let mut sources: Vec<Box<dyn Source>> = vec![Box::new(SpoolBacklog::new(plan.spool.clone()))];
        if let Some((settings, standing, keep)) = plan.postgres {
            sources.push(Box::new(PostgresBacklog::start(settings, standing, keep)?));
        }
        Ok(Self {
            link: plan.link,
            sources,
            pace: plan.pace,
            stats: Arc::clone(plan.stats),
            vitals: Arc::clone(plan.vitals),
            stop: plan.stop,
            drain: Drain::new(plan.target.name()),
        })
    }

    /// Serves until told to stop, then gives the link to its target back to be closed.
    #[must_use]
    pub fn run(mut self) -> Link<Connected> {
        let mut wait = Duration::ZERO;
        loop {
            match self.stop.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return self.link,
            }
            wait = match self.step() {
                Step::Moving => self.pace.wait(Instant::now()),
                Step::Empty => {
                    self.drain.finish();
                    RECOVERY_TICK
                }
                Step::Stuck => RECOVERY_TICK,
            };
        }
    }

    fn step(&mut self) -> Step {
        let most = if self.drain.proven { self.pace.portion(RECOVERY_EVENTS_MAX) } else { 1 };
        let mut pages = Vec::with_capacity(self.sources.len());
        for source in &mut self.sources {
            match source.page(most, RECOVERY_BYTES_MAX) {
                Ok(page) => pages.push(page),
                Err(error) => {
                    self.drain.warn_once(source.name(), &error);
                    return Step::Stuck;
                }
            }
        }
        let picked = merge::oldest(pages, most);
        if picked.is_empty() {
            if let Some(client) = &mut self.drain.client {
                client.tick();
            }
            return Step::Empty;
        }
        if self.drain.client.is_none() {
            self.drain.client = self.link.take().map(|connected| connected.store);
            self.drain.proven = false;
            // What was picked may be more than a trial: the next step picks anew.
            return if self.drain.client.is_some() { Step::Moving } else { Step::Stuck };
        }
        self.send(picked)
    }

    fn send(&mut self, picked: Vec<Picked>) -> Step {
        let Some(client) = &mut self.drain.client else { return Step::Stuck };
        let mut fate = Fate::new(self.sources.len());
        let mut places = Vec::with_capacity(picked.len());
        let mut events: Vec<Event> = Vec::with_capacity(picked.len());
        for Picked { source, row } in picked {
            match row.event {
                Ok(event) => {
                    places.push((source, row.seq));
                    events.push(event);
                }
                Err(damage) => fate.buried[source].push((row.seq, damage)),
            }
        }
        let batch: Batch = events.into();
        self.pace.spend(Instant::now(), batch.len());
        let results = if batch.is_empty() { Vec::new() } else { client.write(&batch) };
        let mut lost = None;
        let mut answered = false;
        for ((source, seq), result) in places.into_iter().zip(results) {
            match result {
                Ok(()) => fate.acked[source].push(seq),
                Err(StoreError::Rejected(why)) => fate.buried[source].push((seq, why)),
                Err(error @ StoreError::Unavailable(_)) => {
                    lost = Some(error);
                    continue;
                }
            }
            answered = true;
        }
        if let Some(error) = &lost {
            let target = self.drain.target;
            self.drain.warn_once(target, error);
            self.drain.client = None;
            self.link.renew();
        } else if answered {
            self.drain.begin();
            self.vitals.prove();
        }
        let settled = self.settle(fate);
        if lost.is_some() || !settled { Step::Stuck } else { Step::Moving }
    }

    /// Takes rows out of their stores that are safe elsewhere. False: a store could not forget some;
    /// until it has they are sent again: twice is legal, never is not.
    fn settle(&mut self, fate: Fate) -> bool {
        let mut settled = true;
        let rows = fate.acked.into_iter().zip(fate.buried);
        for (source, (acked, buried)) in self.sources.iter_mut().zip(rows) {
            let (gone, dead) = (acked.len(), buried.len());
            for (seq, why) in &buried {
                warn!("a held event becomes a dead letter store={} seq={seq} cause={why:?}", source.name());
            }
            let released = if gone > 0 { source.release(acked) } else { Ok(()) };
            let moved = if dead > 0 { source.bury(buried) } else { Ok(()) };
            if released.is_ok() {
                stats::add(source.counters(&self.stats).0, gone);
                self.drain.moved += gone as u64;
            }
            if moved.is_ok() {
                stats::add(source.counters(&self.stats).1, dead);
            }
            if let Err(error) = released.and(moved) {
                self.drain.warn_once(source.name(), &error);
                settled = false;
            }
        }
        settled
    }
}

/// What becomes of a write's rows, by source.
struct Fate {
    acked: Vec<Vec<i64>>,
    buried: Vec<Vec<(i64, Arc<str>)>>,
}

impl Fate {
    fn new(sources: usize) -> Self {
        Self { acked: vec![Vec::new(); sources], buried: vec![Vec::new(); sources] }
    }
}

impl Drain {
    fn new(target: &'static str) -> Self {
        Self { target, client: None, proven: false, began: None, moved: 0, trouble: None }
    }

    fn begin(&mut self) {
        self.proven = true;
        self.trouble = None;
        if self.began.is_none() {
            self.began = Some(Instant::now());
            info!("held events go to {}", self.target);
        }
    }

    fn finish(&mut self) {
        if let Some(began) = self.began.take() {
            let seconds = began.elapsed().as_secs_f64();
            info!("every held event is in {} events={} seconds={seconds:.1}", self.target, self.moved);
        }
        self.moved = 0;
        // The next held event will be there because the target went away: it is a trial again.
        self.proven = false;
    }

    /// One line a trouble, until it ends or changes.
    fn warn_once(&mut self, name: &str, error: &StoreError) {
        let text = error.to_string();
        if self.trouble.as_deref() != Some(&text) {
            warn!("held events can't go to {} yet store={name} cause={text:?}", self.target);
            self.trouble = Some(text);
        }
    }
}
