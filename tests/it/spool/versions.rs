//! Files of other releases (F22): an older one is brought up to date, whatever happens meanwhile; a newer one
//! is left alone.

use std::process::{Command, Stdio};

use logs_ingest::store::spool::OpenError;

use super::*;

/// A spool as the first release left it: held events 1 and 2, home event 3, dead letter 4.
const FIRST_RELEASE: &str = include_str!("version-1.sql");

/// The version that this program writes: there is a file for each.
pub(super) fn newest() -> i64 {
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/spool")).unwrap();
    let versions = files.map(|file| file.unwrap().file_name().to_str().unwrap()[..3].parse().unwrap());
    versions.max().unwrap()
}

pub(super) fn first_release(folder: Folder) -> Folder {
    let sql = folder.sql();
    sql.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").unwrap();
    sql.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    sql.execute_batch(include_str!("../../../sql/spool/001.sql")).unwrap();
    sql.execute_batch(FIRST_RELEASE).unwrap();
    folder
}

pub(super) fn version(folder: &Folder) -> (i64, i64) {
    let sql = "SELECT value, (SELECT user_version FROM pragma_user_version) FROM figures WHERE name = 'schema_version'";
    folder.sql().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

/// Everything of the first release is there, and the file works.
pub(super) fn is_whole(spool: &Spool) {
    assert_eq!(numbers(&held(spool))[..2], [1, 2]);
    let figures = spool.figures();
    assert_eq!((figures.home, figures.dead_letters, figures.damaged), (1, 1, 0), "{figures:?}");
    hold(spool, [5]);
}

#[test]
fn a_spool_of_the_first_release_is_brought_up_to_date_with_all_its_rows() {
    let folder = first_release(Folder::new("old"));
    let spool = folder.open();
    is_whole(&spool);
    close(&spool);
    assert_eq!(version(&folder), (newest(), newest()));
    assert!(folder.set_aside().is_empty());
    let spool = folder.open();
    assert_eq!(numbers(&held(&spool)), [1, 2, 5]);
    close(&spool);
}

#[test]
fn an_updated_spool_survives_the_loss_of_its_first_page() {
    // It is mended from a fresh spool's: both must have been made in the same way.
    let folder = first_release(Folder::new("old-page"));
    close(&folder.open());
    let mut bytes = fs::read(folder.database()).unwrap();
    bytes[..4_096].fill(0);
    fs::write(folder.database(), bytes).unwrap();
    let spool = folder.open();
    is_whole(&spool);
    assert_eq!(spool.figures().rescues, 1);
    close(&spool);
}

#[test]
fn a_damaged_spool_of_the_first_release_is_saved_and_updated_at_once() {
    let folder = first_release(Folder::new("old-damaged"));
    let mut bytes = fs::read(folder.database()).unwrap();
    bytes[..64].fill(0xa5);
    fs::write(folder.database(), bytes).unwrap();
    let spool = folder.open();
    is_whole(&spool);
    assert_eq!(spool.figures().rescues, 1);
    close(&spool);
    assert_eq!(version(&folder), (newest(), newest()));
}

#[test]
fn an_update_that_is_killed_at_any_moment_is_done_by_the_next_start() {
    if let Ok(dir) = std::env::var("SPOOL_TEST_UPDATE") {
        drop(Spool::open(&settings(Path::new(&dir))).unwrap());
        return;
    }
    let mut random = Seed::new();
    for round in 0..20 {
        let folder = first_release(Folder::new("old-kill"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "spool::versions::an_update_that_is_killed_at_any_moment_is_done_by_the_next_start",
            ])
            .env("SPOOL_TEST_UPDATE", &folder.0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        crate::support::pause(Duration::from_micros(500 * random.index(40) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        let spool = folder.open();
        is_whole(&spool);
        close(&spool);
        assert_eq!(version(&folder), (newest(), newest()), "round {round}");
        assert!(folder.set_aside().is_empty(), "round {round}");
    }
}

#[test]
fn a_newer_spool_is_refused_and_left_alone() {
    let folder = first_release(Folder::new("newer"));
    close(&folder.open());
    for version in [newest() + 1, 99] {
        folder.sql().pragma_update(None, "user_version", version).unwrap();
        let before = fs::read(folder.database()).unwrap();
        match Spool::open(&folder.settings()) {
            Err(OpenError::Newer(why)) => {
                assert!(why.contains("spool.sqlite3") && why.contains(&format!("version {version}")), "{why}")
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read(folder.database()).unwrap(), before);
    }
    folder.sql().pragma_update(None, "user_version", newest()).unwrap();
    let spool = folder.open();
    is_whole(&spool);
    close(&spool);
}
