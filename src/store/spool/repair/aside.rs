//! Damaged files that were set aside, for people to look at. Their readable rows are in the spool; the files are kept
//! while there is room.
//!
//! Invariant: the youngest is never removed; the others stay below a number and below the spool's own size limit.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::Utc;

use crate::limits::SPOOL_ASIDE_MAX;
use crate::store::spool::files::{COMPANIONS, DATABASE, Files, remove_with_companions, with_suffix};

/// Between the spool's name and the time.
const ASIDE: &str = ".damaged-";
/// `20251118T172135Z`: sorts by time.
const STAMP: &str = "%Y%m%dT%H%M%SZ";
const STAMP_CHARS: usize = 16;

/// A file that was set aside: its time, the number after it, the database's name. They sort by age.
type Aside = (String, u32, String);

/// `spool.sqlite3.damaged-20251118T172135Z`: after every name that is in use, wherever the clock went.
pub(super) fn unused(files: &Files) -> PathBuf {
    let now = Utc::now().format(STAMP).to_string();
    let (stamp, count) = match all(files).pop() {
        Some((stamp, count, _)) if stamp >= now => (stamp, count + 1),
        _ => (now, 1),
    };
    let count = if count == 1 { String::new() } else { format!("-{count}") };
    with_suffix(&files.database, &format!("{ASIDE}{stamp}{count}"))
}

/// Removes the oldest damaged files beyond what is kept. Returns how many are left.
pub(in crate::store::spool) fn thin_out(files: &Files, max_bytes: u64) -> u64 {
    let mut aside: Vec<PathBuf> = all(files).into_iter().map(|(_, _, name)| files.dir.join(name)).collect();
    let sizes: Vec<u64> = aside.iter().map(|path| bytes_with_companions(path)).collect();
    for path in aside.drain(..beyond(&sizes, max_bytes)) {
        match remove_with_companions(&path) {
            Ok(()) => log::warn!(
                "removed the damaged spool {}: younger ones take the room that such files may have",
                path.display()
            ),
            Err(error) => log::warn!("cannot remove the damaged spool {}: {error}", path.display()),
        }
    }
    aside.len() as u64
}

/// The damaged files that are there, oldest first. A log without its database counts too.
fn all(files: &Files) -> Vec<Aside> {
    let names = fs::read_dir(&files.dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut found: Vec<Aside> = names.filter_map(|name| age_order(&name)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn age_order(name: &OsStr) -> Option<Aside> {
    let name = name.to_str()?;
    let name = COMPANIONS.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let rest = name.strip_prefix(DATABASE)?.strip_prefix(ASIDE)?;
    let (stamp, count) = rest.split_at_checked(STAMP_CHARS)?;
    let count = if count.is_empty() { 1 } else { count.strip_prefix('-')?.parse().ok()? };
    Some((stamp.to_owned(), count, name.to_owned()))
}

/// How many files, from the oldest on, are more than is kept.
fn beyond(sizes: &[u64], max_bytes: u64) -> usize {
    let mut room = max_bytes;
    let keeps = |(index, bytes): (usize, &u64)| {
        let fits = index == 0 || (index < SPOOL_ASIDE_MAX && *bytes <= room);
        room = room.saturating_sub(*bytes);
        fits
    };
    sizes.len() - sizes.iter().rev().enumerate().map(keeps).take_while(|kept| *kept).count()
}

fn bytes_with_companions(path: &Path) -> u64 {
    let len = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    len(path) + COMPANIONS.iter().map(|suffix| len(&with_suffix(path, suffix))).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_stays_and_the_others_while_there_is_room() {
        for (what, sizes, beyond_of_100) in [
            ("none", &[][..], 0),
            ("one, however large", &[1_000], 0),
            ("all that fit", &[30, 30, 40], 0),
            ("the oldest goes for its size", &[30, 31, 40], 1),
            ("nothing is kept behind a gap", &[1, 90, 40], 2),
            ("a large youngest takes all the room", &[1, 1, 1_000], 2),
            ("no more than a number", &[1, 1, 1, 1, 1, 1], 2),
        ] {
            assert_eq!(beyond(sizes, 100), beyond_of_100, "{what}");
        }
    }

    #[test]
    fn names_sort_by_age_and_other_names_are_none() {
        let order = |name: &str| age_order(OsStr::new(name));
        let name = "spool.sqlite3.damaged-20251118T172135Z";
        assert_eq!(order(name), Some(("20251118T172135Z".into(), 1, name.into())));
        assert_eq!(order(&format!("{name}-wal")), order(name));
        assert!(order(&format!("{name}-2")) < order(&format!("{name}-10")));
        assert!(order(&format!("{name}-10")) < order("spool.sqlite3.damaged-20251118T172136Z"));
        for stranger in ["spool.sqlite3", "spool.sqlite3.damaged-", "spool.sqlite3.damaged-2025 my copy", "x"]
        {
            assert_eq!(order(stranger), None, "{stranger}");
        }
    }
}
