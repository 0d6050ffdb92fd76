//! Panics: one log line each. What else a panic costs is decided where its thread is started (`host::thread`), or
//! where it is caught.

use std::cell::Cell;

use log::error;

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// How many panics this thread has seen since [`log_panics`], also those that were caught. A client library may catch
/// its own.
#[must_use]
pub fn panics_here() -> u64 {
    PANICS.get()
}

/// From now on a panic is one log line, on whichever thread.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.set(PANICS.get() + 1);
        let text = panic.payload_as_str().unwrap_or("(no text)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        error!("BUG: panic thread={} at={place} text={text:?}", thread.name().unwrap_or("unnamed"));
    }));
}
