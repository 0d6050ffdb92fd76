//! Brings held events to the store that they wait for: Kafka, or Postgres where there is no Kafka. One
//! thread with a client and readers of its own, so that live events never queue behind it.
//!
//! Invariants: oldest first, one write at a time, and what cannot be sent holds back only its own key, so
//! that the backlog keeps its order per key; a row leaves its store only after the ack or as a dead
//! letter, and nothing is sent before it has left; while the target is down only one row at a time is
//! risked, and an ack is the proof that the target is back; `Recovery::turn` never waits, its thread does.

pub(in crate::delivery) mod backlog;
pub(in crate::delivery) mod merge;
mod passes;
pub(in crate::delivery) mod postgres_backlog;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

pub use self::postgres_backlog::Retention;

use self::backlog::{Backlog, SpoolBacklog};
use self::merge::Picked;
use self::passes::Passes;
use self::postgres_backlog::PostgresBacklog;
use crate::delivery::link::Link;
use crate::delivery::pacing::Pace;
use crate::event::Event;
use crate::host::clock::Clock;
use crate::limits::{RECOVERY_BYTES_MAX, RECOVERY_EVENTS_MAX, RECOVERY_TICK};
use crate::store::StoredIn;
use crate::store::spool::Spool;
use crate::store::{Batch, Connected, Standing, Store, StoreError, postgres};
use crate::telemetry::health::{Counted, Vitals};
use crate::telemetry::stats::{self, Stats};

/// The recovery. [`Recovery::run`] is its thread.
pub struct Recovery {
    pub(in crate::delivery) link: Link<Connected>,
    pub(in crate::delivery) backlogs: Vec<Box<dyn Backlog>>,
    pace: Pace,
    stats: Arc<Stats>,
    vitals: Arc<Vitals>,
    stop: Receiver<()>,
    clock: Arc<dyn Clock>,
    target: StoredIn,
    client: Option<Box<dyn Store>>,
    down_since: Option<Instant>,
    pub(in crate::delivery) passes: Passes,
    /// Rows that are to leave their stores, and could not yet.
    pub(in crate::delivery) leaving: Option<Leaving>,
}

/// How one step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub postgres: Option<(postgres::Settings, Standing, Retention)>,
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
    /// What time it is.
    pub clock: &'a Arc<dyn Clock>,
}

impl Recovery {
    /// # Errors
    /// No thread is available for the connection to Postgres.
    pub fn new(plan: Plan<'_>) -> io::Result<Self> {
        let mut backlogs: Vec<Box<dyn Backlog>> = vec![Box::new(SpoolBacklog::new(plan.spool.clone()))];
        if let Some((settings, standing, retention)) = plan.postgres {
            backlogs.push(Box::new(PostgresBacklog::start(
                settings,
                standing,
                retention,
                Arc::clone(plan.postgres_rows),
                plan.clock.now(),
            )?));
        }
        Ok(Self {
            link: plan.link,
            backlogs,
            pace: plan.pace,
            stats: Arc::clone(plan.stats),
            vitals: Arc::clone(plan.vitals),
            stop: plan.stop,
            clock: Arc::clone(plan.clock),
            target: plan.target,
            client: None,
            down_since: None,
            passes: Passes::new(plan.target),
            leaving: None,
        })
    }

    /// Serves until the sender of `stop` is gone, then gives the link to its target back to be closed.
    #[must_use]
    pub fn run(mut self) -> Link<Connected> {
        let mut wait = Duration::ZERO;
        loop {
            match self.stop.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => wait = self.turn(),
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return self.link,
            }
        }
    }

    /// One step. Returns the pause before the next one.
    pub(in crate::delivery) fn turn(&mut self) -> Duration {
        let step = self.step();
        let now = self.clock.now();
        let pause = match step {
            Step::Moving => Duration::ZERO,
            Step::Empty => {
                self.passes.finish(now);
                RECOVERY_TICK
            }
            Step::Stuck => RECOVERY_TICK,
        };
        self.pace.wait(now).max(pause)
    }

    pub(in crate::delivery) fn step(&mut self) -> Step {
        let now = self.clock.now();
        self.backlogs.iter_mut().for_each(|backlog| backlog.look(now));
        // What was acknowledged leaves its store before anything else is sent, or it would be sent for ever.
        if let Some(leaving) = self.leaving.take()
            && !self.settle(leaving)
        {
            return Step::Stuck;
        }
        if self.client.is_none() {
            self.client = self.link.take().map(|connected| connected.store);
        }
        if self.client.is_none() {
            // Nothing is read for a target that is not there.
            let down = now - *self.down_since.get_or_insert(now);
            self.backlogs.iter_mut().for_each(|backlog| backlog.rest(down));
            return Step::Stuck;
        }
        self.down_since = None;
        let most = self.pace.portion(self.passes.most());
        // Rows that wait behind their key risk nothing: they are passed over a whole page at a time.
        let rows = if self.passes.has_blocked() { RECOVERY_EVENTS_MAX } else { most };
        let mut pages = Vec::with_capacity(self.backlogs.len());
        let cursors = self.passes.cursors(self.backlogs.len());
        for (backlog, after) in self.backlogs.iter_mut().zip(cursors) {
            match backlog.page(after, rows, RECOVERY_BYTES_MAX, now) {
                Ok(page) => pages.push(page),
                Err(error) => {
                    self.passes.trouble(backlog.store(), &error, now);
                    return Step::Stuck;
                }
            }
        }
        if pages.iter().all(|page| page.rows.is_empty()) {
            if let Some(Err(error)) = self.client.as_mut().map(|client| client.tick()) {
                self.passes.trouble(self.target, &error, now);
                self.client = None;
                self.link.renew();
            }
            return if self.passes.begin_again() { Step::Stuck } else { Step::Empty };
        }
        let picked = merge::oldest(pages, rows);
        self.send(picked, most)
    }

    /// Sends the first `most` of these rows that do not wait behind their key.
    fn send(&mut self, picked: Vec<Picked>, most: usize) -> Step {
        let Some(client) = &mut self.client else { return Step::Stuck };
        let mut leaving = Leaving::new(self.backlogs.len());
        let mut blocked = Vec::new();
        let mut places = Vec::with_capacity(picked.len());
        let mut events: Vec<Event> = Vec::with_capacity(picked.len());
        for Picked { backlog, row } in picked {
            match row.event {
                Ok(event) if self.passes.is_blocked(&event) => blocked.push((backlog, row.seq)),
                Ok(_) if events.len() == most => break,
                Ok(event) => {
                    places.push((backlog, row.seq));
                    events.push(event);
                }
                Err(damage) => leaving.dead[backlog].push((row.seq, damage)),
            }
        }
        let batch: Batch = events.into();
        self.pace.spend(self.clock.now(), batch.len());
        let results = if batch.is_empty() { Vec::new() } else { client.write(&batch) };
        let mut left = Vec::new();
        let mut lost = None;
        for ((index, (backlog, seq)), result) in places.into_iter().enumerate().zip(results) {
            match result {
                Ok(()) => leaving.acked[backlog].push(seq),
                Err(StoreError::Rejected(_, why)) => leaving.dead[backlog].push((seq, why)),
                Err(error @ StoreError::Unavailable(..)) => {
                    left.push((backlog, seq, index));
                    lost = Some(error);
                }
            }
        }
        let answered = left.len() < batch.len();
        if answered {
            self.vitals.prove();
        }
        let now = self.clock.now();
        match &lost {
            None => {
                // Before the answer counts: it may begin the pass again, at the oldest row, with no key blocked.
                self.passes.pass_over(blocked);
                self.passes.wrote(batch.len(), now);
            }
            Some(error) => {
                self.passes.trouble(self.target, error, now);
                self.client = None;
                self.link.renew();
                let left = left.iter().map(|(backlog, seq, at)| (*backlog, *seq, batch[*at].key()));
                // Only if these rows wait too: behind a row that is tried again, later ones of its key would overtake it.
                if self.passes.failed(answered, left) {
                    self.passes.pass_over(blocked);
                }
            }
        }
        let settled = self.settle(leaving);
        if lost.is_some() || !settled { Step::Stuck } else { Step::Moving }
    }

    /// Takes rows out of their stores that are safe elsewhere. False: a store could not forget some; they are kept in
    /// mind and nothing is sent until it has.
    fn settle(&mut self, leaving: Leaving) -> bool {
        let now = self.clock.now();
        let mut unsettled = Leaving::new(self.backlogs.len());
        let rows = leaving.acked.into_iter().zip(leaving.dead);
        for (index, (backlog, (acked, dead))) in self.backlogs.iter_mut().zip(rows).enumerate() {
            let (sent, dead_letters) = backlog.counters(&self.stats);
            if !acked.is_empty() {
                match backlog.release(acked.clone()) {
                    Ok(()) => {
                        stats::add(sent, acked.len());
                        self.passes.moved += acked.len() as u64;
                    }
                    Err(error) => {
                        self.passes.trouble(backlog.store(), &error, now);
                        unsettled.acked[index] = acked;
                    }
                }
            }
            if !dead.is_empty() {
                match backlog.dead_letter(dead.clone()) {
                    Ok(()) => {
                        stats::add(dead_letters, dead.len());
                        self.passes.dead_lettered(backlog.store(), &dead, now);
                    }
                    Err(error) => {
                        self.passes.trouble(backlog.store(), &error, now);
                        unsettled.dead[index] = dead;
                    }
                }
            }
        }
        let settled = unsettled.is_empty();
        self.leaving = (!settled).then_some(unsettled);
        settled
    }
}

/// Rows that are to leave their stores, by backlog.
pub(in crate::delivery) struct Leaving {
    /// Those that the target acknowledged.
    pub(in crate::delivery) acked: Vec<Vec<i64>>,
    /// Those that become dead letters.
    pub(in crate::delivery) dead: Vec<Vec<(i64, Arc<str>)>>,
}

impl Leaving {
    fn new(backlogs: usize) -> Self {
        Self { acked: vec![Vec::new(); backlogs], dead: vec![Vec::new(); backlogs] }
    }

    fn is_empty(&self) -> bool {
        self.acked.iter().all(Vec::is_empty) && self.dead.iter().all(Vec::is_empty)
    }
}
