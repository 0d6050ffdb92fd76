//! Power cuts (F2): the files as they may be at any moment, made from a record of every write and sync
//! (`disk_log.c`). What was not synced is there, is not there, or is there in part.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use super::crash::Answered;
use super::*;
use crate::support::{poll, shim};

/// What a disk writes as a whole.
const SECTOR: usize = 512;
/// Enough for a few rounds of the write-ahead log.
const RECORD_BYTES: u64 = 12 << 20;

/// Something that the process did.
enum Note {
    Write { at: usize, bytes: Vec<u8> },
    Cut { at: usize },
    Sync,
    Said(String),
}

/// A file: what is on the disk for sure, and what was done since.
#[derive(Default)]
struct Image {
    synced: Vec<u8>,
    since: Vec<Note>,
}

impl Image {
    fn add(&mut self, note: Note) {
        if matches!(note, Note::Sync) {
            let since = std::mem::take(&mut self.since);
            since.iter().for_each(|note| apply(&mut self.synced, note, usize::MAX));
        } else {
            self.since.push(note);
        }
    }

    /// The file after a power cut now. `kept`: how many bytes of each unsynced write are there.
    fn cut(&self, mut kept: impl FnMut(&Note) -> Option<usize>) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for note in &self.since {
            if let Some(kept) = kept(note) {
                apply(&mut bytes, note, kept);
            }
        }
        bytes
    }
}

fn apply(file: &mut Vec<u8>, note: &Note, kept: usize) {
    match note {
        Note::Write { at, bytes } => {
            let bytes = &bytes[..kept.min(bytes.len())];
            file.resize(file.len().max(at + bytes.len()), 0);
            file[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Note::Cut { at } => file.resize(*at, 0),
        Note::Sync | Note::Said(_) => {}
    }
}

/// The record of a spool under load until it was killed: which file, and what.
fn record() -> Vec<(u8, Note)> {
    let folder = Folder::new("power");
    let log = folder.0.join("log");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "spool::crash::killed_at_any_moment_no_answered_event_is_lost", "--nocapture"])
        .env("SPOOL_TEST_VICTIM", format!("{}#0", folder.0.display()))
        .env("LD_PRELOAD", shim::build("spool/disk_log.c", &folder.0))
        .env("DISK_LOG", &log)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let long_enough = || fs::metadata(&log).is_ok_and(|meta| meta.len() > RECORD_BYTES).then_some(());
    poll(PATIENCE, "enough to be written", long_enough);
    child.kill().unwrap();
    child.wait().unwrap();
    parse(&fs::read(&log).unwrap())
}

fn parse(mut rest: &[u8]) -> Vec<(u8, Note)> {
    let mut notes = Vec::new();
    // The last note may be cut short.
    while let Some((head, tail)) = rest.split_at_checked(14) {
        let at = usize::try_from(u64::from_le_bytes(head[2..10].try_into().unwrap())).unwrap();
        let count = u32::from_le_bytes(head[10..14].try_into().unwrap()) as usize;
        let Some((bytes, tail)) = tail.split_at_checked(count) else { break };
        let note = match head[0] {
            b'W' => Note::Write { at, bytes: bytes.to_vec() },
            b'T' => Note::Cut { at },
            b'S' => Note::Sync,
            b'A' => Note::Said(String::from_utf8_lossy(bytes).into_owned()),
            other => panic!("no note: {other}"),
        };
        notes.push((head[1], note));
        rest = tail;
    }
    notes
}

/// Opens the files of a power cut and looks for every event that was answered before it.
fn survives(what: &str, database: &[u8], log: &[u8], answered: &BTreeSet<u64>) {
    let folder = Folder::in_memory("power-cut");
    fs::write(folder.database(), database).unwrap();
    fs::write(folder.0.join("spool.sqlite3-wal"), log).unwrap();
    let spool = folder.open();
    let found = numbers(&held(&spool));
    let there: BTreeSet<u64> = found.iter().copied().collect();
    let lost: Vec<_> = answered.difference(&there).collect();
    assert!(lost.is_empty(), "{what}: of {} events {lost:?} are lost", answered.len());
    assert!(answered.is_empty() || folder.set_aside().is_empty(), "{what}: a power cut damages nothing");
    assert_eq!(spool.figures().held, found.len() as u64, "{what}");
    hold(&spool, [1 << 40]);
    close(&spool);
}

#[test]
fn a_power_cut_at_any_moment_loses_no_answered_event() {
    let mut random = Seed::new();
    let notes = record();
    let syncs = notes.iter().filter(|(_, note)| matches!(note, Note::Sync)).count();
    let cuts = if std::env::var_os("LOGS_INGEST_LONG").is_some() { 2_000 } else { 40 };
    let moments: BTreeSet<usize> = (0..cuts).map(|_| random.index(notes.len())).collect();
    let (mut database, mut log) = (Image::default(), Image::default());
    let mut answered = Answered::default();
    let mut torn = 0;
    for (moment, (file, note)) in notes.into_iter().enumerate() {
        match note {
            Note::Said(text) => text.lines().for_each(|line| answered.hear(line.trim_end_matches('.'))),
            note if file == b'd' => database.add(note),
            note => log.add(note),
        }
        if !moments.contains(&moment) {
            continue;
        }
        torn += database.since.len() + log.since.len();
        let nothing = |_: &Note| None;
        survives(&format!("{moment}: nothing"), &database.cut(nothing), &log.cut(nothing), answered.there());
        let mut some = |note: &Note| match note {
            Note::Write { bytes, .. } if random.index(2) == 0 => {
                Some(random.index(bytes.len() / SECTOR + 1) * SECTOR)
            }
            _ => (random.index(2) == 0).then_some(usize::MAX),
        };
        survives(&format!("{moment}: some"), &database.cut(&mut some), &log.cut(&mut some), answered.there());
        // The log ends at any byte behind its last sync.
        let whole = log.cut(|_| Some(usize::MAX));
        let end = log.synced.len() + random.index(whole.len().saturating_sub(log.synced.len()) + 1);
        let cut = &whole[..end.min(whole.len())];
        survives(
            &format!("{moment}: cut at {end}"),
            &database.cut(|_| Some(usize::MAX)),
            cut,
            answered.there(),
        );
    }
    let answers = answered.there().len();
    assert!(syncs > 100 && answers > 500, "{syncs} syncs, {answers} answers");
    assert!(torn > cuts / 4, "only {torn} writes were in doubt in {cuts} cuts");
}
