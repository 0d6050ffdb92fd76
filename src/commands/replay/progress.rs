//! What a replay tells: how far it is, and the report at the end.

use serde::Serialize;

use crate::commands::meter::Meter;
use crate::commands::output::{count, local_time, some};
use crate::host::clock;

/// How it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Report {
    pub(super) dry_run: bool,
    /// Events that were acknowledged or refused; in a dry run those that would be sent.
    pub(super) events: u64,
    /// Of these, those that Kafka will not have as they are.
    pub(super) refused: u64,
    /// Rows or lines that are no events any more.
    pub(super) damaged: u64,
    pub(super) interrupted: bool,
    /// What ended it early.
    error: Option<String>,
    #[serde(skip)]
    pub(super) first_ms: Option<i64>,
    #[serde(skip)]
    pub(super) last_ms: Option<i64>,
    first_received_at: Option<String>,
    last_received_at: Option<String>,
    seconds: f64,
    /// To go on with `--after`.
    after: Option<String>,
}

/// See the module.
pub(super) struct Progress {
    pub(super) report: Report,
    pub(super) meter: Meter,
}

impl Progress {
    pub(super) fn new(dry_run: bool, json: bool) -> Self {
        Self { report: Report { dry_run, ..Report::default() }, meter: Meter::new(json) }
    }

    pub(super) fn finish(mut self, after: Option<String>, error: Option<String>) -> Report {
        self.report.seconds = self.meter.finish().as_secs_f64();
        self.report.first_received_at = self.report.first_ms.map(clock::rfc3339);
        self.report.last_received_at = self.report.last_ms.map(clock::rfc3339);
        self.report.after = after;
        self.report.error = error;
        self.report
    }
}

impl Report {
    pub(super) fn is_clean(&self) -> bool {
        self.refused == 0 && self.damaged == 0 && !self.interrupted && self.error.is_none()
    }

    pub(super) fn print(&self, json: bool) {
        if json {
            println!("{}", serde_json::to_string(self).unwrap_or_default());
        } else {
            println!("{}", self.line());
        }
    }

    fn line(&self) -> String {
        let mut line = match self.dry_run {
            true => format!("{} would be sent", some(self.events, "event")),
            false => format!("{} acknowledged by kafka", some(self.events - self.refused, "event")),
        };
        if let (Some(first), Some(last)) = (&self.first_received_at, &self.last_received_at) {
            line += &format!(", received from {} to {}", local_time(first), local_time(last));
        }
        if self.refused > 0 {
            line += &format!("; {} refused by kafka", some(self.refused, "event"));
        }
        if self.damaged > 0 {
            line += &format!("; {} damaged and left out", count(self.damaged));
        }
        let ended = if self.interrupted || self.error.is_some() { "; not finished" } else { "" };
        let place =
            self.after.as_ref().map(|place| format!("; go on with --after {place}")).unwrap_or_default();
        line + ended + &place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_how_to_go_on() {
        let clean = Report { events: 3, after: Some("7".into()), ..Report::default() };
        assert!(clean.is_clean());
        assert_eq!(clean.line(), "3 events acknowledged by kafka; go on with --after 7");
        let rough = Report { refused: 1, damaged: 2, interrupted: true, ..clean };
        assert!(!rough.is_clean());
        assert_eq!(
            rough.line(),
            "2 events acknowledged by kafka; 1 event refused by kafka; 2 damaged and left out; not finished; \
             go on with --after 7"
        );
    }
}
