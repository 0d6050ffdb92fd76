//! The one way to start a thread: named, so that `ps -L` and panic messages tell which it is, and
//! joined, so that a stop is a stop.

use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Starts a thread called `name` (at most 15 bytes are shown by Linux).
///
/// Errors: the system's, when it gives no more threads.
pub fn start<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    #[expect(clippy::disallowed_methods, reason = "the wrapper itself")]
    Builder::new().name(name.to_owned()).spawn(body)
}

/// Waits for a thread to end, but not for ever. False: it goes on, left behind.
#[must_use]
pub fn join_within<T>(handle: JoinHandle<T>, within: Duration) -> bool {
    const LOOK: Duration = Duration::from_millis(2);
    let until = Instant::now() + within;
    // std has no timed join; this is for stopping alone, where a look each 2 ms costs nothing.
    while !handle.is_finished() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    handle.join().is_ok()
}
