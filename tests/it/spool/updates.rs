//! Spools of 0.1.0 (`made-by-0.1.0/`): every row is moved to the tables of this release, whatever happens meanwhile.

use std::process::{Command, Stdio};

use logs_ingest::store::browse::Wanted;
use logs_ingest::store::spool::{Journal, OpenError, checksum};

use super::disk::{Disk, on_failing_disk};
use super::versions::{newest, version};
use super::*;
use crate::support::shim;

const CLOSED: &[u8] = include_bytes!("made-by-0.1.0/closed.sqlite3");
const KILLED: &[u8] = include_bytes!("made-by-0.1.0/killed.sqlite3");
const KILLED_LOG: &[u8] = include_bytes!("made-by-0.1.0/killed.sqlite3-wal");

fn closed(folder: Folder) -> Folder {
    fs::write(folder.database(), CLOSED).unwrap();
    folder
}

/// The `request_id` of every row of a view, by its number.
fn shown(folder: &Folder, view: &str) -> Vec<String> {
    let sql = folder.sql();
    let mut statement = sql.prepare(&format!("SELECT request_id FROM {view} ORDER BY seq")).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn named(kind: &str, numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| format!("{kind}-{number}")).collect()
}

/// Everything of `closed.sqlite3` is there, in its order, with its ids and bytes, and the file works.
fn has_everything(folder: &Folder, spool: &Spool) {
    let figures = spool.figures();
    assert_eq!((figures.held, figures.home, figures.dead_letters), (12, 12, 1), "{figures:?}");
    assert_eq!((figures.damaged, figures.rescues), (0, 0), "{figures:?}");
    let rows = spool.reader().unwrap().held_after(0, 100, 1 << 20).unwrap();
    let keys: Vec<_> = rows.iter().map(|row| row.event.as_ref().unwrap().key().clone()).collect();
    assert_eq!(keys, named("held", 0..12));
    let traced = rows[4].event.as_ref().unwrap();
    assert_eq!(traced.traceparent(), Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    assert_eq!(shown(folder, "raw_logs"), [named("home", 0..12), named("held", 0..12)].concat());
    assert_eq!(shown(folder, "dead_letters"), ["held-12"]);
    hold(spool, [5]);
    assert_eq!(held_numbers_after(spool, rows[11].seq), [5]);
    close(spool);
    assert_eq!(version(folder), (newest(), newest()));
    assert!(folder.set_aside().is_empty());
}

fn held_numbers_after(spool: &Spool, seq: i64) -> Vec<u64> {
    let rows = spool.reader().unwrap().held_after(seq, 10, 1 << 20).unwrap();
    rows.iter().map(|row| number(row.event.as_ref().unwrap())).collect()
}

#[test]
fn a_spool_of_0_1_0_keeps_every_row_with_its_number_id_and_bytes() {
    let folder = closed(Folder::new("update"));
    let old = |table: &str| -> Vec<(i64, String, String, Vec<u8>)> {
        let sql = folder.sql();
        let select = format!("SELECT seq, ingest_id, received_at, payload FROM {table} ORDER BY seq");
        let mut statement = sql.prepare(&select).unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    };
    let before = [old("raw_logs"), old("dead_letters")];
    let spool = folder.open();
    assert_eq!([old("raw_logs"), old("dead_letters")], before, "in the same columns");
    let shown: String = folder
        .sql()
        .query_row(
            "SELECT message || reason || instance FROM raw_logs WHERE request_id = 'home-6'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(shown, "a\u{fffd}bthe spool is its hometill-pc");
    // A client's repeat is still recognised.
    let derived = "SELECT count(*) FROM derived_ids JOIN home_rows USING (seq) WHERE length(home_rows.ingest_id) = 16 \
                   AND home_rows.ingest_id = derived_ids.ingest_id";
    assert_eq!(folder.sql().query_row(derived, [], |row| row.get(0)), Ok(1));
    has_everything(&folder, &spool);
    has_no_damage(&folder);
}

fn has_no_damage(folder: &Folder) {
    let journal = Journal::open(&folder.0).unwrap();
    assert_eq!(journal.check_structure().unwrap(), [""; 0]);
    let kept = journal.kept_after(0, 100, 1 << 20, &Wanted::default()).unwrap();
    assert!(kept.rows.iter().all(|row| row.event.is_ok()));
}

#[test]
fn what_a_killed_0_1_0_left_in_its_log_is_moved_too() {
    let folder = Folder::new("update-log");
    fs::write(folder.database(), KILLED).unwrap();
    fs::write(folder.0.join("spool.sqlite3-wal"), KILLED_LOG).unwrap();
    let spool = folder.open();
    assert_eq!((spool.figures().held, spool.figures().rescues), (4, 0));
    close(&spool);
    assert_eq!(shown(&folder, "raw_logs"), named("held", 0..4));
}

#[test]
fn commands_say_that_an_old_spool_has_to_be_updated_first() {
    let folder = closed(Folder::new("update-command"));
    let said = Journal::open(&folder.0).unwrap_err().to_string();
    assert!(said.contains("spool.sqlite3") && said.contains("start the daemon"), "{said}");
    close(&folder.open());
    assert!(Journal::open(&folder.0).is_ok());
}

#[test]
fn damaged_rows_of_0_1_0_are_moved_and_reported() {
    let folder = closed(Folder::new("update-damaged"));
    let damage = "UPDATE raw_logs SET payload = CAST('{}' AS BLOB) WHERE request_id = 'held-3'; \
                  UPDATE raw_logs SET ingest_id = 'not an id' WHERE request_id = 'held-7'";
    folder.sql().execute_batch(damage).unwrap();
    let spool = folder.open();
    let rows = spool.reader().unwrap().held_after(0, 100, 1 << 20).unwrap();
    let damaged: Vec<_> =
        rows.iter().enumerate().filter(|(_, row)| row.event.is_err()).map(|(index, _)| index).collect();
    assert_eq!((rows.len(), damaged), (12, vec![3, 7]));
    spool.dead_letter(vec![(rows[3].seq, because("damaged")), (rows[7].seq, because("damaged"))]).unwrap();
    assert_eq!((spool.figures().held, spool.figures().dead_letters), (10, 3));
    let sql = folder.sql();
    let id: String = sql
        .query_row("SELECT ingest_id FROM dead_letters WHERE request_id = 'held-7'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(id, "not an id");
    close(&spool);
}

#[test]
fn an_updated_spool_whose_first_page_is_lost_is_mended() {
    for page in [0, 1] {
        let folder = closed(Folder::new("update-page"));
        close(&folder.open());
        let mut bytes = fs::read(folder.database()).unwrap();
        bytes[page * 50..4_096].fill(0);
        fs::write(folder.database(), bytes).unwrap();
        let spool = folder.open();
        let figures = spool.figures();
        assert_eq!((figures.held, figures.home, figures.dead_letters), (12, 12, 1), "{figures:?}");
        assert_eq!((figures.rescues, figures.damaged), (1, 0), "{figures:?}");
        close(&spool);
    }
}

/// A spool as 0.1.0 made it, with so many held rows that moving them takes several transactions.
fn large(folder: Folder, rows: u64) -> Folder {
    let folder = closed(folder);
    let sql = folder.sql();
    let insert = "INSERT INTO raw_logs (ingest_id, received_at, state, reason, instance, crc, payload) \
                  VALUES (?1, ?2, 'held', 'kafka is down', 'till-pc', ?3, ?4)";
    sql.execute_batch("BEGIN").unwrap();
    for n in 0..rows {
        let event = event_with(n, &"x".repeat(300));
        let received_at = logs_ingest::host::clock::rfc3339(event.received_at_ms());
        let values = (event.ingest_id().to_string(), received_at, checksum(&event), &event.payload()[..]);
        sql.execute(insert, values).unwrap();
    }
    sql.execute("UPDATE figures SET value = value + ?1 WHERE name = 'held'", [rows.cast_signed()]).unwrap();
    sql.execute_batch("COMMIT").unwrap();
    drop(sql);
    folder
}

#[test]
fn an_update_that_is_killed_at_any_call_is_done_by_the_next_start() {
    const ROWS: u64 = 1_800;
    if std::env::var_os("DISK_FAULTS").is_some() {
        let dir = std::env::var_os("SPOOL_TEST_UPDATE").unwrap();
        close(&Spool::open(&settings(Path::new(&dir))).unwrap());
        return;
    }
    let tools = Folder::new("update-tools");
    let library = shim::build("support/disk_faults.c", &tools.0);
    let faults = tools.0.join("faults");
    let mut random = Seed::new();
    let pristine = large(Folder::in_memory("update-large"), ROWS);
    let mut killed = 0;
    let rounds = if std::env::var_os("LOGS_INGEST_LONG").is_some() { 400 } else { 25 };
    for round in 0..rounds {
        let folder = Folder::in_memory("update-kill");
        fs::copy(pristine.database(), folder.database()).unwrap();
        // Killed up to three times before it comes through.
        for _ in 0..3 {
            let _ = fs::remove_dir_all(&faults);
            fs::create_dir(&faults).unwrap();
            fs::write(faults.join("once"), format!("{} 0", 1 + random.index(1_500))).unwrap();
            let status = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "spool::updates::an_update_that_is_killed_at_any_call_is_done_by_the_next_start",
                ])
                .env("SPOOL_TEST_UPDATE", &folder.0)
                .env("LD_PRELOAD", &library)
                .env("DISK_FAULTS", &faults)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert_ne!(status.success(), faults.join("fired").exists(), "round {round}: {status}");
            killed += u64::from(!status.success());
        }
        let spool = folder.open();
        let figures = spool.figures();
        assert_eq!((figures.held, figures.home, figures.dead_letters), (12 + ROWS, 12, 1), "{figures:?}");
        assert_eq!((figures.rescues, figures.damaged), (0, 0), "round {round}");
        let rows = spool.reader().unwrap().held_after(0, 10_000, 1 << 30).unwrap();
        let numbers: Vec<u64> = rows[12..].iter().map(|row| number(row.event.as_ref().unwrap())).collect();
        assert_eq!(numbers, (0..ROWS).collect::<Vec<_>>(), "round {round}");
        close(&spool);
    }
    assert!(killed > rounds / 2, "only {killed} starts were killed");
}

#[test]
fn an_update_on_a_full_disk_uses_the_reserve() {
    if on_failing_disk("spool::updates::an_update_on_a_full_disk_uses_the_reserve").is_some() {
        return;
    }
    let disk = Disk::watched();
    // Beside the faults, where the shim looks for the reserve.
    let folder = Folder(disk.faults.parent().unwrap().to_owned());
    let folder = closed(folder);
    let reserve = folder.0.join("spool.reserve");
    fs::write(&reserve, vec![0; 8 << 20]).unwrap();
    disk.fails("enospc");
    let spool = folder.open();
    disk.works();
    has_everything(&folder, &spool);
    // The parent process removes the folder.
    std::mem::forget(folder);
}

#[test]
fn an_update_without_any_room_loses_nothing_and_is_done_when_there_is_some() {
    if on_failing_disk(
        "spool::updates::an_update_without_any_room_loses_nothing_and_is_done_when_there_is_some",
    )
    .is_some()
    {
        return;
    }
    let disk = Disk::watched();
    for call in [1, 2, 3, 5, 8, 13, 21, 34] {
        let folder = closed(Folder::in_memory("update-full"));
        // ENOSPC
        disk.fails_with("from", &format!("{call} 28"));
        match Spool::open(&folder.settings()) {
            Ok(spool) => drop(spool.close(PATIENCE)),
            Err(OpenError::Unusable(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
        disk.works();
        has_everything(&folder, &folder.open());
    }
}
