//! The file of the Unix socket: one that a daemon left behind is replaced, one that is in use is not touched.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mio::net::UnixStream;

use crate::host::thread;
use crate::limits::{LISTEN_BACKLOG, STOP_LOOK};

/// The daemon's user and its group may connect.
const MODE: u32 = 0o660;

/// The file of a bound socket. It is removed when this is dropped, if it is still the same file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Binds a socket to `path`.
    ///
    /// # Errors
    /// What is wrong with the path, and what to do.
    pub fn bind(path: &Path) -> Result<(Self, UnixListener), String> {
        let name = path.display();
        let failed = |error: io::Error| format!("cannot listen on UNIX_SOCKET {name}: {error}");
        // Two daemons that start at once must not both find the same file unused.
        let folder =
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let lock = File::open(folder).map_err(failed)?;
        if !thread::wait_until(|| lock.try_lock().is_ok(), Instant::now() + STOP_LOOK) {
            return Err(format!(
                "cannot listen on UNIX_SOCKET {name}: another program holds its folder's lock"
            ));
        }
        clear(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        rustix::net::listen(&listener, LISTEN_BACKLOG).map_err(|error| failed(error.into()))?;
        fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(failed)?;
        let identity = identity(path).map_err(failed)?;
        Ok((Self { path: path.to_owned(), identity }, listener))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that nobody listens on.
fn clear(path: &Path) -> Result<(), String> {
    let name = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot read UNIX_SOCKET {name}: {error}")),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(format!("UNIX_SOCKET {name} exists already and is not a socket: name another path"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        _ => {
            return Err(format!(
                "another program listens on UNIX_SOCKET {name}: stop it or name another path"
            ));
        }
    }
    fs::remove_file(path).map_err(|error| format!("cannot remove the unused UNIX_SOCKET {name}: {error}"))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}
