//! A file that exists whole or not at all: written beside its name, synced, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Dropped before [`WholeFile::keep`], what was written is removed.
#[derive(Debug)]
pub(super) struct WholeFile {
    file: File,
    part: PathBuf,
    path: PathBuf,
    kept: bool,
}

impl WholeFile {
    /// Begins `path`, as `path.part`, for this user only. What an interrupted run left there is overwritten.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        Ok(Self { file, part, path: path.to_owned(), kept: false })
    }

    /// Makes what was written last under its name, in place of a file that has it.
    pub(super) fn keep(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.part, &self.path)?;
        self.kept = true;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let path = std::env::temp_dir().join(format!("logs-ingest-whole-{}", std::process::id()));
        let write = |text: &str| {
            let mut file = WholeFile::begin(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file
        };
        drop(write("half"));
        assert!(!path.exists());
        write("first").keep().unwrap();
        drop(write("half"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        write("second").keep().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert!(!path.with_extension("part").exists());
        fs::remove_file(&path).unwrap();
    }
}
