//! What is outside the daemons: clusters, servers, and the way of each daemon to them. It outlives crashes.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::book::Book;
use super::cluster::{Cluster, KafkaClient};
use super::server::{self, PostgresClient, Role, Server};
use crate::delivery::connect::StoreConnector;
use crate::delivery::link::{Connect, Link};
use crate::delivery::recovery::Retention;
use crate::delivery::recovery::backlog::{Backlog, SpoolBacklog};
use crate::delivery::recovery::merge::Page;
use crate::delivery::recovery::postgres_backlog::{PostgresBacklog, Tables};
use crate::delivery::tests::clock::{Time, VirtualClock};
use crate::delivery::tests::process::{Probers, Surroundings, Target};
use crate::delivery::tests::world::{Crashed, Mood};
use crate::host::clock::Clock;
use crate::store::spool::Spool;
use crate::store::{Connected, Standing, StoreError, StoredIn, WriteResult};
use crate::telemetry::health::{Health, Vitals};
use crate::telemetry::stats::Stats;

/// What an administrator has set, for one start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `KAFKA_BROKERS` and `KAFKA_TOPIC`.
    pub(super) kafka: Option<(usize, u8)>,
    /// `POSTGRES_URL`
    pub(super) postgres: Option<usize>,
    pub(super) keep_days: u64,
    /// `POSTGRES_MAX_BYTES`
    pub(super) postgres_bytes: u64,
    pub(super) instance: &'static str,
}

/// See the module.
pub(super) struct Outside {
    pub(super) time: Arc<Time>,
    pub(super) clusters: Vec<Cluster>,
    pub(super) servers: Vec<Server>,
    pub(super) book: Book,
    pub(super) fuse: Option<Fuse>,
}

/// Something that happens in the middle of a daemon's work, after so many more of its store operations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fuse {
    pub(super) shop: usize,
    pub(super) left: u64,
    /// Only what follows when Kafka has taken held rows counts.
    pub(super) before_mark: bool,
    pub(super) then: Then,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    /// The process ends.
    Crash,
    ClusterFails(usize, Mood),
    ServerFails(usize, server::Mood),
}

/// One daemon's way to the outside, with the settings of one start.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) outside: Arc<Mutex<Outside>>,
    pub(super) clock: Arc<VirtualClock>,
    pub(super) shop: usize,
    pub(super) settings: Settings,
}

pub(super) fn look(outside: &Mutex<Outside>) -> MutexGuard<'_, Outside> {
    outside.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outside {
    /// What happens without anybody's doing: brokers remove what is old.
    pub(super) fn tend(&mut self) {
        let now_ms = self.time.true_ms();
        for cluster in &mut self.clusters {
            cluster.remove_old(now_ms, &mut self.book);
        }
    }
}

impl Way {
    pub(super) fn look(&self) -> MutexGuard<'_, Outside> {
        look(&self.outside)
    }

    /// Between two operations of a store.
    pub(super) fn point(&self) {
        self.point_at(false);
    }

    /// The same; `before_mark`: held rows were just taken, and their store does not know yet.
    pub(super) fn point_at(&self, before_mark: bool) {
        let mut outside = self.look();
        let counts = |fuse: &&mut Fuse| fuse.shop == self.shop && (before_mark || !fuse.before_mark);
        let Some(fuse) = outside.fuse.as_mut().filter(counts) else { return };
        if fuse.left > 0 {
            fuse.left -= 1;
            return;
        }
        let then = fuse.then;
        outside.fuse = None;
        match then {
            Then::Crash => {
                drop(outside);
                resume_unwind(Box::new(Crashed));
            }
            Then::ClusterFails(cluster, mood) => outside.clusters[cluster].mood = mood,
            Then::ServerFails(server, mood) => outside.servers[server].set_mood(mood),
        }
    }

    /// An answer is waited for that does not come.
    pub(super) fn wait_in_vain(&self) {
        self.clock.advance(Duration::from_secs(3));
    }

    /// As `app::delivery::standing_in_postgres`.
    fn standing(&self) -> Standing {
        if self.settings.kafka.is_some() { Standing::Held } else { Standing::Home }
    }

    fn postgres(&self, role: Role, is_recovery: bool) -> Result<PostgresClient, StoreError> {
        let server = self.settings.postgres.expect("it is configured");
        PostgresClient::connect(self, server, self.standing(), role, is_recovery)
    }

    fn connect(&self, target: Target, is_recovery: bool) -> Result<Connected, StoreError> {
        let (store, client): (Box<dyn crate::store::Store>, _) = match target {
            Target::Kafka | Target::KafkaForHeld => {
                let (cluster, topic) = self.settings.kafka.expect("it is configured");
                (Box::new(KafkaClient::connect(self, cluster, topic, is_recovery)?), "modern")
            }
            Target::Postgres => (Box::new(self.postgres(Role::Live, is_recovery)?), "postgres"),
        };
        Ok(Connected { store, client, notes: Vec::new() })
    }
}

impl Surroundings for Way {
    fn clock(&self) -> &Arc<VirtualClock> {
        &self.clock
    }

    fn link(&self, target: Target, vitals: Option<&Arc<Vitals>>, probers: &mut Probers) -> Link<Connected> {
        let (way, is_recovery) = (self.clone(), vitals.is_none());
        let mut connector = StoreConnector::new(Box::new(move || way.connect(target, is_recovery)));
        if let Some(vitals) = vitals {
            let place = if target == Target::Kafka { StoredIn::Kafka } else { StoredIn::Postgres };
            let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
            connector = connector.logging(place, "played".to_owned(), vitals, &clock);
        }
        probers.link(connector)
    }

    fn backlogs(&self, spool: &Spool, health: &Health, probers: &mut Probers) -> Vec<Box<dyn Backlog>> {
        let spool = SpoolBacklog::new(spool.clone());
        let mut backlogs: Vec<Box<dyn Backlog>> = vec![Box::new(Pointed(spool, self.clone()))];
        if self.settings.postgres.is_some() {
            let day = Duration::from_secs(86_400);
            let retention = Retention {
                forwarded: 7 * day,
                home: day * u32::try_from(self.settings.keep_days).expect("some years"),
                bytes: self.settings.postgres_bytes,
            };
            let link = probers.link(TablesConnector(self.clone()));
            let counted = Arc::clone(&health.postgres_rows);
            let now = self.clock.now();
            backlogs.push(Box::new(PostgresBacklog::new(link, self.standing(), retention, counted, now)));
        }
        backlogs
    }

    fn answered(&self) {
        self.point();
    }
}

/// Makes the connections of the backlog in Postgres.
struct TablesConnector(Way);

impl Connect for TablesConnector {
    type Client = Box<dyn Tables>;

    fn connect(&mut self) -> Result<Self::Client, StoreError> {
        Ok(Box::new(self.0.postgres(Role::Backlog, true)?))
    }

    fn ended(&mut self, _: Result<&Self::Client, &StoreError>) {}
}

/// The spool's backlog, with points before and after each operation at which the process may end.
struct Pointed(SpoolBacklog, Way);

impl Pointed {
    fn around<T>(&mut self, operation: impl FnOnce(&mut SpoolBacklog) -> T) -> T {
        self.1.point();
        let result = operation(&mut self.0);
        self.1.point();
        result
    }
}

impl Backlog for Pointed {
    fn store(&self) -> StoredIn {
        self.0.store()
    }

    fn look(&mut self, now: Instant) {
        self.0.look(now);
    }

    fn counters<'a>(&self, stats: &'a Stats) -> (&'a AtomicU64, &'a AtomicU64) {
        self.0.counters(stats)
    }

    fn page(&mut self, after: i64, rows: usize, bytes: usize, now: Instant) -> Result<Page, StoreError> {
        self.0.page(after, rows, bytes, now)
    }

    fn rest(&mut self, down: Duration) {
        self.0.rest(down);
    }

    fn release(&mut self, seqs: Vec<i64>) -> WriteResult {
        self.around(|spool| spool.release(seqs))
    }

    fn dead_letter(&mut self, rows: Vec<(i64, Arc<str>)>) -> WriteResult {
        self.around(|spool| spool.dead_letter(rows))
    }
}

/// The last few of something.
pub(super) fn keep_last<T>(all: &mut VecDeque<T>, one: T, most: usize) {
    all.push_back(one);
    if all.len() > most {
        all.pop_front();
    }
}
