//! The first page of the file: SQLite's header and the schema. One wrong byte there can hide every row
//! behind it from SQLite, yet but for a few counters it is the same in every spool of a version. So a copy
//! of the file with the first page of a fresh spool is readable again.
//!
//! Holds as long as every migration makes its tables in the order in which a fresh file gets them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(super) const PAGE_BYTES: usize = 4_096;
/// Change counter, size in pages, free pages, cookie of the schema.
const COUNTERS: std::ops::Range<usize> = 24..44;
/// The size in pages, among them.
const SIZE: std::ops::Range<usize> = 28..32;
/// The change counter that the size is valid for, and the SQLite that wrote it.
const WRITTEN: std::ops::Range<usize> = 92..100;

/// The first page of a file.
pub(super) type Page = [u8; PAGE_BYTES];

/// Reads the first page; what the file is too short for is zero. Never of a file that is open in SQLite here.
pub(super) fn first_page(database: &Path) -> io::Result<Page> {
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

/// Makes `copy` of a database whose first page is damaged, with that of a fresh spool. `false`: the first
/// page is not the trouble, and nothing was made.
pub(super) fn mend(database: &Path, copy: &Path, fresh: &Page) -> io::Result<bool> {
    let found = first_page(database)?;
    let bytes = fs::metadata(database).map_or(0, |meta| meta.len()).max(PAGE_BYTES as u64);
    let sound = with_size(fresh, bytes / PAGE_BYTES as u64);
    // A size beyond the end of the file, cut or flipped, makes SQLite refuse all of it.
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

fn same_but_counters(one: &Page, other: &Page) -> bool {
    let parts = |page: &Page| {
        [
            page[..COUNTERS.start].to_vec(),
            page[COUNTERS.end..WRITTEN.start].to_vec(),
            page[WRITTEN.end..].to_vec(),
        ]
    };
    parts(one) == parts(other)
}

/// A first page for a file of so many pages, none of them known to be free.
fn with_size(fresh: &Page, pages: u64) -> Page {
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
    fn counters_are_no_damage_and_everything_else_is() {
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
