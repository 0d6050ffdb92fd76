//! A daemon's disk that fails or hangs as a test likes (`disk_faults.c`).

use std::fs;
use std::path::PathBuf;

use super::daemon::Builder;
use super::{TempDir, shim};

/// The disk below the spool of every daemon that it is put under.
pub(crate) struct Disk {
    folder: TempDir,
    library: PathBuf,
}

impl Disk {
    /// One that works.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new();
        let library = shim::build("support/disk_faults.c", folder.path());
        Self { folder, library }
    }

    pub(crate) fn under(&self, daemon: Builder) -> Builder {
        daemon.env("LD_PRELOAD", self.library.display()).env("DISK_FAULTS", self.folder.path().display())
    }

    /// From now on `eio`, `fsync` or `hang`, as `disk_faults.c` tells them.
    pub(crate) fn fails(&self, fault: &str) {
        fs::write(self.folder.path().join(fault), "").expect("a writable folder");
    }

    /// That fault is over.
    pub(crate) fn is_well(&self, fault: &str) {
        fs::remove_file(self.folder.path().join(fault)).expect("a fault that was there");
    }
}
