//! What the folder of a spool shows, for `check-config`: beside a running daemon, and before there is one.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use crate::store::spool::write::keep;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The folder, or the one in which it would be made.
    pub folder: PathBuf,
    /// The spool's own folder exists.
    pub exists: bool,
    /// This user may write there.
    pub writable: bool,
    /// A daemon has the spool.
    pub in_use: bool,
    /// Bytes that this user may still write to the disk.
    pub free_bytes: u64,
    /// Bytes of data that the spool may hold.
    pub max_bytes: u64,
}

/// Looks, and writes nothing; `set` is `SPOOL_MAX_BYTES`.
#[must_use]
pub fn inspect(dir: &Path, set: Option<u64>) -> Inspection {
    let exists = dir.is_dir();
    let folder = nearest(dir);
    let disk = statvfs(&folder).ok();
    let of_disk = |blocks: fn(&rustix::fs::StatVfs) -> u64| {
        disk.as_ref().map_or(0, |disk| blocks(disk).saturating_mul(disk.f_frsize))
    };
    Inspection {
        exists,
        writable: folder.is_dir() && access(&folder, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        in_use: in_use(&dir.join("spool.lock")),
        free_bytes: of_disk(|disk| disk.f_bavail),
        max_bytes: keep::limit(set, of_disk(|disk| disk.f_blocks)),
        folder,
    }
}

/// The folder, or the first above it that exists.
fn nearest(dir: &Path) -> PathBuf {
    let here = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    here.ancestors().find(|folder| folder.exists()).map_or_else(|| here.clone(), Path::to_owned)
}

/// A shared lock, which fails while a daemon has the spool, and does not disturb it.
fn in_use(lock: &Path) -> bool {
    let Ok(file) = File::open(lock) else { return false };
    let taken = file.try_lock_shared();
    let _ = file.unlock();
    matches!(taken, Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_judged_by_the_one_above() {
        let base = std::env::temp_dir().canonicalize().unwrap();
        let dir = base.join("no-such-folder/deeper");
        let found = inspect(&dir, Some(1 << 20));
        assert_eq!((found.folder, found.exists, found.writable), (base, false, true));
        assert_eq!((found.in_use, found.max_bytes), (false, 1 << 20));
        assert!(found.free_bytes > 0);
        let file = std::env::current_exe().unwrap();
        assert!(!inspect(&file.join("data"), None).writable, "a file is in the way");
    }
}
