//! `validate`: what the daemon would answer, without a daemon.
//!
//! Invariants: the rules are the daemon's own code; memory holds one line, or one array no larger than a batch
//! may be.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uuid::Uuid;

use super::input::{Input, Line};
use super::output::{Output, count, some, visible};
use super::report::Report;
use crate::config::Config;
use crate::event::{Arrival, Event, Items, ItemsError, Refusal, is_one_value, request_id_in};
use crate::host::clock;
use crate::host::exit::Exit;
use crate::limits::BATCH_ERROR_ID_CHARS_MAX;

/// Check events without a daemon: the same rules and words, with the line of each.
///
/// A file holds one event per line, one JSON array of events, or one event over several lines; gzip or not. A line
/// is judged alone, as the batch endpoint does. MAX_EVENT_BYTES and MAX_BATCH_BYTES are those of the daemon's settings.
///
/// Exit code 0: every event would be taken. 1: some would not, or a file cannot be read.
#[derive(Clone, Debug, clap::Args)]
pub struct ValidateArgs {
    /// Files; - or none: standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// One JSON object for each event that would be refused
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ValidateArgs, config: &Config) -> Result<Exit, String> {
    let (out, found) = (Output::stdout(), ValidateReport::default());
    let mut check = Validation { config, json: args.json, out, found };
    for path in Input::paths(&args.files) {
        if let Err(why) = check.file(&path) {
            eprintln!("logs-ingest: {why}");
            check.found.unread += 1;
        }
    }
    check.out.flush()?;
    Ok(check.found.print_beside())
}

/// What the daemon would answer to one event.
pub(super) fn judge(body: &[u8], config: &Config) -> Result<(), Refusal> {
    let arrival = Arrival::new(Uuid::nil(), clock::record_ms());
    Event::from_body(body, arrival, config.rules).map(drop)
}

/// All files together.
#[derive(Debug, Default, Serialize)]
struct ValidateReport {
    events: u64,
    wrong: u64,
    /// Files that could not be read to their end.
    unread: u64,
}

impl Report for ValidateReport {
    fn exit(&self) -> Exit {
        if self.unread == 0 && self.wrong == 0 && self.events > 0 { Exit::Ok } else { Exit::Failed }
    }

    fn lines(&self) -> Vec<String> {
        let (events, wrong) = (some(self.events, "event"), count(self.wrong));
        vec![match (self.events, self.wrong) {
            (0, _) => "no event was read".to_owned(),
            (_, 0) => format!("{events}, all would be taken"),
            _ => format!("{events}, {wrong} would be refused"),
        }]
    }
}

struct Validation<'a, W: io::Write> {
    config: &'a Config,
    json: bool,
    out: Output<W>,
    found: ValidateReport,
}

/// One event that would be refused.
#[derive(Serialize)]
struct Wrong<'a> {
    file: &'a str,
    line: u64,
    request_id: Option<String>,
    detail: &'a Refusal,
}

impl<W: io::Write> Validation<'_, W> {
    fn file(&mut self, path: &Path) -> Result<(), String> {
        let mut input = Input::open(path)?;
        let name = input.name().to_owned();
        let unreadable = |error: io::Error| format!("cannot read {name}: {error}");
        let limit = self.config.batch.max_batch_bytes;
        let head = input.peek(limit + 1).map_err(unreadable)?;
        let is_whole = head.len() <= limit;
        match head.trim_ascii_start().first() {
            None => Err(format!("{name} has no event in it")),
            Some(b'[') if is_whole => self.array(&name, &head),
            Some(b'[') => Err(format!(
                "{name} is an array of more than MAX_BATCH_BYTES ({limit} bytes), which no daemon with this setting \
                 takes: write one event per line"
            )),
            Some(_) if is_whole && is_one_value(&head) => {
                let line = 1 + lines(&head[..head.len() - head.trim_ascii_start().len()]);
                self.event(&name, line, &head).map(drop)
            }
            Some(_) => self.lines(input),
        }
    }

    fn lines(&mut self, mut input: Input) -> Result<(), String> {
        let (name, limit) = (input.name().to_owned(), self.config.batch.max_batch_bytes);
        for number in 1.. {
            match input
                .line(limit)
                .map_err(|error| format!("cannot read {name}: {error} after line {}", number - 1))?
            {
                Line::End => return Ok(()),
                Line::Text(text) if text.trim_ascii().is_empty() => {}
                Line::Text(text) => drop(self.event(&name, number, text.trim_ascii_start())?),
                Line::TooLong => {
                    let limit_bytes = self.config.rules.max_event_bytes;
                    self.found.events += 1;
                    self.say(&name, number, None, &Refusal::TooLarge { limit_bytes })?;
                }
            }
        }
        Ok(())
    }

    fn array(&mut self, name: &str, body: &[u8]) -> Result<(), String> {
        let unreadable = |error: io::Error| format!("cannot read {name}: {error}");
        let mut items = Items::open(body, false).map_err(unreadable)?;
        let mut lines = LineCounter { body, at: 0, chars: 0, line: 1 };
        let before = self.found.events;
        loop {
            let broken = match items.next_item() {
                Ok(None) => break,
                Ok(Some(item)) => {
                    let item = item.to_vec();
                    let line = lines.line_of(items.offset_in_body(0));
                    self.event(name, line, &item)?
                        .filter(|_| !is_one_value(&item))
                        .map(|at| items.offset_in_body(at))
                }
                Err(ItemsError::Broken(at)) => Some(at),
                Err(ItemsError::Read(error)) => return Err(unreadable(error)),
            };
            if let Some(at) = broken {
                let line = lines.line_of(at);
                return Err(format!(
                    "{name} is not a valid JSON array from line {line} on: nothing of it would be taken"
                ));
            }
        }
        let (events, most) = (self.found.events - before, self.config.batch.max_batch_events as u64);
        if events > most {
            let (events, most) = (count(events), count(most));
            return Err(format!(
                "{name} has {events} events, MAX_BATCH_EVENTS allows {most} in a batch: send it in parts"
            ));
        }
        if events == 0 { Err(format!("{name} has no event in it")) } else { Ok(()) }
    }

    /// The character at which it stops being valid JSON, if that is what is wrong with it.
    fn event(&mut self, name: &str, line: u64, body: &[u8]) -> Result<Option<usize>, String> {
        self.found.events += 1;
        match judge(body, self.config) {
            Ok(()) => Ok(None),
            Err(refusal) => self.say(name, line, request_id_in(body), &refusal).map(|()| refusal.offset()),
        }
    }

    fn say(&mut self, name: &str, line: u64, id: Option<String>, refusal: &Refusal) -> Result<(), String> {
        self.found.wrong += 1;
        let id: Option<String> = id.map(|id| id.chars().take(BATCH_ERROR_ID_CHARS_MAX).collect());
        let text = match self.json {
            true => serde_json::to_string(&Wrong { file: name, line, request_id: id, detail: refusal })
                .unwrap_or_default(),
            false => {
                let id = id.map(|id| format!(" (request_id {})", visible(&id))).unwrap_or_default();
                format!("{}:{line}: {}{id}", visible(name), refusal)
            }
        };
        self.out.line(text).map(drop)
    }
}

/// Counts the lines of an array up to a character; goes forward only.
struct LineCounter<'a> {
    body: &'a [u8],
    at: usize,
    chars: usize,
    line: u64,
}

impl LineCounter<'_> {
    /// The line of this character of the body.
    fn line_of(&mut self, char: usize) -> u64 {
        while self.chars < char && self.at < self.body.len() {
            self.line += u64::from(self.body[self.at] == b'\n');
            self.at += 1;
            // Bytes that go on with a character begin none.
            while self.body.get(self.at).is_some_and(|byte| (0x80..0xC0).contains(byte)) {
                self.at += 1;
            }
            self.chars += 1;
        }
        self.line
    }
}

fn lines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}
