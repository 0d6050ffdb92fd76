//! What the live path's probers do: make clients of a store, and report how it goes, in the log and in the store's
//! vitals.
//!
//! Invariant: one line per change, whatever the number of attempts.

use std::sync::Arc;
use std::time::Instant;

use log::{info, warn};

use crate::delivery::failover::STEADY_AFTER;
use crate::delivery::link::Connect;
use crate::host::clock::Clock;
use crate::host::throttle::Throttle;
use crate::limits::LOG_EDGES_PER_MINUTE;
use crate::store::StoredIn;
use crate::store::{Connected, Standing, StoreError, kafka, postgres};
use crate::telemetry::health::Vitals;

type Attempt = Box<dyn FnMut() -> Result<Connected, StoreError> + Send>;

/// Makes clients of one store.
pub struct StoreConnector {
    attempt: Attempt,
    log: Option<AttemptLog>,
}

impl StoreConnector {
    /// Makes Kafka clients.
    #[must_use]
    pub fn kafka(settings: kafka::Settings) -> Self {
        Self::new(Box::new(move || kafka::connect(&settings)))
    }

    /// Makes Postgres clients for live events.
    #[must_use]
    pub fn postgres(settings: postgres::Settings, standing: Standing) -> Self {
        Self::new(Box::new(move || postgres::connect_live(&settings, standing)))
    }

    /// Makes clients by `attempt`.
    pub(in crate::delivery) fn new(attempt: Attempt) -> Self {
        Self { attempt, log: None }
    }

    /// Also keeps `vitals` up to date and logs changes: for the live path's connection. `address` is for people.
    #[must_use]
    pub fn logging(
        mut self,
        store: StoredIn,
        address: String,
        vitals: &Arc<Vitals>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        self.log = Some(AttemptLog {
            store,
            address,
            vitals: Arc::clone(vitals),
            clock: Arc::clone(clock),
            connected_as: None,
            troubles: Troubles::default(),
            lines: Throttle::new(LOG_EDGES_PER_MINUTE),
        });
        self
    }
}

impl Connect for StoreConnector {
    type Client = Connected;

    fn connect(&mut self) -> Result<Connected, StoreError> {
        (self.attempt)()
    }

    fn ended(&mut self, result: Result<&Connected, &StoreError>) {
        match (&mut self.log, result) {
            (Some(log), Ok(connected)) => log.connected(connected),
            (Some(log), Err(error)) => log.failed(error),
            (None, _) => {}
        }
    }
}

/// What is reported of the attempts.
struct AttemptLog {
    store: StoredIn,
    address: String,
    vitals: Arc<Vitals>,
    clock: Arc<dyn Clock>,
    connected_as: Option<&'static str>,
    troubles: Troubles,
    lines: Throttle,
}

impl AttemptLog {
    fn failed(&mut self, error: &StoreError) {
        let now = self.clock.now();
        if self.troubles.is_new(error, now)
            && let Some(suppressed) = self.lines.pass(now)
        {
            warn!("{} cannot be used now: {error}{suppressed}", self.store.name());
        }
        self.vitals.not_connected(error.to_string());
    }

    fn connected(&mut self, connected: &Connected) {
        self.vitals.connected(connected.client);
        if self.connected_as != Some(connected.client) {
            info!("connected to {} client={}", self.address, connected.client);
            connected.notes.iter().for_each(|note| info!("{note}"));
            self.connected_as = Some(connected.client);
        }
        self.troubles.is_well(self.clock.now());
    }
}

/// Which troubles are worth a line. Pure: time is a parameter.
#[derive(Debug, Default)]
struct Troubles {
    last: Option<StoreError>,
    well_since: Option<Instant>,
}

impl Troubles {
    /// Whether this trouble is another one than the last, or the last is over: not one that comes and goes.
    fn is_new(&mut self, error: &StoreError, now: Instant) -> bool {
        let is_over = self.well_since.take().is_some_and(|since| now - since >= STEADY_AFTER);
        if self.last.as_ref() == Some(error) && !is_over {
            return false;
        }
        self.last = Some(error.clone());
        true
    }

    fn is_well(&mut self, now: Instant) {
        self.well_since.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Cause;
    use std::time::Duration;

    #[test]
    fn a_trouble_that_comes_and_goes_is_reported_once() {
        let (mut troubles, mut now) = (Troubles::default(), Instant::now());
        let (refused, unknown) = (
            StoreError::unavailable(Cause::Unreachable, "connection refused"),
            StoreError::unavailable(Cause::TopicUnknown, "no such topic"),
        );
        assert!(troubles.is_new(&refused, now));
        for _ in 0..100 {
            now += Duration::from_secs(2);
            assert!(!troubles.is_new(&refused, now));
            now += Duration::from_secs(2);
            troubles.is_well(now);
        }
        assert!(troubles.is_new(&unknown, now));
        troubles.is_well(now);
        troubles.is_well(now + STEADY_AFTER);
        assert!(troubles.is_new(&unknown, now + STEADY_AFTER), "it was over");
    }
}
