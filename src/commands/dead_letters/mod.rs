//! `dead-letters`: events that no broker takes as they are, in the spool and in PostgreSQL.
//!
//! Reading needs no daemon. The running daemon has the spool's one writer, and makes the changes there; if none runs,
//! this process is the writer for that moment.

mod list;
mod settle;
mod stores;

use clap::{ArgGroup, ValueEnum};

use super::selection::Selection;
use crate::config::Config;
use crate::host::exit::Exit;

/// Letters that are read at once.
const PAGE_ROWS: usize = 100;

/// List, show, send again or delete events that no broker takes as they are
///
/// Looks into the spool of DATA_DIR and, where POSTGRES_URL is set, into PostgreSQL. Safe beside a running
/// daemon, which makes the changes to the spool itself. Run it as the daemon's user, or as root while the
/// daemon runs.
#[derive(Clone, Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "a command's help is what its arguments say of it")]
pub enum DeadLettersCommand {
    List(ListArgs),
    Show(ShowArgs),
    Retry(RetryArgs),
    Drop(DropArgs),
}

/// Which of the two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LetterStore {
    /// The spool of DATA_DIR.
    Spool,
    /// The server of POSTGRES_URL.
    Postgres,
}

impl LetterStore {
    fn name(self) -> &'static str {
        match self {
            Self::Spool => "spool",
            Self::Postgres => "postgres",
        }
    }
}

/// Where to look.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct StoreArgs {
    /// Only this store
    #[arg(long, value_name = "NAME")]
    store: Option<LetterStore>,
}

/// List dead letters, oldest first, one per line.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// Where.
    #[command(flatten)]
    stores: StoreArgs,

    /// Letters per store, at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    limit: usize,

    /// One JSON object per line: {"store":..,"seq":..,"ingest_id":..,"failed_at":..,"error":..,"event":{..},..}
    #[arg(long)]
    json: bool,

    /// Which events.
    #[command(flatten)]
    which: Selection,
}

/// Show everything about one letter, with its event as it would be sent.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// Its ingest_id, as in `list` and in the answer's X-Ingest-Id
    id: String,

    /// Where.
    #[command(flatten)]
    stores: StoreArgs,

    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Let letters wait for Kafka again, after everything that waits already.
///
/// Exit code 0: all of them wait again. 1: some were not found, or cannot be sent.
#[derive(Clone, Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true).args(["ids", "all"]))]
pub struct RetryArgs {
    /// Their ingest_ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    /// All of them, or all that the flags below pick
    #[arg(long)]
    all: bool,

    /// Where.
    #[command(flatten)]
    stores: StoreArgs,

    /// One JSON object: {"done":..,"refused":..,"first_refused":[{"ingest_id":..,"why":..}]}
    #[arg(long)]
    json: bool,

    /// Which events.
    #[command(flatten)]
    which: Selection,
}

/// Delete letters for good.
///
/// They are stored nowhere else. Exit code 0: all of them are deleted. 1: some were not found.
#[derive(Clone, Debug, clap::Args)]
pub struct DropArgs {
    /// With --all: yes, delete them
    #[arg(long)]
    yes: bool,

    /// Which letters.
    #[command(flatten)]
    letters: RetryArgs,
}

pub(super) fn run(command: &DeadLettersCommand, config: &Config) -> Result<Exit, String> {
    match command {
        DeadLettersCommand::List(args) => list::list(args, config),
        DeadLettersCommand::Show(args) => list::show(args, config),
        DeadLettersCommand::Retry(args) => settle::run(args, crate::store::spool::Fate::Retry, config),
        DeadLettersCommand::Drop(args) if args.letters.all && !args.yes => {
            Err("this deletes events that are stored nowhere else: add --yes, or name them by their ids"
                .to_owned())
        }
        DeadLettersCommand::Drop(args) => {
            settle::run(&args.letters, crate::store::spool::Fate::Discard, config)
        }
    }
}
