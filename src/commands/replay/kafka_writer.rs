//! To Kafka: each event is acknowledged or refused for its own sake.
//!
//! Invariant: events of one write that got no answer are written again, in their order, before any later
//! event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::event::Event;
use crate::limits::{CONNECT_BACKOFF_FIRST, CONNECT_BACKOFF_MOST, REPLAY_PATIENCE};
use crate::store::kafka::{self, Settings};
use crate::store::{Batch, Connected, Store, StoreError};

/// A wait is interrupted this often to see whether it should stop.
const LOOK: Duration = Duration::from_millis(100);

pub(super) struct KafkaWriter {
    settings: Settings,
    client: Option<Box<dyn Store>>,
}

impl KafkaWriter {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, client: None }
    }

    /// Sends events in their order. Returns those that Kafka refuses, each with the reason.
    ///
    /// # Errors
    /// Kafka took nothing for [`REPLAY_PATIENCE`], or it was interrupted.
    pub(super) fn send(
        &mut self,
        mut left: Vec<Event>,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Vec<(Uuid, Arc<str>)>, String> {
        let mut refused = Vec::new();
        let mut backoff = CONNECT_BACKOFF_FIRST;
        let mut until = Instant::now() + REPLAY_PATIENCE;
        loop {
            let (rest, why) = self.attempt(&left, &mut refused);
            let Some(why) = why else { return Ok(refused) };
            // Whatever went wrong, a fresh connection is the only one to trust.
            self.client = None;
            if rest.len() < left.len() {
                until = Instant::now() + REPLAY_PATIENCE;
                backoff = CONNECT_BACKOFF_FIRST;
            }
            left = rest;
            if Instant::now() >= until {
                return Err(format!("kafka took nothing for {} s: {why}", REPLAY_PATIENCE.as_secs()));
            }
            self.wait(backoff, is_stopped)
                .map_err(|stopped| format!("{stopped}; the last problem: {why}"))?;
            backoff = (2 * backoff).min(CONNECT_BACKOFF_MOST);
        }
    }

    /// Waits; the client gets its idle ticks meanwhile.
    ///
    /// # Errors
    /// It was interrupted.
    pub(super) fn wait(&mut self, wait: Duration, is_stopped: &dyn Fn() -> bool) -> Result<(), String> {
        let until = Instant::now() + wait;
        loop {
            if is_stopped() {
                return Err("interrupted".to_owned());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
            if self.client.as_mut().is_some_and(|client| client.tick().is_err()) {
                self.client = None;
            }
        }
    }

    /// One write. Returns what has no outcome yet, and why.
    fn attempt(
        &mut self,
        events: &[Event],
        refused: &mut Vec<(Uuid, Arc<str>)>,
    ) -> (Vec<Event>, Option<Arc<str>>) {
        let client = match &mut self.client {
            Some(client) => client,
            empty => match kafka::connect(&self.settings) {
                Ok(Connected { store, .. }) => empty.insert(store),
                Err(StoreError::Unavailable(_, why) | StoreError::Rejected(_, why)) => {
                    return (events.to_vec(), Some(why));
                }
            },
        };
        let batch: Batch = events.into();
        let (mut rest, mut trouble) = (Vec::new(), None);
        for (event, outcome) in batch.iter().zip(client.write(&batch)) {
            match outcome {
                Ok(()) => {}
                Err(StoreError::Rejected(_, why)) => refused.push((event.ingest_id(), why)),
                Err(StoreError::Unavailable(_, why)) => {
                    rest.push(event.clone());
                    trouble = Some(why);
                }
            }
        }
        (rest, trouble)
    }
}
