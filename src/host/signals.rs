//! Signals as messages, and the wait of the main thread until the daemon is to end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, at, never, select};
use log::{error, info};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::host::exit::Exit;
use crate::host::thread::{self, Ended};
use crate::limits::RELOAD_INTERVAL;

/// What the administrator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop(&'static str),
    /// SIGHUP. However many arrive at once, at most one message waits.
    Reload,
}

/// Starts receiving. A second stop signal changes nothing: the first stop has its deadline.
///
/// # Errors
/// The system's.
pub fn listen() -> io::Result<Receiver<Signal>> {
    listen_and_note(Arc::default())
}

/// The same, and `stopping` is set with the first stop signal, for work that is too long to wait for.
///
/// # Errors
/// The system's.
pub fn listen_and_note(stopping: Arc<AtomicBool>) -> io::Result<Receiver<Signal>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (sender, receiver) = crossbeam_channel::bounded(8);
    // Essential: a daemon that cannot be stopped loses what it has in hand when it is killed. Never joined: it waits
    // for signals as long as the process lives.
    let _thread = thread::essential("signals", move || {
        for signal in signals.forever() {
            let message = match signal {
                SIGTERM => Signal::Stop("SIGTERM"),
                SIGINT => Signal::Stop("SIGINT"),
                // A reload waits already, and a stop must find room.
                _ if !sender.is_empty() => continue,
                _ => Signal::Reload,
            };
            stopping.fetch_or(message != Signal::Reload, Ordering::AcqRel);
            // Full or gone: a stop is under way already.
            let _ = sender.try_send(message);
        }
    })?;
    Ok(receiver)
}

/// Waits until a signal says stop (`Ok`), or an essential thread has ended (`Software`). Meanwhile each SIGHUP
/// calls `reload`, at most once per [`RELOAD_INTERVAL`], and always once after the last of them.
#[must_use]
pub fn wait(signals: &Receiver<Signal>, ends: &Receiver<Ended>, mut reload: impl FnMut()) -> Exit {
    let mut not_before = Instant::now();
    let mut due = never();
    loop {
        select! {
            recv(ends) -> ended => {
                let ended = ended.map_or_else(|error| error.to_string(), |ended| ended.to_string());
                error!("BUG: {ended}: the process ends, so that it is started again");
                return Exit::Software;
            }
            recv(due) -> _ => {
                reload();
                not_before = Instant::now() + RELOAD_INTERVAL;
                due = never();
            }
            recv(signals) -> signal => match signal {
                Ok(Signal::Reload) => due = at(not_before),
                Ok(Signal::Stop(name)) => {
                    info!("{name}: stopping");
                    return Exit::Ok;
                }
                // The thread that receives them has ended.
                Err(_) => return Exit::Software,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Sender, bounded};

    /// A run of the daemon with one thread, started by `start`.
    fn run_with<T>(start: impl FnOnce(Sender<Ended>) -> T) -> (T, Exit) {
        let (sender, ends) = bounded(1);
        // In the test's hands beyond the thread's end, as the daemon's is.
        let thread = start(sender.clone());
        (thread, wait(&never(), &ends, || ()))
    }

    #[test]
    fn the_end_of_an_essential_thread_ends_the_run_by_panic_and_by_return() {
        let (thread, exit) = run_with(|ends| thread::reporting("t-panics", ends, || panic!("on purpose")));
        assert_eq!(exit, Exit::Software);
        assert!(thread.unwrap().join().is_err());
        let (thread, exit) = run_with(|ends| thread::reporting("t-returns", ends, || 7));
        assert_eq!(exit, Exit::Software);
        assert_eq!(thread.unwrap().join().unwrap(), 7);
    }

    #[test]
    fn an_end_says_which_thread_and_how() {
        let (sender, ends) = bounded(1);
        for (by_panic, want) in [
            (true, "an essential thread has ended thread=t-ends by=panic"),
            (false, "an essential thread has ended thread=t-ends by=return"),
        ] {
            let body = move || assert!(!by_panic, "on purpose");
            let thread = thread::reporting("t-ends", sender.clone(), body).unwrap();
            assert_eq!(ends.recv().unwrap().to_string(), want);
            assert_eq!(thread.join().is_err(), by_panic);
        }
    }

    #[test]
    fn other_threads_may_panic_and_essential_ones_may_end_once_a_stop_was_asked_for() {
        let (sender, ends) = bounded(1);
        let (signal, signals) = bounded(8);
        let dies = thread::start("t-dies", || panic!("on purpose")).unwrap();
        assert!(dies.join().is_err());
        signal.send(Signal::Reload).unwrap();
        let mut reloads = 0;
        let stop = || {
            reloads += 1;
            signal.send(Signal::Stop("SIGTERM")).unwrap();
        };
        assert_eq!(wait(&signals, &ends, stop), Exit::Ok);
        assert_eq!(reloads, 1);
        thread::reporting("t-stops", sender, || ()).unwrap().join().unwrap();
    }
}
