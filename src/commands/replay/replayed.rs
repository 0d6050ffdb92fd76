//! What a replay reports at its end.

use serde::{Serialize, Serializer};

use super::source::PlacedEvent;
use crate::commands::output::{count, local_time, some};
use crate::commands::report::Report;
use crate::host::clock;
use crate::host::exit::Exit;

/// How it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct ReplayReport {
    pub(super) dry_run: bool,
    /// Events that were acknowledged or refused; in a dry run those that would be sent.
    pub(super) events: u64,
    /// Of these, those that Kafka refused.
    pub(super) refused: u64,
    /// Damaged rows or lines.
    pub(super) damaged: u64,
    pub(super) interrupted: bool,
    /// What ended it early.
    pub(super) error: Option<String>,
    #[serde(serialize_with = "as_rfc3339")]
    pub(super) first_received_at: Option<i64>,
    #[serde(serialize_with = "as_rfc3339")]
    pub(super) last_received_at: Option<i64>,
    pub(super) seconds: f64,
    /// To continue with `--after`.
    pub(super) after: Option<String>,
}

fn as_rfc3339<S: Serializer>(ms: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    ms.map(clock::rfc3339).serialize(serializer)
}

impl ReplayReport {
    /// These have their outcome.
    pub(super) fn count(&mut self, events: &[PlacedEvent]) {
        self.events += events.len() as u64;
        for found in events {
            let at = Some(found.event.received_at_ms());
            self.first_received_at = self.first_received_at.min(at).or(at);
            self.last_received_at = self.last_received_at.max(at);
        }
    }
}

impl Report for ReplayReport {
    fn exit(&self) -> Exit {
        match self.refused == 0 && self.damaged == 0 && !self.interrupted && self.error.is_none() {
            true => Exit::Ok,
            false => Exit::Failed,
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut line = match self.dry_run {
            true => format!("{} would be sent", some(self.events, "event")),
            false => format!("{} acknowledged by kafka", some(self.events - self.refused, "event")),
        };
        if let (Some(first), Some(last)) = (self.first_received_at, self.last_received_at) {
            let (first, last) = (clock::rfc3339(first), clock::rfc3339(last));
            line += &format!(", received from {} to {}", local_time(&first), local_time(&last));
        }
        if self.refused > 0 {
            line += &format!("; {} refused by kafka", some(self.refused, "event"));
        }
        if self.damaged > 0 {
            line += &format!("; {} damaged and left out", count(self.damaged));
        }
        let ended = if self.interrupted || self.error.is_some() { "; not finished" } else { "" };
        let place =
            self.after.as_ref().map(|place| format!("; continue with --after {place}")).unwrap_or_default();
        vec![line + ended + &place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_how_to_continue() {
        let clean = ReplayReport { events: 3, after: Some("7".into()), ..ReplayReport::default() };
        assert_eq!(clean.exit(), Exit::Ok);
        assert_eq!(clean.lines(), ["3 events acknowledged by kafka; continue with --after 7"]);
        let rough = ReplayReport { refused: 1, damaged: 2, interrupted: true, ..clean };
        assert_eq!(rough.exit(), Exit::Failed);
        assert_eq!(
            rough.lines(),
            [
                "2 events acknowledged by kafka; 1 event refused by kafka; 2 damaged and left out; not finished; \
             continue with --after 7"
            ]
        );
    }
}
