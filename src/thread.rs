//! The one way to start a thread: named, so that `ps -L` and panic messages tell which it is, and
//! joined, so that a stop is a stop.

use std::io;
use std::thread::{Builder, JoinHandle};

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
