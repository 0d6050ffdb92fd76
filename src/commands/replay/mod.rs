//! `replay`: sends stored events to Kafka again, by a client of its own. No row's state is changed.
//!
//! - `source` where events come from; `file` exported ones
//! - `kafka_writer` to Kafka, acknowledged; `bookmark` where to continue; `replayed` the report at the end
//!
//! Invariant: the bookmark never passes an event that has no outcome.

mod bookmark;
mod file;
mod kafka_writer;
mod replayed;
mod source;

use std::path::PathBuf;
use std::time::Instant;

use self::bookmark::Bookmark;
use self::kafka_writer::KafkaWriter;
use self::replayed::ReplayReport;
use self::source::{EventSource, PlacedEvent, ReplayFrom};
use super::meter::Meter;
use super::report::Report;
use super::selection::Selection;
use crate::config::Config;
use crate::delivery::pacing::Pace;
use crate::host::exit::Exit;
use crate::host::signals::{self, Signal};
use crate::limits::RECOVERY_EVENTS_MAX;

/// Send stored events to Kafka again: from the spool, from PostgreSQL or from an exported file.
///
/// Sends with the daemon's settings (KAFKA_BROKERS, KAFKA_TOPIC, ...), each event with its own ingest_id and time
/// of arrival, and waits for acks=all. Nothing is changed where the events come from. What waits for Kafka
/// (held) is left out unless --state asks for it: the daemon sends that by itself.
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

    /// Send nothing: report how many events there are, and whether each can be read
    #[arg(long)]
    dry_run: bool,

    /// Events per second at most; 0 is unlimited
    #[arg(long, value_name = "EVENTS", default_value_t = 1_000)]
    rate: u32,

    /// Continue after this place, as an earlier run reported it
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,

    /// Keep in this small file how far it came; if the file exists already, continue there
    #[arg(long, value_name = "FILE", conflicts_with = "after")]
    resume: Option<PathBuf>,

    /// Report as one JSON object
    #[arg(long)]
    json: bool,

    /// Which events.
    #[command(flatten)]
    which: Selection,
}

pub(super) fn run(args: &ReplayArgs, config: &Config) -> Result<Exit, String> {
    let signals = signals::listen().map_err(|error| format!("cannot receive signals: {error}"))?;
    let from = ReplayFrom::of(args, config)?;
    let wanted = from.wanted(&args.which)?;
    let mut bookmark = Bookmark::open(args.resume.as_deref(), from.name()?, &wanted, args.after.clone())?;
    let mut source = from.open(wanted, bookmark.place())?;
    let unset = "KAFKA_BROKERS is not set: name the brokers as the daemon has them, or use --dry-run";
    let writer = match args.dry_run {
        true => None,
        false => Some(KafkaWriter::new(config.kafka().ok_or(unset)?)),
    };
    let mut replay = Replay {
        writer,
        bookmark: &mut bookmark,
        pace: Pace::new(if args.dry_run { 0 } else { args.rate }),
        is_stopped: &|| signals.try_iter().any(|signal| matches!(signal, Signal::Stop(_))),
        meter: Meter::new(args.json),
        report: ReplayReport { dry_run: args.dry_run, ..ReplayReport::default() },
    };
    let ended = replay.copy(&mut *source);
    let Replay { meter, mut report, .. } = replay;
    let written = bookmark.write();
    report.seconds = meter.finish().as_secs_f64();
    report.error = ended.as_ref().err().cloned();
    report.after = bookmark.place().map(str::to_owned);
    let exit = report.print(args.json)?;
    written.and(ended).map(|()| exit)
}

/// What runs, and how far it is.
struct Replay<'a> {
    /// None: a dry run.
    writer: Option<KafkaWriter>,
    bookmark: &'a mut Bookmark,
    pace: Pace,
    is_stopped: &'a dyn Fn() -> bool,
    meter: Meter,
    report: ReplayReport,
}

impl Replay<'_> {
    /// Until there are no more events, or it is interrupted.
    fn copy(&mut self, source: &mut dyn EventSource) -> Result<(), String> {
        let portion = self.pace.portion(RECOVERY_EVENTS_MAX);
        while let Some(chunk) = source.next()? {
            for why in &chunk.damaged {
                self.meter.problem(why);
            }
            for part in chunk.events.chunks(portion) {
                self.send(part)?;
                self.report.count(part);
                self.bookmark.move_to(part.last().expect("BUG: an empty part").at.clone())?;
                self.meter.show(self.report.events, source.share());
            }
            self.report.damaged += chunk.damaged.len() as u64;
            self.bookmark.move_to(chunk.end)?;
            if (self.is_stopped)() {
                self.report.interrupted = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn send(&mut self, part: &[PlacedEvent]) -> Result<(), String> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.wait(self.pace.wait(Instant::now()), self.is_stopped)?;
        self.pace.spend(Instant::now(), part.len());
        let events = part.iter().map(|found| found.event.clone()).collect();
        for (id, why) in writer.send(events, self.is_stopped)? {
            self.meter.problem(&format!("kafka refuses {id}: {why}"));
            self.report.refused += 1;
        }
        Ok(())
    }
}
