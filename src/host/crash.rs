//! Panics: one log line each. What else a panic costs is decided where its thread is started (`host::thread`), or
//! where it is caught.

use log::error;

/// From now on a panic is one log line, on whichever thread.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("(no text)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        error!("BUG: panic thread={} at={place} text={text:?}", thread.name().unwrap_or("unnamed"));
    }));
}
