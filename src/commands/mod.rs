//! The command line. One file or folder per subcommand; without a subcommand the daemon serves.

pub mod check;
pub mod control;
pub mod daemon;
pub mod dead_letters;
pub mod events;
mod exported;
pub mod generate;
pub mod init;
mod input;
pub mod ledger;
mod meter;
mod output;
pub mod replay;
mod report;
pub mod selection;
pub mod send;
pub mod spool;
pub mod status;
pub mod validate;
mod whole_file;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError, RawSettings, data_dir};
use crate::host::exit::Exit;
use crate::store::StoreError;
use crate::store::spool::JournalError;

/// A command passes errors on as texts for people.
macro_rules! texts {
    ($($error:ty)*) => {
        $(impl From<$error> for String {
            fn from(error: $error) -> Self {
                error.to_string()
            }
        })*
    };
}

texts!(ConfigError JournalError StoreError daemon::AskError);

const UNITS: &str = "Sizes: bytes, or with KiB, MiB, GiB. Durations: seconds, or with ms, s, m, h.";
const TRY_IT: &str = r#"Try it:
  curl -d '{"request_id":"1","service":"till","env":"shop","timestamp":"2026-01-31T09:00:00Z","action":"sale","level":"info","message":"hello"}' http://127.0.0.1:8000/api/logs/ingest"#;

/// Takes JSON log events over HTTP and answers 202 only when each is stored: in Kafka, in PostgreSQL while
/// Kafka is down, or in a local SQLite spool, from where it goes to Kafka by itself.
///
/// Every setting is an environment variable and a flag; the flag wins. With no settings at all the
/// daemon listens on port 8000 and keeps events in ./data.
#[derive(Debug, Parser)]
#[command(
    name = "logs-ingest",
    version,
    about,
    long_about,
    after_help = format!("{UNITS}\n{}\n\n{TRY_IT}", Exit::all())
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings of the daemon.
    #[command(flatten)]
    pub settings: RawSettings,
}

/// What the program can do beside serving.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a command's help is what its arguments say of it")]
pub enum Command {
    /// Run the daemon (what happens without a command)
    Serve,
    Events(events::EventsArgs),
    Ledger(ledger::LedgerArgs),
    Status(status::StatusArgs),
    #[command(subcommand)]
    Spool(spool::SpoolCommand),
    #[command(subcommand, name = "dead-letters")]
    DeadLetters(dead_letters::DeadLettersCommand),
    CheckConfig(check::CheckArgs),
    Init(init::InitArgs),
    Replay(replay::ReplayArgs),
    Send(send::SendArgs),
    #[command(hide = true)]
    Man(generate::ManArgs),
    Completions(generate::CompletionsArgs),
    Validate(validate::ValidateArgs),
}

/// Runs a command other than `serve`, with the daemon's settings; what went wrong is said on stderr.
#[must_use]
pub fn run(command: &Command, settings: &RawSettings) -> Exit {
    let result = match command {
        // The daemon's own lifecycle is `main`'s.
        Command::Serve => Ok(Exit::Ok),
        Command::Events(args) => events::run(args, &data_dir(settings)).map(|()| Exit::Ok),
        Command::Ledger(args) => with_config(settings, |config| ledger::run(args, config, settings)),
        Command::Status(args) => status::run(args, settings),
        Command::Spool(command) => spool::run(command, &data_dir(settings)),
        Command::DeadLetters(command) => with_config(settings, |config| dead_letters::run(command, config)),
        Command::CheckConfig(args) => with_config(settings, |config| check::run(args, config, settings)),
        Command::Init(args) => init::run(args).map(|()| Exit::Ok),
        Command::Man(args) => generate::man(args).map(|()| Exit::Ok),
        Command::Completions(args) => generate::completions(args).map(|()| Exit::Ok),
        Command::Send(args) => with_config(settings, |config| send::run(args, config, settings)),
        Command::Validate(args) => with_config(settings, |config| validate::run(args, config)),
        Command::Replay(args) => with_config(settings, |config| replay::run(args, config)),
    };
    result.unwrap_or_else(|problem| {
        eprintln!("logs-ingest: {problem}");
        Exit::Failed
    })
}

/// Runs a command that needs settings beyond the folder of the spool.
fn with_config(
    settings: &RawSettings,
    command: impl FnOnce(&Config) -> Result<Exit, String>,
) -> Result<Exit, String> {
    match Config::from_raw(settings) {
        Ok(config) => command(&config),
        Err(problem) => {
            eprintln!("logs-ingest: {problem}");
            Ok(Exit::Config)
        }
    }
}
