//! Panics as log lines: where, in which thread, and that it is a bug.

use log::error;

/// From now on a panic is one log line.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("(no text)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("?").to_owned();
        error!("BUG: panic thread={thread} at={place} text={text:?}");
    }));
}
