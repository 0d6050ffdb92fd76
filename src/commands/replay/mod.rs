//! `replay`: stored events to Kafka once more, by a client of its own. No row's state is changed.
//!
//! - `source` where events come from; `file` exported ones
//! - `sender` to Kafka, acknowledged; `progress` what is told meanwhile; `bookmark` where to go on
//!
//! Invariant: the bookmark never stands behind an event that has no outcome.

mod bookmark;
mod file;
mod progress;
mod sender;
mod source;

use std::path::PathBuf;
use std::time::Instant;

use crossbeam_channel::Receiver;

use self::bookmark::Bookmark;
use self::progress::{Progress, Report};
use self::sender::Sender;
use self::source::Source;
use super::selection::Selection;
use crate::config::Config;
use crate::delivery::pacing::Pace;
use crate::host::exit::Exit;
use crate::host::signals::{self, Signal};
use crate::limits::RECOVERY_EVENTS_MAX;

/// Send stored events to Kafka once more: from the spool, from PostgreSQL or from an exported file.
///
/// Sends with the daemon's settings (KAFKA_BROKERS, KAFKA_TOPIC, ...), each event with its own ingest_id and time
/// of arrival, and waits for acks=all. Nothing is changed where the events come from. What waits for Kafka
/// (held) is left out unless --state asks for it: the daemon sends it by itself.
///
/// Exit code 0: every wanted event was acknowledged. 1: some were not, or it was interrupted.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {
    /// Replay a file that `spool export` wrote, gzip or not, instead of the spool
    #[arg(long, value_name = "FILE", conflicts_with = "postgres")]
    file: Option<PathBuf>,

    /// Replay PostgreSQL's raw_logs instead of the spool: rows at home there, or with --state forwarded
    /// those that Kafka had
    #[arg(long)]
    postgres: bool,

    /// Send nothing: tell how many events there are, and whether each can be read
    #[arg(long)]
    dry_run: bool,

    /// Events a second at the most; 0 is unlimited
    #[arg(long, value_name = "EVENTS", default_value_t = 1_000)]
    rate: u32,

    /// Go on behind this place, as an earlier run told it
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,

    /// Note in this small file how far it came; where the file is there already, go on from its place
    #[arg(long, value_name = "FILE", conflicts_with = "after")]
    resume: Option<PathBuf>,

    /// Report as one JSON object
    #[arg(long)]
    json: bool,

    /// Which events.
    #[command(flatten)]
    which: Selection,
}

/// Runs the command.
///
/// # Errors
/// A text for people.
pub fn run(args: &ReplayArgs, config: &Config) -> Result<Exit, String> {
    let signals = signals::listen().map_err(|error| format!("signals can't be received: {error}"))?;
    let kind = source::Kind::of(args)?;
    let wanted = kind.wanted(&args.which)?;
    let mut bookmark = Bookmark::open(args.resume.as_deref(), &kind.name(config)?, &wanted)?;
    let after = args.after.clone().or_else(|| bookmark.place());
    let mut source = kind.open(config, wanted, after.as_deref())?;
    let mut sender =
        match args.dry_run {
            true => None,
            false => Some(Sender::new(config.kafka().ok_or(
                "KAFKA_BROKERS is not set: name the brokers as the daemon has them, or use --dry-run",
            )?)),
        };
    let mut progress = Progress::new(args.dry_run, args.json);
    let ended = copy(
        &mut *source,
        sender.as_mut(),
        &mut bookmark,
        &mut progress,
        Pace::new(if args.dry_run { 0 } else { args.rate }),
        &signals,
    );
    let noted = bookmark.note();
    let report = progress.finish(bookmark.place().or(after), ended.as_ref().err().cloned());
    report.print(args.json);
    noted?;
    ended?;
    Ok(if report.is_clean() { Exit::Ok } else { Exit::Failed })
}

/// Until there are no more events, or somebody says stop.
fn copy(
    source: &mut dyn Source,
    mut sender: Option<&mut Sender>,
    bookmark: &mut Bookmark,
    progress: &mut Progress,
    mut pace: Pace,
    signals: &Receiver<Signal>,
) -> Result<(), String> {
    let portion = pace.portion(RECOVERY_EVENTS_MAX);
    let is_stopped = || signals.try_iter().any(|signal| matches!(signal, Signal::Stop(_)));
    while let Some(chunk) = source.next()? {
        for why in &chunk.damaged {
            progress.meter.trouble(why);
        }
        for part in chunk.events.chunks(portion) {
            if let Some(sender) = sender.as_deref_mut() {
                sender.wait(pace.wait(Instant::now()), &is_stopped)?;
                pace.spend(Instant::now(), part.len());
                let events = part.iter().map(|found| found.event.clone()).collect();
                for (id, why) in sender.send(events, &is_stopped)? {
                    progress.meter.trouble(&format!("kafka refuses {id}: {why}"));
                    progress.report.refused += 1;
                }
            }
            progress.report.count(part);
            bookmark.move_to(&part.last().expect("BUG: an empty part").at)?;
            progress.meter.show(progress.report.events, source.share());
        }
        progress.report.damaged += chunk.damaged.len() as u64;
        bookmark.move_to(&chunk.end)?;
        if is_stopped() {
            progress.report.interrupted = true;
            return Ok(());
        }
    }
    Ok(())
}

impl Report {
    fn count(&mut self, part: &[source::Found]) {
        self.events += part.len() as u64;
        for found in part {
            let at = found.event.received_at_ms();
            self.first_ms = Some(self.first_ms.map_or(at, |first| first.min(at)));
            self.last_ms = Some(self.last_ms.map_or(at, |last| last.max(at)));
        }
    }
}
