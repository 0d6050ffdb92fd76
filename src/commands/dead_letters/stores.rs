//! The stores that may have dead letters, open for reading.

use uuid::Uuid;

use super::{LetterStore, PAGE_ROWS, StoreArgs};
use crate::config::Config;
use crate::limits::EXPORT_PAGE_BYTES;
use crate::store::browse::{Letter, Page, Wanted};
use crate::store::postgres::{self, Postgres};
use crate::store::spool::Journal;

/// Those of the two that are there and can be read.
pub(super) struct LetterStores {
    pub(super) spool: Option<Journal>,
    pub(super) postgres: Option<Postgres>,
    /// Why the other one cannot.
    pub(super) trouble: Option<String>,
}

impl LetterStores {
    /// Opens what the flags and the settings name. The other one is looked into even if one is unavailable.
    pub(super) fn open(args: StoreArgs, config: &Config) -> Result<Self, String> {
        let wants = |store| args.store.is_none_or(|only| only == store);
        let mut troubles = Vec::new();
        let mut note = |result: Result<(), String>| troubles.extend(result.err());
        let mut stores = Self { spool: None, postgres: None, trouble: None };
        if wants(LetterStore::Postgres) {
            note(match config.postgres() {
                Some(settings) => {
                    let connected = postgres::connect(&settings).map_err(String::from);
                    connected.map(|connected| stores.postgres = Some(connected.store))
                }
                None if args.store.is_some() => Err("POSTGRES_URL is not set".to_owned()),
                None => Ok(()),
            });
        }
        if wants(LetterStore::Spool) {
            let opened = Journal::open(&config.data_dir()).map_err(String::from);
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
    pub(super) fn open_ones(&self) -> Vec<LetterStore> {
        let spool = self.spool.as_ref().map(|_| LetterStore::Spool);
        let postgres = self.postgres.as_ref().map(|_| LetterStore::Postgres);
        spool.into_iter().chain(postgres).collect()
    }

    /// The next letters of one of them.
    pub(super) fn after(
        &mut self,
        store: LetterStore,
        seq: i64,
        wanted: &Wanted,
    ) -> Result<Page<Letter, i64>, String> {
        let none = Page { rows: Vec::new(), next: None };
        match (store, &self.spool, &mut self.postgres) {
            (LetterStore::Spool, Some(journal), _) => {
                Ok(journal.letters_after(seq, PAGE_ROWS, EXPORT_PAGE_BYTES, wanted)?)
            }
            (LetterStore::Postgres, _, Some(postgres)) => {
                Ok(postgres.letters_after(seq, PAGE_ROWS, EXPORT_PAGE_BYTES, wanted)?)
            }
            _ => Ok(none),
        }
    }

    /// The letter with this id, wherever it is.
    pub(super) fn find(&mut self, id: &str) -> Result<Option<(LetterStore, Letter)>, String> {
        if let Some(journal) = &self.spool
            && let Some(letter) = journal.letter(id)?
        {
            return Ok(Some((LetterStore::Spool, letter)));
        }
        let (Some(postgres), Ok(id)) = (&mut self.postgres, Uuid::try_parse(id)) else { return Ok(None) };
        let letter = postgres.letter(id)?;
        Ok(letter.map(|letter| (LetterStore::Postgres, letter)))
    }

    /// Says what could not be looked into. True: something.
    pub(super) fn say_trouble(&self) -> bool {
        if let Some(trouble) = &self.trouble {
            eprintln!("logs-ingest: not everything was looked into: {trouble}");
        }
        self.trouble.is_some()
    }
}
