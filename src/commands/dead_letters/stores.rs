//! The stores that may have dead letters, open for reading.

use uuid::Uuid;

use super::{PAGE_ROWS, Place, PlaceArgs};
use crate::config::Config;
use crate::limits::EXPORT_PAGE_BYTES;
use crate::store::browse::{Letter, Page, Wanted};
use crate::store::postgres::{self, Postgres};
use crate::store::spool::Journal;

/// Those of the two that are there and can be read.
pub(super) struct Stores {
    pub(super) spool: Option<Journal>,
    pub(super) postgres: Option<Postgres>,
    /// Why the other one can't.
    pub(super) trouble: Option<String>,
}

impl Stores {
    /// Opens what the flags and the settings name. One that can't be had is told, and is no reason not to look
    /// into the other.
    pub(super) fn open(args: PlaceArgs, config: &Config) -> Result<Self, String> {
        let wants = |place| args.store.is_none_or(|only| only == place);
        let mut troubles = Vec::new();
        let mut note = |result: Result<(), String>| troubles.extend(result.err());
        let mut stores = Self { spool: None, postgres: None, trouble: None };
        if wants(Place::Postgres) {
            note(match config.postgres() {
                Some(settings) => {
                    let connected = postgres::connect(&settings).map_err(|error| error.to_string());
                    connected.map(|connected| stores.postgres = Some(connected.store))
                }
                None if args.store.is_some() => Err("POSTGRES_URL is not set".to_owned()),
                None => Ok(()),
            });
        }
        if wants(Place::Spool) {
            let opened = Journal::open(&config.data_dir()).map_err(|error| error.to_string());
            note(opened.map(|journal| stores.spool = Some(journal)));
        }
        match troubles.is_empty() {
            true => Ok(stores),
            false if stores.spool.is_none() && stores.postgres.is_none() => Err(troubles.join("; ")),
            false => {
                stores.trouble = Some(troubles.join("; "));
                Ok(stores)
            }
        }
    }

    /// Those that are open.
    pub(super) fn places(&self) -> Vec<Place> {
        let spool = self.spool.as_ref().map(|_| Place::Spool);
        let postgres = self.postgres.as_ref().map(|_| Place::Postgres);
        spool.into_iter().chain(postgres).collect()
    }

    /// The next letters of one of them.
    pub(super) fn after(
        &mut self,
        place: Place,
        seq: i64,
        wanted: &Wanted,
    ) -> Result<Page<Letter, i64>, String> {
        let none = Page { rows: Vec::new(), next: None };
        match (place, &self.spool, &mut self.postgres) {
            (Place::Spool, Some(journal), _) => journal
                .letters_after(seq, PAGE_ROWS, EXPORT_PAGE_BYTES, wanted)
                .map_err(|error| error.to_string()),
            (Place::Postgres, _, Some(postgres)) => postgres
                .letters_after(seq, PAGE_ROWS, EXPORT_PAGE_BYTES, wanted)
                .map_err(|error| error.to_string()),
            _ => Ok(none),
        }
    }

    /// The letter with this id, wherever it is.
    pub(super) fn find(&mut self, id: &str) -> Result<Option<(Place, Letter)>, String> {
        if let Some(journal) = &self.spool
            && let Some(letter) = journal.letter(id).map_err(|error| error.to_string())?
        {
            return Ok(Some((Place::Spool, letter)));
        }
        let (Some(postgres), Ok(id)) = (&mut self.postgres, Uuid::try_parse(id)) else { return Ok(None) };
        let letter = postgres.letter(id).map_err(|error| error.to_string())?;
        Ok(letter.map(|letter| (Place::Postgres, letter)))
    }

    /// Says what could not be looked into. True: something.
    pub(super) fn say_trouble(&self) -> bool {
        if let Some(trouble) = &self.trouble {
            eprintln!("logs-ingest: not everything was looked into: {trouble}");
        }
        self.trouble.is_some()
    }
}
