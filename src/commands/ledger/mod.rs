//! `ledger`: counts what the stores hold, row by row, and compares it with what their figures and the
//! running daemon say.
//!
//! Invariant: nothing is written anywhere; "agree" means that no event moved while they were compared.

mod compared;

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use self::compared::{Comparison, LedgerReport};
use super::daemon::{AskError, Daemon, DaemonArgs};
use super::report::Report;
use crate::config::{Config, RawSettings};
use crate::host::exit::Exit;
use crate::store::postgres;
use crate::store::spool::{self, Recount};

/// Counting every row of PostgreSQL may take longer than a live write may.
const POSTGRES_LIMIT: Duration = Duration::from_secs(30);
/// Attempts to count while no event moves.
const TRIES: u32 = 5;
/// Pause between two of them.
const TRY_AGAIN: Duration = Duration::from_millis(300);

/// Count the stores' events and compare them with what the daemon reports.
///
/// Reads every row of the spool and its checksum, counts PostgreSQL's rows where POSTGRES_URL is set, and asks
/// the running daemon, if there is one. Changes nothing, and may run beside the daemon. Exit code: 0
/// everything agrees, 1 something differs, 2 unknown (a store cannot be read, or events were moving).
#[derive(Clone, Debug, clap::Args)]
pub struct LedgerArgs {
    #[command(flatten)]
    daemon: DaemonArgs,

    /// One JSON object: {"verdict":"agree"|"differ"|"unknown","lines":[..],"problems":[..],"daemon":{..}|null}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &LedgerArgs, config: &Config, settings: &RawSettings) -> Result<Exit, String> {
    // With PORT=0 no daemon can be asked, but the stores can be counted.
    let named = args.daemon.url.is_some() || config.listen.port != 0;
    let daemon = if named { Some(Daemon::new(&args.daemon, settings)?) } else { None };
    quiet_report(config, daemon.as_ref()).print(args.json)
}

/// Counts until nothing has moved meanwhile.
fn quiet_report(config: &Config, daemon: Option<&Daemon>) -> LedgerReport {
    let mut tries = 0;
    loop {
        tries += 1;
        let before = daemon.map(Reported::ask).transpose();
        let (mut lines, mut unknown) = count(config, before.as_ref().ok().and_then(Option::as_ref));
        let after = daemon.map(Reported::ask).transpose();
        let reported = match (before, after) {
            (Ok(before), Ok(after)) if before == after => after,
            (Err(AskError::Unreachable(_)), Err(AskError::Unreachable(_))) => None,
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
                // What moved meanwhile is no difference.
                lines =
                    lines.into_iter().map(|line| Comparison { noted: None, daemon: None, ..line }).collect();
                after.ok().flatten()
            }
        };
        return LedgerReport::new(lines, unknown, reported.map(|reported| reported.shown(daemon)));
    }
}

/// Every figure of the stores, and why others are unknown.
fn count(config: &Config, reported: Option<&Reported>) -> (Vec<Comparison>, Vec<String>) {
    let mut lines = Vec::new();
    let mut unknown = Vec::new();
    match spool::recount(&config.data_dir()) {
        Ok(found) => lines.extend(spool_lines(&found, reported)),
        Err(error) => unknown.push(error.to_string()),
    }
    if let Some(settings) = config.postgres() {
        let settings = postgres::Settings { deadline: POSTGRES_LIMIT, ..settings.clone() };
        let started = reported.map_or_else(SystemTime::now, Reported::started);
        let counted = postgres::connect(&settings).and_then(|mut connected| connected.store.recount(started));
        match counted {
            Ok(found) => lines.extend(postgres_lines(&found, config, reported)),
            Err(error) => unknown.push(error.to_string()),
        }
    }
    (lines, unknown)
}

fn spool_lines(found: &Recount, reported: Option<&Reported>) -> [Comparison; 4] {
    let noted = |pick: fn((u64, u64, u64)) -> u64| found.noted.map(pick);
    let daemon = |name: &str| reported.and_then(|reported| reported.health["spool"][name].as_u64());
    let letters = noted(|noted| noted.2);
    [
        Comparison::new("spool: held for kafka", found.held, noted(|noted| noted.0), daemon("held")),
        Comparison::new("spool: home", found.home, noted(|noted| noted.1), daemon("home")),
        Comparison::new("spool: dead letters", found.dead_letters, letters, daemon("dead_letters")),
        Comparison::new("spool: damaged rows", found.damaged, Some(0), None),
    ]
}

fn postgres_lines(
    found: &postgres::Recount,
    config: &Config,
    reported: Option<&Reported>,
) -> Vec<Comparison> {
    let alone = |what, counted| Comparison::new(what, counted, None, None);
    let mut lines = vec![
        alone("postgres: held for kafka", found.held),
        alone("postgres: kafka has them", found.forwarded),
        alone("postgres: home", found.home),
        alone("postgres: dead letters", found.dead_letters),
    ];
    // While nothing of this daemon's was removed for its age or for room.
    let keeps = |reported: &&Reported| {
        config.keep().bytes == 0 && reported.uptime() < config.keep().forwarded.min(config.keep().home)
    };
    if let Some(reported) = reported.filter(keeps) {
        let stored = reported.stats["counters"]["stored_postgres"].as_u64();
        let own = Comparison::new("postgres: this daemon's since start", found.own, None, stored);
        lines.push(Comparison { at_least: true, ..own });
    }
    lines
}

/// What the running daemon says of its events.
#[derive(Debug)]
struct Reported {
    stats: Value,
    health: Value,
}

/// Nothing has moved between two looks.
impl PartialEq for Reported {
    fn eq(&self, other: &Self) -> bool {
        let idle = self.stats["ledger"]["in_flight"] == 0;
        let events = |reported: &Self| {
            (
                reported.stats["ledger"].clone(),
                reported.stats["counters"].clone(),
                reported.health["spool"].clone(),
            )
        };
        let without_age = |mut it: (Value, Value, Value)| {
            it.2["oldest_held_age_s"] = Value::Null;
            it
        };
        idle && without_age(events(self)) == without_age(events(other))
    }
}

impl Reported {
    fn ask(daemon: &Daemon) -> Result<Self, AskError> {
        Ok(Self { stats: daemon.read("/stats")?, health: daemon.read("/health")? })
    }

    /// A second more than it was: the daemon reports whole seconds.
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
