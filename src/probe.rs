//! Makes clients for the links, off the data path, and tells people how it goes: one line a change,
//! whatever the number of attempts.

use std::sync::Arc;

use log::{info, warn};

use crate::health::Vitals;
use crate::store::link::Connect;
use crate::store::{Connected, Standing, StoreError, kafka, postgres};

type Attempt = Box<dyn FnMut() -> Result<Connected, StoreError> + Send>;

/// Makes clients of one store.
pub struct Prober {
    attempt: Attempt,
    report: Option<Report>,
}

impl Prober {
    /// Makes Kafka clients.
    #[must_use]
    pub fn kafka(settings: kafka::Settings) -> Self {
        Self { attempt: Box::new(move || kafka::connect(&settings)), report: None }
    }

    /// Makes Postgres clients for live events.
    #[must_use]
    pub fn postgres(settings: postgres::Settings, standing: Standing) -> Self {
        Self { attempt: Box::new(move || postgres::connect_live(&settings, standing)), report: None }
    }

    /// Also keeps `vitals` up to date and logs changes: for the live path's connection.
    #[must_use]
    pub fn telling(mut self, name: &'static str, place: String, vitals: &Arc<Vitals>) -> Self {
        let vitals = Arc::clone(vitals);
        self.report = Some(Report { name, place, vitals, connected_as: None, last_error: None });
        self
    }
}

impl Connect for Prober {
    type Client = Connected;

    fn connect(&mut self) -> Result<Connected, StoreError> {
        (self.attempt)()
    }

    fn ended(&mut self, result: Result<&Connected, &StoreError>) {
        match (&mut self.report, result) {
            (Some(report), Ok(connected)) => report.connected(connected),
            (Some(report), Err(error)) => report.failed(error),
            (None, _) => {}
        }
    }
}

/// What people hear of the attempts.
struct Report {
    name: &'static str,
    place: String,
    vitals: Arc<Vitals>,
    connected_as: Option<&'static str>,
    last_error: Option<String>,
}

impl Report {
    fn failed(&mut self, error: &StoreError) {
        let text = error.to_string();
        if self.last_error.as_deref() != Some(&text) {
            warn!("{} can't be used now: {text}", self.name);
        }
        self.vitals.not_connected(text.clone());
        self.last_error = Some(text);
    }

    fn connected(&mut self, connected: &Connected) {
        self.vitals.connected(connected.client);
        if self.connected_as != Some(connected.client) {
            info!("connected to {} client={}", self.place, connected.client);
            connected.notes.iter().for_each(|note| info!("{note}"));
            self.connected_as = Some(connected.client);
        }
        self.last_error = None;
    }
}
