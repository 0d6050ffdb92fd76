//! Panics: one log line each, and the end of the process where a thread died that it can't do without.

use crossbeam_channel::{Receiver, bounded};
use log::error;

/// Threads whose panic costs what they were doing and nothing else: workers catch it, helpers are
/// replaced by their owners.
const REPLACEABLE: &[&str] = &["kafka-classic", "postgres"];

/// From now on a panic is one log line. A message arrives when a thread is gone that nobody replaces.
#[must_use]
pub fn report_panics() -> Receiver<()> {
    let (dead, died) = bounded(1);
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or("(no text)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("?").to_owned();
        error!("BUG: panic thread={thread} at={place} text={text:?}");
        if !is_replaceable(&thread) {
            // Full: the process is ending already.
            let _ = dead.try_send(());
        }
    }));
    died
}

fn is_replaceable(thread: &str) -> bool {
    let number = ["http-", "batch-"].iter().find_map(|pool| thread.strip_prefix(pool));
    let is_worker = number.is_some_and(|number| number.bytes().all(|c| c.is_ascii_digit()));
    is_worker || REPLACEABLE.contains(&thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_threads_that_are_replaced_may_die() {
        for thread in ["http-0", "http-17", "batch-0", "kafka-classic", "postgres"] {
            assert!(is_replaceable(thread), "{thread}");
        }
        for thread in ["producer", "recovery", "spool", "door", "kafka-probe", "pg-probe", "http-keeper", "?"]
        {
            assert!(!is_replaceable(thread), "{thread}");
        }
    }
}
