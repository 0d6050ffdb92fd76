//! `send`: lines to a daemon, in batches, until each is stored or reported as not taken.
//!
//! - `fill` a line becomes an event; `meaning` what an answer means; both pure
//! - `reader` lines from files or standard input; `outgoing` what is sent together
//! - `leftovers` the file of what was not taken
//!
//! Invariant: every line that was read is stored by the daemon, or in the file, when the command ends by itself.

mod fill;
mod leftovers;
mod meaning;
mod outgoing;
mod reader;

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, never, select};
use serde::Serialize;
use uuid::Uuid;

use self::fill::Filling;
use self::leftovers::Leftovers;
use self::meaning::Meaning;
use self::outgoing::{Outgoing, OutgoingEvent};
use self::reader::{LineText, LinesAhead, PlacedLine};
use super::daemon::{Daemon, DaemonArgs};
use super::input::Input;
use super::meter::Meter;
use super::output::{count, some};
use super::report::Report;
use super::validate::judge;
use crate::config::{Config, RawSettings};
use crate::host::clock;
use crate::host::exit::Exit;
use crate::host::signals::{self, Signal};
use crate::limits::{SEND_LINGER, SEND_STOP_WAIT};
use crate::setting::duration;

const PATH: &str = "/api/logs/ingest/batch";

/// Send events, or plain lines of text, to a running daemon: from files or standard input.
///
/// A line that is a JSON object is an event; a request_id, a timestamp and what the options say are filled in
/// where it has none. With --service and --env every other line is the message of an event. Lines go in batches,
/// gzip, and again while the daemon is unavailable, under an Idempotency-Key, so that nothing is stored twice.
///
/// What is not taken is written, as events that `send` takes again, into a file: events that are wrong, and
/// everything that is left when the daemon is unavailable for too long.
///
/// Exit code 0: all is stored. 1: some of it is not, see the file.
#[derive(Clone, Debug, clap::Args)]
pub struct SendArgs {
    /// Files, gzip or not; - or none: standard input, for example of `tail -F`
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What is filled in.
    #[command(flatten)]
    filling: Filling,

    /// Events in one request
    #[arg(long, value_name = "EVENTS", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch_events: u32,

    /// Longest time to try again while the daemon is unavailable
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration(0..=86_400_000))]
    give_up_after: Duration,

    /// File for what is not taken [default: not-sent-TIME-PID.ndjson in this folder]
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,

    /// Report as one JSON object
    #[arg(long)]
    json: bool,

    /// To whom.
    #[command(flatten)]
    daemon: DaemonArgs,
}

/// How it went.
#[derive(Default, Serialize)]
struct SendReport {
    /// Events that are stored.
    stored: u64,
    /// Events or lines that are wrong.
    refused: u64,
    /// Events that could have been taken but were not.
    not_sent: u64,
    /// Both are in this file.
    file: Option<PathBuf>,
    /// What ended the sending early.
    error: Option<String>,
    seconds: f64,
}

pub(super) fn run(args: &SendArgs, config: &Config, settings: &RawSettings) -> Result<Exit, String> {
    let daemon = Daemon::new(&args.daemon, settings)?;
    let signals = signals::listen().map_err(|error| format!("cannot receive signals: {error}"))?;
    let leftovers = Leftovers::new(args.rejected.clone());
    leftovers.check()?;
    let inputs =
        Input::paths(&args.files).iter().map(|path| Input::open(path)).collect::<Result<Vec<_>, _>>()?;
    let lines = reader::start(inputs, config.batch.max_batch_bytes)?;
    let mut sending = Sending {
        args,
        config,
        daemon,
        signals,
        leftovers,
        meter: Meter::new(args.json),
        report: SendReport::default(),
        share: None,
    };
    let ended = sending.run(&lines);
    let Sending { mut leftovers, meter, mut report, .. } = sending;
    report.seconds = meter.finish().as_secs_f64();
    let synced = leftovers.sync();
    report.file = leftovers.path().cloned();
    let exit = report.print(args.json)?;
    ended.and(synced).map(|()| exit)
}

struct Sending<'a> {
    args: &'a SendArgs,
    config: &'a Config,
    daemon: Daemon,
    signals: Receiver<Signal>,
    leftovers: Leftovers,
    meter: Meter,
    report: SendReport,
    share: Option<f64>,
}

impl Sending<'_> {
    fn run(&mut self, lines: &LinesAhead) -> Result<(), String> {
        let signals = self.signals.clone();
        let mut batch = Outgoing::default();
        loop {
            let linger =
                batch.since().map_or_else(never, |since| after(SEND_LINGER.saturating_sub(since.elapsed())));
            select! {
                recv(lines.lines) -> found => match found {
                    Ok(found) => self.take(found, &mut batch)?,
                    Err(_) => break,
                },
                recv(linger) -> _ => self.flush(&mut batch)?,
                recv(signals) -> signal => if matches!(signal, Ok(Signal::Stop(_))) {
                    self.stop("it was interrupted");
                    self.flush(&mut batch)?;
                    return self.keep_what_was_read(lines);
                },
            }
            if self.is_untouched() {
                return Ok(());
            }
            self.meter.show(self.report.stored, self.share);
        }
        self.flush(&mut batch)
    }

    /// One line.
    fn take(&mut self, found: PlacedLine, batch: &mut Outgoing) -> Result<(), String> {
        self.share = found.share;
        let text = match &found.text {
            LineText::Line(text) if text.trim_ascii().is_empty() => return Ok(()),
            LineText::Line(text) => text,
            LineText::TooLong => {
                let why = format!(
                    "longer than MAX_BATCH_BYTES ({} bytes), left out",
                    self.config.batch.max_batch_bytes
                );
                self.report.refused += 1;
                self.meter.problem(&format!("{}: {why}", found.place));
                return Ok(());
            }
            LineText::Unreadable(why) => {
                self.report.refused += 1;
                self.meter.problem(why);
                return Ok(());
            }
        };
        let now_ms = clock::record_ms();
        let body = match self.args.filling.event(text, &Uuid::now_v7().to_string(), now_ms) {
            Ok(body) => body,
            Err(why) => return self.refuse(&found.place, text.trim_ascii_end(), &why),
        };
        // What the daemon would refuse is reported here, with its line, and not sent at all.
        if let Err(refusal) = judge(&body, self.config) {
            return self.refuse(&found.place, &body, &refusal.to_string());
        }
        if !batch.has_room(body.len(), self.args.batch_events as usize) {
            self.flush(batch)?;
        }
        batch.add(OutgoingEvent { place: found.place, body });
        Ok(())
    }

    fn refuse(&mut self, place: &str, line: &[u8], why: &str) -> Result<(), String> {
        self.report.refused += 1;
        self.meter.problem(&format!("{place}: {why}"));
        self.leftovers.add(line)
    }

    /// Sends what is together, or keeps it when sending is over.
    fn flush(&mut self, batch: &mut Outgoing) -> Result<(), String> {
        let events = batch.take();
        if events.is_empty() { Ok(()) } else { self.send(events) }
    }

    fn send(&mut self, events: Vec<OutgoingEvent>) -> Result<(), String> {
        let (gzip, key) = (outgoing::gzip(&events), Uuid::now_v7().to_string());
        let (mut began, mut failures) = (None, 0);
        while self.report.error.is_none() {
            let answer = self.daemon.post(PATH, "application/x-ndjson", &key, &gzip);
            let retry_after = answer.as_ref().map_or(None, |answer| answer.retry_after);
            let why = match answer.map(|answer| meaning::of(&answer, events.len())) {
                Ok(Meaning::Judged(refused)) => return self.settle(events, refused),
                Ok(Meaning::TooLarge(why)) => return self.split(events, &why),
                Ok(Meaning::Never(why)) => {
                    self.stop(&format!("{} refuses it: {why}", self.daemon.url()));
                    break;
                }
                Ok(Meaning::Later(why)) => format!("{} cannot take it now: {why}", self.daemon.url()),
                Err(error) => error.to_string(),
            };
            if failures == 0 {
                self.meter.note(&format!("{why}; trying again for {:?}", self.args.give_up_after));
            }
            failures += 1;
            if began.get_or_insert_with(Instant::now).elapsed() >= self.args.give_up_after {
                self.stop(&format!("gave up after {failures} attempts: {why}"));
                break;
            }
            let wait = meaning::wait(failures, retry_after, chance());
            if matches!(self.signals.recv_timeout(wait), Ok(Signal::Stop(_))) {
                self.stop("it was interrupted");
            }
        }
        if self.is_untouched() {
            return Ok(());
        }
        self.report.not_sent += events.len() as u64;
        events.iter().try_for_each(|event| self.leftovers.add(&event.body))
    }

    /// The daemon has judged them.
    fn settle(&mut self, events: Vec<OutgoingEvent>, refused: Vec<(usize, String)>) -> Result<(), String> {
        self.report.stored += (events.len() - refused.len()) as u64;
        refused.into_iter().try_for_each(|(index, why)| match events.get(index) {
            Some(event) => self.refuse(&event.place, &event.body, &why),
            None => Ok(()),
        })
    }

    /// The daemon takes less at once than is in this batch.
    fn split(&mut self, mut events: Vec<OutgoingEvent>, why: &str) -> Result<(), String> {
        if let [event] = &events[..] {
            return self.refuse(&event.place, &event.body, why);
        }
        let rest = events.split_off(events.len() / 2);
        self.send(events)?;
        self.send(rest)
    }

    /// From now on nothing is sent: what follows goes into the file.
    fn stop(&mut self, why: &str) {
        self.report.error.get_or_insert_with(|| why.to_owned());
        let then = if self.is_untouched() { "nothing was sent" } else { "what is not sent goes into a file" };
        self.meter.note(&format!("{why}; {then}"));
    }

    /// Sending ended before it began, and every event is still in its file: there is nothing to keep.
    fn is_untouched(&self) -> bool {
        let from_files = !Input::paths(&self.args.files).iter().any(|path| path == Path::new("-"));
        self.report.error.is_some() && self.report.stored == 0 && from_files
    }

    /// After an interruption: what the reader has in memory.
    fn keep_what_was_read(&mut self, lines: &LinesAhead) -> Result<(), String> {
        lines.stop();
        let mut batch = Outgoing::default();
        let mut last = None;
        // A reader that waits for a line has no more.
        while let Ok(found) = lines.lines.recv_timeout(SEND_STOP_WAIT) {
            last = Some(found.place.clone());
            self.take(found, &mut batch)?;
        }
        if let Some(place) = last {
            self.meter.note(&format!("read up to {place}; what follows there was not read"));
        }
        self.flush(&mut batch)
    }
}

impl Report for SendReport {
    fn exit(&self) -> Exit {
        match self.refused + self.not_sent == 0 && self.error.is_none() {
            true => Exit::Ok,
            false => Exit::Failed,
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut line = format!("{} stored", some(self.stored, "event"));
        if self.refused > 0 {
            line += &format!(", {} refused", count(self.refused));
        }
        if self.not_sent > 0 {
            line += &format!(", {} not sent", count(self.not_sent));
        }
        if let Some(file) = &self.file {
            line += &format!(": see {}", file.display());
        }
        vec![line]
    }
}

/// From 0 to 1. The standard library's own random keys are chance enough.
fn chance() -> f64 {
    f64::from(u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
