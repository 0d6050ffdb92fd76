//! The first page of the file: SQLite's header and the schema. One wrong byte there can hide every row from SQLite, but
//! where the tables are follows from how the file came about. So a copy of the file with the first page of a fresh spool
//! that came about in the same way is readable again.
//!
//! Invariant: `schema` makes its tables in the same order in every file of one origin.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::salvage;
use crate::store::spool::files::{self, COMPANIONS, Files, with_suffix};
use crate::store::spool::schema::{self, OLD_PAGE_BYTES, Origin, PAGE_BYTES};

/// Change counter, size in pages, free pages, cookie of the schema.
const COUNTERS: std::ops::Range<usize> = 24..44;
/// The size in pages, among them.
const SIZE: std::ops::Range<usize> = 28..32;
/// The change counter for which the size is valid, and the version of SQLite that wrote it.
const WRITTEN: std::ops::Range<usize> = 92..100;
/// SQLite's header.
const HEADER_BYTES: usize = 100;

const ORIGINS: [Origin; 4] = [Origin::New, Origin::Moved, Origin::Moving, Origin::Old];

/// The first page of a fresh file, and where its tables are.
struct Template {
    page: Vec<u8>,
    tables: Vec<(String, i64)>,
}

impl Template {
    /// Makes it in a file that is removed again.
    fn of(origin: Origin, scratch: &Path) -> io::Result<Self> {
        let read = |bytes: usize| {
            let mut page = vec![0; bytes];
            File::open(scratch)?.read_exact(&mut page)?;
            files::remove_with_companions(scratch)?;
            Ok::<_, io::Error>(page)
        };
        files::remove_with_companions(scratch)?;
        let entries = schema::make_tables(scratch, origin).map_err(io::Error::other)?;
        let header = read(HEADER_BYTES)?;
        schema::make_first_page(scratch, origin, &entries).map_err(io::Error::other)?;
        let mut page = read(origin.page_bytes())?;
        page[..HEADER_BYTES].copy_from_slice(&header);
        let tables = entries.into_iter().map(|entry| (entry.name, entry.root)).collect();
        Ok(Self { page, tables })
    }

    /// Whether this may be the first page of a sound file of this size: counters may differ.
    fn has_header(&self, found: &[u8], file_bytes: u64) -> bool {
        let parts =
            |page: &[u8]| [page[..COUNTERS.start].to_vec(), page[COUNTERS.end..WRITTEN.start].to_vec()];
        let pages = file_bytes / self.page.len() as u64;
        // A size beyond the end of a cut file makes SQLite refuse all of it.
        parts(found) == parts(&self.page) && found[SIZE] == size(pages)
    }

    /// The page for a file of this size, without free pages.
    fn sized(&self, file_bytes: u64) -> Vec<u8> {
        let mut page = self.page.clone();
        let pages = (file_bytes / page.len() as u64).max(1);
        page[SIZE].copy_from_slice(&size(pages));
        page[32..40].fill(0);
        page.copy_within(24..28, WRITTEN.start);
        page
    }
}

fn size(pages: u64) -> [u8; 4] {
    u32::try_from(pages).unwrap_or(u32::MAX).to_be_bytes()
}

/// Makes a copy of the damaged database and its log with a sound first page, if its own is damaged. `false`: it is not,
/// and nothing was made. Never call it for a file that this process has open in SQLite.
pub(super) fn mend(files: &Files) -> io::Result<bool> {
    let templates = ORIGINS.map(|origin| Template::of(origin, &files.mended));
    let mut templates = templates.into_iter().collect::<io::Result<Vec<_>>>()?;
    if is_sound(&files.database, &templates)? {
        return Ok(false);
    }
    // Pages of the right size first: the others are looked at only if nothing can be read with these.
    let likely = likely_page_bytes(&files.database);
    templates.sort_by_key(|template| template.page.len() != likely);
    let mut best: Option<(u64, &Template)> = None;
    let mut in_copy = 0;
    for template in &templates {
        if in_copy != template.page.len() {
            if best.is_some_and(|(rows, _)| rows > 0) {
                break;
            }
            in_copy = template.page.len();
            copy_with_log(files, template)?;
        }
        put(&files.mended, template)?;
        // The one with which most rows can be read; the first of equal ones.
        let rows = salvage::sample(&files.mended);
        if best.is_none_or(|(most, _)| rows > most) {
            best = Some((rows, template));
        }
    }
    let (_, template) = best.expect("BUG: no template");
    if in_copy != template.page.len() {
        copy_with_log(files, template)?;
    }
    put(&files.mended, template)?;
    Ok(true)
}

/// The size of a page as the log or the file's own header says, if either can be trusted.
fn likely_page_bytes(database: &Path) -> usize {
    let mut bytes = [0; 18];
    let log = File::open(with_suffix(database, COMPANIONS[0])).and_then(|mut log| log.read_exact(&mut bytes));
    if log.is_ok() && bytes[8..12] == (OLD_PAGE_BYTES as u32).to_be_bytes() {
        return OLD_PAGE_BYTES;
    }
    let header = File::open(database).and_then(|mut database| database.read_exact(&mut bytes));
    let is_old = header.is_ok() && bytes[16..18] == (OLD_PAGE_BYTES as u16).to_be_bytes();
    if log.is_err() && is_old { OLD_PAGE_BYTES } else { PAGE_BYTES }
}

/// Makes the copy, and brings the log into it: the log may have a first page of its own.
fn copy_with_log(files: &Files, template: &Template) -> io::Result<()> {
    files::remove_with_companions(&files.mended)?;
    let mut copy = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&files.mended)?;
    if let Ok(mut damaged) = File::open(&files.database) {
        io::copy(&mut damaged, &mut copy)?;
    }
    let log = with_suffix(&files.database, COMPANIONS[0]);
    if !log.exists() {
        return Ok(());
    }
    put(&files.mended, template)?;
    fs::copy(log, with_suffix(&files.mended, COMPANIONS[0]))?;
    if let Err(error) = schema::take_log(&files.mended) {
        log::warn!("cannot bring the damaged spool's log into a copy of it: {error}");
    }
    for suffix in COMPANIONS {
        match fs::remove_file(with_suffix(&files.mended, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Puts the page into the copy.
fn put(mended: &Path, template: &Template) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(mended)?;
    file.write_all_at(&template.sized(file.metadata()?.len()), 0)
}

fn is_sound(database: &Path, templates: &[Template]) -> io::Result<bool> {
    let mut header = vec![0; HEADER_BYTES];
    match File::open(database).and_then(|mut file| file.read_exact(&mut header)) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    }
    let bytes = fs::metadata(database)?.len();
    let Ok(entries) = schema::reader(database).and_then(|db| schema::entries(&db)) else { return Ok(false) };
    let found: Vec<_> = entries.into_iter().map(|entry| (entry.name, entry.root)).collect();
    Ok(templates.iter().any(|template| {
        template.has_header(&header, bytes) && template.tables.iter().all(|table| found.contains(table))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Template {
        Template { page: vec![7; PAGE_BYTES], tables: Vec::new() }
    }

    #[test]
    fn counters_may_differ_and_everything_else_in_the_header_is_damage() {
        let mut page = vec![7; HEADER_BYTES];
        page[SIZE].copy_from_slice(&size(300));
        for at in 0..HEADER_BYTES {
            let mut changed = page.clone();
            changed[at] ^= 1;
            let counts = (COUNTERS.contains(&at) && !SIZE.contains(&at)) || WRITTEN.contains(&at);
            assert_eq!(template().has_header(&changed, 300 * PAGE_BYTES as u64), counts, "byte {at}");
        }
    }

    #[test]
    fn the_size_is_the_files_own_and_is_marked_as_valid() {
        let page = template().sized(300 * PAGE_BYTES as u64);
        assert_eq!(page[28..40], [0, 0, 1, 44, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(page[24..28], page[92..96]);
    }
}
