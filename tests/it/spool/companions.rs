//! Damage to each of the spool's files (F3): the database, its write-ahead log, the log's index.

use super::damage::intact;
use super::*;

const DATABASE: &str = "spool.sqlite3";
const LOG: &str = "spool.sqlite3-wal";
const INDEX: &str = "spool.sqlite3-shm";
/// In the database, and in the log alone.
const OLD: u64 = 40;
const ALL: u64 = 80;

/// The files of a daemon that was killed with a full log: name and bytes.
fn killed() -> Vec<(&'static str, Vec<u8>)> {
    let folder = Folder::new("killed");
    let spool = folder.open();
    (0..OLD).for_each(|n| hold(&spool, [n]));
    close(&spool);
    let spool = folder.open();
    (OLD..ALL).for_each(|n| hold(&spool, [n]));
    let copy = Folder::new("killed-copy");
    // By another process: closing a database's descriptor here would drop this process's locks on it.
    let names = [DATABASE, LOG, INDEX];
    let paths = names.map(|name| folder.0.join(name));
    assert!(std::process::Command::new("cp").args(&paths).arg(&copy.0).status().unwrap().success());
    close(&spool);
    names.map(|name| (name, fs::read(copy.0.join(name)).unwrap())).into()
}

/// Ways to damage a file. `None`: it is gone.
fn damaged(bytes: &[u8], how: &str, random: &mut Seed) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let at = random.index(bytes.len());
    match how {
        "flipped" => bytes[at] ^= 1 << random.index(8),
        "cut" => bytes.truncate(at),
        "zeros" => bytes[at / PAGE * PAGE..].iter_mut().take(PAGE).for_each(|byte| *byte = 0),
        "noise" => bytes[at..].iter_mut().take(PAGE).for_each(|byte| *byte = random.index(256) as u8),
        "doubled" => bytes.extend_from_within(..),
        "empty" => bytes.clear(),
        "missing" => return None,
        other => panic!("{other}"),
    }
    Some(bytes)
}

#[test]
fn each_file_may_be_damaged_in_any_way_and_what_is_good_is_kept() {
    let mut random = Seed::new();
    let pristine = killed();
    let times = if std::env::var_os("LOGS_INGEST_LONG").is_some() { 500 } else { 8 };
    for (name, bytes) in &pristine {
        for (how, times) in [
            ("flipped", 3 * times),
            ("cut", times),
            ("zeros", times),
            ("noise", times),
            ("doubled", 1),
            ("empty", 1),
            ("missing", 1),
        ] {
            for _ in 0..times {
                let folder = Folder::in_memory("file");
                pristine.iter().for_each(|(name, bytes)| fs::write(folder.0.join(name), bytes).unwrap());
                match damaged(bytes, how, &mut random) {
                    Some(bytes) => fs::write(folder.0.join(name), bytes).unwrap(),
                    None => fs::remove_file(folder.0.join(name)).unwrap(),
                }
                starts(&format!("{name} {how}"), name, how, &folder);
            }
        }
    }
}

fn starts(what: &str, name: &str, how: &str, folder: &Folder) {
    let spool = folder.open();
    let found = intact(&spool);
    let first: Vec<u64> = (0..found.len() as u64).collect();
    match name {
        // Made again from the log.
        INDEX => assert_eq!(found, (0..ALL).collect::<Vec<_>>(), "{what}"),
        // A log ends where it is damaged, at the end of a transaction; all before is there.
        LOG => assert!(found == first && found.len() as u64 >= OLD, "{what}: {found:?}"),
        // A flipped byte costs its own row, or a page: then the loss is reported.
        _ => {
            let figures = spool.figures();
            let whole = found.len() as u64 == ALL;
            assert!(
                whole || figures.rescues > 0 || figures.held > found.len() as u64,
                "{what}: {figures:?} {found:?}"
            );
            assert!(how != "doubled" || whole, "{what}: what follows the end is of no account");
            assert_eq!(figures.damaged_files, figures.rescues, "{what}");
            // Of a missing database only the log can be set aside.
            assert!(
                how == "missing" || figures.rescues == folder.set_aside().len() as u64,
                "{what}: {figures:?}"
            );
        }
    }
    hold(&spool, [1_000]);
    close(&spool);
}

#[test]
fn a_spool_of_yesterday_beside_todays_log_is_not_mixed_up() {
    // A backup was put back, and the log of the file that it replaced is still there.
    let pristine = killed();
    let folder = Folder::new("mixed");
    let spool = folder.open();
    hold(&spool, 500..600);
    close(&spool);
    let log = pristine.iter().find(|(name, _)| *name == LOG).map(|(_, bytes)| bytes).unwrap();
    fs::write(folder.0.join(LOG), log).unwrap();
    let spool = folder.open();
    let found = intact(&spool);
    // SQLite cannot know whose log it is: nothing in either may be read as another event, and it starts.
    assert!(found.iter().all(|number| *number < ALL || (500..600).contains(number)), "{found:?}");
    hold(&spool, [1_000]);
    close(&spool);
}
