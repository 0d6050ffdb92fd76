//! `spool export`: events as lines of JSON, to standard output or to a file that is there whole or
//! not at all.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crossbeam_channel::Receiver;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::PAGE_ROWS;
use crate::commands::exported;
use crate::commands::output::some;
use crate::commands::report::Report;
use crate::commands::selection::Selection;
use crate::commands::whole_file::WholeFile;
use crate::host::exit::Exit;
use crate::host::signals::{self, Signal};
use crate::limits::EXPORT_PAGE_BYTES;
use crate::store::spool::Journal;

/// Write events as lines of JSON, for a file or a USB stick; `replay --file` sends them to Kafka.
///
/// Oldest first. A line is {"seq":..,"ingest_id":..,"received_at":..,"state":"held"|"home","reason":..,"crc":..,"event":{..}};
/// a damaged row has "damaged":.. and "event":null. The spool is not changed. When Ctrl-C interrupts it, the file
/// ends with a whole line and is kept, the exit code is 1, and the report says how to continue.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    /// Write to this file, which must not exist yet; it gets its name once it is whole and synced
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Compress with gzip
    #[arg(long)]
    gzip: bool,

    /// Continue after the row with this seq, as an earlier export reported
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: i64,

    /// With --output: report as one JSON object
    #[arg(long, requires = "output")]
    json: bool,

    /// Which events.
    #[command(flatten)]
    which: Selection,
}

#[derive(Debug, Serialize)]
struct ExportReport {
    exported: u64,
    damaged: u64,
    last_seq: i64,
    interrupted: bool,
}

pub(super) fn run(args: &ExportArgs, dir: &Path) -> Result<Exit, String> {
    let journal = Journal::open(dir)?;
    let signals = signals::listen().map_err(|error| format!("cannot receive signals: {error}"))?;
    let Some(path) = &args.output else {
        let report = written(&journal, args, io::stdout().lock(), &signals, "standard output")?;
        return Ok(report.map_or(Exit::Ok, |(report, _)| report.print_beside()));
    };
    let name = path.display().to_string();
    if path.exists() {
        return Err(format!("{name} exists already: name another file, or remove it"));
    }
    let file = WholeFile::begin(path).map_err(|error| failed(&name, &error))?;
    let Some((report, file)) = written(&journal, args, file, &signals, &name)? else { return Ok(Exit::Ok) };
    file.keep().map_err(|error| failed(&name, &error))?;
    report.print(args.json)
}

/// Writes every wanted event to `out` and returns it. None: its reader closed its end.
fn written<W: Write>(
    journal: &Journal,
    args: &ExportArgs,
    out: W,
    signals: &Receiver<Signal>,
    name: &str,
) -> Result<Option<(ExportReport, W)>, String> {
    let ended = |result: io::Result<(ExportReport, W)>| match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(None),
        Err(error) => Err(failed(name, &error)),
    };
    let buffered = BufWriter::new(out);
    if args.gzip {
        let mut gzip = GzEncoder::new(buffered, Compression::default());
        let report = copy(journal, args, &mut gzip, signals)?;
        return ended(report.and_then(|report| Ok((report, unbuffered(gzip.finish()?)?))));
    }
    let mut plain = buffered;
    let report = copy(journal, args, &mut plain, signals)?;
    ended(report.and_then(|report| Ok((report, unbuffered(plain)?))))
}

fn unbuffered<W: Write>(buffered: BufWriter<W>) -> io::Result<W> {
    let mut out = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
    out.flush()?;
    Ok(out)
}

/// The outer error is the spool's, the inner one the writer's.
fn copy(
    journal: &Journal,
    args: &ExportArgs,
    out: &mut impl Write,
    signals: &Receiver<Signal>,
) -> Result<io::Result<ExportReport>, String> {
    let wanted = args.which.wanted();
    let mut report = ExportReport { exported: 0, damaged: 0, last_seq: args.after, interrupted: false };
    let mut after = Some(args.after);
    while let Some(seq) = after {
        report.interrupted = signals.try_iter().any(|signal| matches!(signal, Signal::Stop(_)));
        if report.interrupted {
            break;
        }
        let page = journal.kept_after(seq, PAGE_ROWS, EXPORT_PAGE_BYTES, &wanted)?;
        for kept in &page.rows {
            if let Err(error) = writeln!(out, "{}", exported::of_kept(kept)) {
                return Ok(Err(error));
            }
            *(if kept.event.is_ok() { &mut report.exported } else { &mut report.damaged }) += 1;
            report.last_seq = kept.seq;
        }
        report.last_seq = page.next.unwrap_or(report.last_seq);
        after = page.next;
    }
    Ok(Ok(report))
}

impl Report for ExportReport {
    fn exit(&self) -> Exit {
        if self.interrupted { Exit::Failed } else { Exit::Ok }
    }

    fn lines(&self) -> Vec<String> {
        let damaged = match self.damaged {
            0 => String::new(),
            damaged => format!(", {} without their event", some(damaged, "damaged row")),
        };
        let said = format!("exported {}{damaged}", some(self.exported, "event"));
        let how = if self.interrupted { "interrupted; continue" } else { "later ones" };
        vec![format!("{said}; {how} with --after {}", self.last_seq)]
    }
}

fn failed(name: &str, error: &io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            ": make room there, use --gzip, or export less with --from and --to"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            ": name a folder that this user may write to"
        }
        ErrorKind::NotFound => ": does the folder exist, and is the stick mounted?",
        _ => "",
    };
    format!("cannot write to {name}: {error}{advice}")
}
