//! The steps that put the rescue of a damaged spool in its place. Whatever step is interrupted, the next start goes on
//! from there: the name of a file says how far the swap came.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::aside;
use crate::store::spool::files::{self, COMPANIONS, Files, sync, with_suffix};

/// Removes what an interrupted rescue left half done, and completes what it left whole.
pub(super) fn resume(files: &Files) -> io::Result<()> {
    files::remove_with_companions(&files.rescue)?;
    files::remove_with_companions(&files.mended)?;
    if files.rescued.exists() {
        log::warn!("completing the rescue of {} that was interrupted", files.database.display());
        swap(files)?;
    }
    Ok(())
}

/// The rescue is whole: sets the damaged file aside and puts the fresh one in its place. Returns where the damaged one
/// is.
pub(super) fn adopt_rescue(files: &Files) -> io::Result<PathBuf> {
    File::open(&files.rescue)?.sync_all()?;
    fs::rename(&files.rescue, &files.rescued)?;
    sync(&files.dir)?;
    swap(files)
}

fn swap(files: &Files) -> io::Result<PathBuf> {
    let aside = aside::unused(files);
    for suffix in ["", COMPANIONS[0], COMPANIONS[1]] {
        match fs::rename(with_suffix(&files.database, suffix), with_suffix(&aside, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // The log must be gone for sure before a new file takes the name that it belongs to.
    sync(&files.dir)?;
    fs::rename(&files.rescued, &files.database)?;
    sync(&files.dir)?;
    Ok(aside)
}

/// A file too short to be a database, although something is or was in it. SQLite would make a new database in it and
/// delete the log that belongs to it.
pub(super) fn is_stump(files: &Files) -> bool {
    let len = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    let log = len(&with_suffix(&files.database, COMPANIONS[0]));
    let database = len(&files.database);
    database < 512 && (database > 0 || log > 32)
}
