//! The spool as a library, on real files: what goes in comes out, whatever happens in between.

mod bounds;
mod companions;
mod crash;
mod damage;
mod disk;
mod power;
mod rows;
mod updates;
mod versions;
mod wear;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use logs_ingest::event::{Arrival, Event};
use logs_ingest::host::clock::SystemClock;
use logs_ingest::limits::RELEASED_MS;
use logs_ingest::store::Standing;
use logs_ingest::store::spool::{Reader, Settings, Spool};
use logs_ingest::store::{Batch, StoreError};
use rusqlite::Connection;
use uuid::Uuid;

use crate::support::random::Seed;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A page of a new file.
const PAGE: usize = 2_048;
/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder for one test, gone after it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        Self::below(&std::env::temp_dir(), test)
    }

    /// The same where a sync costs nothing, if there is such a place: for the many starts of one test.
    fn in_memory(test: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::below(memory, test) } else { Self::new(test) }
    }

    fn below(parent: &Path, test: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("logs-ingest-{test}-{}-{count}", std::process::id());
        let path = parent.join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn settings(&self) -> Settings {
        settings(&self.0)
    }

    fn open(&self) -> Spool {
        Spool::open(&self.settings()).unwrap()
    }

    fn database(&self) -> PathBuf {
        self.0.join("spool.sqlite3")
    }

    /// A second connection, as another program has it.
    fn sql(&self) -> Connection {
        Connection::open(self.database()).unwrap()
    }

    /// Files that were set aside as damaged.
    fn set_aside(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        let aside = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("spool.sqlite3.damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm")
        };
        names.filter(aside).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.to_owned(),
        max_bytes: Some(1 << 30),
        keep: 30 * DAY,
        clock: SystemClock::shared(),
        clock_trusted_after: Duration::ZERO,
        instance: "test".to_owned(),
        stopping: Arc::default(),
        destination: None,
    }
}

/// The event number `n`, received `n` milliseconds after the release.
fn event(n: u64) -> Event {
    event_with(n, &format!("message {n}"))
}

fn event_with(n: u64, message: &str) -> Event {
    let payload = serde_json::json!({
        "request_id": format!("r-{n}"), "service": "pos", "env": "shop", "timestamp": "2025-11-18T17:21:35Z",
        "action": "pay", "level": "info", "message": message, "price": 12.5, "quantity": n,
    });
    restored(n, &payload.to_string(), RELEASED_MS + i64::try_from(n).unwrap())
}

fn restored(n: u64, payload: &str, received_at_ms: i64) -> Event {
    let fields: serde_json::Value = serde_json::from_str(payload).unwrap();
    let key = Bytes::from(fields["request_id"].as_str().unwrap().to_owned());
    let arrival = Arrival::new(Uuid::from_u128(u128::from(n)), received_at_ms);
    Event::restored(arrival, key, Bytes::from(payload.to_owned()))
}

fn batch(numbers: impl IntoIterator<Item = u64>) -> Batch {
    numbers.into_iter().map(event).collect()
}

/// The number in an event's id.
fn number(event: &Event) -> u64 {
    u64::try_from(event.ingest_id().as_u128()).unwrap()
}

/// Appends held events and insists that each is stored.
fn hold(spool: &Spool, numbers: impl IntoIterator<Item = u64>) {
    all_ok(&spool.append(&batch(numbers), Standing::Held, "kafka is down"));
}

fn all_ok(outcomes: &[Result<(), StoreError>]) {
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

/// Every held event's seq and number, in order; rows must be intact.
fn held(spool: &Spool) -> Vec<(i64, u64)> {
    held_by(&mut spool.reader().unwrap())
}

fn held_by(reader: &mut Reader) -> Vec<(i64, u64)> {
    let mut all: Vec<(i64, u64)> = Vec::new();
    loop {
        let after = all.last().map_or(0, |(seq, _)| *seq);
        let page = reader.held_after(after, 1_000, 1 << 20).unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.iter().map(|row| (row.seq, number(row.event.as_ref().unwrap()))));
    }
}

fn numbers(rows: &[(i64, u64)]) -> Vec<u64> {
    rows.iter().map(|(_, number)| *number).collect()
}

fn close(spool: &Spool) {
    assert!(spool.close(PATIENCE), "the spool did not close in time");
}

/// Waits until the condition holds.
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn because(error: &str) -> Arc<str> {
    Arc::from(error)
}
