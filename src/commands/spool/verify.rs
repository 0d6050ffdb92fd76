//! `spool verify`: is every stored event what it was?

use std::path::Path;

use serde::Serialize;

use super::PAGE_ROWS;
use crate::commands::output::{count, some};
use crate::commands::report::Report;
use crate::host::exit::Exit;
use crate::store::spool::{Journal, Table};

/// Damaged rows that are named; the others are only counted.
const NAMED_MAX: usize = 100;

/// Check every row's checksum and the file's structure.
///
/// Exit code 0: all is sound. 1: something is damaged, or the spool cannot be read. Restart the daemon
/// then: at its start it sets a damaged file aside and keeps every event whose checksum holds.
/// SQLite's own check reads the whole file in one go; the daemon goes on meanwhile, its log file grows.
#[derive(Clone, Debug, clap::Args)]
pub struct VerifyArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
struct SpoolCheck {
    path: String,
    sound: bool,
    rows: u64,
    dead_letters: u64,
    /// Rows whose checksum is wrong, without the dead letters that are known for it.
    damaged: u64,
    damaged_dead_letters: u64,
    /// The first of them.
    first: Vec<Damaged>,
    /// What SQLite finds wrong.
    structure: Vec<String>,
    /// Damaged files that were set aside earlier.
    set_aside: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Damaged {
    table: &'static str,
    seq: i64,
    what: String,
}

pub(super) fn run(args: &VerifyArgs, dir: &Path) -> Result<Exit, String> {
    let journal = Journal::open(dir)?;
    check(&journal).print(args.json)
}

fn check(journal: &Journal) -> SpoolCheck {
    let path = journal.path().display().to_string();
    let mut report = SpoolCheck { path, set_aside: journal.set_aside(), ..SpoolCheck::default() };
    for table in [Table::Logs, Table::DeadLetters] {
        report.check_rows(journal, table);
    }
    match journal.check_structure() {
        Ok(complaints) => report.structure.extend(complaints),
        Err(error) => report.structure.push(error.to_string()),
    }
    report.sound = report.damaged == 0 && report.structure.is_empty();
    report
}

impl SpoolCheck {
    fn check_rows(&mut self, journal: &Journal, table: Table) {
        let mut after = Some(0);
        while let Some(seq) = after {
            let (page, checked) = match journal.check_after(table, seq, PAGE_ROWS) {
                Ok(page) => page,
                Err(error) => {
                    self.structure.push(format!("{} after seq {seq}: {error}", table.name()));
                    return;
                }
            };
            *(if table == Table::Logs { &mut self.rows } else { &mut self.dead_letters }) += checked;
            for problem in page.rows {
                *(if problem.known { &mut self.damaged_dead_letters } else { &mut self.damaged }) += 1;
                if !problem.known && self.first.len() < NAMED_MAX {
                    self.first.push(Damaged { table: table.name(), seq: problem.seq, what: problem.what });
                }
            }
            after = page.next;
        }
    }
}

impl Report for SpoolCheck {
    fn exit(&self) -> Exit {
        if self.sound { Exit::Ok } else { Exit::Failed }
    }

    fn lines(&self) -> Vec<String> {
        let known = match self.damaged_dead_letters {
            0 => String::new(),
            known => format!(", {} of them known to be damaged", count(known)),
        };
        let mut lines = vec![
            format!("spool {}", self.path),
            format!(
                "checked {} and {}{known}",
                some(self.rows, "event"),
                some(self.dead_letters, "dead letter")
            ),
        ];
        let damaged = |row: &Damaged| format!("damaged: {} seq {}: {}", row.table, row.seq, row.what);
        lines.extend(self.first.iter().map(damaged));
        if self.damaged > self.first.len() as u64 {
            lines.push(format!("damaged: {} in all", some(self.damaged, "row")));
        }
        lines.extend(self.structure.iter().map(|complaint| format!("damaged: {complaint}")));
        lines.extend(self.set_aside.iter().map(|name| format!("set aside earlier: {name}")));
        let conclusion = match self.sound {
            true => "sound: every checksum holds, and so does the file's structure",
            false => {
                "NOT SOUND: restart the daemon: it sets the damaged file aside and keeps every event whose checksum \
                 holds"
            }
        };
        lines.push(conclusion.to_owned());
        lines
    }
}
