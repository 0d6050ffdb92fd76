//! Disks that fail: the real spool in a process of its own, whose writes and syncs of the database fail on
//! demand (`disk_faults.c`): all of them, or at each call in turn (F12).

use std::process::Command;

use logs_ingest::store::spool::Spool;

use super::*;
use crate::support::shim;

/// Runs the named test again, as a process on a failing disk. `None`: this is that process.
pub(super) fn on_failing_disk(test: &str) -> Option<()> {
    if std::env::var_os("DISK_FAULTS").is_some() {
        return None;
    }
    let folder = Folder::new("disk");
    let library = shim::build("support/disk_faults.c", &folder.0);
    fs::create_dir(folder.0.join("faults")).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("LD_PRELOAD", &library)
        .env("DISK_FAULTS", folder.0.join("faults"))
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    Some(())
}

pub(super) struct Disk {
    pub(super) faults: PathBuf,
}

impl Disk {
    fn here() -> (Self, Spool) {
        let faults = PathBuf::from(std::env::var_os("DISK_FAULTS").unwrap());
        let spool = Spool::open(&settings(faults.parent().unwrap())).unwrap();
        (Self { faults }, spool)
    }

    /// The same without a spool of its own.
    pub(super) fn watched() -> Self {
        Self { faults: PathBuf::from(std::env::var_os("DISK_FAULTS").unwrap()) }
    }

    pub(super) fn fails(&self, how: &str) {
        self.fails_with(how, "");
    }

    pub(super) fn fails_with(&self, how: &str, what: &str) {
        fs::write(self.faults.join(how), what).unwrap();
    }

    pub(super) fn has_fired(&self) -> bool {
        self.faults.join("fired").exists()
    }

    pub(super) fn works(&self) {
        fs::read_dir(&self.faults).unwrap().for_each(|entry| fs::remove_file(entry.unwrap().path()).unwrap());
    }
}

/// Appends while the disk fails: nothing may be answered as stored.
fn refused(spool: &Spool, number: u64) -> String {
    let outcomes = spool.append(&batch([number, number + 1]), Standing::Held, "kafka is down");
    match &outcomes[..] {
        [Err(StoreError::Unavailable(_, why)), Err(StoreError::Unavailable(..))] => {
            let figures = spool.figures();
            assert!(!figures.writable);
            assert!(figures.last_error.is_some());
            why.to_string()
        }
        other => panic!("{other:?}"),
    }
}

/// What a life of a spool has made sure of, and what it may have done.
#[derive(Default)]
struct Life {
    /// Answered as stored, and not released since.
    held: Vec<u64>,
    home: Vec<u64>,
    /// Kept as a dead letter.
    dead: bool,
}

/// Everything that a spool does with its disk, whatever of it fails.
fn live(settings: &Settings) -> Life {
    let mut life = Life::default();
    let Ok(spool) = Spool::open(settings) else { return life };
    let mut store = |numbers: &[u64], standing: Standing| {
        let outcomes = spool.append(&batch(numbers.iter().copied()), standing, "a test");
        let stored = numbers.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_ok());
        let place = if standing == Standing::Held { &mut life.held } else { &mut life.home };
        place.extend(stored.map(|(number, _)| *number));
    };
    store(&[1, 2], Standing::Held);
    store(&[3], Standing::Home);
    store(&[4], Standing::Held);
    life.dead = spool.keep_letters(&[(event(5), because("policy"))]).is_ok();
    if let Ok(rows) = spool.reader().and_then(|mut reader| reader.held_after(0, 1, 1 << 20))
        && let Some(row) = rows.first()
    {
        // Refused or not: it may be gone.
        life.held.retain(|number| *number != row.event.as_ref().map(self::number).unwrap_or_default());
        let _ = spool.release(vec![row.seq]);
    }
    store_last(&spool, &mut life);
    let _ = spool.close(PATIENCE);
    life
}

fn store_last(spool: &Spool, life: &mut Life) {
    if spool.append(&batch([6]), Standing::Held, "a test")[0].is_ok() {
        life.held.push(6);
    }
}

#[test]
fn a_fault_at_any_call_costs_nothing_that_was_answered() {
    if on_failing_disk("spool::disk::a_fault_at_any_call_costs_nothing_that_was_answered").is_some() {
        return;
    }
    let disk = Disk::watched();
    let long = std::env::var_os("LOGS_INGEST_LONG").is_some();
    for mode in ["once", "from"] {
        let mut fired = true;
        let mut call = 0;
        while fired {
            call += 1;
            for (index, errno) in [28, 122, 5, 30].into_iter().enumerate() {
                // ENOSPC, EDQUOT, EIO, EROFS: one at each call, and each at every call in the long form.
                if !long && index != call % 4 {
                    continue;
                }
                let folder = Folder::in_memory("call");
                disk.fails_with(mode, &format!("{call} {errno}"));
                let life = live(&folder.settings());
                fired = disk.has_fired();
                disk.works();
                let spool = Spool::open(&folder.settings())
                    .unwrap_or_else(|error| panic!("{mode} call {call}, errno {errno}: {error}"));
                let what = format!("{mode} call {call}, errno {errno}: {:?}", spool.figures());
                let found = numbers(&held(&spool));
                assert!(life.held.iter().all(|number| found.contains(number)), "{what}: {found:?}");
                assert_eq!(spool.figures().held, found.len() as u64, "{what}");
                assert!(spool.figures().home >= life.home.len() as u64, "{what}");
                assert!(spool.figures().dead_letters >= u64::from(life.dead), "{what}");
                hold(&spool, [7]);
                close(&spool);
            }
        }
        assert!(call > 50, "{mode}: the faults went through {call} calls only");
    }
}

#[test]
fn an_update_that_fails_at_any_call_is_done_by_the_next_start() {
    if on_failing_disk("spool::disk::an_update_that_fails_at_any_call_is_done_by_the_next_start").is_some() {
        return;
    }
    let disk = Disk::watched();
    for mode in ["once", "from"] {
        for call in 1.. {
            let folder = versions::first_release(Folder::in_memory("old-disk"));
            // EIO
            disk.fails_with(mode, &format!("{call} 5"));
            drop(Spool::open(&folder.settings()).map(|spool| spool.close(PATIENCE)));
            let fired = disk.has_fired();
            disk.works();
            let spool = folder.open();
            versions::is_whole(&spool);
            close(&spool);
            assert_eq!(
                versions::version(&folder),
                (versions::newest(), versions::newest()),
                "{mode} call {call}"
            );
            if !fired {
                assert!(call > 10, "{mode}: the faults went through {call} calls only");
                break;
            }
        }
    }
}

/// The events that must be there are, in their order; of those that were refused some may have come to light.
fn has(spool: &Spool, stored: &[u64]) {
    let mut found = numbers(&held(spool));
    found.retain(|number| stored.contains(number));
    assert_eq!(found, stored);
}

#[test]
fn a_failed_fsync_is_never_answered_as_stored() {
    if on_failing_disk("spool::disk::a_failed_fsync_is_never_answered_as_stored").is_some() {
        return;
    }
    let (disk, spool) = Disk::here();
    hold(&spool, [1, 2]);
    for round in 0..3 {
        disk.fails("fsync");
        for n in 0..3 {
            let why = refused(&spool, 100 + 10 * round + 2 * n);
            assert!(why.contains("spool.sqlite3") && why.contains("check the disk"), "{why}");
        }
        disk.works();
        hold(&spool, [1_000 + round]);
        assert!(spool.figures().writable);
    }
    has(&spool, &[1, 2, 1_000, 1_001, 1_002]);
    let figures = spool.figures();
    assert_eq!(figures.held, 5 + figures.late - figures.repeated, "{figures:?}");
    close(&spool);
    let (_, spool) = Disk::here();
    has(&spool, &[1, 2, 1_000, 1_001, 1_002]);
    close(&spool);
}

#[test]
fn what_a_hanging_disk_commits_too_late_is_counted_as_that() {
    if on_failing_disk("spool::disk::what_a_hanging_disk_commits_too_late_is_counted_as_that").is_some() {
        return;
    }
    let (disk, spool) = Disk::here();
    hold(&spool, [1, 2]);
    disk.fails("hang");
    let outcomes = spool.append(&batch([3, 4, 2]), Standing::Held, "kafka is down");
    for outcome in &outcomes {
        let Err(StoreError::Unavailable(_, why)) = outcome else { panic!("{outcomes:?}") };
        assert!(why.contains("did not answer within 10s"), "{why}");
    }
    assert_eq!((spool.figures().held, spool.figures().late), (2, 0));
    disk.works();
    wait_for("the late commit is counted", || spool.figures().late == 3);
    // Two rows came, and one that was there already.
    assert_eq!((spool.figures().held, spool.figures().repeated), (4, 1));
    hold(&spool, [5]);
    assert_eq!((spool.figures().held, spool.figures().late), (5, 3));
    close(&spool);
}

#[test]
fn a_disk_that_fails_to_write_is_noticed_when_it_works_again() {
    if on_failing_disk("spool::disk::a_disk_that_fails_to_write_is_noticed_when_it_works_again").is_some() {
        return;
    }
    let (disk, spool) = Disk::here();
    hold(&spool, [1, 2]);
    disk.fails("eio");
    refused(&spool, 10);
    disk.works();
    wait_for("the spool is writable again, without an event", || spool.figures().writable);
    hold(&spool, [3]);
    has(&spool, &[1, 2, 3]);
    close(&spool);
}

#[test]
fn on_a_full_disk_events_are_refused_and_deletes_work() {
    if on_failing_disk("spool::disk::on_a_full_disk_events_are_refused_and_deletes_work").is_some() {
        return;
    }
    let (disk, spool) = Disk::here();
    let reserve = disk.faults.parent().unwrap().join("spool.reserve");
    hold(&spool, 1..50);
    disk.fails("enospc");
    let why = refused(&spool, 100);
    assert!(why.contains("free room on that disk"), "{why}");
    assert!(reserve.exists(), "events may not have the reserve");
    let rows = held(&spool);
    spool.release(rows[..40].iter().map(|(seq, _)| *seq).collect()).unwrap();
    assert!(!reserve.exists());
    assert_eq!(numbers(&held(&spool)), (41..50).collect::<Vec<u64>>());
    disk.works();
    wait_for("the reserve is taken again", || reserve.exists());
    hold(&spool, [200]);
    has(&spool, &[41, 49, 200]);
    close(&spool);
}

#[test]
fn a_failed_commit_that_turns_up_is_not_stored_twice() {
    if on_failing_disk("spool::disk::a_failed_commit_that_turns_up_is_not_stored_twice").is_some() {
        return;
    }
    let (disk, spool) = Disk::here();
    hold(&spool, [1, 2]);
    // Ids that no index knows, because no client can send them again.
    let random: Batch = (10..13).map(|n| event(n).identified(uuid::Uuid::now_v7())).collect();
    disk.fails("fsync");
    assert!(spool.append(&random, Standing::Held, "kafka is down").iter().all(Result::is_err));
    disk.works();
    all_ok(&spool.append(&random, Standing::Held, "kafka is down"));
    let rows = spool.reader().unwrap().held_after(0, 10, 1 << 20).unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row.event.as_ref().unwrap().ingest_id()).collect();
    assert_eq!(ids[2..], random.iter().map(Event::ingest_id).collect::<Vec<_>>());
    let figures = spool.figures();
    assert_eq!((figures.held, figures.late, figures.repeated), (5, 3, 3), "{figures:?}");
    close(&spool);
}
