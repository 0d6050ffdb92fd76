//! `ledger`: counts what the stores hold, row by row, and compares it with what their figures and the
//! running daemon say.
//!
//! Invariant: nothing is written anywhere; "agree" is only said of what was compared at a quiet moment.

mod report;

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use self::report::{Line, Report};
use super::daemon::{AskError, Daemon, DaemonArgs};
use crate::config::{Config, RawSettings};
use crate::host::exit::Exit;
use crate::store::postgres;
use crate::store::spool::{self, Recount};

/// Counting every row of PostgreSQL may take longer than a live write may.
const POSTGRES_LIMIT: Duration = Duration::from_secs(30);
/// Counts that events may move under before that is the answer.
const TRIES: u32 = 5;
/// Between two of them.
const TRY_AGAIN: Duration = Duration::from_millis(300);

/// Count the stores' events and compare them with the daemon's books.
///
/// Reads every row of the spool and its checksum, counts PostgreSQL's rows where POSTGRES_URL is set, and asks
/// the running daemon, if there is one. Changes nothing, and may run beside the daemon. Exit code: 0
/// everything agrees, 1 something differs, 2 it can't be told (a store can't be read, or events were moving).
#[derive(Clone, Debug, clap::Args)]
pub struct LedgerArgs {
    #[command(flatten)]
    daemon: DaemonArgs,

    /// One JSON object: {"verdict":"agree"|"differ"|"unknown","lines":[..],"problems":[..],"daemon":{..}|null}
    #[arg(long)]
    json: bool,
}

/// Runs the command, to standard output.
///
/// # Errors
/// A text for people: the daemon's address makes no sense.
pub fn run(args: &LedgerArgs, config: &Config, settings: &RawSettings) -> Result<Exit, String> {
    // With PORT=0 no daemon can be asked, but the stores can be counted.
    let named = args.daemon.url.is_some() || config.listen.port != 0;
    let daemon = if named { Some(Daemon::new(&args.daemon, settings)?) } else { None };
    let report = quiet_report(config, daemon.as_ref());
    if args.json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
    } else {
        print!("{}", report.table());
    }
    Ok(report.exit())
}

/// Counts until nothing has moved meanwhile.
fn quiet_report(config: &Config, daemon: Option<&Daemon>) -> Report {
    let mut tries = 0;
    loop {
        tries += 1;
        let before = daemon.map(Books::ask).transpose();
        let (mut lines, mut unknown) = count(config, before.as_ref().ok().and_then(Option::as_ref));
        let after = daemon.map(Books::ask).transpose();
        let books = match (before, after) {
            (Ok(before), Ok(after)) if before == after => after,
            (Err(AskError::Away(_)), Err(AskError::Away(_))) => None,
            (Err(AskError::Strange(why)), _) | (_, Err(AskError::Strange(why))) => {
                unknown.push(why);
                None
            }
            _ if tries < TRIES => {
                sleep(TRY_AGAIN);
                continue;
            }
            (_, after) => {
                unknown.push(
                    "events were moving while they were counted: ask again at a quieter moment".to_owned(),
                );
                // What moved meanwhile can't be held against anyone.
                lines = lines.into_iter().map(|line| Line { noted: None, daemon: None, ..line }).collect();
                after.ok().flatten()
            }
        };
        return Report::new(lines, unknown, books.map(|books| books.shown(daemon)));
    }
}

/// Every figure of the stores, and what kept others from being had.
fn count(config: &Config, books: Option<&Books>) -> (Vec<Line>, Vec<String>) {
    let mut lines = Vec::new();
    let mut unknown = Vec::new();
    match spool::recount(&config.data_dir()) {
        Ok(found) => lines.extend(spool_lines(&found, books)),
        Err(error) => unknown.push(error.to_string()),
    }
    if let Some(settings) = config.postgres() {
        let settings = postgres::Settings { deadline: POSTGRES_LIMIT, ..settings.clone() };
        let started = books.map_or_else(SystemTime::now, Books::started);
        let counted = postgres::connect(&settings).and_then(|mut connected| connected.store.recount(started));
        match counted {
            Ok(found) => lines.extend(postgres_lines(&found, config, books)),
            Err(error) => unknown.push(error.to_string()),
        }
    }
    (lines, unknown)
}

fn spool_lines(found: &Recount, books: Option<&Books>) -> [Line; 4] {
    let noted = |pick: fn((u64, u64, u64)) -> u64| found.noted.map(pick);
    let said = |pick: fn(&Books) -> Option<u64>| books.and_then(pick);
    [
        Line::new(
            "spool: held for kafka",
            found.held,
            noted(|noted| noted.0),
            said(|books| books.spool("held")),
        ),
        Line::new("spool: home", found.home, noted(|noted| noted.1), said(|books| books.spool("home"))),
        Line::new(
            "spool: dead letters",
            found.dead_letters,
            noted(|noted| noted.2),
            said(|books| books.spool("dead_letters")),
        ),
        Line::new("spool: damaged rows", found.damaged, Some(0), None),
    ]
}

fn postgres_lines(found: &postgres::Recount, config: &Config, books: Option<&Books>) -> Vec<Line> {
    let mut lines = vec![
        Line::new("postgres: held for kafka", found.held, None, None),
        Line::new("postgres: kafka has them", found.forwarded, None, None),
        Line::new("postgres: home", found.home, None, None),
        Line::new("postgres: dead letters", found.dead_letters, None, None),
    ];
    // While nothing of this daemon's was removed for its age or for room.
    let keeps = |books: &&Books| {
        config.keep().bytes == 0 && books.uptime() < config.keep().forwarded.min(config.keep().home)
    };
    if let Some(books) = books.filter(keeps) {
        let own = Line::new("postgres: this daemon's since start", found.own, None, books.stored_postgres());
        lines.push(Line { at_least: true, ..own });
    }
    lines
}

/// What the running daemon says of its events.
#[derive(Debug)]
struct Books {
    stats: Value,
    health: Value,
}

/// Nothing has moved between two looks.
impl PartialEq for Books {
    fn eq(&self, other: &Self) -> bool {
        let idle = self.stats["ledger"]["in_flight"] == 0;
        let events = |books: &Self| {
            (books.stats["ledger"].clone(), books.stats["counters"].clone(), books.health["spool"].clone())
        };
        let without_age = |mut it: (Value, Value, Value)| {
            it.2["oldest_held_age_s"] = Value::Null;
            it
        };
        idle && without_age(events(self)) == without_age(events(other))
    }
}

impl Books {
    fn ask(daemon: &Daemon) -> Result<Self, AskError> {
        let ask = |path| {
            let answer = daemon.get(path)?;
            let is_ours = answer.status == 200 && answer.json.is_object();
            let strange =
                || AskError::Strange(format!("{} answers {path} with {}", daemon.url(), answer.status));
            is_ours.then(|| answer.json.clone()).ok_or_else(strange)
        };
        Ok(Self { stats: ask("/stats")?, health: ask("/health")? })
    }

    fn spool(&self, name: &str) -> Option<u64> {
        self.health["spool"][name].as_u64()
    }

    fn stored_postgres(&self) -> Option<u64> {
        self.stats["counters"]["stored_postgres"].as_u64()
    }

    /// A second more than it was: whole seconds are told.
    fn uptime(&self) -> Duration {
        Duration::from_secs(self.stats["uptime_s"].as_u64().unwrap_or(u64::MAX).saturating_add(1))
    }

    fn started(&self) -> SystemTime {
        SystemTime::now().checked_sub(self.uptime()).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn shown(&self, daemon: Option<&Daemon>) -> Value {
        let url = daemon.map(Daemon::url);
        serde_json::json!({ "url": url, "uptime_s": self.stats["uptime_s"], "ledger": self.stats["ledger"] })
    }
}
