//! `man` and `completions`: what packages ship, made from the same definitions as `--help`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use crate::config::definitions;
use crate::host::exit::Exit;

/// Write the manual pages, one per command, into a folder
#[derive(Clone, Debug, clap::Args)]
pub struct ManArgs {
    /// Folder for them; it is made if it does not exist
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Print the completion script of a shell
///
/// For example: logs-ingest completions bash > ~/.local/share/bash-completion/completions/logs-ingest
#[derive(Clone, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn man(args: &ManArgs) -> Result<(), String> {
    let failed =
        |error: io::Error| format!("cannot write manual pages to {}: {error}", args.folder.display());
    fs::create_dir_all(&args.folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), &args.folder).map_err(failed)?;
    let page = args.folder.join("logs-ingest.1");
    let mut page = fs::OpenOptions::new().append(true).open(page).map_err(failed)?;
    page.write_all(rest().as_bytes()).map_err(failed)
}

/// What the definitions do not have, as roff.
fn rest() -> String {
    let names: Vec<String> = definitions().into_iter().map(|setting| setting.name).collect();
    format!(
        ".SH ENVIRONMENT\n\
         Each setting above is an environment variable too, named as its option, in capitals and with underscores; \
         the option wins: {}.\n\
         .SH FILES\n\
         .TP\n/etc/logs\\-ingest.env\nThe settings of the systemd service.\n\
         .TP\n/var/lib/logs\\-ingest/spool.sqlite3\nThe service's spool. Never write to it with another program.\n\
         .SH SIGNALS\n\
         .TP\nSIGTERM, SIGINT\nTake no more requests, store and answer what was taken, stop.\n\
         .TP\nSIGHUP\nReload API keys, certificate and key.\n\
         .SH EXIT STATUS\n{}\n",
        names.join(", "),
        Exit::all()
    )
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), String> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "logs-ingest", &mut text);
    io::stdout().write_all(&text).map_err(|error| format!("cannot write to standard output: {error}"))
}
