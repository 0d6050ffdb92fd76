//! `dead-letters retry` and `dead-letters drop`.
//!
//! Invariant: the spool is changed by its one writer: the running daemon's, or where none runs this process's,
//! which then has the spool's lock.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use serde::Serialize;
use uuid::Uuid;

use super::stores::LetterStores;
use super::{LetterStore, RetryArgs};
use crate::commands::control::{self, Settled};
use crate::commands::output::{count, some, visible};
use crate::commands::report::Report;
use crate::config::Config;
use crate::host::clock::SystemClock;
use crate::host::exit::Exit;
use crate::limits::SETTLE_LETTERS_MAX;
use crate::store::postgres::Postgres;
use crate::store::spool::{Fate, Settings, Spool};

/// Refused letters that are named.
const NAMED_MAX: usize = 100;
/// What is said of a letter that no store has.
const UNKNOWN: &str = "there is no dead letter with this id";
/// For bringing the spool's log into its file.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize)]
struct SettleReport {
    done: u64,
    refused: u64,
    first_refused: Vec<RefusedLetter>,
    #[serde(skip)]
    fate: Fate,
    /// Kafka is among the settings.
    #[serde(skip)]
    has_kafka: bool,
    /// A store could not be looked into.
    #[serde(skip)]
    has_trouble: bool,
}

#[derive(Debug, Serialize)]
struct RefusedLetter {
    ingest_id: String,
    why: String,
}

pub(super) fn run(args: &RetryArgs, fate: Fate, config: &Config) -> Result<Exit, String> {
    let stores = LetterStores::open(args.stores, config)?;
    let report = SettleReport::new(fate, config.kafka().is_some());
    let mut settling = Settling { stores, config, fate, own: None, report };
    let ended = match args.all {
        true => settling.all(args),
        false => settling.these(&args.ids),
    };
    // What was done before an error is reported too.
    settling.report.has_trouble = settling.stores.say_trouble();
    let exit = settling.report.print(args.json)?;
    if settling.own.is_some_and(|own| !own.close(CLOSE_LIMIT)) {
        return Err("the spool's log could not be brought into its file in time: nothing is lost".to_owned());
    }
    ended.map(|()| exit)
}

struct Settling<'a> {
    stores: LetterStores,
    config: &'a Config,
    fate: Fate,
    /// The spool's writer, where no daemon has it.
    own: Option<Spool>,
    report: SettleReport,
}

impl Settling<'_> {
    fn all(&mut self, args: &RetryArgs) -> Result<(), String> {
        let wanted = args.which.wanted();
        for store in self.stores.open_ones() {
            let mut after = Some(0);
            while let Some(seq) = after {
                let page = self.stores.after(store, seq, &wanted)?;
                let ids: Vec<String> = page.rows.into_iter().map(|letter| letter.kept.ingest_id).collect();
                for (id, settled) in self.settle(store, ids)? {
                    self.report.note(id, settled);
                }
                after = page.next;
            }
        }
        Ok(())
    }

    /// An id that one store does not know may be the other's.
    fn these(&mut self, ids: &[String]) -> Result<(), String> {
        for ids in ids.chunks(SETTLE_LETTERS_MAX) {
            let mut left = ids.to_vec();
            for store in self.stores.open_ones() {
                let settled = self.settle(store, left)?;
                left = Vec::new();
                for (id, settled) in settled {
                    match settled {
                        Settled::Unknown => left.push(id),
                        settled => self.report.note(id, settled),
                    }
                }
            }
            left.into_iter().for_each(|id| self.report.note(id, Settled::Unknown));
        }
        Ok(())
    }

    /// What became of each.
    fn settle(&mut self, store: LetterStore, ids: Vec<String>) -> Result<Vec<(String, Settled)>, String> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let outcomes = match (store, &mut self.stores.postgres) {
            (LetterStore::Postgres, Some(postgres)) => in_postgres(postgres, &ids, self.fate)?,
            _ => self.in_spool(&ids)?,
        };
        Ok(ids.into_iter().zip(outcomes).collect())
    }

    fn in_spool(&mut self, ids: &[String]) -> Result<Vec<Settled>, String> {
        let dir = &self.config.data_dir();
        if self.own.is_none() {
            if let Some(outcomes) = control::settle_letters(dir, self.fate, ids)? {
                return Ok(outcomes);
            }
            self.own = Some(own_writer(dir, &self.config.instance())?);
        }
        let own = self.own.as_ref().expect("BUG: no writer");
        Ok(own.settle_letters(ids.to_vec(), self.fate).into_iter().map(Settled::from).collect())
    }
}

/// The spool's writer while no daemon runs. It removes nothing for age or room: those settings are the
/// daemon's.
fn own_writer(dir: &Path, instance: &str) -> Result<Spool, String> {
    let owner =
        fs::metadata(dir).map_err(|error| format!("cannot look at {}: {error}", dir.display()))?.uid();
    if owner != geteuid().as_raw() {
        return Err(format!(
            "no daemon runs, and {} belongs to another user (uid {owner}): run this as that user, so that the \
             daemon can still use its files",
            dir.display()
        ));
    }
    let settings = Settings {
        dir: dir.to_owned(),
        max_bytes: Some(u64::MAX),
        keep: Duration::MAX,
        clock: SystemClock::shared(),
        clock_trusted_after: Duration::MAX,
        instance: instance.to_owned(),
        stopping: Arc::default(),
        destination: None,
    };
    Spool::open(&settings)
        .map_err(|error| format!("{error}; if it has just been started or is being stopped, try again"))
}

fn in_postgres(postgres: &mut Postgres, ids: &[String], fate: Fate) -> Result<Vec<Settled>, String> {
    let known: Vec<Uuid> = ids.iter().filter_map(|id| Uuid::try_parse(id).ok()).collect();
    let done = match fate {
        Fate::Retry => postgres.retry_letters(known),
        Fate::Discard => postgres.discard_letters(known),
    }?;
    let is_done = |id: &String| Uuid::try_parse(id).is_ok_and(|id| done.contains(&id));
    Ok(ids.iter().map(|id| if is_done(id) { Settled::Done } else { Settled::Unknown }).collect())
}

impl SettleReport {
    fn new(fate: Fate, has_kafka: bool) -> Self {
        Self { done: 0, refused: 0, first_refused: Vec::new(), fate, has_kafka, has_trouble: false }
    }

    fn note(&mut self, ingest_id: String, settled: Settled) {
        let why = match settled {
            Settled::Done => {
                self.done += 1;
                return;
            }
            Settled::Unknown => UNKNOWN.to_owned(),
            Settled::Refused(why) => why,
        };
        self.refused += 1;
        if self.first_refused.len() < NAMED_MAX {
            self.first_refused.push(RefusedLetter { ingest_id, why });
        }
    }
}

impl Report for SettleReport {
    fn exit(&self) -> Exit {
        if self.refused > 0 || self.has_trouble { Exit::Failed } else { Exit::Ok }
    }

    fn problems(&self) -> Vec<String> {
        let named =
            |letter: &RefusedLetter| format!("{}: {}", visible(&letter.ingest_id), visible(&letter.why));
        let mut problems: Vec<String> = self.first_refused.iter().map(named).collect();
        if self.refused > self.first_refused.len() as u64 {
            problems.push(format!("{} were refused in all", count(self.refused)));
        }
        problems
    }

    fn lines(&self) -> Vec<String> {
        let letters = some(self.done, "dead letter");
        vec![match (self.fate, self.done) {
            (Fate::Discard, _) => format!("{letters} deleted"),
            (Fate::Retry, 0) => format!("{letters} brought back"),
            (Fate::Retry, _) if self.has_kafka => {
                format!("{letters} brought back: they wait for Kafka again")
            }
            (Fate::Retry, _) => {
                format!("{letters} brought back: they wait for a daemon that has KAFKA_BROKERS set")
            }
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_counted_and_the_first_ones_are_named() {
        let mut report = SettleReport::new(Fate::Retry, true);
        report.note("a".into(), Settled::Done);
        for n in 0..NAMED_MAX + 1 {
            report.note(n.to_string(), Settled::Unknown);
        }
        assert_eq!((report.done, report.refused), (1, NAMED_MAX as u64 + 1));
        assert_eq!(report.first_refused.len(), NAMED_MAX);
    }
}
