//! `validate`: what the server would say of events, without a server.
//!
//! Invariants: the rules are the server's own code; memory holds one line, or one array no larger than a batch
//! may be.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uuid::Uuid;

use super::input::{Input, Line};
use super::output::{Output, count, some, visible};
use crate::config::Config;
use crate::event::{Arrival, Event, Items, ItemsError, Refusal, is_one_value, request_id_in};
use crate::host::clock;
use crate::host::exit::Exit;
use crate::limits::BATCH_ERROR_ID_CHARS_MAX;

/// Check events without a daemon: the same rules and words, with the line of each.
///
/// A file holds one event a line, one JSON array of events, or one event over several lines; gzip or not. A line
/// is judged alone, as the batch endpoint does. MAX_EVENT_BYTES and MAX_BATCH_BYTES are those of the daemon's settings.
///
/// Exit code 0: every event would be taken. 1: some would not, or a file can't be read.
#[derive(Clone, Debug, clap::Args)]
pub struct ValidateArgs {
    /// Files; - or none: standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// One JSON object for each event that would be refused
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A text for people.
pub fn run(args: &ValidateArgs, config: &Config) -> Result<Exit, String> {
    let mut check = Check { config, json: args.json, out: Output::stdout(), events: 0, wrong: 0 };
    let mut unread = 0;
    for path in Input::paths(&args.files) {
        if let Err(why) = check.file(&path) {
            eprintln!("logs-ingest: {why}");
            unread += 1;
        }
    }
    check.out.flush()?;
    let (events, wrong) = (some(check.events, "event"), count(check.wrong));
    match check.wrong {
        0 if check.events == 0 => eprintln!("no event was read"),
        0 => eprintln!("{events}, all would be taken"),
        _ => eprintln!("{events}, {wrong} would be refused"),
    }
    Ok(if unread == 0 && check.wrong == 0 && check.events > 0 { Exit::Ok } else { Exit::Failed })
}

struct Check<'a, W: io::Write> {
    config: &'a Config,
    json: bool,
    out: Output<W>,
    events: u64,
    wrong: u64,
}

/// What is told of one event.
#[derive(Serialize)]
struct Wrong<'a> {
    file: &'a str,
    line: u64,
    request_id: Option<String>,
    detail: &'a Refusal,
}

impl<W: io::Write> Check<'_, W> {
    fn file(&mut self, path: &Path) -> Result<(), String> {
        let mut input = Input::open(path)?;
        let name = input.name().to_owned();
        let unreadable = |error: io::Error| format!("can't read {name}: {error}");
        let limit = self.config.batch.max_batch_bytes;
        let head = input.peek(limit + 1).map_err(unreadable)?;
        let is_whole = head.len() <= limit;
        match head.trim_ascii_start().first() {
            None => Err(format!("{name} has no event in it")),
            Some(b'[') if is_whole => self.array(&name, &head),
            Some(b'[') => Err(format!(
                "{name} is an array of more than MAX_BATCH_BYTES ({limit} bytes), which no daemon with this setting \
                 takes: write one event a line"
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
                .map_err(|error| format!("can't read {name}: {error} behind line {}", number - 1))?
            {
                Line::End => return Ok(()),
                Line::Text(text) if text.trim_ascii().is_empty() => {}
                Line::Text(text) => drop(self.event(&name, number, text.trim_ascii_start())?),
                Line::TooLong => {
                    let limit_bytes = self.config.rules.max_event_bytes;
                    self.events += 1;
                    self.tell(&name, number, None, &Refusal::TooLarge { limit_bytes })?;
                }
            }
        }
        Ok(())
    }

    fn array(&mut self, name: &str, body: &[u8]) -> Result<(), String> {
        let unreadable = |error: io::Error| format!("can't read {name}: {error}");
        let mut items = Items::open(body, false).map_err(unreadable)?;
        let mut place = Place { body, at: 0, chars: 0, line: 1 };
        let before = self.events;
        loop {
            let broken = match items.next_item() {
                Ok(None) => break,
                Ok(Some(item)) => {
                    let item = item.to_vec();
                    let line = place.line_of(items.offset_in_body(0));
                    self.event(name, line, &item)?
                        .filter(|_| !is_one_value(&item))
                        .map(|at| items.offset_in_body(at))
                }
                Err(ItemsError::Broken(at)) => Some(at),
                Err(ItemsError::Read(error)) => return Err(unreadable(error)),
            };
            if let Some(at) = broken {
                let line = place.line_of(at);
                return Err(format!(
                    "{name} is no JSON array from line {line} on: nothing of it would be taken"
                ));
            }
        }
        let (events, most) = (self.events - before, self.config.batch.max_batch_events as u64);
        if events > most {
            let (events, most) = (count(events), count(most));
            return Err(format!(
                "{name} has {events} events, MAX_BATCH_EVENTS allows {most} in a batch: send it in parts"
            ));
        }
        if events == 0 { Err(format!("{name} has no event in it")) } else { Ok(()) }
    }

    /// The character at which it is no JSON, if that is what is wrong with it.
    fn event(&mut self, name: &str, line: u64, body: &[u8]) -> Result<Option<usize>, String> {
        self.events += 1;
        let arrival = Arrival {
            ingest_id: Uuid::nil(),
            received_at_ms: clock::record_ms(),
            traceparent: None,
            x_request_id: None,
        };
        match Event::from_body(body, arrival, self.config.rules) {
            Ok(_) => Ok(None),
            Err(refusal) => self.tell(name, line, request_id_in(body), &refusal).map(|()| refusal.offset()),
        }
    }

    fn tell(&mut self, name: &str, line: u64, id: Option<String>, refusal: &Refusal) -> Result<(), String> {
        self.wrong += 1;
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

/// Where in an array the reader is; goes forward only.
struct Place<'a> {
    body: &'a [u8],
    at: usize,
    chars: usize,
    line: u64,
}

impl Place<'_> {
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
