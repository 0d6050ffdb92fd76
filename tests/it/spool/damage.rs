//! Damaged files, and files of other programs.

use std::process::Command;

use logs_ingest::store::spool::{OpenError, Spool};

use super::*;

/// A closed spool with held events 0..n, and their seqs.
fn filled(test: &str, n: u64) -> (Folder, Vec<(i64, u64)>) {
    let folder = Folder::new(test);
    let spool = folder.open();
    (0..n).step_by(100).for_each(|start| hold(&spool, start..(start + 100).min(n)));
    let rows = held(&spool);
    assert_eq!(rows.len() as u64, n);
    close(&spool);
    (folder, rows)
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    memchr::memmem::find(bytes, what).expect("it is in the file")
}

/// Reads every held row; what comes back as an event must be what went in. Returns the intact numbers.
pub(super) fn intact(spool: &Spool) -> Vec<u64> {
    let mut reader = spool.reader().unwrap();
    let mut rows = Vec::new();
    wait_for("what a reader meets is repaired", || match reader.held_after(0, 100_000, 1 << 30) {
        Ok(found) => {
            rows = found;
            true
        }
        Err(_) => false,
    });
    let events: Vec<Event> = rows.into_iter().filter_map(|row| row.event.ok()).collect();
    for got in &events {
        assert_eq!(got.payload(), event(number(got)).payload());
    }
    events.iter().map(number).collect()
}

#[test]
fn a_flipped_byte_in_a_payload_is_found_and_the_row_becomes_a_dead_letter() {
    let (folder, rows) = filled("payload", 5);
    change(&folder.database(), |bytes| {
        let at = find(bytes, br#""message":"message 2""#);
        bytes[at + 19] ^= 1;
    });
    let spool = folder.open();
    let read = spool.reader().unwrap().held_after(0, 10, 1 << 20).unwrap();
    let why = read[2].event.as_ref().unwrap_err();
    assert!(why.contains("checksum"), "{why}");
    assert_eq!(intact(&spool), [0, 1, 3, 4]);
    spool.dead_letter(vec![(rows[2].0, because("damaged"))]).unwrap();
    let figures = spool.figures();
    assert_eq!((figures.held, figures.dead_letters, figures.damaged), (4, 1, 1));
    close(&spool);
}

#[test]
fn a_file_without_a_header_is_set_aside_and_its_rows_are_saved() {
    let (folder, _) = filled("header", 5);
    change(&folder.database(), |bytes| bytes[..64].fill(0xa5));
    let broken = fs::read(folder.database()).unwrap();
    let spool = folder.open();
    hold(&spool, [7]);
    assert_eq!(intact(&spool), [0, 1, 2, 3, 4, 7]);
    close(&spool);
    let aside = folder.set_aside();
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read(&aside[0]).unwrap(), broken, "the damaged file is kept as it was");
    // A second time: nothing that was set aside is overwritten.
    change(&folder.database(), |bytes| bytes[..64].fill(0xa5));
    close(&folder.open());
    assert_eq!(folder.set_aside().len(), 2);
    assert!(!folder.0.join("spool.sqlite3.mended").exists());
}

#[test]
fn a_file_of_something_else_is_set_aside_and_the_daemon_starts() {
    for (what, bytes) in [("text", vec![b'x'; 10_000]), ("zeros", vec![0; 12_288]), ("one byte", vec![1])] {
        let folder = Folder::new("garbage");
        fs::write(folder.database(), &bytes).unwrap();
        let spool = folder.open();
        hold(&spool, [7]);
        assert_eq!(intact(&spool), [7], "{what}");
        close(&spool);
        let aside = folder.set_aside();
        assert_eq!(aside.len(), 1, "{what}");
        assert_eq!(fs::read(&aside[0]).unwrap(), bytes, "{what}");
    }
}

#[test]
fn rows_beside_a_damaged_page_are_saved_with_their_order() {
    let (folder, rows) = filled("page", 2_000);
    change(&folder.database(), |bytes| {
        let page = find(bytes, br#""message":"message 1000""#) / PAGE * PAGE;
        bytes[page..page + PAGE].fill(0xa5);
    });
    let spool = folder.open();
    let saved = held(&spool);
    let lost = 2_000 - saved.len();
    assert!((1..20).contains(&lost), "{lost} rows are lost with one page");
    assert!(saved.iter().all(|row| rows.contains(row)), "every saved row has its own place in the order");
    let figures = spool.figures();
    assert_eq!((figures.held, figures.damaged), (saved.len() as u64, lost as u64));
    assert_eq!(folder.set_aside().len(), 1);
    hold(&spool, [9_999]);
    assert!(held(&spool).last().unwrap().0 > rows[1_999].0);
    close(&spool);
}

#[test]
fn damage_that_is_met_while_running_is_repaired_without_a_restart() {
    // Too large to be read whole at start, so that the damage is only met in use.
    let folder = Folder::new("running");
    let spool = folder.open();
    let big = "x".repeat(30_000);
    for start in (0..1_200).step_by(100) {
        let batch: Batch = (start..start + 100).map(|n| event_with(n, &big)).collect();
        all_ok(&spool.append(&batch, Standing::Held, "kafka is down"));
    }
    close(&spool);
    assert!(fs::metadata(folder.database()).unwrap().len() > 32 << 20);
    change(&folder.database(), |bytes| {
        let id = event(600).ingest_id();
        let has = |page: &[u8], what: &[u8]| memchr::memmem::find(page, what).is_some();
        let is_leaf_with_row =
            |page: &[u8]| page[0] == 0x0d && has(page, id.as_bytes()) && has(page, br#"{"action""#);
        bytes.chunks_mut(PAGE).find(|page| is_leaf_with_row(page)).unwrap().fill(0xa5);
    });
    let spool = folder.open();
    assert_eq!(folder.set_aside().len(), 0);
    let mut reader = spool.reader().unwrap();
    wait_for("the reader gets past the damage", || {
        let mut after = 0;
        let mut count = 0;
        loop {
            match reader.held_after(after, 100, 1 << 30) {
                Ok(rows) if rows.is_empty() => return count > 1_100 && spool.figures().damaged > 0,
                Ok(rows) => {
                    count += rows.iter().filter(|row| row.event.is_ok()).count();
                    after = rows.last().unwrap().seq;
                }
                Err(_) => return false,
            }
        }
    });
    hold(&spool, [5_000]);
    assert_eq!(folder.set_aside().len(), 1);
    let figures = spool.figures();
    assert!(figures.lost > 0 && figures.held + figures.lost == 1_201, "{figures:?}");
    close(&spool);
}

#[test]
fn no_flipped_byte_stops_the_start_or_changes_an_event() {
    let (folder, _) = filled("flips", 40);
    let pristine = fs::read(folder.database()).unwrap();
    let mut random = Seed::new();
    let header = (0..100).map(|at| (at, 0xff));
    let anywhere: Vec<_> = (0..100).map(|_| (random.index(pristine.len()), 1 << random.index(8))).collect();
    for (at, mask) in header.chain(anywhere) {
        let copy = Folder::new("flip");
        change(&folder.database(), |bytes| {
            let mut flipped = bytes.clone();
            flipped[at] ^= mask;
            fs::write(copy.database(), flipped).unwrap();
        });
        let spool = match Spool::open(&copy.settings()) {
            Ok(spool) => spool,
            // These bytes are the version: a small one beyond ours is accepted, because no release may touch newer files.
            Err(OpenError::Newer(_)) if (60..64).contains(&at) => continue,
            Err(error) => panic!("byte {at} ^ {mask:#x}: {error}"),
        };
        let found = intact(&spool);
        let whole = found.len() >= 39 || !copy.set_aside().is_empty();
        assert!(whole, "byte {at} ^ {mask:#x}: {} events, and nothing is set aside", found.len());
        assert!(at >= 100 || found.len() == 40, "byte {at} of the header hides {} events", 40 - found.len());
        // What only a write finds refuses that write, and not the next.
        if spool.append(&batch([1_000]), Standing::Held, "kafka is down").iter().any(Result::is_err) {
            assert!(!copy.set_aside().is_empty(), "byte {at} ^ {mask:#x}: refused, and nothing is set aside");
            hold(&spool, [1_000]);
        }
        close(&spool);
    }
}

#[test]
fn a_log_that_is_cut_anywhere_leaves_the_events_before_the_cut() {
    let folder = Folder::new("cut");
    let spool = folder.open();
    (0..40).for_each(|n| hold(&spool, [2 * n, 2 * n + 1]));
    let copy = Folder::new("cut-copy");
    // By another process: closing a database's descriptor here would drop this process's locks on it.
    for name in ["spool.sqlite3", "spool.sqlite3-wal"] {
        let copied = Command::new("cp").arg(folder.0.join(name)).arg(copy.0.join(name)).status().unwrap();
        assert!(copied.success());
    }
    let database = fs::read(copy.database()).unwrap();
    let log = fs::read(copy.0.join("spool.sqlite3-wal")).unwrap();
    let mut random = Seed::new();
    let mut cuts: Vec<usize> = (0..30).map(|_| random.index(log.len())).collect();
    cuts.extend([0, 1, 31, 32, 33, log.len() - 1, log.len()]);
    cuts.sort_unstable();
    let mut before = 0;
    for cut in cuts {
        let cut_copy = Folder::new("cut-at");
        fs::write(cut_copy.database(), &database).unwrap();
        fs::write(cut_copy.0.join("spool.sqlite3-wal"), &log[..cut]).unwrap();
        let spool = cut_copy.open();
        let found = intact(&spool);
        assert_eq!(found, (0..found.len() as u64).collect::<Vec<u64>>(), "cut at {cut}");
        assert!(
            found.len() >= before && found.len().is_multiple_of(2),
            "cut at {cut}: {} events",
            found.len()
        );
        before = found.len();
        hold(&spool, [1_000]);
        close(&spool);
    }
    assert_eq!(before, 80, "a whole log has every event that was answered");
    close(&spool);
}

#[test]
fn a_log_whose_database_is_gone_still_gives_its_events() {
    for stump in [None, Some(0), Some(100)] {
        let folder = Folder::new("gone");
        let spool = folder.open();
        hold(&spool, 0..30);
        let copy = Folder::new("gone-copy");
        let log = "spool.sqlite3-wal";
        assert!(Command::new("cp").arg(folder.0.join(log)).arg(copy.0.join(log)).status().unwrap().success());
        close(&spool);
        if let Some(bytes) = stump {
            fs::write(copy.database(), &fs::read(folder.database()).unwrap()[..bytes]).unwrap();
        }
        let spool = copy.open();
        assert_eq!(intact(&spool), (0..30).collect::<Vec<u64>>(), "{stump:?}");
        assert_eq!(spool.figures().held, 30);
        close(&spool);
    }
}

#[test]
fn a_truncated_database_keeps_the_rows_that_are_left() {
    let (folder, rows) = filled("truncated", 1_000);
    change(&folder.database(), |bytes| bytes.truncate(bytes.len() / 2 + 1_000));
    let spool = folder.open();
    let saved = held(&spool);
    assert!(saved.len() > 200 && saved.len() < 900, "{} rows", saved.len());
    assert!(saved.iter().all(|row| rows.contains(row)));
    close(&spool);
}

#[test]
fn an_interrupted_rescue_is_completed_or_begun_again() {
    let (folder, rows) = filled("rescue", 50);
    // Interrupted while it was copied: thrown away.
    fs::write(folder.0.join("spool.sqlite3.rescue"), b"half").unwrap();
    let spool = folder.open();
    assert_eq!(held(&spool), rows);
    close(&spool);
    assert!(!folder.0.join("spool.sqlite3.rescue").exists());
    // Cut off between the renames: the whole copy takes the name.
    fs::rename(folder.database(), folder.0.join("spool.sqlite3.rescued")).unwrap();
    fs::write(folder.0.join("spool.sqlite3-wal"), b"the damaged file's log").unwrap();
    let spool = folder.open();
    assert_eq!(held(&spool), rows);
    close(&spool);
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let folder = Folder::new("foreign");
    folder
        .sql()
        .execute_batch("CREATE TABLE customers (name TEXT); INSERT INTO customers VALUES ('Ada')")
        .unwrap();
    match Spool::open(&folder.settings()) {
        Err(OpenError::Unusable(why)) => assert!(why.contains("another program"), "{why}"),
        other => panic!("{other:?}"),
    }
    let name: String = folder.sql().query_row("SELECT name FROM customers", [], |row| row.get(0)).unwrap();
    assert_eq!(name, "Ada");
    assert!(folder.set_aside().is_empty());
}

#[test]
fn of_many_damaged_files_the_youngest_are_kept() {
    let (folder, _) = filled("many", 5);
    let spoil = |n: u8| change(&folder.database(), |bytes| bytes[..64].fill(n));
    for n in 0..7 {
        spoil(n);
        let spool = folder.open();
        assert_eq!(intact(&spool), [0, 1, 2, 3, 4]);
        assert_eq!(spool.figures().damaged_files, u64::from(n + 1).min(4));
        close(&spool);
    }
    let mut kept: Vec<u8> = folder.set_aside().iter().map(|path| fs::read(path).unwrap()[0]).collect();
    kept.sort_unstable();
    assert_eq!(kept, [3, 4, 5, 6]);
    // They may take as much room as the spool itself: of larger ones the youngest is kept.
    for path in folder.set_aside() {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(400 << 10).unwrap();
    }
    spoil(7);
    let spool = Spool::open(&Settings { max_bytes: Some(1 << 20), ..folder.settings() }).unwrap();
    assert_eq!(spool.figures().damaged_files, 3);
    close(&spool);
}

#[test]
fn counts_that_do_not_match_the_rows_are_made_again() {
    // Too large to be read whole at start, so that the noted counts are trusted at first.
    let folder = Folder::new("counts");
    let spool = folder.open();
    let big = "x".repeat(30_000);
    for start in (0..1_200).step_by(100) {
        let batch: Batch = (start..start + 100).map(|n| event_with(n, &big)).collect();
        all_ok(&spool.append(&batch, Standing::Held, "kafka is down"));
    }
    close(&spool);
    let notes =
        "UPDATE figures SET value = 0 WHERE name = 'held'; UPDATE figures SET value = 7 WHERE name = 'home'";
    folder.sql().execute_batch(notes).unwrap();
    let spool = folder.open();
    wait_for("the rows are counted", || spool.figures().held == 1_200 && spool.figures().home == 0);
    hold(&spool, [5_000]);
    assert_eq!(spool.figures().held, 1_201);
    close(&spool);
}
