//! The spool's upkeep as the daemon tells of it: bounds, damage, versions, what a start cleans up.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logs_ingest::event::{Arrival, Event};
use logs_ingest::host::clock::SystemClock;
use logs_ingest::limits::RELEASED_MS;
use logs_ingest::store::spool::{Settings, Spool};
use logs_ingest::store::{Batch, Standing};
use rusqlite::Connection;
use rustix::fs::statvfs;
use rustix::process::Signal;
use uuid::Uuid;

use crate::support::daemon::Daemon;
use crate::support::load::{Load, Report, Until, valid_events};
use crate::support::shim::Shim;
use crate::support::stores::Found;
use crate::support::{TempDir, poll};

const LIMIT: Duration = Duration::from_secs(20);
const PAGE: usize = 4_096;

fn change(dir: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let file = dir.join("spool.sqlite3");
    let mut bytes = fs::read(&file).expect("a spool");
    change(&mut bytes);
    fs::write(&file, bytes).expect("a spool");
}

fn post(daemon: &Daemon, count: usize) {
    assert_eq!(Load::run(daemon.addr(), 4, Until::Count(count), valid_events).with_status(202), count);
}

#[test]
fn damage_is_told_in_the_log_in_health_and_by_counters() {
    let mut daemon = Daemon::start();
    post(&daemon, 400);
    assert!(daemon.terminate().success());
    change(&daemon.data_dir(), |bytes| bytes[..64].fill(0xa5));
    daemon.restart();
    let spool = daemon.health()["spool"].clone();
    assert_eq!(
        [&spool["home"], &spool["rescues"], &spool["damaged_files"], &spool["damaged"]],
        [400, 1, 1, 0]
    );
    daemon.wait_for_log("is kept as", LIMIT);
    assert!(daemon.logged("400 rows were saved from it, 0 could not be read"), "{}", daemon.log_text());

    // A page of rows is gone: their number is reported.
    assert!(daemon.terminate().success());
    change(&daemon.data_dir(), |bytes| {
        let rows = |page: &&mut [u8]| page[0] == 0x0d && memchr::memmem::find(page, b"request_id").is_some();
        bytes.chunks_mut(PAGE).filter(rows).nth(3).expect("a page of rows").fill(0);
    });
    daemon.restart();
    let spool = daemon.health()["spool"].clone();
    let lost = spool["damaged"].as_u64().expect("a number");
    assert!((1..20).contains(&lost), "{spool}");
    assert_eq!([&spool["home"], &spool["rescues"], &spool["damaged_files"]], [400 - lost, 1, 2]);
    let counters = daemon.stats()["counters"].clone();
    assert_eq!([&counters["spool_rescues"], &counters["spool_damaged"]], [1, lost]);
    post(&daemon, 10);
}

#[test]
fn a_spool_of_a_newer_release_is_78_and_works_after_the_downgrade_is_undone() {
    let mut daemon = Daemon::start();
    post(&daemon, 20);
    assert!(daemon.terminate().success());
    let dir = daemon.data_dir();
    let version = |version: i64| {
        let sql = Connection::open(dir.join("spool.sqlite3")).expect("a spool");
        let before: i64 = sql.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version");
        sql.pragma_update(None, "user_version", version).expect("a version");
        before
    };
    let ours = version(77);
    let (code, said) = Daemon::builder().data_dir(&dir).run_to_exit(LIMIT);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("version 77") && said.contains(&format!("knows up to {ours}")), "{said}");
    version(ours);
    daemon.restart();
    assert_eq!(daemon.health()["spool"]["home"], 20);
}

#[test]
fn the_log_says_how_much_the_spool_may_hold_and_why() {
    let daemon = Daemon::start();
    let disk = statvfs(daemon.data_dir()).expect("a disk");
    let (most, why) = match disk.f_blocks * disk.f_frsize / 4 {
        quarter if quarter < 1 << 30 => (quarter, "a quarter of its small disk"),
        _ => (1 << 30, "the default"),
    };
    assert_eq!(daemon.health()["spool"]["max_bytes"], most);
    daemon.wait_for_log(&format!("the spool may hold {most} bytes, {why} "), LIMIT);
    let daemon = Daemon::builder().env("SPOOL_MAX_BYTES", "16MiB").start();
    assert_eq!(daemon.health()["spool"]["max_bytes"], 16 << 20);
    daemon.wait_for_log("the spool may hold 16777216 bytes, as SPOOL_MAX_BYTES says", LIMIT);
    // More than the disk has is worth a word; the daemon runs all the same.
    let daemon = Daemon::builder().env("SPOOL_MAX_BYTES", "16384GiB").start();
    daemon.wait_for_log("has less room than the spool may take", LIMIT);
}

#[test]
fn a_start_removes_what_a_killed_daemon_left() {
    let mut daemon = Daemon::start();
    post(&daemon, 5);
    daemon.kill9();
    let dir = daemon.data_dir();
    let stale =
        ["spool.sqlite3.rescue", "spool.sqlite3.rescue-wal", "spool.sqlite3.mended", "private/http-7.sock"];
    stale.iter().for_each(|name| fs::write(dir.join(name), b"half").expect("a writable folder"));
    daemon.restart();
    assert_eq!(daemon.health()["spool"]["home"], 5);
    stale.iter().for_each(|name| assert!(!dir.join(name).exists(), "{name} is still there"));
    assert!(daemon.terminate().success());
    let mut names: Vec<_> =
        fs::read_dir(&dir).expect("a folder").map(|entry| entry.expect("a file").file_name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["spool.lock", "spool.reserve", "spool.sqlite3"], "all that a stopped daemon leaves");
}

#[test]
fn a_socket_folder_below_the_temporary_one_is_found_again_after_a_kill() {
    let home = TempDir::new();
    let temporary = home.path().join("tmp");
    fs::create_dir(&temporary).expect("a writable folder");
    let data = home.path().join("d".repeat(100));
    let folders = || fs::read_dir(&temporary).expect("a folder").count();
    let mut daemon = Daemon::builder().data_dir(&data).env("TMPDIR", temporary.display()).start();
    post(&daemon, 5);
    assert_eq!(folders(), 1, "the path of the data is too long for a socket");
    for _ in 0..3 {
        daemon.kill9();
        daemon.restart();
    }
    assert_eq!(folders(), 1);
    assert!(daemon.terminate().success());
    assert_eq!(folders(), 0);
}

/// A closed spool of some 75 MB whose header is damaged.
fn large_and_damaged(dir: &Path) -> u64 {
    let spool = Spool::open(&Settings {
        dir: dir.to_owned(),
        max_bytes: Some(1 << 30),
        keep: Duration::from_secs(1 << 30),
        clock: SystemClock::shared(),
        clock_trusted_after: Duration::from_secs(1 << 30),
        instance: "test".to_owned(),
        stopping: Arc::default(),
        destination: None,
    })
    .expect("a spool");
    let message = "m".repeat(30_000);
    let event = |n: u64| {
        let id = format!("r-{n}");
        let payload = serde_json::json!({"request_id": id, "message": message}).to_string();
        let arrival = Arrival::new(Uuid::from_u128(n.into()), RELEASED_MS);
        Event::restored(arrival, id.into(), payload.into())
    };
    for start in (0..1_200).step_by(100) {
        let batch: Batch = (start..start + 100).map(event).collect();
        let outcomes = spool.append(&batch, Standing::Home, "a test");
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    assert!(spool.close(LIMIT));
    change(dir, |bytes| bytes[..64].fill(0xa5));
    1_200
}

#[test]
fn the_repair_of_a_large_spool_ends_at_once_when_the_daemon_is_stopped() {
    let home = TempDir::new();
    let rows = large_and_damaged(home.path());
    let mut daemon = Daemon::builder().data_dir(home.path()).launch();
    daemon.wait_for_log("the spool is damaged", LIMIT);
    let began = Instant::now();
    daemon.signal(Signal::TERM);
    let status = daemon.wait_for_exit(LIMIT);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(status.code(), Some(0), "{}", daemon.log_text());
    let broken_off = daemon.logged("is interrupted, because the daemon stops");
    assert!(broken_off && !daemon.logged("listening on"), "{}", daemon.log_text());
    daemon.restart();
    let spool = daemon.health()["spool"].clone();
    assert_eq!([&spool["home"], &spool["rescues"], &spool["damaged"]], [rows, 1, 0]);
}

#[test]
fn a_disk_that_fails_is_503_in_few_words_and_is_taken_back_by_itself() {
    let disk = Shim::disk();
    let daemon = disk.under(Daemon::builder()).start();
    let mut total = Report::default();
    for fault in ["fsync", "eio"] {
        let well = Load::run(daemon.addr(), 4, Until::Count(100), valid_events);
        assert_eq!(well.with_status(202), 100, "before {fault}");
        disk.begin(fault);
        let failing = Load::run(daemon.addr(), 4, Until::Count(200), valid_events);
        assert_eq!(failing.with_status(503), 200, "{fault}");
        assert_eq!(daemon.get("/readyz").status, 503, "{fault}");
        assert_eq!(daemon.health()["spool"]["writable"], false, "{fault}");
        disk.end(fault);
        // Without an event: nobody may send one to a daemon that is not ready.
        poll(LIMIT, "the disk to be taken back", || (daemon.get("/readyz").status == 200).then_some(()));
        total.answers.extend(well.answers.into_iter().chain(failing.answers));
    }
    Found::look(None, &daemon.data_dir()).assert_safe(&total);
    let lines = daemon.log_text().lines().count();
    assert!(lines < 60, "{lines} lines about 400 refused events: {}", daemon.log_text());
}
