//! What commands print: lines to a reader that may close its end, text that cannot harm a terminal, sizes
//! and times for people.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::time::Duration;

use chrono::{DateTime, Local};

/// Standard output, buffered. A reader that closes its end (`| head`) is not an error.
pub(super) struct Output<W: Write> {
    out: W,
    is_closed: bool,
}

impl Output<BufWriter<StdoutLock<'static>>> {
    pub(super) fn stdout() -> Self {
        Self::new(BufWriter::new(io::stdout().lock()))
    }
}

impl<W: Write> Output<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, is_closed: false }
    }

    /// One line. `false`: nobody reads any more.
    pub(super) fn line(&mut self, line: impl AsRef<str>) -> Result<bool, String> {
        let written = self.out.write_all(line.as_ref().as_bytes()).and_then(|()| self.out.write_all(b"\n"));
        self.note(written)
    }

    /// Passes on everything that was written so far.
    pub(super) fn flush(&mut self) -> Result<bool, String> {
        let flushed = self.out.flush();
        self.note(flushed)
    }

    fn note(&mut self, result: io::Result<()>) -> Result<bool, String> {
        match result {
            Ok(()) => Ok(!self.is_closed),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(false)
            }
            Err(error) => Err(format!("cannot write to standard output: {error}")),
        }
    }
}

/// Text that cannot move the cursor, colour the terminal or turn the reading direction.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if harmful(c) {
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// RFC 3339 as this machine's time: `2025-11-18 18:21:35`. What is not a time is shown as it is.
pub(super) fn local_time(rfc3339: &str) -> Cow<'_, str> {
    match DateTime::parse_from_rfc3339(rfc3339) {
        Ok(time) => Cow::Owned(time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string()),
        Err(_) => visible(rfc3339),
    }
}

/// `1,234,567`
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `3 events`, `1 event`
pub(super) fn some(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `512 B`, `1.4 KiB`, `12.0 GiB`
pub(super) fn size(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

/// The two largest parts: `45 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`
pub(super) fn time_span(span: Duration) -> String {
    let s = span.as_secs();
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_for_people() {
        for (number, want) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), want);
        }
        for (bytes, want) in [(0, "0 B"), (1_023, "1023 B"), (1_434, "1.4 KiB"), (3 << 30, "3.0 GiB")] {
            assert_eq!(size(bytes), want);
        }
        for (s, want) in
            [(0, "0 s"), (59, "59 s"), (725, "12 min 5 s"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")]
        {
            assert_eq!(time_span(Duration::from_secs(s)), want);
        }
        assert_eq!((some(1, "event"), some(2_000, "event")), ("1 event".into(), "2,000 events".into()));
    }

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(visible("a\tb\u{1b}[31m\u{202e}é"), r"a\tb\u{1b}[31m\u{202e}é");
        assert!(matches!(visible("plain é"), Cow::Borrowed("plain é")));
        assert_eq!(local_time("no\ttime"), r"no\ttime");
    }

    #[test]
    fn a_reader_that_closes_its_end_is_not_an_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut output = Output::new(Gone);
        assert_eq!(output.line("x"), Ok(false));
        assert_eq!(output.flush(), Ok(false));
    }
}
