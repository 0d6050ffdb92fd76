//! How commands on the same machine reach the running daemon: a Unix socket in its data folder, for its own user and
//! root. The spool has one writer, so a command asks it for every change.
//!
//! One request per connection: a line of JSON, answered by another. Invariants: the socket is not reachable from the
//! network; a silent peer delays the next one for a bounded time.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use log::warn;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use serde::{Deserialize, Serialize};

use crate::host::thread;
use crate::limits::{CONTROL_ANSWER_LIMIT, CONTROL_BYTES_MAX, CONTROL_LOOK, CONTROL_PEER_LIMIT};
use crate::store::spool::{Fate, Spool};
use crate::store::{Refusal, StoreError, WriteResult};

/// Its name in the data folder.
const SOCKET: &str = "control.sock";

/// Retry or discard these dead letters.
#[derive(Debug, Serialize, Deserialize)]
struct SettleRequest {
    fate: Fate,
    ids: Vec<String>,
}

/// One entry per id, in order.
#[derive(Debug, Serialize, Deserialize)]
struct SettleResponse {
    settled: Vec<Settled>,
}

/// What became of a dead letter that was to be settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Settled {
    /// It is sent again, or deleted.
    Done,
    /// This store has no such letter.
    Unknown,
    /// It stays as it is; why.
    Refused(String),
}

impl From<WriteResult> for Settled {
    fn from(result: WriteResult) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(StoreError::Rejected(Refusal::NoSuchLetter, _)) => Self::Unknown,
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

/// The listening end.
#[derive(Debug)]
pub struct Control {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    path: PathBuf,
}

impl Control {
    /// Listens in `dir`, whose lock the caller has.
    ///
    /// # Errors
    /// The system gives no socket or thread.
    pub fn start(dir: &Path, spool: Spool) -> io::Result<Self> {
        let path = dir.join(SOCKET);
        // What a killed daemon left.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (_folder, short) = short_name(dir)?;
        let listener = UnixListener::bind(short)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        // So that the thread checks now and then whether it should end.
        set_socket_timeout(&listener, Timeout::Recv, Some(CONTROL_LOOK))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        // Not essential: events come and go without it, and so does the daemon where it cannot be started at all.
        let thread = thread::start("control", move || {
            while !stop.load(Ordering::Acquire) {
                if let Ok((peer, _)) = listener.accept()
                    && let Err(error) = serve(&peer, &spool)
                {
                    warn!("a command's request cannot be answered cause={:?}", error.to_string());
                }
            }
        })?;
        Ok(Self { stopping, thread, path })
    }

    /// Ends the thread. False: it did not end in time.
    #[must_use]
    pub fn stop(self, within: Duration) -> bool {
        self.stopping.store(true, Ordering::Release);
        let ended = thread::join_within(self.thread, within).is_some();
        let _ = fs::remove_file(self.path);
        ended
    }
}

fn serve(peer: &UnixStream, spool: &Spool) -> io::Result<()> {
    peer.set_nonblocking(false)?;
    let request: SettleRequest = receive(peer, CONTROL_PEER_LIMIT)?;
    let results = spool.settle_letters(request.ids, request.fate);
    send(peer, &SettleResponse { settled: results.into_iter().map(Settled::from).collect() })
}

/// Asks the daemon of the spool in `dir` to settle dead letters; one entry per id, in order. None: no daemon
/// listens there.
///
/// # Errors
/// A text for people: a daemon is there, but gave no answer.
pub fn settle_letters(dir: &Path, fate: Fate, ids: &[String]) -> Result<Option<Vec<Settled>>, String> {
    let peer = short_name(dir).and_then(|(_folder, short)| UnixStream::connect(short));
    let peer = match peer {
        Ok(peer) => peer,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(no_answer(dir, &error)),
    };
    let response: SettleResponse = send(&peer, &SettleRequest { fate, ids: ids.to_vec() })
        .and_then(|()| receive(&peer, CONTROL_ANSWER_LIMIT))
        .map_err(|error| no_answer(dir, &error))?;
    if response.settled.len() != ids.len() {
        return Err(no_answer(dir, &io::Error::from(ErrorKind::InvalidData)));
    }
    Ok(Some(response.settled))
}

fn no_answer(dir: &Path, error: &io::Error) -> String {
    format!(
        "cannot reach the daemon over {}: {error}: run this as the daemon's user or as root; if that does not help, \
         see the daemon's log",
        dir.join(SOCKET).display()
    )
}

fn send(peer: &UnixStream, what: &impl Serialize) -> io::Result<()> {
    peer.set_write_timeout(Some(CONTROL_PEER_LIMIT))?;
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    let mut peer = peer;
    peer.write_all(&line)
}

fn receive<T: for<'a> Deserialize<'a>>(peer: &UnixStream, within: Duration) -> io::Result<T> {
    peer.set_read_timeout(Some(within))?;
    let mut line = Vec::new();
    BufReader::new(peer.take(CONTROL_BYTES_MAX)).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

/// The socket's path, always short: Linux takes 108 bytes, and a data folder's path may be longer.
fn short_name(dir: &Path) -> io::Result<(File, PathBuf)> {
    let folder = File::open(dir)?;
    let name = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
    Ok((folder, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::SystemClock;
    use crate::store::spool::Settings;

    #[test]
    fn a_request_is_answered_at_the_end_of_a_long_path_and_nobody_listens_after_the_stop() {
        let root = std::env::temp_dir().join(format!("logs-ingest-control-{}", std::process::id()));
        let dir = root.join("x".repeat(120));
        assert_eq!(settle_letters(&dir, Fate::Retry, &["a".into()]), Ok(None));
        let settings = Settings {
            dir: dir.clone(),
            max_bytes: None,
            keep: Duration::from_secs(1 << 20),
            clock: SystemClock::shared(),
            clock_trusted_after: Duration::ZERO,
            instance: "test".to_owned(),
            stopping: Arc::default(),
            destination: None,
        };
        let spool = Spool::open(&settings).unwrap();
        fs::write(dir.join(SOCKET), "left by a killed daemon").unwrap();
        let control = Control::start(&dir, spool.clone()).unwrap();
        let said = settle_letters(&dir, Fate::Discard, &["a".into(), "b".into()]).unwrap().unwrap();
        assert_eq!(said, [Settled::Unknown, Settled::Unknown]);
        // A peer that sends nonsense is dropped, and the next one is served.
        let (_folder, short) = short_name(&dir).unwrap();
        UnixStream::connect(short).unwrap().write_all(b"what?\n").unwrap();
        assert!(settle_letters(&dir, Fate::Retry, &["a".into()]).unwrap().is_some());
        assert!(control.stop(Duration::from_secs(60)));
        assert_eq!(settle_letters(&dir, Fate::Retry, &["a".into()]), Ok(None));
        assert!(spool.close(Duration::from_secs(60)));
        fs::remove_dir_all(root).unwrap();
    }
}
