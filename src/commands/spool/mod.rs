//! `spool`: looking after the local spool, beside a running daemon or without one. Nothing here writes to it.

mod export;
mod stats;
mod verify;

use std::path::Path;

use crate::host::exit::Exit;

/// Rows that are read at once.
const PAGE_ROWS: usize = 500;

/// Check, count or export the events in the spool
///
/// Reads DATA_DIR/spool.sqlite3, beside a running daemon or without one, in short reads that do not hold up the
/// daemon. Run it as the daemon's user, or as root.
#[derive(Clone, Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "a command's help is what its arguments say of it")]
pub enum SpoolCommand {
    Verify(verify::VerifyArgs),
    Stats(stats::StatsArgs),
    Export(export::ExportArgs),
}

pub(super) fn run(command: &SpoolCommand, dir: &Path) -> Result<Exit, String> {
    match command {
        SpoolCommand::Verify(args) => verify::run(args, dir),
        SpoolCommand::Stats(args) => stats::run(args, dir),
        SpoolCommand::Export(args) => export::run(args, dir),
    }
}
