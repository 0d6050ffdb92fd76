//! The one way to start a thread: named, so that `ps -L` and panic messages say which it is, and joined, so that a
//! stop is a stop. A thread that the daemon cannot do without is started by [`essential`].
//!
//! Invariant: the end of an essential thread, by a panic or not, ends the process, unless the daemon is stopping.

use std::fmt;
use std::io;
use std::sync::LazyLock;
use std::thread::{Builder, JoinHandle, panicking};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

/// The first end is enough: the process ends with it.
static ENDS: LazyLock<(Sender<Ended>, Receiver<Ended>)> = LazyLock::new(|| bounded(1));

/// A thread has ended that the daemon cannot do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub thread: String,
    /// Or it returned, which is as bad.
    pub by_panic: bool,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.by_panic { "panic" } else { "return" };
        write!(f, "an essential thread has ended thread={} by={how}", self.thread)
    }
}

/// Starts a thread called `name` (Linux shows at most 15 bytes). A panic on it costs what it was doing and is one
/// log line: for threads that their owner replaces, or that the daemon can do without.
///
/// # Errors
/// The system gives no more threads.
pub fn start<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    #[expect(clippy::disallowed_methods, reason = "the wrapper itself")]
    Builder::new().name(name.to_owned()).spawn(body)
}

/// Starts a thread that the daemon cannot do without: its end arrives at [`ends`].
///
/// # Errors
/// The system gives no more threads.
pub fn essential<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    reporting(name, ENDS.0.clone(), body)
}

/// Where the ends of essential threads arrive. Who stops the daemon no longer looks here: a thread that ends
/// because of the stop is not a failure, and one that panics then is found when it is joined.
#[must_use]
pub fn ends() -> &'static Receiver<Ended> {
    &ENDS.1
}

/// [`essential`], with a channel of the caller's.
pub(super) fn reporting<T: Send + 'static>(
    name: &str,
    ends: Sender<Ended>,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let reporter = EndReporter { thread: name.to_owned(), ends };
    start(name, move || {
        let _reports_the_end = reporter;
        body()
    })
}

/// Reports the end of the thread that owns it.
struct EndReporter {
    thread: String,
    ends: Sender<Ended>,
}

impl Drop for EndReporter {
    fn drop(&mut self) {
        let ended = Ended { thread: std::mem::take(&mut self.thread), by_panic: panicking() };
        // Full: another thread has ended before, which is enough.
        let _ = self.ends.try_send(ended);
    }
}

/// Waits for a thread to end, up to a limit, and takes what it gives back. None: it still runs and is left
/// behind, or it panicked.
#[must_use]
pub fn join_within<T>(handle: JoinHandle<T>, within: Duration) -> Option<T> {
    wait_until(|| handle.is_finished(), Instant::now() + within).then(|| handle.join().ok()).flatten()
}

/// Looks at a condition until it holds, or the time is over: then false. Only for stopping, where std has
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
