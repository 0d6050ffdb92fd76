//! A service manager's end of the notify socket.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::TempDir;
use super::daemon::{Builder, Daemon};

const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Manager {
    socket: UnixDatagram,
    home: TempDir,
}

impl Manager {
    pub(crate) fn new() -> Self {
        let home = TempDir::new();
        let socket = UnixDatagram::bind(home.path().join("notify")).expect("a writable folder");
        Self { socket, home }
    }

    /// What NOTIFY_SOCKET says.
    pub(crate) fn path(&self) -> PathBuf {
        self.home.path().join("notify")
    }

    /// A daemon that tells it.
    pub(crate) fn daemon(&self) -> Builder {
        Daemon::builder().env("NOTIFY_SOCKET", self.path().display())
    }

    /// The next message that has this text in it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.next_with(LIMIT, text).unwrap_or_else(|| panic!("the manager never heard {text:?}"))
    }

    /// Whether a message with this text comes within that time.
    pub(crate) fn said_within(&self, limit: Duration, text: &str) -> bool {
        self.next_with(limit, text).is_some()
    }

    /// Forgets what came so far.
    pub(crate) fn forget(&self) {
        while self.next_with(Duration::from_millis(1), "").is_some() {}
    }

    fn next_with(&self, limit: Duration, text: &str) -> Option<String> {
        let until = Instant::now() + limit;
        loop {
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.socket.set_read_timeout(Some(left)).expect("a socket");
            let mut message = [0; 4_096];
            match self.socket.recv(&mut message) {
                Ok(count) => {
                    let message = String::from_utf8_lossy(&message[..count]).into_owned();
                    if message.contains(text) {
                        return Some(message);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return None;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
