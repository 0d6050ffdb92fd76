//! The spool's files, and the few steps that touch them without SQLite.
//!
//! Invariant: nothing here opens the database itself while a connection to it may be open in this
//! process: closing any descriptor of a file drops the process's POSIX locks on it, SQLite's too.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FallocateFlags, access, fallocate, statvfs};

use super::mend::{self, Page};
use crate::limits::SPOOL_RESERVE_BYTES;

/// The name that administrators and other programs know.
pub(super) const DATABASE: &str = "spool.sqlite3";
/// The rights of everyone but this user.
const OTHERS: u32 = 0o077;
/// SQLite's companions of a database: the write-ahead log and its index.
pub(super) const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) dir: PathBuf,
    pub(super) database: PathBuf,
    pub(super) lock: PathBuf,
    /// Takes up room that deletes may need on a full disk.
    reserve: PathBuf,
    /// A fresh spool while readable rows of a damaged one are copied into it.
    pub(super) rescue: PathBuf,
    /// A copy of a damaged database whose first page was put right, for reading.
    pub(super) mended: PathBuf,
    /// The rescue once it is whole: its name is what says so.
    rescued: PathBuf,
}

impl Files {
    pub(super) fn in_dir(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            database: dir.join(DATABASE),
            lock: dir.join("spool.lock"),
            reserve: dir.join("spool.reserve"),
            rescue: dir.join("spool.sqlite3.rescue"),
            mended: dir.join("spool.sqlite3.mended"),
            rescued: dir.join("spool.sqlite3.rescued"),
        }
    }

    /// Makes the folder, for this user only, if it is missing.
    pub(super) fn make_dir(&self) -> io::Result<()> {
        if self.dir.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        match self.dir.canonicalize()?.parent() {
            Some(parent) => sync(parent),
            None => Ok(()),
        }
    }

    /// Takes the right to read the spool from other users, where an older version or a copy has left it.
    pub(super) fn close_to_others(&self) -> io::Result<()> {
        let companions = COMPANIONS.map(|suffix| with_suffix(&self.database, suffix));
        for path in companions.iter().chain([&self.database, &self.lock, &self.reserve]) {
            let mode = match fs::metadata(path) {
                Ok(meta) => meta.permissions().mode(),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if mode & OTHERS != 0 {
                fs::set_permissions(path, Permissions::from_mode(mode & 0o7777 & !OTHERS))?;
            }
        }
        Ok(())
    }

    /// Creates an empty database for this user only; SQLite gives its companions the same mode.
    pub(super) fn make_database(&self, path: &Path) -> io::Result<()> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => file.sync_all().and_then(|()| sync(&self.dir)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Bytes of the database and its log on the disk.
    pub(super) fn bytes(&self) -> u64 {
        let len = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        len(&self.database) + len(&with_suffix(&self.database, "-wal"))
    }

    /// Whether this user may write to the database, as far as its mode and its mount are concerned.
    pub(super) fn writable(&self) -> bool {
        access(&self.database, Access::WRITE_OK).is_ok()
    }

    /// Bytes of the disk, whoever has them.
    pub(super) fn disk_bytes(&self) -> u64 {
        statvfs(&self.dir).map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize))
    }

    /// Bytes that this user may still write to the disk.
    pub(super) fn free_bytes(&self) -> u64 {
        statvfs(&self.dir).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Removes what an interrupted rescue left half done, and completes what it left whole.
    pub(super) fn resume_rescue(&self) -> io::Result<()> {
        remove_with_companions(&self.rescue)?;
        remove_with_companions(&self.mended)?;
        if self.rescued.exists() {
            log::warn!("completing the rescue of {} that was interrupted", self.database.display());
            self.swap()?;
        }
        Ok(())
    }

    /// The rescue is whole: sets the damaged file aside and puts the fresh one in its place. Whatever
    /// step this is cut off at, [`Files::resume_rescue`] goes on from there. Returns where the damaged one is.
    pub(super) fn adopt_rescue(&self) -> io::Result<PathBuf> {
        File::open(&self.rescue)?.sync_all()?;
        fs::rename(&self.rescue, &self.rescued)?;
        sync(&self.dir)?;
        self.swap()
    }

    fn swap(&self) -> io::Result<PathBuf> {
        let aside = self.unused_aside();
        for suffix in ["", COMPANIONS[0], COMPANIONS[1]] {
            match fs::rename(with_suffix(&self.database, suffix), with_suffix(&aside, suffix)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        // The log must be known to be gone before a new file takes the name that it belongs to.
        sync(&self.dir)?;
        fs::rename(&self.rescued, &self.database)?;
        sync(&self.dir)?;
        Ok(aside)
    }

    /// A database that can't be one: too short for a header, though something is or was in it. SQLite
    /// would start anew in it and delete the log that belongs to it.
    pub(super) fn is_stump(&self) -> bool {
        let len = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        let log = len(&with_suffix(&self.database, COMPANIONS[0]));
        let database = len(&self.database);
        database < 512 && (database > 0 || log > 32)
    }

    /// A copy of the damaged database with the first page of a fresh one, and of its log, if the first page
    /// is the trouble.
    pub(super) fn mend(&self, fresh: &Page) -> io::Result<bool> {
        remove_with_companions(&self.mended)?;
        let mended = mend::mend(&self.database, &self.mended, fresh)?;
        let log = with_suffix(&self.database, COMPANIONS[0]);
        if mended && log.exists() {
            fs::copy(log, with_suffix(&self.mended, COMPANIONS[0]))?;
        }
        Ok(mended)
    }

    /// Takes the reserve's room, if it isn't taken yet.
    pub(super) fn reserve(&self) -> io::Result<()> {
        if fs::metadata(&self.reserve).is_ok_and(|meta| meta.len() >= SPOOL_RESERVE_BYTES) {
            return Ok(());
        }
        let taken = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.reserve)
            .and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, SPOOL_RESERVE_BYTES)?));
        if taken.is_err() {
            self.release_reserve();
        }
        taken
    }

    /// Gives the reserve's room to whoever needs it now. `false`: there was none.
    pub(super) fn release_reserve(&self) -> bool {
        fs::remove_file(&self.reserve).is_ok()
    }
}

/// Removes a database that was never in use.
pub(super) fn remove_with_companions(path: &Path) -> io::Result<()> {
    for suffix in ["", COMPANIONS[0], COMPANIONS[1]] {
        match fs::remove_file(with_suffix(path, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes names in a folder last.
fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
