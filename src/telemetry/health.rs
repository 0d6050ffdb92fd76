//! The daemon's state now: which stores work, since when, and whether its loops move. Written at changes, read by the
//! endpoints.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use crate::host::clock::{self, Clock};
use crate::store::StoredIn;
use crate::store::postgres::RowCounts;
use crate::store::spool::Figures;

/// The state of a remote store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RemoteState {
    /// It is not configured.
    Off,
    /// The first connection is being made.
    Connecting,
    /// Events go there, or would.
    Up,
    /// Events go elsewhere.
    Down,
}

/// The store to which the next event goes, by the states of the remote ones.
#[must_use]
pub fn next_store(kafka: RemoteState, postgres: RemoteState) -> StoredIn {
    match (kafka, postgres) {
        (RemoteState::Up, _) => StoredIn::Kafka,
        (_, RemoteState::Up) => StoredIn::Postgres,
        _ => StoredIn::Spool,
    }
}

/// A remote store's part of `/health`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RemoteHealth {
    /// Its state.
    pub state: RemoteState,
    /// Since when, RFC 3339.
    pub since: String,
    /// The client library in use, once there is one.
    pub client: Option<&'static str>,
    /// The last error in this state.
    pub error: Option<String>,
}

/// The signs of life of a remote store.
#[derive(Debug)]
pub struct Vitals {
    health: Mutex<RemoteHealth>,
    /// Held events that it acknowledged. Each proves that it is up.
    pub proofs: AtomicU64,
    /// How often live events switched away from it.
    pub lost: AtomicU64,
    /// How often live events switched back to it.
    pub back: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl Vitals {
    fn new(is_configured: bool, clock: Arc<dyn Clock>) -> Self {
        let state = if is_configured { RemoteState::Connecting } else { RemoteState::Off };
        let since = clock::rfc3339(clock.record_ms());
        Self {
            health: Mutex::new(RemoteHealth { state, since, client: None, error: None }),
            proofs: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            back: AtomicU64::new(0),
            clock,
        }
    }

    /// Its state, with details.
    #[must_use]
    pub fn health(&self) -> RemoteHealth {
        self.lock().clone()
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> RemoteState {
        self.lock().state
    }

    /// A write failed.
    pub fn failed(&self, why: &str) {
        self.set(RemoteState::Down, Some(why.to_owned()));
    }

    /// A connection was made, which proves nothing: its route knows when it is used.
    pub fn connected(&self, client: &'static str) {
        self.lock().client = Some(client);
    }

    /// The next event goes there.
    pub fn usable(&self) {
        self.set(RemoteState::Up, None);
    }

    /// No connection could be made.
    pub fn not_connected(&self, why: String) {
        self.set(RemoteState::Down, Some(why));
    }

    fn set(&self, state: RemoteState, error: Option<String>) {
        let mut health = self.lock();
        if health.state != state {
            health.state = state;
            health.since = clock::rfc3339(self.clock.record_ms());
            health.error = None;
        }
        if error.is_some() {
            health.error = error;
        }
    }

    /// Recovery had a held event acknowledged, by a connection of its own: the route may follow.
    pub fn prove(&self) {
        self.proofs.fetch_add(1, Ordering::Release);
    }

    // A panic under the lock cannot leave a state that is half written.
    fn lock(&self) -> MutexGuard<'_, RemoteHealth> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last count of the rows in PostgreSQL. Recovery counts them from time to time.
#[derive(Debug)]
pub struct Counted {
    last: Mutex<Option<(Instant, RowCounts)>>,
    clock: Arc<dyn Clock>,
}

impl Counted {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self { last: Mutex::new(None), clock }
    }

    /// The count now.
    pub fn note(&self, figures: RowCounts) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.clock.now(), figures));
    }

    /// How long ago the last count was, and the count. None: never counted.
    #[must_use]
    pub fn last(&self) -> Option<(Duration, RowCounts)> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.map(|(at, figures)| (self.clock.now() - at, figures))
    }
}

/// When a thread last moved.
#[derive(Debug, Default)]
pub struct Beat(AtomicU64);

/// See the module.
#[derive(Debug)]
pub struct Health {
    clock: Arc<dyn Clock>,
    started: Instant,
    stopping: AtomicBool,
    /// Kafka's signs of life.
    pub kafka: Arc<Vitals>,
    /// Those of Postgres.
    pub postgres: Arc<Vitals>,
    /// The rows in Postgres.
    pub postgres_rows: Arc<Counted>,
    /// The producer's loop.
    pub producer: Beat,
}

impl Health {
    /// The state at start.
    #[must_use]
    pub fn new(has_kafka: bool, has_postgres: bool, clock: &Arc<dyn Clock>) -> Self {
        Self {
            clock: Arc::clone(clock),
            started: clock.now(),
            stopping: AtomicBool::new(false),
            kafka: Arc::new(Vitals::new(has_kafka, Arc::clone(clock))),
            postgres: Arc::new(Vitals::new(has_postgres, Arc::clone(clock))),
            postgres_rows: Arc::new(Counted::new(Arc::clone(clock))),
            producer: Beat::default(),
        }
    }

    /// The daemon takes no more events.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether it is stopping.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Since start.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.clock.now() - self.started
    }

    /// Whether events reach the store that they are meant for, as far as the daemon knows. A fallback that is down does not
    /// degrade anything yet.
    #[must_use]
    pub fn is_well(&self, spool: &Figures) -> bool {
        let meant_for = if self.kafka.state() == RemoteState::Off { &self.postgres } else { &self.kafka };
        matches!(meant_for.state(), RemoteState::Off | RemoteState::Up) && spool.writable && !spool.full
    }

    /// Whether no store would take the next event.
    #[must_use]
    pub fn refuses(&self, spool: &Figures) -> bool {
        let one_is_up = [&self.kafka, &self.postgres].iter().any(|remote| remote.state() == RemoteState::Up);
        !one_is_up && (spool.full || !spool.writable)
    }

    /// The thread that owns `beat` moves.
    pub fn beat(&self, beat: &Beat) {
        beat.0.store(self.uptime().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long ago the thread that owns `beat` last moved.
    #[must_use]
    pub fn silence(&self, beat: &Beat) -> Duration {
        self.uptime().saturating_sub(Duration::from_millis(beat.0.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::SystemClock;

    #[test]
    fn an_error_belongs_to_the_state_it_explains() {
        let vitals = Vitals::new(true, SystemClock::shared());
        assert_eq!(vitals.state(), RemoteState::Connecting);
        vitals.not_connected("refused".into());
        assert_eq!(vitals.health().error.as_deref(), Some("refused"));
        vitals.usable();
        assert_eq!((vitals.state(), vitals.health().error), (RemoteState::Up, None));
    }

    #[test]
    fn a_connection_and_a_proof_of_recoverys_are_the_routes_to_judge() {
        let vitals = Vitals::new(true, SystemClock::shared());
        vitals.failed("out of time");
        vitals.connected("modern");
        vitals.prove();
        assert_eq!(vitals.state(), RemoteState::Down);
        vitals.usable();
        assert_eq!(vitals.state(), RemoteState::Up);
    }

    #[test]
    fn a_store_that_is_not_configured_is_off() {
        let health = Health::new(false, true, &SystemClock::shared());
        assert_eq!(health.kafka.state(), RemoteState::Off);
        assert_eq!(health.postgres.state(), RemoteState::Connecting);
    }
}
