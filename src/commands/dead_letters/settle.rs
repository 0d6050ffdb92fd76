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

use super::stores::Stores;
use super::{Place, RetryArgs};
use crate::commands::control::{self, Settled};
use crate::commands::output::{count, some, visible};
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

#[derive(Debug, Default, Serialize)]
struct Report {
    done: u64,
    refused: u64,
    first_refused: Vec<Refused>,
}

#[derive(Debug, Serialize)]
struct Refused {
    ingest_id: String,
    why: String,
}

pub(super) fn run(args: &RetryArgs, fate: Fate, config: &Config) -> Result<Exit, String> {
    let stores = Stores::open(args.place, config)?;
    let mut settling = Settling { stores, config, fate, own: None, report: Report::default() };
    let ended = match args.all {
        true => settling.all(args),
        false => settling.these(&args.ids),
    };
    // What was done before an error is told too.
    let has_trouble = settling.stores.say_trouble();
    let (report, own) = (settling.report, settling.own);
    report.tell(args.json, fate, config);
    if own.is_some_and(|own| !own.close(CLOSE_LIMIT)) {
        return Err("the spool's log could not be brought into its file in time: nothing is lost".to_owned());
    }
    ended?;
    Ok(if report.refused > 0 || has_trouble { Exit::Failed } else { Exit::Ok })
}

struct Settling<'a> {
    stores: Stores,
    config: &'a Config,
    fate: Fate,
    /// The spool's writer, where no daemon has it.
    own: Option<Spool>,
    report: Report,
}

impl Settling<'_> {
    fn all(&mut self, args: &RetryArgs) -> Result<(), String> {
        let wanted = args.which.wanted();
        for place in self.stores.places() {
            let mut after = Some(0);
            while let Some(seq) = after {
                let page = self.stores.after(place, seq, &wanted)?;
                let ids: Vec<String> = page.rows.into_iter().map(|letter| letter.kept.ingest_id).collect();
                for (id, settled) in self.settle(place, ids)? {
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
            for place in self.stores.places() {
                let settled = self.settle(place, left)?;
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
    fn settle(&mut self, place: Place, ids: Vec<String>) -> Result<Vec<(String, Settled)>, String> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let outcomes = match (place, &mut self.stores.postgres) {
            (Place::Postgres, Some(postgres)) => in_postgres(postgres, &ids, self.fate)?,
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
    let owner = fs::metadata(dir).map_err(|error| format!("can't look at {}: {error}", dir.display()))?.uid();
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
    };
    Spool::open(&settings)
        .map_err(|error| format!("{error}; if it has just been started or is being stopped, try again"))
}

fn in_postgres(postgres: &mut Postgres, ids: &[String], fate: Fate) -> Result<Vec<Settled>, String> {
    let known: Vec<Uuid> = ids.iter().filter_map(|id| Uuid::try_parse(id).ok()).collect();
    let done = match fate {
        Fate::Retry => postgres.retry_letters(known),
        Fate::Discard => postgres.discard_letters(known),
    };
    let done = done.map_err(|error| error.to_string())?;
    let is_done = |id: &String| Uuid::try_parse(id).is_ok_and(|id| done.contains(&id));
    Ok(ids.iter().map(|id| if is_done(id) { Settled::Done } else { Settled::Unknown }).collect())
}

impl Report {
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
            self.first_refused.push(Refused { ingest_id, why });
        }
    }

    fn tell(&self, json: bool, fate: Fate, config: &Config) {
        if json {
            println!("{}", serde_json::to_string(self).unwrap_or_default());
            return;
        }
        for Refused { ingest_id, why } in &self.first_refused {
            eprintln!("{}: {}", visible(ingest_id), visible(why));
        }
        if self.refused > self.first_refused.len() as u64 {
            eprintln!("{} were refused in all", count(self.refused));
        }
        let letters = some(self.done, "dead letter");
        match (fate, self.done) {
            (Fate::Discard, _) => println!("{letters} deleted"),
            (Fate::Retry, 0) => println!("{letters} brought back"),
            (Fate::Retry, _) if config.kafka().is_none() => {
                println!("{letters} brought back: they wait for a daemon that has KAFKA_BROKERS set");
            }
            (Fate::Retry, _) => println!("{letters} brought back: they wait for Kafka again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_counted_and_the_first_ones_are_named() {
        let mut report = Report::default();
        report.note("a".into(), Settled::Done);
        for n in 0..NAMED_MAX + 1 {
            report.note(n.to_string(), Settled::Unknown);
        }
        assert_eq!((report.done, report.refused), (1, NAMED_MAX as u64 + 1));
        assert_eq!(report.first_refused.len(), NAMED_MAX);
    }
}
