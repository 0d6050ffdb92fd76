//! What a replay tells: a bar on a terminal, a line now and then elsewhere, and the report at the end.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::TROUBLES_TOLD;
use crate::clock;
use crate::commands::output::{count, local_time, some, time_span};

/// A terminal is told this often, everything else rarely.
const BAR_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(10);
const BAR_WIDTH: usize = 24;

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
    began: Instant,
    shown: Instant,
    bar: bool,
    troubles: u64,
}

impl Progress {
    pub(super) fn new(dry_run: bool, json: bool) -> Self {
        let now = Instant::now();
        let report = Report { dry_run, ..Report::default() };
        let bar = !json && io::stderr().is_terminal();
        Self { report, began: now, shown: now, bar, troubles: 0 }
    }

    /// Something that went wrong with one event. The first ones are told.
    pub(super) fn trouble(&mut self, what: &str) {
        self.troubles += 1;
        if self.troubles <= TROUBLES_TOLD {
            self.wipe();
            eprintln!("{what}");
        }
        if self.troubles == TROUBLES_TOLD {
            eprintln!("more of these are only counted");
        }
    }

    pub(super) fn show(&mut self, share: Option<f64>) {
        let every = if self.bar { BAR_EVERY } else { LINE_EVERY };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let line = line(self.report.events, self.began.elapsed(), share);
        match (self.bar, share) {
            (true, Some(share)) => eprint!("\r\x1b[K{} {line}", bar(share)),
            (true, None) => eprint!("\r\x1b[K{line}"),
            (false, _) => eprintln!("{line}"),
        }
        let _ = io::stderr().flush();
    }

    fn wipe(&self) {
        if self.bar {
            eprint!("\r\x1b[K");
        }
    }

    pub(super) fn finish(mut self, after: Option<String>, error: Option<String>) -> Report {
        self.wipe();
        self.report.seconds = self.began.elapsed().as_secs_f64();
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

/// `[########                ]  33 %`
fn bar(share: f64) -> String {
    let full = (share * BAR_WIDTH as f64) as usize;
    format!("[{:<BAR_WIDTH$}] {:>3.0} %", "#".repeat(full.min(BAR_WIDTH)), share * 100.0)
}

/// `12,000 events, 1,000/s, 2 min 30 s left`
fn line(events: u64, elapsed: Duration, share: Option<f64>) -> String {
    let rate = events as f64 / elapsed.as_secs_f64().max(0.001);
    let left = match share {
        Some(share) if share > 0.01 => {
            let left = elapsed.as_secs_f64() * (1.0 - share) / share;
            format!(", {} left", time_span(Duration::from_secs_f64(left.clamp(0.0, 1e9))))
        }
        _ => String::new(),
    };
    format!("{}, {}/s{left}", some(events, "event"), count(rate as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_the_share_that_is_done() {
        let ten = Duration::from_secs(10);
        assert_eq!(line(5_000, ten, Some(0.25)), "5,000 events, 500/s, 30 s left");
        assert_eq!(line(5_000, ten, Some(0.001)), "5,000 events, 500/s");
        assert_eq!(line(1, ten, None), "1 event, 0/s");
        assert_eq!(bar(0.0), format!("[{}]   0 %", " ".repeat(BAR_WIDTH)));
        assert_eq!(bar(1.0), format!("[{}] 100 %", "#".repeat(BAR_WIDTH)));
        assert!(bar(0.5).starts_with("[############ "), "{}", bar(0.5));
    }

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
