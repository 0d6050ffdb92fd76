//! Messages to the service manager, and the sockets that it hands over. Without a manager nothing happens.
//!
//! Invariants: the main thread never waits for the manager (a thread of its own sends, and is never joined); the
//! watchdog is fed only while the daemon's loops move, so that the manager restarts a daemon that hangs.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use listenfd::ListenFd;
use log::{info, warn};
use rustix::net::sockopt::socket_acceptconn;
use sd_notify::NotifyState;

use crate::host::thread;
use crate::limits::SYSTEMD_LOOK;

/// The daemon's state, for the manager.
pub struct Pulse {
    /// Whether the loops move; while false, the watchdog is not fed.
    pub moves: Box<dyn Fn() -> bool + Send>,
    /// How the daemon is, in one sentence.
    pub status: Box<dyn Fn() -> String + Send>,
}

/// A change that is reported at once.
enum News {
    Reloaded,
    Stopping,
}

/// The connection to the manager.
#[derive(Debug)]
pub struct Manager(Option<Sender<News>>);

impl Manager {
    /// Reports that the daemon is ready, and from now on its state. Without NOTIFY_SOCKET it does nothing.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(pulse: Pulse) -> io::Result<Self> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self(None));
        }
        let (sender, inbox) = crossbeam_channel::bounded(4);
        let watchdog = sd_notify::watchdog_enabled();
        // Essential: without it the watchdog would end the process anyway, later. Never joined: the manager may be
        // slow to take what it is sent.
        let _thread = thread::essential("systemd", move || talk(&inbox, &pulse, watchdog))?;
        Ok(Self(Some(sender)))
    }

    /// Files were reloaded.
    pub fn reloaded(&self) {
        self.report(News::Reloaded);
    }

    /// No more requests are taken.
    pub fn stopping(&self) {
        self.report(News::Stopping);
    }

    fn report(&self, news: News) {
        if let Some(sender) = &self.0 {
            // Full: the thread waits for the manager, which will see the end by itself.
            let _ = sender.try_send(news);
        }
    }
}

fn talk(inbox: &Receiver<News>, pulse: &Pulse, watchdog: Option<Duration>) {
    let look = interval(watchdog);
    let mut last = (pulse.status)();
    let mut hangs = false;
    say(&[NotifyState::Ready, NotifyState::Status(&last)]);
    loop {
        match inbox.recv_timeout(look) {
            Ok(News::Stopping) => {
                say(&[
                    NotifyState::Stopping,
                    NotifyState::Status("stopping: stores and answers what it has taken"),
                ]);
                return;
            }
            Ok(News::Reloaded) => say(&[NotifyState::Ready]),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let moves = (pulse.moves)();
        if moves == hangs {
            hangs = !moves;
            match moves {
                true => info!("all loops of the daemon run again, the watchdog is fed again"),
                false => warn!("a loop of the daemon hangs, the watchdog is not fed: see GET /livez"),
            }
        }
        if moves && watchdog.is_some() {
            say(&[NotifyState::Watchdog]);
        }
        let status = (pulse.status)();
        if status != last {
            say(&[NotifyState::Status(&status)]);
            last = status;
        }
    }
}

/// Often enough for the watchdog, and for people who read `systemctl status`.
fn interval(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(SYSTEMD_LOOK, |limit| (limit / 3).min(SYSTEMD_LOOK))
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("cannot send to the service manager: {error}");
    }
}

/// Sockets that the manager listens on for the daemon (a .socket unit).
#[derive(Debug, Default)]
pub struct Handed {
    /// For the network.
    pub tcp: Vec<TcpListener>,
    /// For programs on this machine.
    pub unix: Vec<UnixListener>,
}

impl Handed {
    /// Takes them over.
    ///
    /// # Errors
    /// One of them is not a listening stream socket.
    pub fn take() -> Result<Self, String> {
        let mut handed = ListenFd::from_env();
        let mut found = Self::default();
        for nth in 0..handed.len() {
            let wrong = || {
                format!(
                    "socket {nth} that the service manager hands over is not one to listen on by TCP or as a Unix stream: \
                     use ListenStream= (and Accept=no) in the .socket unit"
                )
            };
            let listens = if let Ok(Some(listener)) = handed.take_tcp_listener(nth) {
                let listens = socket_acceptconn(&listener);
                found.tcp.push(listener);
                listens
            } else if let Ok(Some(listener)) = handed.take_unix_listener(nth) {
                let listens = socket_acceptconn(&listener);
                found.unix.push(listener);
                listens
            } else {
                Ok(false)
            };
            if !listens.unwrap_or(false) {
                return Err(wrong());
            }
        }
        Ok(found)
    }
}

/// The daemon's state in one sentence, for `systemctl status`. `up`: the store that takes events now, if not the spool.
/// `missing`: the first store that is down, and since when.
#[must_use]
pub fn sentence(up: Option<&str>, missing: Option<(&str, &str)>, held: u64, writable: bool) -> String {
    let to = up.unwrap_or("the spool");
    let waits = match held {
        0 => "nothing waits".to_owned(),
        1 => "1 event waits".to_owned(),
        held => format!("{held} events wait"),
    };
    match missing {
        _ if up.is_none() && !writable => format!("events cannot be stored now; {waits}"),
        Some((name, since)) => format!("{name} is down since {since}: events go to {to}, {waits}"),
        None => format!("events go to {to}, {waits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_where_events_go_and_what_waits() {
        let since = "2026-01-31T09:15:00.125Z";
        for (up, missing, held, writable, want) in [
            (Some("kafka"), None, 0, true, "events go to kafka, nothing waits"),
            (None, None, 0, true, "events go to the spool, nothing waits"),
            (
                Some("postgres"),
                Some(("kafka", since)),
                7,
                true,
                "kafka is down since 2026-01-31T09:15:00.125Z: events go to postgres, 7 events wait",
            ),
            (
                None,
                Some(("kafka", since)),
                1,
                true,
                "kafka is down since 2026-01-31T09:15:00.125Z: events go to the spool, 1 event waits",
            ),
            (None, Some(("kafka", since)), 9, false, "events cannot be stored now; 9 events wait"),
        ] {
            assert_eq!(sentence(up, missing, held, writable), want);
        }
    }

    #[test]
    fn the_watchdog_is_fed_in_time() {
        assert_eq!(interval(None), SYSTEMD_LOOK);
        assert_eq!(interval(Some(Duration::from_secs(30))), SYSTEMD_LOOK);
        assert_eq!(interval(Some(Duration::from_millis(900))), Duration::from_millis(300));
    }
}
