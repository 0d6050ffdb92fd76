//! The first page of the file: SQLite's header and the schema. One wrong byte there can hide every row from SQLite, but
//! except for a few counters the page is the same in every spool of a version. So a copy of the file with the first page
//! of a fresh spool is readable again.
//!
//! Invariant: every migration makes its tables in the order in which a fresh file gets them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::store::spool::files::{self, COMPANIONS, Files, with_suffix};
use crate::store::spool::schema::PAGE_BYTES;

/// Change counter, size in pages, free pages, cookie of the schema.
const COUNTERS: std::ops::Range<usize> = 24..44;
/// The size in pages, among them.
const SIZE: std::ops::Range<usize> = 28..32;
/// The change counter for which the size is valid, and the version of SQLite that wrote it.
const WRITTEN: std::ops::Range<usize> = 92..100;

/// The first page of a file.
pub(super) type FirstPage = [u8; PAGE_BYTES];

/// Reads the first page; what a short file lacks of it is zero. Never call it for a file that this process has open in
/// SQLite.
pub(super) fn read(database: &Path) -> io::Result<FirstPage> {
    let mut page = [0; PAGE_BYTES];
    let mut found = Vec::with_capacity(PAGE_BYTES);
    match File::open(database) {
        Ok(file) => file.take(PAGE_BYTES as u64).read_to_end(&mut found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    page[..found.len()].copy_from_slice(&found);
    Ok(page)
}

/// A copy of the damaged database with the first page of a fresh one, and of its log, if the first page is damaged.
/// `false`: it is not, and nothing was made.
pub(super) fn mend(files: &Files, fresh: &FirstPage) -> io::Result<bool> {
    files::remove_with_companions(&files.mended)?;
    let mended = copy_mended(&files.database, &files.mended, fresh)?;
    let log = with_suffix(&files.database, COMPANIONS[0]);
    if mended && log.exists() {
        fs::copy(log, with_suffix(&files.mended, COMPANIONS[0]))?;
    }
    Ok(mended)
}

fn copy_mended(database: &Path, copy: &Path, fresh: &FirstPage) -> io::Result<bool> {
    let found = read(database)?;
    let bytes = fs::metadata(database).map_or(0, |meta| meta.len()).max(PAGE_BYTES as u64);
    let sound = with_size(fresh, bytes / PAGE_BYTES as u64);
    // A size beyond the end of a cut file makes SQLite refuse all of it.
    if same_but_counters(&found, fresh) && found[SIZE] == sound[SIZE] {
        return Ok(false);
    }
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(copy)?;
    file.write_all(&sound)?;
    if let Ok(mut damaged) = File::open(database) {
        damaged.seek(SeekFrom::Start(PAGE_BYTES as u64))?;
        io::copy(&mut damaged, &mut file)?;
    }
    Ok(true)
}

fn same_but_counters(one: &FirstPage, other: &FirstPage) -> bool {
    let parts = |page: &FirstPage| {
        [
            page[..COUNTERS.start].to_vec(),
            page[COUNTERS.end..WRITTEN.start].to_vec(),
            page[WRITTEN.end..].to_vec(),
        ]
    };
    parts(one) == parts(other)
}

/// A first page for a file with this number of pages, none of them free.
fn with_size(fresh: &FirstPage, pages: u64) -> FirstPage {
    let mut page = *fresh;
    page[SIZE].copy_from_slice(&u32::try_from(pages).unwrap_or(u32::MAX).to_be_bytes());
    page[32..40].fill(0);
    page.copy_within(24..28, WRITTEN.start);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_may_differ_and_everything_else_is_damage() {
        let page = [7; PAGE_BYTES];
        for at in 0..PAGE_BYTES {
            let mut changed = page;
            changed[at] ^= 1;
            let counts = COUNTERS.contains(&at) || WRITTEN.contains(&at);
            assert_eq!(same_but_counters(&page, &changed), counts, "byte {at}");
        }
    }

    #[test]
    fn the_size_is_the_files_own_and_is_marked_as_valid() {
        let page = with_size(&[7; PAGE_BYTES], 300);
        assert_eq!(page[28..40], [0, 0, 1, 44, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(page[24..28], page[92..96]);
    }
}
