//! A small file that says how far a replay came, so that the next run continues there.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::commands::whole_file::WholeFile;
use crate::store::browse::Wanted;

/// It is written this often: after a power cut, as much may be sent twice.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// A larger file is not a bookmark.
const BYTES_MAX: u64 = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    /// Where the events come from, and which were wanted: another replay must not continue here.
    source: String,
    wanted: String,
    after: Option<String>,
}

/// The place, and the file if there is one.
#[derive(Debug)]
pub(super) struct Bookmark {
    path: Option<PathBuf>,
    saved: Saved,
    is_written: bool,
    written_at: Option<Instant>,
}

impl Bookmark {
    /// The bookmark of an earlier run, or a new one at `after`.
    pub(super) fn open(
        path: Option<&Path>,
        source: String,
        wanted: &Wanted,
        after: Option<String>,
    ) -> Result<Self, String> {
        let saved = Saved { source, wanted: format!("{wanted:?}"), after };
        let mut bookmark = Self { path: path.map(Path::to_owned), saved, is_written: true, written_at: None };
        let Some(path) = path else { return Ok(bookmark) };
        let name = path.display();
        let mut text = Vec::new();
        match File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut text)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(bookmark),
            Err(error) => return Err(format!("cannot read {name}: {error}")),
            Ok(_) => {}
        }
        let earlier: Saved = serde_json::from_slice(&text)
            .map_err(|_| format!("{name} is not a bookmark of replay: name another file"))?;
        if (&earlier.source, &earlier.wanted) != (&bookmark.saved.source, &bookmark.saved.wanted) {
            return Err(format!(
                "{name} belongs to another replay (of {}, {}): give the same flags, or name another file",
                earlier.source, earlier.wanted
            ));
        }
        bookmark.saved = earlier;
        Ok(bookmark)
    }

    pub(super) fn place(&self) -> Option<&str> {
        self.saved.after.as_deref()
    }

    /// Everything up to this place has its outcome.
    pub(super) fn move_to(&mut self, place: String) -> Result<(), String> {
        self.is_written &= self.place() == Some(&place);
        self.saved.after = Some(place);
        match self.written_at {
            Some(at) if at.elapsed() < WRITE_EVERY => Ok(()),
            _ => self.write(),
        }
    }

    /// Writes the place down, if there is a file and it is not there yet.
    pub(super) fn write(&mut self) -> Result<(), String> {
        let Some(path) = self.path.as_ref().filter(|_| !self.is_written) else { return Ok(()) };
        let written = WholeFile::begin(path).and_then(|mut file| {
            file.write_all(&serde_json::to_vec(&self.saved)?)?;
            file.keep()
        });
        written.map_err(|error| format!("cannot save the place to {}: {error}", path.display()))?;
        (self.is_written, self.written_at) = (true, Some(Instant::now()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_is_found_again_by_the_same_replay_only() {
        let path = std::env::temp_dir().join(format!("logs-ingest-bookmark-{}", std::process::id()));
        let open =
            |source: &str, wanted: &Wanted| Bookmark::open(Some(&path), source.to_owned(), wanted, None);
        let wanted = Wanted::default();
        let mut first = open("spool /a", &wanted).unwrap();
        assert_eq!(first.place(), None);
        first.move_to("5".to_owned()).unwrap();
        first.move_to("9".to_owned()).unwrap();
        first.write().unwrap();
        let again = open("spool /a", &wanted).unwrap();
        assert_eq!(again.place(), Some("9"));
        let other = Wanted { service: Some("till".into()), ..Wanted::default() };
        for (source, wanted) in [("spool /b", &wanted), ("spool /a", &other)] {
            let said = open(source, wanted).unwrap_err();
            assert!(said.contains("another replay"), "{said}");
        }
        std::fs::write(&path, "not a bookmark").unwrap();
        assert!(open("spool /a", &wanted).unwrap_err().contains("not a bookmark"));
        std::fs::remove_file(&path).unwrap();
    }
}
