//! The backlog in PostgreSQL: drained by one daemon per database, whoever has the advisory lock; the
//! others stand by. A daemon that cannot reach Kafka leaves the lock to them. The same connection keeps the tables
//! small.
//!
//! Invariant: while PostgreSQL is down there is no page, so that what the spool holds goes on without it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use log::{info, warn};

use super::backlog::Backlog;
use super::merge::Page;
use crate::delivery::link::{Connect, Link};
use crate::limits::{
    POSTGRES_COUNT_AGAIN, POSTGRES_COUNT_EVERY, POSTGRES_LOOK, POSTGRES_SWEEP, POSTGRES_SWEEP_PAUSE,
    POSTGRES_SWEEP_ROWS, POSTGRES_YIELD,
};
use crate::store::postgres::{self, Postgres, RowCounts, Settings};
use crate::store::{Cause, HeldRow, Standing, StoreError, StoredIn, WriteResult};
use crate::telemetry::health::Counted;
use crate::telemetry::stats::Stats;

/// How long rows stay in PostgreSQL.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Those that Kafka has.
    pub forwarded: Duration,
    /// Those whose home is PostgreSQL.
    pub home: Duration,
    /// What the table may hold of both, in bytes; 0 is no limit.
    pub bytes: u64,
}

/// See the module.
pub(in crate::delivery) struct PostgresBacklog {
    link: Link<Box<dyn Tables>>,
    client: Option<Box<dyn Tables>>,
    /// Where there is no Kafka, rows are at home: nothing to drain.
    standing: Standing,
    retention: Retention,
    is_drainer: bool,
    look_at: Instant,
    sweep_at: Instant,
    counted: Arc<Counted>,
    count_at: Instant,
    /// The last one that was logged.
    trouble: Option<StoreError>,
}

/// What it asks of a connection.
pub(in crate::delivery) trait Tables: Send {
    /// See [`Postgres::take_drain_lock`].
    fn take_drain_lock(&mut self) -> Result<bool, StoreError>;
    /// See [`Postgres::held_after`].
    fn held_after(&mut self, seq: i64, rows: usize, bytes: usize) -> Result<Vec<HeldRow>, StoreError>;
    /// See [`Postgres::forwarded`].
    fn forwarded(&mut self, seqs: &[i64]) -> WriteResult;
    /// See [`Postgres::dead_letter`].
    fn dead_letter(&mut self, rows: &[(i64, Arc<str>)]) -> WriteResult;
    /// See [`Postgres::sweep`].
    fn sweep(&mut self, forwarded: Duration, home: Duration, most: usize) -> Result<usize, StoreError>;
    /// See [`Postgres::trim`].
    fn trim(&mut self, bytes: u64, most: usize) -> Result<usize, StoreError>;
    /// See [`Postgres::counts`].
    fn counts(&mut self) -> Result<RowCounts, StoreError>;
}

impl Tables for Postgres {
    fn take_drain_lock(&mut self) -> Result<bool, StoreError> {
        Self::take_drain_lock(self)
    }

    fn held_after(&mut self, seq: i64, rows: usize, bytes: usize) -> Result<Vec<HeldRow>, StoreError> {
        Self::held_after(self, seq, rows, bytes)
    }

    fn forwarded(&mut self, seqs: &[i64]) -> WriteResult {
        Self::forwarded(self, seqs)
    }

    fn dead_letter(&mut self, rows: &[(i64, Arc<str>)]) -> WriteResult {
        Self::dead_letter(self, rows)
    }

    fn sweep(&mut self, forwarded: Duration, home: Duration, most: usize) -> Result<usize, StoreError> {
        Self::sweep(self, forwarded, home, most)
    }

    fn trim(&mut self, bytes: u64, most: usize) -> Result<usize, StoreError> {
        Self::trim(self, bytes, most)
    }

    fn counts(&mut self) -> Result<RowCounts, StoreError> {
        Self::counts(self)
    }
}

/// Makes its connections.
struct BacklogConnector(Settings);

impl Connect for BacklogConnector {
    type Client = Box<dyn Tables>;

    fn connect(&mut self) -> Result<Self::Client, StoreError> {
        postgres::connect(&self.0).map(|connected| Box::new(connected.store) as Self::Client)
    }

    fn ended(&mut self, _: Result<&Self::Client, &StoreError>) {
        // The live path's connector reports the same server.
    }
}

impl PostgresBacklog {
    pub(in crate::delivery) fn start(
        settings: Settings,
        standing: Standing,
        retention: Retention,
        counted: Arc<Counted>,
        now: Instant,
    ) -> std::io::Result<Self> {
        let link = Link::start("pg-probe-r", BacklogConnector(settings))?;
        Ok(Self::new(link, standing, retention, counted, now))
    }

    /// The backlog behind `link`.
    pub(in crate::delivery) fn new(
        link: Link<Box<dyn Tables>>,
        standing: Standing,
        retention: Retention,
        counted: Arc<Counted>,
        now: Instant,
    ) -> Self {
        Self {
            link,
            client: None,
            standing,
            retention,
            is_drainer: false,
            look_at: now,
            sweep_at: now + POSTGRES_SWEEP,
            counted,
            count_at: now,
            trouble: None,
        }
    }

    /// The connection, once it has the lock. None: another daemon drains, or the server is down.
    fn drainer(&mut self, now: Instant) -> Result<Option<&mut Box<dyn Tables>>, StoreError> {
        if self.client.is_none() {
            self.is_drainer = false;
            self.client = self.link.take();
        }
        let Some(client) = &mut self.client else { return Ok(None) };
        if !self.is_drainer {
            self.is_drainer = client.take_drain_lock()?;
            if self.is_drainer {
                info!("this daemon drains postgres");
            } else {
                self.look_at = now + POSTGRES_LOOK;
                return Ok(None);
            }
        }
        Ok(self.client.as_mut())
    }

    fn read(&mut self, after: i64, rows: usize, bytes: usize, now: Instant) -> Result<Page, StoreError> {
        let drains = self.standing == Standing::Held;
        let Some(client) = self.drainer(now)? else { return Ok(Page::default()) };
        let rows = if drains { client.held_after(after, rows, bytes)? } else { Vec::new() };
        self.trouble = None;
        if rows.is_empty() {
            self.look_at = now + POSTGRES_LOOK;
        }
        self.sweep(now)?;
        // Whether there are more is unknown before the next look.
        Ok(Page { more: !rows.is_empty(), rows: rows.into() })
    }

    /// Removes what is old enough or too much, a small batch at a time.
    fn sweep(&mut self, now: Instant) -> WriteResult {
        let (Some(client), true) = (&mut self.client, now >= self.sweep_at) else { return Ok(()) };
        let Retention { forwarded, home, bytes } = self.retention;
        let mut removed = client.sweep(forwarded, home, POSTGRES_SWEEP_ROWS)?;
        if removed == 0 && bytes > 0 {
            removed = client.trim(bytes, POSTGRES_SWEEP_ROWS)?;
        }
        if removed > 0 {
            // There may be more: soon, but not so soon that live events notice.
            self.sweep_at = now + POSTGRES_SWEEP_PAUSE;
            self.look_at = self.look_at.min(self.sweep_at);
        } else {
            self.sweep_at = now + POSTGRES_SWEEP;
        }
        Ok(())
    }

    fn call<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Tables) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // What is to be noted there was acknowledged already: any connection will do.
        if self.client.is_none() {
            self.client = self.link.take();
        }
        let Some(client) = self.client.as_deref_mut() else {
            return Err(StoreError::unavailable(Cause::Unreachable, "there is no connection to postgres"));
        };
        let result = work(client);
        if result.is_err() {
            self.lose();
        }
        result
    }

    fn lose(&mut self) {
        self.client = None;
        self.is_drainer = false;
        self.link.renew();
    }
}

impl Backlog for PostgresBacklog {
    fn store(&self) -> StoredIn {
        StoredIn::Postgres
    }

    fn look(&mut self, now: Instant) {
        if now < self.count_at {
            return;
        }
        // A server that is too busy to count keeps its connection's other work waiting as well: later next time.
        let had_client = self.client.is_some();
        match self.call(|client| client.counts()) {
            Ok(figures) => {
                self.counted.note(figures);
                self.count_at = now + POSTGRES_COUNT_EVERY;
            }
            Err(_) if had_client => self.count_at = now + POSTGRES_COUNT_AGAIN,
            Err(_) => {}
        }
    }

    fn counters<'a>(&self, stats: &'a Stats) -> (&'a AtomicU64, &'a AtomicU64) {
        (&stats.recovered_postgres, &stats.recovered_postgres_dead_letter)
    }

    fn page(&mut self, after: i64, rows: usize, bytes: usize, now: Instant) -> Result<Page, StoreError> {
        if now < self.look_at {
            return Ok(Page::default());
        }
        self.read(after, rows, bytes, now).or_else(|error| {
            if self.trouble.as_ref() != Some(&error) {
                warn!("events held in postgres cannot be read now cause={:?}", error.text());
                self.trouble = Some(error);
            }
            self.lose();
            Ok(Page::default())
        })
    }

    fn rest(&mut self, down: Duration) {
        if self.standing == Standing::Held && self.is_drainer && down >= POSTGRES_YIELD {
            info!("postgres is left to daemons that reach kafka");
            self.lose();
        }
    }

    fn release(&mut self, seqs: Vec<i64>) -> WriteResult {
        self.call(|client| client.forwarded(&seqs))
    }

    fn dead_letter(&mut self, rows: Vec<(i64, Arc<str>)>) -> WriteResult {
        self.call(|client| client.dead_letter(&rows))
    }
}
