//! What the daemon knows of itself now: which stores work, since when, and whether its loops move.
//! Written at changes, read by the endpoints.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock;

/// What is known of Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KafkaState {
    /// No brokers are configured.
    Off,
    /// The first connection is being made.
    Connecting,
    /// Events go there.
    Up,
    /// Events go elsewhere.
    Down,
}

/// Kafka's part of `/health`.
#[derive(Clone, Debug, Serialize)]
pub struct KafkaHealth {
    /// What is known.
    pub state: KafkaState,
    /// Since when, RFC 3339.
    pub since: String,
    /// Which client library serves, once one does.
    pub client: Option<&'static str>,
    /// The last thing that went wrong while the state lasts.
    pub error: Option<String>,
}

/// A thread's proof that it moves.
#[derive(Debug, Default)]
pub struct Beat(AtomicU64);

/// See the module.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    kafka: Mutex<KafkaHealth>,
    stopping: AtomicBool,
    /// The producer's loop.
    pub producer: Beat,
    /// Held events that Kafka acknowledged, as a proof that it is up.
    pub proofs: AtomicU64,
}

impl Health {
    /// Everything as it is at start.
    #[must_use]
    pub fn new(kafka_is_configured: bool) -> Self {
        let state = if kafka_is_configured { KafkaState::Connecting } else { KafkaState::Off };
        let since = clock::rfc3339(clock::record_ms());
        Self {
            started: Instant::now(),
            kafka: Mutex::new(KafkaHealth { state, since, client: None, error: None }),
            stopping: AtomicBool::new(false),
            producer: Beat::default(),
            proofs: AtomicU64::new(0),
        }
    }

    /// Kafka's state now.
    #[must_use]
    pub fn kafka(&self) -> KafkaHealth {
        self.lock().clone()
    }

    /// Kafka's state changed, or a new error explains it.
    pub fn set_kafka(&self, state: KafkaState, error: Option<String>) {
        let mut kafka = self.lock();
        if kafka.state != state {
            kafka.state = state;
            kafka.since = clock::rfc3339(clock::record_ms());
            kafka.error = None;
        }
        if error.is_some() {
            kafka.error = error;
        }
    }

    /// A connection was made by this client library.
    pub fn set_kafka_client(&self, client: &'static str) {
        self.lock().client = Some(client);
    }

    // A panic while it was held can't leave a half-written state worth refusing.
    fn lock(&self) -> MutexGuard<'_, KafkaHealth> {
        self.kafka.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.started.elapsed()
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

    #[test]
    fn an_error_belongs_to_the_state_it_explains() {
        let health = Health::new(true);
        assert_eq!(health.kafka().state, KafkaState::Connecting);
        health.set_kafka(KafkaState::Down, Some("refused".into()));
        health.set_kafka(KafkaState::Down, None);
        assert_eq!(health.kafka().error.as_deref(), Some("refused"));
        health.set_kafka(KafkaState::Up, None);
        assert_eq!(health.kafka().error, None);
    }
}
