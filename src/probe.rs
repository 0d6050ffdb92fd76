//! Makes clients for the links, off the data path, and tells people how it goes: one line a change,
//! whatever the number of attempts.

use std::sync::Arc;

use log::{info, warn};

use crate::health::{RemoteState, Vitals};
use crate::store::kafka;
use crate::store::link::Connect;
use crate::store::spool::Spool;
use crate::store::{Connected, StoreError};

/// Makes Kafka clients.
pub struct Prober {
    settings: kafka::Settings,
    report: Option<Report>,
}

impl Prober {
    /// Says nothing: for a second connection to the same store.
    #[must_use]
    pub fn quiet(settings: kafka::Settings) -> Self {
        Self { settings, report: None }
    }

    /// Keeps `vitals` up to date and logs changes.
    #[must_use]
    pub fn telling(settings: kafka::Settings, vitals: &Arc<Vitals>, spool: &Spool) -> Self {
        let place = format!("kafka brokers={} topic={}", settings.brokers.join(","), settings.topic);
        Self { settings, report: Some(Report::new("kafka", place, vitals, spool)) }
    }
}

impl Connect for Prober {
    type Client = Connected;

    fn connect(&mut self) -> Result<Connected, StoreError> {
        kafka::connect(&self.settings)
    }

    fn ended(&mut self, result: Result<&Connected, &StoreError>) {
        if let Some(report) = &mut self.report {
            report.ended(result);
        }
    }
}

/// What people hear of the attempts.
struct Report {
    name: &'static str,
    place: String,
    vitals: Arc<Vitals>,
    spool: Spool,
    connected_as: Option<&'static str>,
    last_error: Option<String>,
}

impl Report {
    fn new(name: &'static str, place: String, vitals: &Arc<Vitals>, spool: &Spool) -> Self {
        let (vitals, spool) = (Arc::clone(vitals), spool.clone());
        Self { name, place, vitals, spool, connected_as: None, last_error: None }
    }

    fn ended(&mut self, result: Result<&Connected, &StoreError>) {
        match result {
            Ok(connected) => self.connected(connected),
            Err(error) => {
                let text = error.to_string();
                if self.last_error.as_deref() != Some(&text) {
                    warn!("{} can't be used now: {text}", self.name);
                }
                self.vitals.set(RemoteState::Down, Some(text.clone()));
                self.last_error = Some(text);
            }
        }
    }

    fn connected(&mut self, connected: &Connected) {
        self.vitals.set_client(connected.client);
        // While events are held, only one that is acknowledged proves that Kafka is back. Where none
        // is, a connection is all that can be known before the next event.
        if self.spool.figures().held == 0 {
            self.vitals.set(RemoteState::Up, None);
        }
        if self.connected_as != Some(connected.client) {
            info!("connected to {} client={}", self.place, connected.client);
            connected.notes.iter().for_each(|note| info!("{note}"));
            self.connected_as = Some(connected.client);
        }
        self.last_error = None;
    }
}
