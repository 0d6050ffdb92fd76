//! What the service manager is told, and the sockets that it hands over. Without one, nothing happens.
//!
//! Invariants: the main thread never waits for the manager (a thread of its own talks to it, and is never joined);
//! the watchdog is fed only while the daemon's loops move, so that one that stands still is started anew.

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

/// What the manager is told of.
pub struct Pulse {
    /// Whether the loops move; false ends the feeding of the watchdog.
    pub moves: Box<dyn Fn() -> bool + Send>,
    /// How the daemon is, in one sentence.
    pub status: Box<dyn Fn() -> String + Send>,
}

/// A change that the manager is told at once.
enum News {
    Reloaded,
    Stopping,
}

/// The line to the manager.
#[derive(Debug)]
pub struct Manager(Option<Sender<News>>);

impl Manager {
    /// Says that the daemon is ready, and from now on how it is. Without NOTIFY_SOCKET it does nothing.
    ///
    /// Errors: no thread to be had.
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

    /// Files were read anew.
    pub fn reloaded(&self) {
        self.tell(News::Reloaded);
    }

    /// No more requests are taken.
    pub fn stopping(&self) {
        self.tell(News::Stopping);
    }

    fn tell(&self, news: News) {
        if let Some(sender) = &self.0 {
            // Full: it waits for the manager, who will see the end by itself.
            let _ = sender.try_send(news);
        }
    }
}

fn talk(inbox: &Receiver<News>, pulse: &Pulse, watchdog: Option<Duration>) {
    let look = interval(watchdog);
    let mut told = (pulse.status)();
    let mut stands_still = false;
    say(&[NotifyState::Ready, NotifyState::Status(&told)]);
    loop {
        match inbox.recv_timeout(look) {
            Ok(News::Stopping) => {
                say(&[
                    NotifyState::Stopping,
                    NotifyState::Status("stores and answers what it took, then stops"),
                ]);
                return;
            }
            Ok(News::Reloaded) => say(&[NotifyState::Ready]),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let moves = (pulse.moves)();
        if moves == stands_still {
            stands_still = !moves;
            match moves {
                true => info!("the daemon's loops move again, the watchdog is fed again"),
                false => warn!("a loop of the daemon stands still, the watchdog is not fed: see GET /livez"),
            }
        }
        if moves && watchdog.is_some() {
            say(&[NotifyState::Watchdog]);
        }
        let status = (pulse.status)();
        if status != told {
            say(&[NotifyState::Status(&status)]);
            told = status;
        }
    }
}

/// Often enough for the watchdog, and for whoever reads `systemctl status`.
fn interval(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(SYSTEMD_LOOK, |limit| (limit / 3).min(SYSTEMD_LOOK))
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("the service manager can't be told: {error}");
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
    /// Errors: one that is no listening stream socket, in one sentence.
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

/// How the daemon is, for `systemctl status`. `up`: the store that takes events now, of those behind the network.
#[must_use]
pub fn sentence(up: Option<&str>, missing: Option<(&str, &str)>, held: u64, writable: bool) -> String {
    let to = up.unwrap_or("the spool");
    let waits = match held {
        0 => "nothing waits".to_owned(),
        1 => "1 event waits".to_owned(),
        held => format!("{held} events wait"),
    };
    match missing {
        _ if up.is_none() && !writable => format!("events can't be stored now; {waits}"),
        Some((name, since)) => format!("{name} is away since {since}: events go to {to}, {waits}"),
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
                "kafka is away since 2026-01-31T09:15:00.125Z: events go to postgres, 7 events wait",
            ),
            (
                None,
                Some(("kafka", since)),
                1,
                true,
                "kafka is away since 2026-01-31T09:15:00.125Z: events go to the spool, 1 event waits",
            ),
            (None, Some(("kafka", since)), 9, false, "events can't be stored now; 9 events wait"),
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
