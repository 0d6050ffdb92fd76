//! Signals as messages.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Receiver;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::host::thread;

/// What the administrator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop(&'static str),
    /// SIGHUP. Of a storm, one message waits at the most.
    Reload,
}

/// Starts receiving. A second stop signal changes nothing: the first stop has its deadline.
///
/// Errors: the system's.
pub fn listen() -> io::Result<Receiver<Signal>> {
    listen_and_note(Arc::default())
}

/// The same, and `stopping` is set with the first stop signal, for work that is too long to wait for.
///
/// Errors: the system's.
pub fn listen_and_note(stopping: Arc<AtomicBool>) -> io::Result<Receiver<Signal>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (sender, receiver) = crossbeam_channel::bounded(8);
    // Never joined: it waits for signals as long as the process lives.
    let _thread = thread::start("signals", move || {
        for signal in signals.forever() {
            let message = match signal {
                SIGTERM => Signal::Stop("SIGTERM"),
                SIGINT => Signal::Stop("SIGINT"),
                // What waits is still to be done, and a stop must find room.
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
