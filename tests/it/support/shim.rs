//! Libraries for `LD_PRELOAD` that lie to a real program about its disk or its clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::TempDir;
use super::daemon::Builder;

/// Compiles `source`, a path below `tests/it/`, into a library in `folder`.
pub(crate) fn build(source: &str, folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(source);
    let library = folder.join(source.with_extension("so").file_name().expect("a file has a name"));
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-pthread", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status()
        .expect("cc: install a C compiler, the bundled SQLite needs one too");
    assert!(status.success(), "cc does not take {}", source.display());
    library
}

/// Such a library, and the folder in whose files it finds what the daemons that it is put under are to be told.
pub(crate) struct Shim {
    folder: TempDir,
    library: PathBuf,
    variable: &'static str,
}

impl Shim {
    /// One that says the truth. `variable`: where it looks for the folder's path.
    pub(crate) fn new(source: &str, variable: &'static str) -> Self {
        let folder = TempDir::new();
        let library = build(source, folder.path());
        Self { folder, library, variable }
    }

    /// A disk that works until one of the faults of `disk_faults.c` begins: `eio`, `fsync` or `hang`.
    pub(crate) fn disk() -> Self {
        Self::new("support/disk_faults.c", "DISK_FAULTS")
    }

    pub(crate) fn under(&self, daemon: Builder) -> Builder {
        daemon.env("LD_PRELOAD", self.library.display()).env(self.variable, self.folder.path().display())
    }

    /// The file of that name has this text from now on, at no moment half of it.
    pub(crate) fn tell(&self, name: &str, text: &str) {
        let whole = self.folder.path().join("new");
        fs::write(&whole, text).expect("a writable folder");
        fs::rename(whole, self.folder.path().join(name)).expect("a writable folder");
    }

    pub(crate) fn begin(&self, fault: &str) {
        self.tell(fault, "");
    }

    pub(crate) fn end(&self, fault: &str) {
        fs::remove_file(self.folder.path().join(fault)).expect("a fault that has begun");
    }
}
