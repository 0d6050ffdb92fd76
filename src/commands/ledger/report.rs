//! What `ledger` found, compared and shown. Pure.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::host::exit::Exit;

/// The verdict, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Agree,
    Unknown,
    Differ,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    pub(super) what: &'static str,
    pub(super) counted: u64,
    /// What the store's own figures say.
    pub(super) noted: Option<u64>,
    /// What the running daemon says.
    pub(super) daemon: Option<u64>,
    /// More than the daemon's own is fine: other daemons' rows, and rows of events that were sent again.
    pub(super) at_least: bool,
}

impl Line {
    pub(super) fn new(what: &'static str, counted: u64, noted: Option<u64>, daemon: Option<u64>) -> Self {
        Self { what, counted, noted, daemon, at_least: false }
    }

    fn agrees(&self) -> bool {
        let fits = |said: u64| if self.at_least { self.counted >= said } else { self.counted == said };
        self.noted.is_none_or(fits) && self.daemon.is_none_or(fits)
    }
}

/// What is shown.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    verdict: Verdict,
    lines: Vec<Line>,
    problems: Vec<String>,
    /// The daemon's address and ledger.
    daemon: Option<Value>,
}

impl Report {
    pub(super) fn new(lines: Vec<Line>, unknown: Vec<String>, daemon: Option<Value>) -> Self {
        let mut problems = unknown;
        let mut verdict = if problems.is_empty() { Verdict::Agree } else { Verdict::Unknown };
        let unbalanced = daemon.as_ref().is_some_and(|daemon| daemon["ledger"]["balanced"] == false);
        if unbalanced {
            problems.push("the daemon's own ledger does not balance".to_owned());
        }
        if unbalanced || !lines.iter().all(Line::agrees) {
            verdict = Verdict::Differ;
        }
        Self { verdict, lines, problems, daemon }
    }

    pub(super) fn exit(&self) -> Exit {
        match self.verdict {
            Verdict::Agree => Exit::Ok,
            Verdict::Differ => Exit::Failed,
            Verdict::Unknown => Exit::Unknown,
        }
    }

    pub(super) fn table(&self) -> String {
        let mut table = format!("{:<34}{:>12}{:>12}{:>12}\n", "", "counted", "noted", "daemon");
        for line in &self.lines {
            let shown =
                |figure: Option<u64>| figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string());
            let (noted, daemon) = (shown(line.noted), shown(line.daemon));
            let judged = if line.agrees() { "" } else { "  differs" };
            let _ = writeln!(table, "{:<34}{:>12}{noted:>12}{daemon:>12}{judged}", line.what, line.counted);
        }
        match self.daemon.as_ref().map(|daemon| &daemon["ledger"]) {
            Some(ledger) => {
                let figure = |name: &str| ledger[name].as_u64().unwrap_or_default();
                let _ = writeln!(
                    table,
                    "the daemon since its start: {} held before and {} accepted, of which {} went to kafka",
                    figure("held_at_start"),
                    figure("accepted"),
                    figure("sent_to_kafka")
                );
            }
            None => {
                table.push_str("no daemon runs: nothing to compare the stores with but their own figures\n")
            }
        }
        self.problems.iter().for_each(|problem| {
            let _ = writeln!(table, "{problem}");
        });
        table.push_str(match self.verdict {
            Verdict::Agree => "everything agrees\n",
            Verdict::Differ => "something differs\n",
            Verdict::Unknown => "it can't be told whether everything agrees\n",
        });
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHAT: &str = "spool: held for kafka";

    #[test]
    fn the_verdict_is_the_worst_that_was_found() {
        let agrees = || vec![Line::new(WHAT, 3, Some(3), Some(3)), Line::new(WHAT, 4, None, None)];
        let own = |counted, said| Line { at_least: true, ..Line::new(WHAT, counted, None, Some(said)) };
        let with = |line| [agrees(), vec![line]].concat();
        let books = |balanced: bool| Some(serde_json::json!({ "ledger": { "balanced": balanced } }));
        let away = || vec!["postgres is away".to_owned()];
        for (lines, unknown, daemon, exit) in [
            (agrees(), vec![], None, Exit::Ok),
            (agrees(), vec![], books(true), Exit::Ok),
            (with(own(5, 4)), vec![], books(true), Exit::Ok),
            (agrees(), away(), books(true), Exit::Unknown),
            (with(own(4, 5)), vec![], books(true), Exit::Failed),
            (with(Line::new(WHAT, 3, Some(2), None)), vec![], None, Exit::Failed),
            (with(Line::new(WHAT, 3, Some(3), Some(4))), away(), books(true), Exit::Failed),
            (agrees(), vec![], books(false), Exit::Failed),
        ] {
            let report = Report::new(lines, unknown, daemon);
            assert_eq!(report.exit(), exit, "{report:?}");
        }
    }

    #[test]
    fn the_table_names_what_differs_and_the_verdict() {
        let lines = vec![Line::new(WHAT, 3, Some(3), Some(4)), Line::new("spool: home", 0, Some(0), None)];
        let table = Report::new(lines, vec!["postgres is away".to_owned()], None).table();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].starts_with(WHAT) && lines[1].ends_with("4  differs"), "{table}");
        assert!(lines[2].starts_with("spool: home") && lines[2].ends_with("0           -"), "{table}");
        assert_eq!(&lines[4..], ["postgres is away", "something differs"]);
    }
}
