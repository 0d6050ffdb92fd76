//! A small file that says how far a replay came, so that the next run goes on from there.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::commands::whole_file::WholeFile;
use crate::store::browse::Wanted;

/// It is written this often: so much may be sent twice after a power cut.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// No bookmark of ours is larger.
const BYTES_MAX: u64 = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    /// Where the events come from, and which were wanted: another replay must not go on from here.
    source: String,
    wanted: String,
    after: String,
}

/// The place, and the file if there is one.
#[derive(Debug)]
pub(super) struct Bookmark {
    path: Option<PathBuf>,
    source: String,
    wanted: String,
    place: Option<String>,
    noted: Option<(Instant, String)>,
}

impl Bookmark {
    /// The bookmark of an earlier run, or a new one.
    pub(super) fn open(path: Option<&Path>, source: &str, wanted: &Wanted) -> Result<Self, String> {
        let mut bookmark = Self {
            path: path.map(Path::to_owned),
            source: source.to_owned(),
            wanted: format!("{wanted:?}"),
            place: None,
            noted: None,
        };
        let Some(path) = path else { return Ok(bookmark) };
        let name = path.display();
        match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(bookmark),
            Err(error) => return Err(format!("can't read {name}: {error}")),
            Ok(meta) if meta.len() > BYTES_MAX => return Err(strange(path)),
            Ok(_) => {}
        }
        let text = fs::read(path).map_err(|error| format!("can't read {name}: {error}"))?;
        let text: Text = serde_json::from_slice(&text).map_err(|_| strange(path))?;
        if (&text.source, &text.wanted) != (&bookmark.source, &bookmark.wanted) {
            return Err(format!(
                "{name} belongs to another replay (of {}, {}): give the same flags, or name another file",
                text.source, text.wanted
            ));
        }
        bookmark.place = Some(text.after);
        Ok(bookmark)
    }

    pub(super) fn place(&self) -> Option<String> {
        self.place.clone()
    }

    /// Everything up to this place has its outcome.
    pub(super) fn move_to(&mut self, place: &str) -> Result<(), String> {
        self.place = Some(place.to_owned());
        match &self.noted {
            Some((at, _)) if at.elapsed() < NOTE_EVERY => Ok(()),
            _ => self.note(),
        }
    }

    /// Writes the place down, if there is a file and it is not there yet.
    pub(super) fn note(&mut self) -> Result<(), String> {
        let (Some(path), Some(place)) = (&self.path, &self.place) else { return Ok(()) };
        if self.noted.as_ref().is_some_and(|(_, noted)| noted == place) {
            return Ok(());
        }
        let text = Text { source: self.source.clone(), wanted: self.wanted.clone(), after: place.clone() };
        let text = serde_json::to_vec(&text).unwrap_or_default();
        let written = WholeFile::begin(path).and_then(|mut file| {
            file.write_all(&text)?;
            file.keep()
        });
        written.map_err(|error| format!("can't note the place in {}: {error}", path.display()))?;
        self.noted = Some((Instant::now(), place.clone()));
        Ok(())
    }
}

fn strange(path: &Path) -> String {
    format!("{} is no bookmark of replay: name another file", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_is_found_again_by_the_same_replay_only() {
        let path = std::env::temp_dir().join(format!("logs-ingest-bookmark-{}", std::process::id()));
        let wanted = Wanted::default();
        let mut first = Bookmark::open(Some(&path), "spool /a", &wanted).unwrap();
        assert_eq!(first.place(), None);
        first.move_to("5").unwrap();
        first.move_to("9").unwrap();
        first.note().unwrap();
        let again = Bookmark::open(Some(&path), "spool /a", &wanted).unwrap();
        assert_eq!(again.place().as_deref(), Some("9"));
        let other = Wanted { service: Some("till".into()), ..Wanted::default() };
        for (source, wanted) in [("spool /b", &wanted), ("spool /a", &other)] {
            let said = Bookmark::open(Some(&path), source, wanted).unwrap_err();
            assert!(said.contains("another replay"), "{said}");
        }
        fs::write(&path, "no bookmark").unwrap();
        assert!(Bookmark::open(Some(&path), "spool /a", &wanted).unwrap_err().contains("no bookmark"));
        fs::remove_file(&path).unwrap();
    }
}
