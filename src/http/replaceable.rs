//! The `tiny_http` server behind the door, replaced by a new one when the door finds that it does not answer: a failed
//! `accept` ends its listening for good, and it does not say so.
//!
//! It listens in a folder that only this user may enter. Its public name is a hard link to the socket that it is bound
//! to, replaced by rename, because a server that is dropped connects to, and removes, the name that it was bound to.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tiny_http::Server;

use crate::limits::SOCKET_PATH_BYTES_MAX;

/// Names that are tried in the system's temporary folder.
const PRIVATE_NAMES_MAX: u32 = 8;
/// The longest name of a socket in the folder.
const LONGEST_NAME: &str = "http-4294967295.sock";

/// The server in use.
pub(super) struct ReplaceableServer {
    /// Locked for writing only while it is replaced.
    current: RwLock<Arc<Server>>,
    folder: PathBuf,
}

impl ReplaceableServer {
    /// Listens in a private folder below `data_dir`, or where its path would be too long for a socket, below the
    /// system's temporary folder.
    ///
    /// # Errors
    /// The folder or the socket cannot be made.
    pub(super) fn start(data_dir: &Path) -> io::Result<Self> {
        let folder = private_folder(data_dir)?;
        let current = RwLock::new(Arc::new(listen(&folder)?));
        Ok(Self { current, folder })
    }

    /// The socket on which the server in use listens.
    pub(super) fn path(&self) -> PathBuf {
        public_name(&self.folder)
    }

    pub(super) fn current(&self) -> Arc<Server> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a new server in its place. Returns the old one, which may have requests that it has not handed out.
    ///
    /// # Errors
    /// The new one cannot listen. The old one stays.
    pub(super) fn replace(&self) -> io::Result<Arc<Server>> {
        let server = Arc::new(listen(&self.folder)?);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut *current, server))
    }

    /// Removes the folder.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn public_name(folder: &Path) -> PathBuf {
    folder.join("http.sock")
}

fn private_folder(data_dir: &Path) -> io::Result<PathBuf> {
    let data_dir = fs::canonicalize(data_dir)?;
    let folder = data_dir.join("private");
    if folder.join(LONGEST_NAME).as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return fresh_folder(folder);
    }
    // Named after the data, so that a start finds what a killed daemon left; another user may have taken the name.
    let name = format!("logs-ingest-{:08x}", crc32fast::hash(data_dir.as_os_str().as_encoded_bytes()));
    let mut names = (1..=PRIVATE_NAMES_MAX).map(|n| std::env::temp_dir().join(format!("{name}-{n}")));
    names.find_map(|folder| fresh_folder(folder).ok()).ok_or_else(|| {
        let folder = std::env::temp_dir().join(name);
        io::Error::other(format!("cannot make a folder like {}-1 for a socket", folder.display()))
    })
}

/// Whatever a killed daemon left there goes; the spool's lock proves that it is ours.
fn fresh_folder(folder: PathBuf) -> io::Result<PathBuf> {
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}

fn listen(folder: &Path) -> io::Result<Server> {
    let is_free = |n: &u32| !folder.join(format!("http-{n}.sock")).exists();
    let n = (0..u32::MAX).find(is_free).unwrap_or_default();
    let own = folder.join(format!("http-{n}.sock"));
    let listener = UnixListener::bind(&own)?;
    let linked = folder.join("http.new");
    fs::hard_link(&own, &linked)?;
    fs::rename(&linked, public_name(folder))?;
    Server::from_listener(listener, None).map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_that_the_system_takes_is_used_and_no_longer_one() {
        let base = std::env::temp_dir().canonicalize().unwrap();
        let base = base.join(format!("logs-ingest-replaceable-{}", std::process::id()));
        let room = SOCKET_PATH_BYTES_MAX - "/private/".len() - LONGEST_NAME.len();
        let fits = room - base.as_os_str().len() - 1;
        for (len, is_below) in [(fits, true), (fits + 1, false)] {
            let data_dir = base.join("d".repeat(len));
            fs::create_dir_all(&data_dir).unwrap();
            let server = ReplaceableServer::start(&data_dir).unwrap();
            assert_eq!(server.folder.starts_with(&data_dir), is_below, "{len}");
            let longest = server.folder.join(LONGEST_NAME);
            assert!(UnixListener::bind(&longest).is_ok(), "{}", longest.display());
            let old = server.replace().unwrap();
            assert!(!Arc::ptr_eq(&old, &server.current()) && server.path().exists());
            drop(old);
            assert!(server.path().exists(), "a server that is dropped takes the public name with it");
            server.remove();
        }
        fs::remove_dir_all(base).unwrap();
    }
}
