//! Logs to stderr with `log` and `simplelog`, through a bounded queue that drops and counts lines rather
//! than block: a full disk or a stuck journal must not stop a till.
//!
//! A line is `TIME [LEVEL] what happened key=value ...`; under systemd each starts with the journal's
//! priority. Control characters in it are escaped. Strings that a client sent go through [`Escaped`],
//! which quotes and cuts them too. No line shows a card number, even with REDACT_PAN=off.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{Config, ConfigBuilder, LevelPadding, WriteLogger};

use crate::event::mask_text;
use crate::host::thread;
use crate::limits::{LOG_FLUSH_TIMEOUT, LOG_LINE_BYTES_MAX, LOG_LINES_MAX};
use crate::setting::choice;

/// What is logged.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Process")]
#[group(skip)]
pub struct Options {
    /// Least severe lines that are logged: error, warn, info, debug or trace
    #[arg(long, env, default_value = "info", value_name = "LEVEL", value_parser = choice(LEVEL_NAMES))]
    pub log_level: LevelFilter,
}

const LEVEL_NAMES: &[(&str, LevelFilter)] = &[
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
];

enum Item {
    Line(Vec<u8>),
    Flush(Sender<()>),
}

/// The log, to flush before the process ends.
#[derive(Clone)]
pub struct Logs {
    lines: Sender<Item>,
}

impl Logs {
    /// Waits until all lines so far are written, up to [`LOG_FLUSH_TIMEOUT`].
    pub fn flush(&self) {
        let (done, wait) = crossbeam_channel::bounded(1);
        if self.lines.send_timeout(Item::Flush(done), LOG_FLUSH_TIMEOUT).is_ok() {
            let _ = wait.recv_timeout(LOG_FLUSH_TIMEOUT);
        }
    }
}

/// Starts logging at `level`.
///
/// # Errors
/// The system gives no more threads.
pub fn start(level: LevelFilter) -> io::Result<Logs> {
    let (lines, inbox) = crossbeam_channel::bounded(LOG_LINES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&dropped);
    // Essential: nobody would hear of anything any more. Never joined: it lives as long as anything can log, and
    // `flush` is its end.
    let _writer = thread::essential("log", move || write_lines(&inbox, &counter, &mut io::stderr()))?;
    let format = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_target_level(LevelFilter::Off)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .set_level_padding(LevelPadding::Off)
        .add_filter_allow_str("logs_ingest")
        .build();
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    log::set_max_level(level);
    // Fails only where a logger is set already, which then stays.
    let _ = log::set_boxed_logger(Box::new(Logger::new(level, &format, &lines, &dropped, in_journal)));
    Ok(Logs { lines })
}

/// Makes each record one line, whatever a library's error text or a system's message contains. One logger per level,
/// because simplelog does not give its writer the level of a line.
struct Logger([Box<WriteLogger<LineWriter>>; LEVELS.len()]);

/// In the order of their numbers.
const LEVELS: [Level; 5] = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

impl Logger {
    fn new(
        most: LevelFilter,
        format: &Config,
        lines: &Sender<Item>,
        dropped: &Arc<AtomicU64>,
        in_journal: bool,
    ) -> Self {
        Self(LEVELS.map(|level| {
            let priority = if in_journal { priority(level) } else { "" };
            let (lines, dropped) = (lines.clone(), Arc::clone(dropped));
            WriteLogger::new(most, format.clone(), LineWriter { line: Vec::new(), lines, dropped, priority })
        }))
    }

    fn of(&self, level: Level) -> &WriteLogger<LineWriter> {
        &self.0[level as usize - Level::Error as usize]
    }
}

/// The journal's priority of a line.
fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.of(metadata.level()).enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            let mut one_line = Record::builder();
            let one_line = one_line.metadata(record.metadata().clone());
            self.of(record.level()).log(&one_line.args(format_args!("{}", without_controls(&text))).build());
        }
    }

    fn flush(&self) {}
}

/// The text with its control characters escaped.
fn without_controls(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { escaped.extend(c.escape_debug()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

fn write_lines(inbox: &Receiver<Item>, dropped: &AtomicU64, out: &mut impl Write) {
    loop {
        match inbox.recv_timeout(Duration::from_secs(60)) {
            Ok(Item::Line(line)) => {
                let _ = out.write_all(&line);
            }
            Ok(Item::Flush(done)) => {
                let _ = out.flush();
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(out, "[WARN] log lines dropped because stderr was not read count={lost}");
        }
    }
}

/// Collects what the logger writes into whole lines and queues them without waiting.
struct LineWriter {
    line: Vec<u8>,
    lines: Sender<Item>,
    dropped: Arc<AtomicU64>,
    /// What each line starts with.
    priority: &'static str,
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if self.line.ends_with(b"\n") {
            self.queue();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LineWriter {
    fn queue(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if let Cow::Owned(masked) = mask_text(&String::from_utf8_lossy(&line)) {
            line = masked.into_bytes();
        }
        if line.len() > LOG_LINE_BYTES_MAX {
            line.truncate(LOG_LINE_BYTES_MAX);
            line.extend_from_slice(b" (cut)\n");
        }
        line.splice(0..0, self.priority.bytes());
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Item::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Shows a string that a client sent: quoted, control characters escaped, at most 200 characters. Card
/// numbers are masked before that: cut off or escaped, they could not be recognised.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in mask_text(self.0).chars().take(200) {
            match c {
                // `escape_debug` escapes it too, which a string in double quotes does not need.
                '\'' => f.write_str("'")?,
                _ => write!(f, "{}", c.escape_debug())?,
            }
        }
        f.write_str(if self.0.chars().nth(200).is_some() { "...\"" } else { "\"" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_strings_cannot_forge_lines() {
        assert_eq!(Escaped("a\nb\"\u{1b}[31m'c'").to_string(), r#""a\nb\"\u{1b}[31m'c'""#);
        assert_eq!(Escaped(&"x".repeat(300)).to_string().len(), 205);
    }

    #[test]
    fn each_record_is_one_line() {
        let (lines, inbox) = crossbeam_channel::bounded(8);
        let logger = Logger::new(LevelFilter::Info, &Config::default(), &lines, &Arc::default(), true);
        for text in ["cannot commit: disk I/O error\nsee above\u{1b}[31m", "é stays"] {
            let mut record = Record::builder();
            logger.log(&record.level(Level::Warn).args(format_args!("{text}")).build());
        }
        logger.log(&Record::builder().level(Level::Debug).args(format_args!("hidden")).build());
        drop((logger, lines));
        let mut out = Vec::new();
        write_lines(&inbox, &AtomicU64::new(0), &mut out);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].starts_with("<4>")
                && lines[0].ends_with(r"[WARN] cannot commit: disk I/O error\nsee above\u{1b}[31m"),
            "{text}"
        );
        assert!(lines[1].ends_with("[WARN] é stays"), "{text}");
    }

    #[test]
    fn no_line_shows_a_card_number() {
        assert_eq!(Escaped("\t4111111111111111").to_string(), r#""\t411111******1111""#);
        let cut = format!("{} 4111111111111111", "x".repeat(190));
        assert!(Escaped(&cut).to_string().ends_with("x 411111***...\""));
        let (lines, inbox) = crossbeam_channel::bounded(1);
        let mut writer = LineWriter { line: Vec::new(), lines, dropped: Arc::default(), priority: "" };
        for part in ["t [INFO] id=\"4111-1111-", "1111-1111\" é", "\n"] {
            writer.write_all(part.as_bytes()).unwrap();
        }
        drop(writer);
        let mut out = Vec::new();
        write_lines(&inbox, &AtomicU64::new(0), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "t [INFO] id=\"4111-11**-****-1111\" é\n");
    }

    #[test]
    fn a_stuck_reader_costs_lines_and_not_time() {
        let (lines, inbox) = crossbeam_channel::bounded(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer =
            LineWriter { line: Vec::new(), lines, dropped: Arc::clone(&dropped), priority: "<4>" };
        for _ in 0..5 {
            writer.write_all(b"t [WARN] something\n").unwrap();
        }
        drop(writer);
        let mut out = Vec::new();
        write_lines(&inbox, &dropped, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("<4>t [WARN] something\n"), "{text}");
        assert!(text.contains("count=3"), "{text}");
    }
}
