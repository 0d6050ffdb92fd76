//! `spool.lock`: one daemon per spool. The lock is the kernel's, so it ends with the process however that ends; the file
//! stays and has the pid of its last holder, for people.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::OpenError;

/// The lock is held as long as this lives.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a child process that is just starting still has the descriptor.
        let _ = self.0.unlock();
    }
}

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let unusable = |error: std::io::Error| {
            OpenError::Unusable(format!(
                "cannot use the lock file {}: {error}: let the daemon's user write there, or set another DATA_DIR",
                path.display()
            ))
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut file)),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        // The pid is for people: the daemon starts also when the disk has no room for it.
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = noted {
            log::warn!("cannot write the pid to {}: {error}", path.display());
        }
        Ok(Self(file))
    }
}

fn in_use(path: &Path, file: &mut File) -> OpenError {
    let mut pid = String::new();
    let holder = match file.take(32).read_to_string(&mut pid) {
        Ok(_) if !pid.trim().is_empty() => format!("by process {}", pid.trim()),
        _ => "by another process".to_owned(),
    };
    OpenError::InUse(format!(
        "the spool is in use: {} is held {holder}: stop that daemon, or give this one a DATA_DIR of its own",
        path.display()
    ))
}
