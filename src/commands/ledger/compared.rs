//! What `ledger` found, compared and shown. Pure.

use serde::Serialize;
use serde_json::Value;

use crate::commands::report::Report;
use crate::host::exit::Exit;

/// Whether they agree, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Agreement {
    Agree,
    Unknown,
    Differ,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Comparison {
    pub(super) what: &'static str,
    pub(super) counted: u64,
    /// What the store's own counters say.
    pub(super) noted: Option<u64>,
    /// What the running daemon reports.
    pub(super) daemon: Option<u64>,
    /// More than the daemon's own is fine: other daemons' rows, and rows of events that were sent again.
    pub(super) at_least: bool,
}

impl Comparison {
    pub(super) fn new(what: &'static str, counted: u64, noted: Option<u64>, daemon: Option<u64>) -> Self {
        Self { what, counted, noted, daemon, at_least: false }
    }

    fn agrees(&self) -> bool {
        let fits = |said: u64| if self.at_least { self.counted >= said } else { self.counted == said };
        self.noted.is_none_or(fits) && self.daemon.is_none_or(fits)
    }
}

/// All of them together.
#[derive(Debug, Serialize)]
pub(super) struct LedgerReport {
    verdict: Agreement,
    lines: Vec<Comparison>,
    problems: Vec<String>,
    /// The daemon's address and ledger.
    daemon: Option<Value>,
}

impl LedgerReport {
    pub(super) fn new(lines: Vec<Comparison>, unknown: Vec<String>, daemon: Option<Value>) -> Self {
        let mut problems = unknown;
        let mut verdict = if problems.is_empty() { Agreement::Agree } else { Agreement::Unknown };
        let unbalanced = daemon.as_ref().is_some_and(|daemon| daemon["ledger"]["balanced"] == false);
        if unbalanced {
            problems.push("the daemon's own ledger does not balance".to_owned());
        }
        if unbalanced || !lines.iter().all(Comparison::agrees) {
            verdict = Agreement::Differ;
        }
        Self { verdict, lines, problems, daemon }
    }
}

impl Report for LedgerReport {
    fn exit(&self) -> Exit {
        match self.verdict {
            Agreement::Agree => Exit::Ok,
            Agreement::Differ => Exit::Failed,
            Agreement::Unknown => Exit::Unknown,
        }
    }

    fn lines(&self) -> Vec<String> {
        let shown = |figure: Option<u64>| figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string());
        let mut lines = vec![format!("{:<34}{:>12}{:>12}{:>12}", "", "counted", "noted", "daemon")];
        lines.extend(self.lines.iter().map(|line| {
            let (noted, daemon) = (shown(line.noted), shown(line.daemon));
            let judged = if line.agrees() { "" } else { "  differs" };
            format!("{:<34}{:>12}{noted:>12}{daemon:>12}{judged}", line.what, line.counted)
        }));
        lines.push(match self.daemon.as_ref().map(|daemon| &daemon["ledger"]) {
            Some(ledger) => {
                let figure = |name: &str| ledger[name].as_u64().unwrap_or_default();
                format!(
                    "the daemon since its start: {} held before and {} accepted, of which {} went to kafka",
                    figure("held_at_start"),
                    figure("accepted"),
                    figure("sent_to_kafka")
                )
            }
            None => "no daemon runs: the stores are compared with their own counters only".to_owned(),
        });
        lines.extend(self.problems.iter().cloned());
        lines.push(match self.verdict {
            Agreement::Agree => "everything agrees".to_owned(),
            Agreement::Differ => "something differs".to_owned(),
            Agreement::Unknown => "whether everything agrees is unknown".to_owned(),
        });
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHAT: &str = "spool: held for kafka";

    #[test]
    fn the_verdict_is_the_worst_that_was_found() {
        let agrees =
            || vec![Comparison::new(WHAT, 3, Some(3), Some(3)), Comparison::new(WHAT, 4, None, None)];
        let own =
            |counted, said| Comparison { at_least: true, ..Comparison::new(WHAT, counted, None, Some(said)) };
        let with = |line| [agrees(), vec![line]].concat();
        let daemon_with = |balanced: bool| Some(serde_json::json!({ "ledger": { "balanced": balanced } }));
        let unreachable = || vec!["postgres is unreachable".to_owned()];
        for (lines, unknown, daemon, exit) in [
            (agrees(), vec![], None, Exit::Ok),
            (agrees(), vec![], daemon_with(true), Exit::Ok),
            (with(own(5, 4)), vec![], daemon_with(true), Exit::Ok),
            (agrees(), unreachable(), daemon_with(true), Exit::Unknown),
            (with(own(4, 5)), vec![], daemon_with(true), Exit::Failed),
            (with(Comparison::new(WHAT, 3, Some(2), None)), vec![], None, Exit::Failed),
            (
                with(Comparison::new(WHAT, 3, Some(3), Some(4))),
                unreachable(),
                daemon_with(true),
                Exit::Failed,
            ),
            (agrees(), vec![], daemon_with(false), Exit::Failed),
        ] {
            let report = LedgerReport::new(lines, unknown, daemon);
            assert_eq!(report.exit(), exit, "{report:?}");
        }
    }

    #[test]
    fn the_table_names_what_differs_and_the_verdict() {
        let lines = vec![
            Comparison::new(WHAT, 3, Some(3), Some(4)),
            Comparison::new("spool: home", 0, Some(0), None),
        ];
        let lines = LedgerReport::new(lines, vec!["postgres is unreachable".to_owned()], None).lines();
        assert!(lines[1].starts_with(WHAT) && lines[1].ends_with("4  differs"), "{lines:?}");
        assert!(lines[2].starts_with("spool: home") && lines[2].ends_with("0           -"), "{lines:?}");
        assert_eq!(&lines[4..], ["postgres is unreachable", "something differs"]);
    }
}
