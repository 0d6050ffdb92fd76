//! A child's stderr, read on a thread so that it never blocks the child, kept for assertions.
//!
//! Invariant: bounded; of too much text the oldest goes, and says so.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use logs_ingest::host::thread;

const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
const LINE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    /// Lines that are gone from the front of `lines`.
    dropped: usize,
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    kept: Mutex<Kept>,
    changed: Condvar,
}

/// What a child said.
#[derive(Debug)]
pub(crate) struct Log {
    shared: Arc<Shared>,
    /// Ends with the child: not joined here, or a test that leaves a child behind would hang.
    _reader: JoinHandle<()>,
}

impl Log {
    pub(crate) fn read(stderr: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        let reader = thread::start("log-reader", move || writer.fill_from(stderr));
        Self { shared, _reader: reader.expect("the system gives a thread") }
    }

    pub(crate) fn text(&self) -> String {
        let kept = self.shared.lock();
        let mut text = String::with_capacity(kept.bytes + kept.lines.len() + 64);
        if kept.dropped > 0 {
            text.push_str(&format!("({} earlier lines were dropped)\n", kept.dropped));
        }
        for line in &kept.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// What `find` makes of the first line that it takes, now or within `limit`; `None` after the
    /// limit or the end of the stream.
    pub(crate) fn wait_for<T>(&self, limit: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let until = Instant::now() + limit;
        let mut seen = 0;
        let mut kept = self.shared.lock();
        loop {
            let unseen = kept.lines.iter().skip(usize::saturating_sub(seen, kept.dropped));
            if let Some(found) = unseen.into_iter().find_map(|line| find(line)) {
                return Some(found);
            }
            seen = kept.dropped + kept.lines.len();
            let left = until.saturating_duration_since(Instant::now());
            if kept.ended || left.is_zero() {
                return None;
            }
            kept = self.shared.wait(kept, left);
        }
    }

    /// Whether the stream ends within `limit`.
    pub(crate) fn wait_for_end(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut kept = self.shared.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if kept.ended || left.is_zero() {
                return kept.ended;
            }
            kept = self.shared.wait(kept, left);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A test that panicked with the lock held is the failure to be seen, not this one.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, kept: MutexGuard<'a, Kept>, limit: Duration) -> MutexGuard<'a, Kept> {
        self.changed.wait_timeout(kept, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    fn fill_from(&self, stderr: impl Read) {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = stderr.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            let mut kept = self.lock();
            if !matches!(read, Ok(1..)) {
                kept.ended = true;
                self.changed.notify_all();
                return;
            }
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            kept.bytes += text.len();
            kept.lines.push_back(text);
            while kept.bytes > KEPT_BYTES_MAX {
                let gone = kept.lines.pop_front().map_or(0, |line| line.len());
                kept.bytes -= gone;
                kept.dropped += 1;
            }
            drop(kept);
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_waited_for_and_kept_within_the_bound() {
        let long = format!("{}\n", "x".repeat(60 * 1024));
        let text = format!("first\n{}last", long.repeat(200));
        let log = Log::read(std::io::Cursor::new(text));
        let limit = Duration::from_secs(10);
        assert!(log.wait_for_end(limit));
        assert_eq!(log.wait_for(limit, |line| (line == "last").then_some(7)), Some(7));
        assert_eq!(log.wait_for(limit, |line| (line == "never").then_some(())), None);
        let kept = log.text();
        assert!(kept.len() < KEPT_BYTES_MAX + 1024, "{}", kept.len());
        assert!(kept.starts_with('(') && !kept.contains("first"), "{}", &kept[..60]);
    }
}
