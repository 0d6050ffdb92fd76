//! `spool verify`, `spool stats` and `spool export`, beside a running daemon and after it.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use flate2::read::GzDecoder;
use rusqlite::Connection;
use serde_json::Value;

use super::*;
use crate::support::TempDir;
use crate::support::stores::rows;

fn as_path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn gunzip(path: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn seqs(lines: &[Value]) -> Vec<i64> {
    lines.iter().map(|line| line["seq"].as_i64().expect("a seq")).collect()
}

#[test]
fn a_sound_spool_is_called_sound_and_a_flipped_byte_is_found() {
    let mut daemon = Daemon::start();
    post(&daemon, 20, |_, _| {});
    let beside = run_on(&daemon.data_dir(), &["spool", "verify"]).ok();
    assert!(beside.out.contains("checked 20 events and 0 dead letters"), "{}", beside.out);
    assert!(beside.out.trim_end().contains("sound: every checksum holds"), "{}", beside.out);
    daemon.terminate();

    let spool = Connection::open(daemon.data_dir().join("spool.sqlite3")).unwrap();
    let flip = "UPDATE home_rows SET payload = CAST(replace(CAST(payload AS TEXT), '12.5', '12.6') AS BLOB) WHERE seq = 7";
    assert_eq!(spool.execute(flip, []).unwrap(), 1);
    drop(spool);
    let said = run_on(&daemon.data_dir(), &["spool", "verify"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("damaged: raw_logs seq 7: the row is damaged: its checksum"), "{}", said.out);
    assert!(said.out.contains("NOT SOUND") && said.out.contains("restart the daemon"), "{}", said.out);
    let report = run_on(&daemon.data_dir(), &["spool", "verify", "--json"]).json();
    assert_eq!(
        (&report["sound"], &report["damaged"], &report["rows"]),
        (&false.into(), &1.into(), &20.into())
    );
    assert_eq!(report["first"][0]["seq"], 7);
}

#[test]
fn a_broken_structure_is_told_in_words() {
    let mut daemon = Daemon::start();
    post(&daemon, 300, |_, _| {});
    daemon.terminate();
    let file = daemon.data_dir().join("spool.sqlite3");
    let mut bytes = fs::read(&file).unwrap();
    // A page in the middle: whatever it held, SQLite knows that this cannot be right.
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0);
    fs::write(&file, bytes).unwrap();
    let report = run_on(&daemon.data_dir(), &["spool", "verify", "--json"]);
    assert_eq!(report.code, Some(1), "{report:?}");
    assert_ne!(report.json()["structure"].as_array().expect("a list").len(), 0, "{report:?}");
}

#[test]
fn stats_count_by_state_level_service_and_day() {
    let daemon = Daemon::start();
    post(&daemon, 5, |n, event| {
        event["level"] = if n == 0 { "error" } else { "info" }.into();
        event["service"] = if n < 3 { "till-1" } else { "till-2" }.into();
    });
    let stats = run_on(&daemon.data_dir(), &["spool", "stats", "--json"]).ok().json();
    let events = |list: &str, name: &str| stats[list][name]["events"].as_u64();
    assert_eq!(events("by_state", "home"), Some(5));
    assert_eq!((events("by_level", "error"), events("by_level", "info")), (Some(1), Some(4)));
    assert_eq!((events("by_service", "till-1"), events("by_service", "till-2")), (Some(3), Some(2)));
    let stored = rows(&daemon.data_dir(), "raw_logs");
    let bytes: usize = stored.iter().map(|row| row.payload.len()).sum();
    assert_eq!(stats["by_state"]["home"]["bytes"], bytes);
    let days: u64 =
        stats["by_day"].as_object().unwrap().values().map(|day| day["events"].as_u64().unwrap()).sum();
    assert_eq!(days, 5);
    assert_eq!(stats["oldest_held_received_at"], Value::Null);
    let people = run_on(&daemon.data_dir(), &["spool", "stats"]).ok().out;
    assert!(people.contains("till-2") && people.contains("oldest held  none"), "{people}");
}

#[test]
fn an_export_has_every_event_as_it_is_stored() {
    let daemon = Daemon::start();
    let ids = post(&daemon, 30, |n, event| event["raw_data"] = serde_json::json!({ "n": n, "x": "a\nb" }));
    let exported = run_on(&daemon.data_dir(), &["spool", "export"]).ok();
    let stored = rows(&daemon.data_dir(), "raw_logs");
    for (line, row) in exported.out.lines().zip(&stored) {
        let payload = std::str::from_utf8(&row.payload).unwrap();
        assert!(line.ends_with(&format!(r#","event":{payload}}}"#)), "{line}");
        assert!(
            line.starts_with(&format!(r#"{{"seq":{},"ingest_id":"{}","#, row.seq, row.ingest_id)),
            "{line}"
        );
    }
    assert_eq!(exported.lines().len(), ids.len());
    assert!(exported.err.contains("exported 30 events; later ones with --after 30"), "{}", exported.err);

    let rest = run_on(&daemon.data_dir(), &["spool", "export", "--after", "25"]).ok();
    assert_eq!(seqs(&rest.lines()), [26, 27, 28, 29, 30]);
    let one = run_on(&daemon.data_dir(), &["spool", "export", "--request-id", &ids[3]]).ok();
    assert_eq!(seqs(&one.lines()), [4]);
    let none = run_on(&daemon.data_dir(), &["spool", "export", "--to", "2026-01-01"]).ok();
    assert!(none.out.is_empty() && none.err.contains("exported 0 events"), "{none:?}");
}

#[test]
fn a_file_is_there_whole_or_not_at_all() {
    let daemon = Daemon::start();
    post(&daemon, 30, |_, _| {});
    let stick = TempDir::new();
    let (plain, packed) = (stick.path().join("events.ndjson"), stick.path().join("events.ndjson.gz"));
    let said = run_on(&daemon.data_dir(), &["spool", "export", "--output", as_path(&plain), "--json"]).ok();
    let report = said.json();
    assert_eq!((&report["exported"], &report["last_seq"]), (&30.into(), &30.into()));
    run_on(&daemon.data_dir(), &["spool", "export", "--gzip", "-o", as_path(&packed)]).ok();
    assert_eq!(gunzip(&packed), fs::read_to_string(&plain).unwrap());
    assert!(fs::metadata(&packed).unwrap().len() < fs::metadata(&plain).unwrap().len() / 4);

    let again = run_on(&daemon.data_dir(), &["spool", "export", "--output", as_path(&plain)]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("exists already"), "{}", again.err);
    let nowhere = stick.path().join("not-mounted/events.ndjson");
    let missing = run_on(&daemon.data_dir(), &["spool", "export", "--output", as_path(&nowhere)]);
    assert!(missing.code == Some(1) && missing.err.contains("the stick mounted?"), "{missing:?}");
    let names: Vec<_> = fs::read_dir(stick.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn a_full_disk_fails_an_export_and_says_so() {
    let daemon = Daemon::start();
    post(&daemon, 3, |_, _| {});
    let dir = daemon.data_dir();
    let mut export = command(&[("DATA_DIR", as_path(&dir))], &["spool", "export"]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let said = Ran::of(export.stdout(full).stderr(Stdio::piped()).output().unwrap());
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.err.contains("cannot write to standard output") && said.err.contains("make room"),
        "{said:?}"
    );
}
