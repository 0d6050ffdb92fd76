//! Opening a spool whose file is anything: a good one with bytes changed, or no database at all. It opens, its
//! rows are read or told to be damaged, and it takes new events.

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use logs_ingest::event::{Arrival, Event, Rules};
use logs_ingest::host::clock::SystemClock;
use logs_ingest::store::Standing;
use logs_ingest::store::spool::{Settings, Spool};
use uuid::Uuid;

const RULES: Rules = Rules { max_event_bytes: 1 << 20, redact_pan: true };
const MINUTE: Duration = Duration::from_secs(60);

fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.to_owned(),
        max_bytes: Some(64 << 20),
        keep: 1_000 * 24 * 60 * MINUTE,
        clock: SystemClock::shared(),
        clock_trusted_after: Duration::ZERO,
        instance: "fuzz".to_owned(),
        stopping: Arc::default(),
        destination: None,
    }
}

fn event(number: u128) -> Event {
    let body = format!(
        r#"{{"request_id":"r-{number}","service":"s","env":"e","timestamp":"2025-11-18","action":"a","level":"info","message":"m"}}"#
    );
    let arrival = Arrival::new(Uuid::from_u128(number), 0);
    Event::from_body(body.as_bytes(), arrival, RULES).expect("a good event")
}

fn fresh_folder(name: &str) -> PathBuf {
    let shared_memory = Path::new("/dev/shm");
    let base = if shared_memory.is_dir() { shared_memory.to_owned() } else { std::env::temp_dir() };
    let folder = base.join(format!("logs-ingest-fuzz-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("a folder can be made");
    folder
}

/// The file of a spool with some rows in it.
fn good_file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let folder = fresh_folder("good");
        let spool = Spool::open(&settings(&folder)).expect("a new spool opens");
        let events = (1..20).map(event).collect();
        assert!(spool.append(&events, Standing::Held, "fuzz").iter().all(Result::is_ok));
        assert!(spool.close(MINUTE));
        let file = fs::read(folder.join("spool.sqlite3")).expect("the file is there");
        let _ = fs::remove_dir_all(&folder);
        file
    })
}

/// Three bytes a change: two say where, one what. An odd first byte: the input is the whole file.
fn file_from(input: &[u8]) -> Vec<u8> {
    let Some((kind, rest)) = input.split_first() else { return Vec::new() };
    if kind % 2 == 1 {
        return rest.to_vec();
    }
    let mut file = good_file().to_vec();
    for change in rest.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % file.len();
        file[at] = change[2];
    }
    file
}

fuzz_target!(|input: &[u8]| {
    let folder = fresh_folder("now");
    fs::write(folder.join("spool.sqlite3"), file_from(input)).expect("the file can be written");
    // A file of a newer version is refused; everything else opens.
    if let Ok(spool) = Spool::open(&settings(&folder)) {
        let mut reader = spool.reader().expect("a reader");
        let mut after = 0;
        while let Ok(page) = reader.held_after(after, 100, 1 << 20) {
            let Some(last) = page.last() else { break };
            assert!(last.seq > after, "rows come in order");
            after = last.seq;
        }
        let _ = spool.append(&std::iter::once(event(100)).collect(), Standing::Held, "fuzz");
        drop(reader);
        assert!(spool.close(MINUTE), "it closes");
    }
    let _ = fs::remove_dir_all(&folder);
});
