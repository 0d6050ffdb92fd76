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

/// Waits for a thread to end, but not for ever, and takes what it gives back. None: it goes on, left
/// behind, or it panicked.
#[must_use]
pub fn join_within<T>(handle: JoinHandle<T>, within: Duration) -> Option<T> {
    wait_until(|| handle.is_finished(), Instant::now() + within).then(|| handle.join().ok()).flatten()
}

/// Looks at a condition until it holds or the time is over: then false. For stopping alone, where std has
/// nothing to wait on and a look each 2 ms costs nothing.
#[must_use]
pub fn wait_until(condition: impl Fn() -> bool, until: Instant) -> bool {
    const LOOK: Duration = Duration::from_millis(2);
    while !condition() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}
