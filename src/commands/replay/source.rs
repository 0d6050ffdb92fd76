//! Where replayed events come from: one trait over spool, PostgreSQL and exported files.

use std::path::{Path, PathBuf};

use super::file::ExportedFile;
use super::{ReplayArgs, Selection};
use crate::config::Config;
use crate::event::Event;
use crate::host::clock;
use crate::limits::{CONNECT_BACKOFF_MOST, EXPORT_PAGE_BYTES};
use crate::store::StoreError;
use crate::store::browse::{Kept, Page, RowState, Wanted};
use crate::store::postgres::{self, Mark, Postgres, RowKind};
use crate::store::spool::Journal;

/// Rows that are read at once.
const PAGE_ROWS: usize = 500;
/// Attempts to read from a server that does not answer.
const READ_TRIES: u32 = 5;

/// A wanted event, and its place.
pub(super) struct PlacedEvent {
    pub(super) event: Event,
    /// To continue after it.
    pub(super) at: String,
}

/// What was read at once.
pub(super) struct Chunk {
    pub(super) events: Vec<PlacedEvent>,
    /// What is wrong with rows or lines that are damaged.
    pub(super) damaged: Vec<String>,
    /// After everything that was looked at.
    pub(super) end: String,
}

/// Events in their order.
pub(super) trait EventSource {
    /// The next few. `None`: there are no more.
    fn next(&mut self) -> Result<Option<Chunk>, String>;

    /// Which share of everything was looked at, from 0 to 1, as far as that is known.
    fn share(&self) -> Option<f64>;
}

/// What the command line and the settings name.
pub(super) enum ReplayFrom {
    Spool(PathBuf),
    Postgres(RowKind, postgres::Settings),
    File(PathBuf),
}

impl ReplayFrom {
    pub(super) fn of(args: &ReplayArgs, config: &Config) -> Result<Self, String> {
        let state = args.which.state;
        if let Some(file) = &args.file {
            return Ok(Self::File(file.clone()));
        }
        if !args.postgres {
            return match state {
                Some(RowState::Forwarded) => {
                    Err("what kafka has is no longer in the spool: --state forwarded needs --postgres".into())
                }
                _ => Ok(Self::Spool(config.data_dir())),
            };
        }
        let kind = match state {
            None | Some(RowState::Home) => RowKind::Home,
            Some(RowState::Forwarded) => RowKind::Forwarded,
            Some(_) => {
                return Err(
                    "the daemon itself sends what is held in postgres: use --state home or forwarded".into(),
                );
            }
        };
        let unset = "POSTGRES_URL is not set: name the server that has the events";
        Ok(Self::Postgres(kind, config.postgres().ok_or(unset)?))
    }

    /// What the filter asks of this source.
    pub(super) fn wanted(&self, which: &Selection) -> Result<Wanted, String> {
        let mut wanted = which.wanted();
        if matches!(self, Self::Spool(_)) && wanted.state.is_none() {
            wanted.state = Some(RowState::Home);
        }
        match (wanted.from_ms, wanted.to_ms) {
            (Some(from), Some(to)) if from >= to => Err("--from must be before --to".to_owned()),
            _ => Ok(wanted),
        }
    }

    /// As a bookmark names it.
    pub(super) fn name(&self) -> Result<String, String> {
        let absolute =
            |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
        Ok(match self {
            Self::Spool(folder) => format!("spool {}", absolute(folder)),
            Self::File(path) => format!("file {}", absolute(path)),
            Self::Postgres(kind, settings) => {
                format!("postgres {kind:?} {}", postgres::describe(&settings.url)?)
            }
        })
    }

    pub(super) fn open(self, wanted: Wanted, after: Option<&str>) -> Result<Box<dyn EventSource>, String> {
        Ok(match self {
            Self::Spool(folder) => {
                let journal = Journal::open(&folder)?;
                let last = journal.last_seq()?;
                let first = place(after, "write the row's seq")?;
                Box::new(SpoolSource { journal, wanted, first, after: Some(first), last })
            }
            Self::File(path) => {
                let lines: i64 = place(after, "write the number of the last line")?;
                Box::new(ExportedFile::open(&path, wanted, lines.unsigned_abs())?)
            }
            Self::Postgres(kind, settings) => {
                let mark = match after {
                    None => Mark::default(),
                    Some(text) => {
                        text.parse().map_err(|how| format!("--after {text:?} cannot be used: {how}"))?
                    }
                };
                Box::new(PostgresSource { settings, client: None, kind, wanted, mark, first: None })
            }
        })
    }
}

fn place(after: Option<&str>, legal: &str) -> Result<i64, String> {
    let refuse = |text| format!("--after {text:?} cannot be used: {legal}");
    after.map_or(Ok(0), |text| text.parse().map_err(|_| refuse(text)))
}

/// Which share of the way from the first to the last was gone.
fn share(first: i64, at: i64, last: i64) -> Option<f64> {
    let all = last - first;
    (all > 0).then(|| ((at - first) as f64 / all as f64).clamp(0.0, 1.0))
}

/// The spool's rows, read beside the daemon.
struct SpoolSource {
    journal: Journal,
    wanted: Wanted,
    first: i64,
    after: Option<i64>,
    last: i64,
}

impl EventSource for SpoolSource {
    fn next(&mut self) -> Result<Option<Chunk>, String> {
        let Some(after) = self.after else { return Ok(None) };
        let page = self.journal.kept_after(after, PAGE_ROWS, EXPORT_PAGE_BYTES, &self.wanted)?;
        let end = page.next.or_else(|| page.rows.last().map(|kept| kept.seq)).unwrap_or(after);
        self.after = page.next;
        let rows = page.rows.into_iter().map(|kept| (kept.seq.to_string(), kept));
        Ok(Some(chunk(rows, end.to_string())))
    }

    fn share(&self) -> Option<f64> {
        self.after.map_or(Some(1.0), |after| share(self.first, after, self.last))
    }
}

fn chunk(rows: impl Iterator<Item = (String, Kept)>, end: String) -> Chunk {
    let mut chunk = Chunk { events: Vec::new(), damaged: Vec::new(), end };
    for (at, kept) in rows {
        match kept.event {
            Ok(event) => chunk.events.push(PlacedEvent { event, at }),
            Err(why) => chunk.damaged.push(format!("seq {}: {why}", kept.seq)),
        }
    }
    chunk
}

/// Rows of PostgreSQL, over connections of its own.
struct PostgresSource {
    settings: postgres::Settings,
    client: Option<Postgres>,
    kind: RowKind,
    wanted: Wanted,
    mark: Mark,
    /// The first that was reached.
    first: Option<Mark>,
}

impl PostgresSource {
    fn page(&mut self) -> Result<Page<(Kept, Mark), Mark>, StoreError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => postgres::connect(&self.settings)?.store,
        };
        let page = self.client.insert(client).kept_after(
            self.kind,
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

impl EventSource for PostgresSource {
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

    /// Rows come in the order of time, and the last ones are of now.
    fn share(&self) -> Option<f64> {
        share(self.first?.ms(), self.mark.ms(), clock::record_ms())
    }
}
