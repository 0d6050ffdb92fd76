//! The spool's files, and what is done to them without SQLite.
//!
//! Invariant: nothing here opens the database itself while this process may have a connection to it: closing any
//! descriptor of a file drops the process's POSIX locks on it, SQLite's too.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FallocateFlags, access, fallocate, statvfs};

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
    /// Takes room that deletes may need on a full disk.
    reserve: PathBuf,
    /// A fresh spool, while readable rows of a damaged one are copied into it.
    pub(super) rescue: PathBuf,
    /// A copy of a damaged database with a mended first page, for reading.
    pub(super) mended: PathBuf,
    /// The rescue once it is whole: its name says so.
    pub(super) rescued: PathBuf,
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

    /// Makes the folder, for this user alone, if it is missing.
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

    /// Takes the right to read the spool from other users, which an older version or a copy may have left.
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

    /// Creates an empty database for this user alone; SQLite gives its companions the same mode.
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

    /// Whether this user may write to the database, by its mode and its mount.
    pub(super) fn writable(&self) -> bool {
        access(&self.database, Access::WRITE_OK).is_ok()
    }

    /// Bytes of the disk, used or free.
    pub(super) fn disk_bytes(&self) -> u64 {
        statvfs(&self.dir).map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize))
    }

    /// Bytes that this user may still write to the disk.
    pub(super) fn free_bytes(&self) -> u64 {
        statvfs(&self.dir).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Takes the reserve's room, if it is not taken yet.
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

    /// Gives the reserve's room to what needs it now. `false`: there was none.
    pub(super) fn release_reserve(&self) -> bool {
        fs::remove_file(&self.reserve).is_ok()
    }
}

/// Removes a database that was never in use, and its companions.
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

/// Makes the names in a folder durable.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
