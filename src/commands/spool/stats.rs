//! `spool stats`: how many events of which kind the spool holds.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::PAGE_ROWS;
use crate::commands::output::{count, local_time, size, visible};
use crate::commands::report::Report;
use crate::host::exit::Exit;
use crate::store::Standing;
use crate::store::spool::{Journal, Sizes};

/// Names that are counted apart in one list: a till that puts a number into `service` must not fill the memory.
const NAMES_MAX: usize = 1_000;
/// What the names beyond that are counted under.
const OTHERS: &str = "(others)";
/// Lines of one list, for people.
const LINES_MAX: usize = 40;

/// Count events by state, level, service and day (UTC, of their arrival).
#[derive(Clone, Debug, clap::Args)]
pub struct StatsArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
struct SpoolCounts {
    path: String,
    /// Bytes of the file that hold data.
    data_bytes: u64,
    /// Bytes of the file and its log.
    disk_bytes: u64,
    oldest_received_at: Option<String>,
    newest_received_at: Option<String>,
    oldest_held_received_at: Option<String>,
    /// `held`, `home` and `dead_letter`.
    by_state: CountsByName,
    by_level: CountsByName,
    by_service: CountsByName,
    by_day: CountsByName,
}

/// Events and bytes of their payloads, by name.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
struct CountsByName(BTreeMap<String, Amount>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Amount {
    events: u64,
    bytes: u64,
}

impl CountsByName {
    fn add(&mut self, name: &str, more: Amount) {
        let name = if self.0.len() < NAMES_MAX || self.0.contains_key(name) { name } else { OTHERS };
        let amount = match self.0.get_mut(name) {
            Some(amount) => amount,
            None => self.0.entry(name.to_owned()).or_default(),
        };
        amount.events += more.events;
        amount.bytes += more.bytes;
    }

    fn lines(&self, title: &str) -> Vec<String> {
        let mut lines = vec![String::new(), format!("{title:<24} {:>14} {:>12}", "events", "payloads")];
        let line = |name: &str, amount: Amount| {
            format!("{:<24} {:>14} {:>12}", visible(name), count(amount.events), size(amount.bytes))
        };
        lines.extend(self.0.iter().take(LINES_MAX).map(|(name, amount)| line(name, *amount)));
        if self.0.len() > LINES_MAX {
            lines.push(format!("... {} more, see --json", self.0.len() - LINES_MAX));
        }
        lines
    }
}

pub(super) fn run(args: &StatsArgs, dir: &Path) -> Result<Exit, String> {
    let journal = Journal::open(dir)?;
    counted(&journal)?.print(args.json)
}

fn counted(journal: &Journal) -> Result<SpoolCounts, String> {
    let path = journal.path().display().to_string();
    let (data_bytes, disk_bytes) = journal.bytes()?;
    let mut report = SpoolCounts { path, data_bytes, disk_bytes, ..SpoolCounts::default() };
    for standing in [Some(Standing::Held), Some(Standing::Home), None] {
        let mut after = Some(0);
        while let Some(seq) = after {
            let page = journal.sizes_after(standing, seq, PAGE_ROWS);
            let page = page.map_err(|error| format!("{error}; see logs-ingest spool verify"))?;
            page.rows.iter().for_each(|row| report.add(standing, row));
            after = page.next;
        }
    }
    Ok(report)
}

impl SpoolCounts {
    /// `standing`: None for dead letters.
    fn add(&mut self, standing: Option<Standing>, rows: &Sizes) {
        let amount = Amount { events: rows.events, bytes: rows.bytes };
        self.by_state.add(standing.map_or("dead_letter", Standing::as_str), amount);
        self.by_level.add(rows.level.as_deref().unwrap_or("(none)"), amount);
        self.by_service.add(rows.service.as_deref().unwrap_or("(none)"), amount);
        self.by_day.add(rows.oldest_received_at.get(..10).unwrap_or("(none)"), amount);
        let earliest = |so_far: &mut Option<String>| {
            if so_far.as_ref().is_none_or(|oldest| rows.oldest_received_at < *oldest) {
                *so_far = Some(rows.oldest_received_at.clone());
            }
        };
        earliest(&mut self.oldest_received_at);
        if standing == Some(Standing::Held) {
            earliest(&mut self.oldest_held_received_at);
        }
        if self.newest_received_at.as_ref().is_none_or(|newest| rows.newest_received_at > *newest) {
            self.newest_received_at = Some(rows.newest_received_at.clone());
        }
    }
}

impl Report for SpoolCounts {
    fn exit(&self) -> Exit {
        Exit::Ok
    }

    fn lines(&self) -> Vec<String> {
        let time = |time: &Option<String>| {
            time.as_deref().map_or_else(|| "none".to_owned(), |at| local_time(at).into_owned())
        };
        let mut lines = vec![
            format!("spool        {}", self.path),
            format!("data         {}, on the disk {}", size(self.data_bytes), size(self.disk_bytes)),
            format!(
                "oldest       {}, newest {}",
                time(&self.oldest_received_at),
                time(&self.newest_received_at)
            ),
            format!("oldest held  {}", time(&self.oldest_held_received_at)),
        ];
        for (title, list) in [
            ("state", &self.by_state),
            ("level", &self.by_level),
            ("service", &self.by_service),
            ("day", &self.by_day),
        ] {
            lines.extend(list.lines(title));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_end_are_counted_together() {
        let mut list = CountsByName::default();
        for n in 0..NAMES_MAX + 5 {
            list.add(&format!("till-{n}"), Amount { events: 1, bytes: 2 });
        }
        list.add("till-0", Amount { events: 1, bytes: 3 });
        assert_eq!(list.0.len(), NAMES_MAX + 1);
        assert_eq!(list.0[OTHERS], Amount { events: 5, bytes: 10 });
        assert_eq!(list.0["till-0"], Amount { events: 2, bytes: 5 });
        let lines = list.lines("service");
        assert_eq!(lines.len(), 2 + LINES_MAX + 1);
        assert!(lines.last().unwrap().contains("961 more"), "{lines:?}");
    }

    #[test]
    fn a_report_knows_its_ends() {
        let mut report = SpoolCounts::default();
        for (oldest, newest, standing) in [
            ("2026-11-02T00:00:00.000Z", "2026-11-02T09:00:00.000Z", Standing::Held),
            ("2026-11-01T09:00:00.000Z", "2026-11-01T09:00:00.000Z", Standing::Home),
            ("2026-11-03T", "2026-11-03T", Standing::Home),
        ] {
            let rows = Sizes {
                events: 2,
                bytes: 1,
                service: None,
                level: Some("info".into()),
                oldest_received_at: oldest.into(),
                newest_received_at: newest.into(),
            };
            report.add(Some(standing), &rows);
        }
        assert_eq!(report.oldest_received_at.as_deref(), Some("2026-11-01T09:00:00.000Z"));
        assert_eq!(report.oldest_held_received_at.as_deref(), Some("2026-11-02T00:00:00.000Z"));
        assert_eq!(report.newest_received_at.as_deref(), Some("2026-11-03T"));
        assert_eq!(report.by_day.0.keys().collect::<Vec<_>>(), ["2026-11-01", "2026-11-02", "2026-11-03"]);
        assert_eq!(report.by_service.0["(none)"].events, 6);
    }
}
