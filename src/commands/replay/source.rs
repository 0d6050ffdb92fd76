//! Where replayed events come from: one trait over spool, PostgreSQL and exported files.

use std::path::PathBuf;

use super::file::ExportedFile;
use super::{ReplayArgs, Selection};
use crate::config::Config;
use crate::event::Event;
use crate::host::clock;
use crate::limits::{CONNECT_BACKOFF_MOST, EXPORT_PAGE_BYTES};
use crate::store::StoreError;
use crate::store::browse::{Kept, Page, RowState, Wanted};
use crate::store::postgres::{self, Mark, Postgres, Slot};
use crate::store::spool::Journal;

/// Rows that are read at once.
const PAGE_ROWS: usize = 500;
/// How often a server that does not answer is asked again.
const READ_TRIES: u32 = 5;

/// A wanted event, and its place.
pub(super) struct Found {
    pub(super) event: Event,
    /// To go on behind it.
    pub(super) at: String,
}

/// What was read at once.
pub(super) struct Chunk {
    pub(super) events: Vec<Found>,
    /// What is wrong with rows or lines that are no events any more.
    pub(super) damaged: Vec<String>,
    /// Behind everything that was looked at.
    pub(super) end: String,
}

/// Events in their order.
pub(super) trait Source {
    /// The next few. `None`: there are no more.
    fn next(&mut self) -> Result<Option<Chunk>, String>;

    /// Which share of everything was looked at, from 0 to 1, as far as that is known.
    fn share(&self) -> Option<f64>;
}

/// Which source the command line asks for.
pub(super) enum Kind {
    Spool,
    Postgres(Slot),
    File(PathBuf),
}

impl Kind {
    pub(super) fn of(args: &ReplayArgs) -> Result<Self, String> {
        Ok(match (&args.file, args.postgres, args.which.state) {
            (Some(file), ..) => Self::File(file.clone()),
            (None, true, None | Some(RowState::Home)) => Self::Postgres(Slot::Home),
            (None, true, Some(RowState::Forwarded)) => Self::Postgres(Slot::Forwarded),
            (None, true, Some(_)) => {
                return Err(
                    "what is held in postgres is sent by the daemon itself: use --state home or forwarded"
                        .to_owned(),
                );
            }
            (None, false, Some(RowState::Forwarded)) => {
                return Err(
                    "what kafka has is no longer in the spool: --state forwarded needs --postgres".to_owned()
                );
            }
            (None, false, _) => Self::Spool,
        })
    }

    /// What the filter asks of this source.
    pub(super) fn wanted(&self, which: &Selection) -> Result<Wanted, String> {
        let mut wanted = which.wanted();
        if matches!(self, Self::Spool) && wanted.state.is_none() {
            wanted.state = Some(RowState::Home);
        }
        match (wanted.from_ms, wanted.to_ms) {
            (Some(from), Some(to)) if from >= to => Err("--from must be before --to".to_owned()),
            _ => Ok(wanted),
        }
    }

    /// As a bookmark names it.
    pub(super) fn name(&self, config: &Config) -> Result<String, String> {
        let absolute = |path: &std::path::Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            path.display().to_string()
        };
        Ok(match self {
            Self::Spool => format!("spool {}", absolute(&config.data_dir())),
            Self::File(path) => format!("file {}", absolute(path)),
            Self::Postgres(slot) => {
                let unset = "POSTGRES_URL is not set: name the server that has the events";
                let settings = config.postgres().ok_or(unset)?;
                format!("postgres {slot:?} {}", postgres::describe(&settings.url)?)
            }
        })
    }

    pub(super) fn open(
        self,
        config: &Config,
        wanted: Wanted,
        after: Option<&str>,
    ) -> Result<Box<dyn Source>, String> {
        let number = |what: &str| match after {
            None => Ok(0),
            Some(text) => text.parse().map_err(|_| format!("--after {text:?} can't be used: write {what}")),
        };
        Ok(match self {
            Self::Spool => {
                let journal = Journal::open(&config.data_dir()).map_err(|error| error.to_string())?;
                let last = journal.last_seq().map_err(|error| error.to_string())?;
                let after: i64 = number("the row's seq")?;
                Box::new(SpoolRows { journal, wanted, first: after, after: Some(after), last })
            }
            Self::File(path) => {
                let lines: i64 = number("the number of the last line")?;
                Box::new(ExportedFile::open(&path, wanted, lines.unsigned_abs())?)
            }
            Self::Postgres(slot) => {
                let settings = config.postgres().ok_or("POSTGRES_URL is not set")?;
                let mark = match after {
                    None => Mark::default(),
                    Some(text) => {
                        text.parse().map_err(|how| format!("--after {text:?} can't be used: {how}"))?
                    }
                };
                Box::new(PostgresRows { settings, client: None, slot, wanted, mark, first: None })
            }
        })
    }
}

/// The spool's rows, read beside the daemon.
struct SpoolRows {
    journal: Journal,
    wanted: Wanted,
    first: i64,
    after: Option<i64>,
    last: i64,
}

impl Source for SpoolRows {
    fn next(&mut self) -> Result<Option<Chunk>, String> {
        let Some(after) = self.after else { return Ok(None) };
        let page = self.journal.kept_after(after, PAGE_ROWS, EXPORT_PAGE_BYTES, &self.wanted);
        let page = page.map_err(|error| error.to_string())?;
        let end = page.next.or_else(|| page.rows.last().map(|kept| kept.seq)).unwrap_or(after);
        self.after = page.next;
        let rows = page.rows.into_iter().map(|kept| (kept.seq.to_string(), kept));
        Ok(Some(chunk(rows, end.to_string())))
    }

    fn share(&self) -> Option<f64> {
        let Some(after) = self.after else { return Some(1.0) };
        let all = self.last - self.first;
        (all > 0).then(|| ((after - self.first) as f64 / all as f64).clamp(0.0, 1.0))
    }
}

fn chunk(rows: impl Iterator<Item = (String, Kept)>, end: String) -> Chunk {
    let mut chunk = Chunk { events: Vec::new(), damaged: Vec::new(), end };
    for (at, kept) in rows {
        match kept.event {
            Ok(event) => chunk.events.push(Found { event, at }),
            Err(why) => chunk.damaged.push(format!("seq {}: {why}", kept.seq)),
        }
    }
    chunk
}

/// Rows of PostgreSQL, over connections of its own.
struct PostgresRows {
    settings: postgres::Settings,
    client: Option<Postgres>,
    slot: Slot,
    wanted: Wanted,
    mark: Mark,
    /// The first that was reached.
    first: Option<Mark>,
}

impl PostgresRows {
    fn page(&mut self) -> Result<Page<(Kept, Mark), Mark>, StoreError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => postgres::connect(&self.settings)?.store,
        };
        let page = self.client.insert(client).kept_after(
            self.slot,
            self.mark,
            PAGE_ROWS,
            EXPORT_PAGE_BYTES,
            &self.wanted,
        );
        if page.is_err() {
            self.client = None;
        }
        page
    }
}

impl Source for PostgresRows {
    fn next(&mut self) -> Result<Option<Chunk>, String> {
        let mut tries = 0;
        let page = loop {
            match self.page() {
                Ok(page) => break page,
                Err(error) if tries == READ_TRIES => return Err(error.to_string()),
                Err(_) => tries += 1,
            }
            std::thread::sleep(CONNECT_BACKOFF_MOST);
        };
        let Some(next) = page.next else { return Ok(None) };
        self.mark = next;
        self.first.get_or_insert(next);
        let rows = page.rows.into_iter().map(|(kept, at)| (at.to_string(), kept));
        Ok(Some(chunk(rows, next.to_string())))
    }

    /// Rows are walked through by time, and the last ones are of now.
    fn share(&self) -> Option<f64> {
        let first = self.first?.ms();
        let all = clock::record_ms() - first;
        (all > 0).then(|| ((self.mark.ms() - first) as f64 / all as f64).clamp(0.0, 1.0))
    }
}
