//! Makes clients for the links, off the data path, and tells people how it goes: one line a change,
//! whatever the number of attempts.

use std::sync::Arc;
use std::time::Instant;

use log::{info, warn};

use crate::delivery::failover::STEADY_AFTER;
use crate::delivery::link::Connect;
use crate::host::throttle::Throttle;
use crate::limits::LOG_EDGES_PER_MINUTE;
use crate::store::{Connected, Standing, StoreError, kafka, postgres};
use crate::telemetry::health::Vitals;

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
        let (news, lines) = (News::default(), Throttle::new(LOG_EDGES_PER_MINUTE));
        self.report = Some(Report { name, place, vitals, connected_as: None, news, lines });
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
    news: News,
    lines: Throttle,
}

impl Report {
    fn failed(&mut self, error: &StoreError) {
        let (text, now) = (error.to_string(), Instant::now());
        if self.news.is_news(&text, now)
            && let Some(suppressed) = self.lines.pass(now)
        {
            warn!("{} can't be used now: {text}{suppressed}", self.name);
        }
        self.vitals.not_connected(text);
    }

    fn connected(&mut self, connected: &Connected) {
        self.vitals.connected(connected.client);
        if self.connected_as != Some(connected.client) {
            info!("connected to {} client={}", self.place, connected.client);
            connected.notes.iter().for_each(|note| info!("{note}"));
            self.connected_as = Some(connected.client);
        }
        self.news.is_well(Instant::now());
    }
}

/// Which troubles are worth a line. Pure: time comes in.
#[derive(Debug, Default)]
struct News {
    told: Option<String>,
    well_since: Option<Instant>,
}

impl News {
    /// Whether this trouble is another one than the last, or the last is over: not one that comes and goes.
    fn is_news(&mut self, text: &str, now: Instant) -> bool {
        let is_over = self.well_since.take().is_some_and(|since| now - since >= STEADY_AFTER);
        if self.told.as_deref() == Some(text) && !is_over {
            return false;
        }
        self.told = Some(text.to_owned());
        true
    }

    fn is_well(&mut self, now: Instant) {
        self.well_since.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_trouble_that_comes_and_goes_is_told_once() {
        let (mut news, mut now) = (News::default(), Instant::now());
        assert!(news.is_news("refused", now));
        for _ in 0..100 {
            now += Duration::from_secs(2);
            assert!(!news.is_news("refused", now));
            now += Duration::from_secs(2);
            news.is_well(now);
        }
        assert!(news.is_news("no such topic", now));
        news.is_well(now);
        news.is_well(now + STEADY_AFTER);
        assert!(news.is_news("no such topic", now + STEADY_AFTER), "it was over");
    }
}
