//! Brings held events to the store that they wait for: Kafka, or Postgres where there is no Kafka. One
//! thread with a client and readers of its own, so that live events never queue behind it.
//!
//! Invariants: oldest first, one write at a time, and what can't be sent holds back only its own key, so
//! that the backlog keeps its order per key; a row leaves its store only after the ack or as a dead
//! letter, and nothing is sent before it has left; while the target is down only one row at a time is
//! risked, and an ack is the proof that the target is back.

mod backlog;
mod drain;
pub(in crate::delivery) mod merge;
pub(in crate::delivery) mod source;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

pub use self::backlog::Keep;

use self::backlog::PostgresBacklog;
use self::drain::Drain;
use self::merge::Picked;
use self::source::{Source, SpoolBacklog};
use crate::delivery::link::Link;
use crate::delivery::pacing::Pace;
use crate::event::Event;
use crate::limits::{RECOVERY_BYTES_MAX, RECOVERY_TICK};
use crate::store::StoredIn;
use crate::store::spool::Spool;
use crate::store::{Batch, Connected, Standing, Store, StoreError, postgres};
use crate::telemetry::health::{Counted, Vitals};
use crate::telemetry::stats::{self, Stats};

/// The recovery thread's parts. [`Recovery::run`] is its thread.
pub struct Recovery {
    pub(in crate::delivery) link: Link<Connected>,
    pub(in crate::delivery) sources: Vec<Box<dyn Source>>,
    pace: Pace,
    stats: Arc<Stats>,
    vitals: Arc<Vitals>,
    stop: Receiver<()>,
    target: &'static str,
    pub(in crate::delivery) client: Option<Box<dyn Store>>,
    away_since: Option<Instant>,
    pub(in crate::delivery) drain: Drain,
    /// Rows whose fate is known and whose store does not know it yet.
    pub(in crate::delivery) unsettled: Option<Fate>,
}

/// How one write ended.
pub(in crate::delivery) enum Step {
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
    /// What Postgres holds, for people.
    pub postgres_rows: &'a Arc<Counted>,
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
            sources.push(Box::new(PostgresBacklog::start(
                settings,
                standing,
                keep,
                Arc::clone(plan.postgres_rows),
            )?));
        }
        Ok(Self {
            link: plan.link,
            sources,
            pace: plan.pace,
            stats: Arc::clone(plan.stats),
            vitals: Arc::clone(plan.vitals),
            stop: plan.stop,
            target: plan.target.name(),
            client: None,
            away_since: None,
            drain: Drain::new(plan.target.name()),
            unsettled: None,
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
            let pause = match self.step() {
                Step::Moving => Duration::ZERO,
                Step::Empty => {
                    self.drain.finish();
                    RECOVERY_TICK
                }
                Step::Stuck => RECOVERY_TICK,
            };
            wait = self.pace.wait(Instant::now()).max(pause);
        }
    }

    pub(in crate::delivery) fn step(&mut self) -> Step {
        self.sources.iter_mut().for_each(|source| source.look());
        // What was acknowledged leaves its store before anything else is sent, or it would be sent for ever.
        if let Some(fate) = self.unsettled.take()
            && !self.settle(fate)
        {
            return Step::Stuck;
        }
        if self.client.is_none() {
            self.client = self.link.take().map(|connected| connected.store);
        }
        if self.client.is_none() {
            // Nothing is read for a target that is not there.
            let away = self.away_since.get_or_insert_with(Instant::now).elapsed();
            self.sources.iter_mut().for_each(|source| source.rest(away));
            return Step::Stuck;
        }
        self.away_since = None;
        let most = self.pace.portion(self.drain.most());
        let mut pages = Vec::with_capacity(self.sources.len());
        let cursors = self.drain.cursors(self.sources.len());
        for (source, after) in self.sources.iter_mut().zip(cursors) {
            match source.page(after, most, RECOVERY_BYTES_MAX) {
                Ok(page) => pages.push(page),
                Err(error) => {
                    self.drain.trouble(source.name(), &error);
                    return Step::Stuck;
                }
            }
        }
        if pages.iter().all(|page| page.rows.is_empty()) {
            if let Some(Err(error)) = self.client.as_mut().map(|client| client.tick()) {
                self.drain.trouble(self.target, &error);
                self.client = None;
                self.link.renew();
            }
            return if self.drain.begin_anew() { Step::Stuck } else { Step::Empty };
        }
        let picked = merge::oldest(pages, most);
        self.send(picked)
    }

    fn send(&mut self, picked: Vec<Picked>) -> Step {
        let Some(client) = &mut self.client else { return Step::Stuck };
        let mut fate = Fate::new(self.sources.len());
        let mut blocked = Vec::new();
        let mut places = Vec::with_capacity(picked.len());
        let mut events: Vec<Event> = Vec::with_capacity(picked.len());
        for Picked { source, row } in picked {
            match row.event {
                Ok(event) if self.drain.is_blocked(&event) => blocked.push((source, row.seq)),
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
        let mut left = Vec::new();
        let mut lost = None;
        for ((index, (source, seq)), result) in places.into_iter().enumerate().zip(results) {
            match result {
                Ok(()) => fate.acked[source].push(seq),
                Err(StoreError::Rejected(_, why)) => fate.buried[source].push((seq, why)),
                Err(error @ StoreError::Unavailable(..)) => {
                    left.push((source, seq, index));
                    lost = Some(error);
                }
            }
        }
        let answered = left.len() < batch.len();
        if answered {
            self.vitals.prove();
        }
        let moves_on = match &lost {
            None => {
                self.drain.wrote(batch.len());
                true
            }
            Some(error) => {
                self.drain.trouble(self.target, error);
                self.client = None;
                self.link.renew();
                let left = left.iter().map(|(source, seq, at)| (*source, *seq, batch[*at].key()));
                self.drain.failed(answered, left)
            }
        };
        if moves_on {
            // Only now: a cursor behind a row that is tried again would let later ones of its key overtake it.
            blocked.into_iter().for_each(|(source, seq)| self.drain.pass_over(source, seq));
        }
        let settled = self.settle(fate);
        if lost.is_some() || !settled { Step::Stuck } else { Step::Moving }
    }

    /// Takes rows out of their stores that are safe elsewhere. False: a store could not forget some; they are kept in
    /// mind and nothing is sent until it has.
    fn settle(&mut self, fate: Fate) -> bool {
        let mut unsettled = Fate::new(self.sources.len());
        let rows = fate.acked.into_iter().zip(fate.buried);
        for (index, (source, (acked, buried))) in self.sources.iter_mut().zip(rows).enumerate() {
            let (sent, dead) = source.counters(&self.stats);
            if !acked.is_empty() {
                match source.release(acked.clone()) {
                    Ok(()) => {
                        stats::add(sent, acked.len());
                        self.drain.moved += acked.len() as u64;
                    }
                    Err(error) => {
                        self.drain.trouble(source.name(), &error);
                        unsettled.acked[index] = acked;
                    }
                }
            }
            if !buried.is_empty() {
                match source.bury(buried.clone()) {
                    Ok(()) => {
                        stats::add(dead, buried.len());
                        self.drain.tell_buried(source.name(), &buried);
                    }
                    Err(error) => {
                        self.drain.trouble(source.name(), &error);
                        unsettled.buried[index] = buried;
                    }
                }
            }
        }
        let settled = unsettled.is_empty();
        self.unsettled = (!settled).then_some(unsettled);
        settled
    }
}

/// What becomes of a write's rows, by source.
pub(in crate::delivery) struct Fate {
    pub(in crate::delivery) acked: Vec<Vec<i64>>,
    pub(in crate::delivery) buried: Vec<Vec<(i64, Arc<str>)>>,
}

impl Fate {
    fn new(sources: usize) -> Self {
        Self { acked: vec![Vec::new(); sources], buried: vec![Vec::new(); sources] }
    }

    fn is_empty(&self) -> bool {
        self.acked.iter().all(Vec::is_empty) && self.buried.iter().all(Vec::is_empty)
    }
}
