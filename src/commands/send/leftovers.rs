//! What was not taken, one event per line, in a file that `send` takes again. The first such event makes it, never over
//! a file that exists, and it is on the disk before the command ends.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use chrono::Local;

/// See the module.
pub(super) struct Leftovers {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Leftovers {
    /// Below this path, or below a new name in the present folder.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        // Two that begin in one second need files of different names.
        let own =
            || format!("not-sent-{}-{}.ndjson", Local::now().format("%Y%m%d-%H%M%S"), std::process::id());
        let path = path.unwrap_or_else(|| own().into());
        Self { path, file: None }
    }

    /// # Errors
    /// A text for people.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.path.exists() {
            true => Err(format!("{} exists already: name another file by --rejected", self.path.display())),
            false => Ok(()),
        }
    }

    /// # Errors
    /// A text for people.
    pub(super) fn add(&mut self, line: &[u8]) -> Result<(), String> {
        let failed = |error| format!("cannot write {}: {error}", self.path.display());
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&self.path)
                    .map_err(failed)?;
                self.file.insert(BufWriter::new(file))
            }
        };
        file.write_all(line).and_then(|()| file.write_all(b"\n")).map_err(failed)
    }

    /// Puts what there is on the disk.
    ///
    /// # Errors
    /// A text for people.
    pub(super) fn sync(&mut self) -> Result<(), String> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let synced = file.flush().and_then(|()| file.get_ref().sync_all());
        synced.map_err(|error| format!("cannot write {}: {error}", self.path.display()))
    }

    /// The file, where there is one.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        self.file.as_ref().map(|_| &self.path)
    }
}
