//! How far a long command is: a bar on a terminal, a line now and then elsewhere; and the first problems with single
//! events.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::output::{count, some, time_span};

/// A bar is drawn this often, lines are written less often.
const BAR_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(10);
const BAR_WIDTH: usize = 24;
/// Problems that are shown one by one.
const PROBLEMS_SHOWN: u64 = 20;

/// See the module.
pub(super) struct Meter {
    began: Instant,
    shown: Instant,
    bar: bool,
    problems: u64,
}

impl Meter {
    /// `quiet`: no bar, because the output is for programs.
    pub(super) fn new(quiet: bool) -> Self {
        let now = Instant::now();
        Self { began: now, shown: now, bar: !quiet && io::stderr().is_terminal(), problems: 0 }
    }

    /// Something that went wrong with one event.
    pub(super) fn problem(&mut self, what: &str) {
        self.problems += 1;
        if self.problems <= PROBLEMS_SHOWN {
            self.note(what);
        }
        if self.problems == PROBLEMS_SHOWN {
            eprintln!("more of these are only counted");
        }
    }

    /// Something that people should read now.
    pub(super) fn note(&self, what: &str) {
        self.wipe();
        eprintln!("{what}");
    }

    /// So many events are done, and this part of all, where that is known.
    pub(super) fn show(&mut self, events: u64, share: Option<f64>) {
        let every = if self.bar { BAR_EVERY } else { LINE_EVERY };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let line = line(events, self.began.elapsed(), share);
        match (self.bar, share) {
            (true, Some(share)) => eprint!("\r\x1b[K{} {line}", bar(share)),
            (true, None) => eprint!("\r\x1b[K{line}"),
            (false, _) => eprintln!("{line}"),
        }
        let _ = io::stderr().flush();
    }

    /// How long it took.
    pub(super) fn finish(&self) -> Duration {
        self.wipe();
        self.began.elapsed()
    }

    fn wipe(&self) {
        if self.bar {
            eprint!("\r\x1b[K");
        }
    }
}

/// `[########                ]  33 %`
fn bar(share: f64) -> String {
    let full = (share * BAR_WIDTH as f64) as usize;
    format!("[{:<BAR_WIDTH$}] {:>3.0} %", "#".repeat(full.min(BAR_WIDTH)), share * 100.0)
}

/// `12,000 events, 1,000/s, 2 min 30 s left`
fn line(events: u64, elapsed: Duration, share: Option<f64>) -> String {
    let rate = events as f64 / elapsed.as_secs_f64().max(0.001);
    let left = match share {
        Some(share) if share > 0.01 => {
            let left = elapsed.as_secs_f64() * (1.0 - share) / share;
            format!(", {} left", time_span(Duration::from_secs_f64(left.clamp(0.0, 1e9))))
        }
        _ => String::new(),
    };
    format!("{}, {}/s{left}", some(events, "event"), count(rate as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_the_share_that_is_done() {
        let ten = Duration::from_secs(10);
        assert_eq!(line(5_000, ten, Some(0.25)), "5,000 events, 500/s, 30 s left");
        assert_eq!(line(5_000, ten, Some(0.001)), "5,000 events, 500/s");
        assert_eq!(line(1, ten, None), "1 event, 0/s");
        assert_eq!(bar(0.0), format!("[{}]   0 %", " ".repeat(BAR_WIDTH)));
        assert_eq!(bar(1.0), format!("[{}] 100 %", "#".repeat(BAR_WIDTH)));
        assert!(bar(0.5).starts_with("[############ "), "{}", bar(0.5));
    }
}
