//! `send`: lines to a daemon, in batches, until each is stored or told as not taken.
//!
//! - `fill` a line becomes an event; `verdict` what an answer means; both pure
//! - `reader` lines from files or standard input; `batch` what is sent together
//! - `leftovers` the file of what was not taken
//!
//! Invariant: every line that was read is stored by the daemon, or in the file, when the command ends by itself.

mod batch;
mod fill;
mod leftovers;
mod reader;
mod verdict;

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, never, select};
use serde::Serialize;
use uuid::Uuid;

use self::batch::{Batch, Item};
use self::fill::Filling;
use self::leftovers::Leftovers;
use self::reader::{Found, Lines, Text};
use self::verdict::Verdict;
use super::daemon::{Daemon, DaemonArgs};
use super::input::Input;
use super::meter::Meter;
use super::output::{count, some};
use crate::config::{Config, RawSettings};
use crate::event::{Arrival, Event};
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
/// gzip, and again when the daemon is away, under an Idempotency-Key, so that nothing is stored twice.
///
/// What is not taken is written, as events that `send` takes again, into a file: events that are wrong, and
/// everything that is left when the daemon is away for too long.
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

    /// How long a daemon may be away
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
struct Report {
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

/// Runs the command.
///
/// # Errors
/// A text for people.
pub fn run(args: &SendArgs, config: &Config, settings: &RawSettings) -> Result<Exit, String> {
    let daemon = Daemon::new(&args.daemon, settings)?;
    let signals = signals::listen().map_err(|error| format!("signals can't be received: {error}"))?;
    let leftovers = Leftovers::new(args.rejected.clone());
    leftovers.check()?;
    let inputs =
        Input::paths(&args.files).iter().map(|path| Input::open(path)).collect::<Result<Vec<_>, _>>()?;
    let lines = reader::start(inputs, config.batch.max_batch_bytes)?;
    let mut sender = Sender {
        args,
        config,
        daemon,
        signals,
        leftovers,
        meter: Meter::new(args.json),
        report: Report::default(),
        share: None,
    };
    let outcome = sender.run(&lines);
    let Sender { mut leftovers, meter, mut report, .. } = sender;
    report.seconds = meter.finish().as_secs_f64();
    let synced = leftovers.sync();
    report.file = leftovers.path().cloned();
    match args.json {
        true => println!("{}", serde_json::to_string(&report).unwrap_or_default()),
        false => println!("{}", report.line()),
    }
    outcome.and(synced)?;
    Ok(if report.refused + report.not_sent == 0 && report.error.is_none() { Exit::Ok } else { Exit::Failed })
}

struct Sender<'a> {
    args: &'a SendArgs,
    config: &'a Config,
    daemon: Daemon,
    signals: Receiver<Signal>,
    leftovers: Leftovers,
    meter: Meter,
    report: Report,
    share: Option<f64>,
}

impl Sender<'_> {
    fn run(&mut self, lines: &Lines) -> Result<(), String> {
        let signals = self.signals.clone();
        let mut batch = Batch::default();
        loop {
            let linger =
                batch.since().map_or_else(never, |since| after(SEND_LINGER.saturating_sub(since.elapsed())));
            select! {
                recv(lines.found) -> found => match found {
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
    fn take(&mut self, found: Found, batch: &mut Batch) -> Result<(), String> {
        self.share = found.share;
        let text = match &found.text {
            Text::Line(text) if text.trim_ascii().is_empty() => return Ok(()),
            Text::Line(text) => text,
            Text::TooLong => {
                let why = format!(
                    "longer than MAX_BATCH_BYTES ({} bytes), left out",
                    self.config.batch.max_batch_bytes
                );
                self.report.refused += 1;
                self.meter.trouble(&format!("{}: {why}", found.place));
                return Ok(());
            }
            Text::Unreadable(why) => {
                self.report.refused += 1;
                self.meter.trouble(why);
                return Ok(());
            }
        };
        let now_ms = clock::record_ms();
        let body = match self.args.filling.event(text, &Uuid::now_v7().to_string(), now_ms) {
            Ok(body) => body,
            Err(why) => return self.refuse(&found.place, text.trim_ascii_end(), &why),
        };
        // What the daemon would refuse is told here, with its line, and keeps no batch from being whole.
        let arrival =
            Arrival { ingest_id: Uuid::nil(), received_at_ms: now_ms, traceparent: None, x_request_id: None };
        if let Err(refusal) = Event::from_body(&body, arrival, self.config.rules) {
            return self.refuse(&found.place, &body, &refusal.to_string());
        }
        if !batch.has_room(body.len(), self.args.batch_events as usize) {
            self.flush(batch)?;
        }
        batch.add(Item { place: found.place, body });
        Ok(())
    }

    fn refuse(&mut self, place: &str, line: &[u8], why: &str) -> Result<(), String> {
        self.report.refused += 1;
        self.meter.trouble(&format!("{place}: {why}"));
        self.leftovers.add(line)
    }

    /// Sends what is together, or keeps it when sending is over.
    fn flush(&mut self, batch: &mut Batch) -> Result<(), String> {
        let items = batch.take();
        if items.is_empty() { Ok(()) } else { self.send(items) }
    }

    fn send(&mut self, items: Vec<Item>) -> Result<(), String> {
        let (gzip, key) = (batch::gzip(&items), Uuid::now_v7().to_string());
        let (mut began, mut failures) = (None, 0);
        while self.report.error.is_none() {
            let answer = self.daemon.post(PATH, "application/x-ndjson", &key, &gzip);
            let retry_after = answer.as_ref().map_or(None, |answer| answer.retry_after);
            let why = match answer.map(|answer| verdict::of(&answer, items.len())) {
                Ok(Verdict::Judged(refused)) => return self.settle(items, refused),
                Ok(Verdict::TooLarge(why)) => return self.split(items, &why),
                Ok(Verdict::Never(why)) => {
                    self.stop(&format!("{} won't take it: {why}", self.daemon.url()));
                    break;
                }
                Ok(Verdict::Later(why)) => format!("{} can't take it now: {why}", self.daemon.url()),
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
            let wait = verdict::wait(failures, retry_after, chance());
            if matches!(self.signals.recv_timeout(wait), Ok(Signal::Stop(_))) {
                self.stop("it was interrupted");
            }
        }
        if self.is_untouched() {
            return Ok(());
        }
        self.report.not_sent += items.len() as u64;
        items.iter().try_for_each(|item| self.leftovers.add(&item.body))
    }

    /// The daemon has judged them.
    fn settle(&mut self, items: Vec<Item>, refused: Vec<(usize, String)>) -> Result<(), String> {
        self.report.stored += (items.len() - refused.len()) as u64;
        refused.into_iter().try_for_each(|(index, why)| match items.get(index) {
            Some(item) => self.refuse(&item.place, &item.body, &why),
            None => Ok(()),
        })
    }

    /// The daemon takes less at once than is in this batch.
    fn split(&mut self, mut items: Vec<Item>, why: &str) -> Result<(), String> {
        if let [item] = &items[..] {
            return self.refuse(&item.place, &item.body, why);
        }
        let rest = items.split_off(items.len() / 2);
        self.send(items)?;
        self.send(rest)
    }

    /// From now on nothing is sent: what comes goes into the file.
    fn stop(&mut self, why: &str) {
        self.report.error.get_or_insert_with(|| why.to_owned());
        let then = if self.is_untouched() { "nothing was sent" } else { "what is not sent goes into a file" };
        self.meter.note(&format!("{why}; {then}"));
    }

    /// Sending ended before it began, and everything is still where it comes from: there is nothing to keep.
    fn is_untouched(&self) -> bool {
        let from_files = !Input::paths(&self.args.files).iter().any(|path| path == Path::new("-"));
        self.report.error.is_some() && self.report.stored == 0 && from_files
    }

    /// After an interruption: what the reader has in memory.
    fn keep_what_was_read(&mut self, lines: &Lines) -> Result<(), String> {
        lines.stop();
        let mut batch = Batch::default();
        let mut last = None;
        // A reader that waits for a line has no more.
        while let Ok(found) = lines.found.recv_timeout(SEND_STOP_WAIT) {
            last = Some(found.place.clone());
            self.take(found, &mut batch)?;
        }
        if let Some(place) = last {
            self.meter.note(&format!("read up to {place}; what follows there was not read"));
        }
        self.flush(&mut batch)
    }
}

impl Report {
    fn line(&self) -> String {
        let mut line = format!("{} stored", some(self.stored, "event"));
        if self.refused > 0 {
            line += &format!(", {} refused", count(self.refused));
        }
        if self.not_sent > 0 {
            line += &format!(", {} not sent", count(self.not_sent));
        }
        match &self.file {
            Some(file) => format!("{line}: see {}", file.display()),
            None => line,
        }
    }
}

/// From 0 to 1. The standard library's own random keys are chance enough.
fn chance() -> f64 {
    f64::from(u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
