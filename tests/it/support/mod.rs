//! What the black-box tests stand on: the real daemon as a child process, a strict HTTP client, a
//! load generator and a proxy that breaks connections. Nothing in here replaces a part of the daemon.
//!
//! Invariants: every wait has an end and says what it waited for; processes, threads and folders
//! end with the test that started them (the folder of a failed test is kept and named).
#![allow(dead_code, reason = "a kit: the tests that need a certain fault come and go")]

pub(crate) mod authority;
pub(crate) mod browser;
pub(crate) mod clock;
pub(crate) mod daemon;
pub(crate) mod events;
pub(crate) mod healthy;
pub(crate) mod http;
pub(crate) mod kafka;
pub(crate) mod ledger;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod notify;
pub(crate) mod ports;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod shim;
pub(crate) mod stores;
pub(crate) mod tls;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at that cannot be waited for in another way.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Asks until there is an answer; panics, naming `what`, when `limit` has passed.
pub(crate) fn poll<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        thread::sleep(POLL_EVERY);
    }
}

/// Ends a test that asks for more than the daemon and its spool among those that need nothing else.
pub(crate) fn is_more_than_the_spool(what: &str) {
    let is_quick = std::env::var_os("LOGS_INGEST_LANE").is_some_and(|lane| lane == "quick");
    assert!(!is_quick, "{what} in a quick test: give it another lane in tests/lanes.txt");
}

/// A folder of its own, gone at the end unless the test failed. Its path is short: Unix sockets
/// inside must stay under 108 bytes.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("logs-ingest-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // Left by an earlier process with the same id whose test failed.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot create the folder {}: {error}", path.display()),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the failed test's folder is kept: {}", self.0.display());
        } else if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// A new folder for a server of others' that listens on `port`: in memory where there is room, because how fast the disk is
/// is not what is tested of them. The daemon's own folders are on the disk.
pub(crate) fn folder_of_a_server(kind: &str, port: u16) -> PathBuf {
    const ROOM: u64 = 4 << 30;
    let memory = Path::new("/dev/shm");
    let has_room = rustix::fs::statvfs(memory).is_ok_and(|disk| disk.f_bavail * disk.f_frsize >= ROOM);
    let parent = if has_room { memory.to_owned() } else { std::env::temp_dir() };
    let folder = parent.join(format!("logs-ingest-{kind}-{}-{port}", std::process::id()));
    fs::create_dir(&folder).unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
    folder
}

/// Lets a load run for a random while: the one place where time itself is the condition.
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}
