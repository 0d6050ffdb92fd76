//! kill -9 at any moment: what was answered is there afterwards, in order.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const THREADS: u64 = 3;
/// Numbers of one thread in one round.
const SHARE: u64 = 1_000_000;

#[test]
fn killed_at_any_moment_no_answered_event_is_lost() {
    if let Ok(dir) = std::env::var("SPOOL_TEST_VICTIM") {
        let (dir, round) = dir.split_once('#').unwrap();
        victim(Path::new(dir), round.parse().unwrap());
    }
    let folder = Folder::new("kill");
    let mut random = Seed::new();
    let mut answered = Answered::default();
    for round in 0..20 {
        let kill_after = random.index(150);
        for line in lines_until_killed(&folder, round, kill_after) {
            answered.hear(&line);
        }
        let spool = folder.open();
        let rows = numbers(&held(&spool));
        let present: BTreeSet<u64> = rows.iter().copied().collect();
        let lost: Vec<_> = answered.there().difference(&present).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        assert_eq!(spool.figures().held, rows.len() as u64, "round {round}: the figures fit the rows");
        for thread in 0..(round + 1) * THREADS {
            let own: Vec<_> = rows.iter().filter(|number| **number / SHARE == thread).collect();
            assert!(own.is_sorted(), "round {round}: thread {thread} lost its order");
        }
        assert!(folder.set_aside().is_empty(), "round {round}: a killed daemon damages nothing");
        close(&spool);
    }
    let count = answered.there().len();
    assert!(count > 1_000, "only {count} events were answered before the kills");
}

/// What the process said: which events were answered and have to be there.
#[derive(Default)]
pub(super) struct Answered {
    there: BTreeSet<u64>,
    /// An event is in the spool before its thread says so: another one may release it until then.
    released: BTreeSet<u64>,
}

impl Answered {
    pub(super) fn hear(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("stored", number)) => {
                let number = number.parse().unwrap();
                assert!(self.released.contains(&number) || self.there.insert(number), "{line}");
            }
            Some(("releasing", number)) => {
                let number = number.parse().unwrap();
                self.there.remove(&number);
                self.released.insert(number);
            }
            _ => {}
        }
    }

    pub(super) fn there(&self) -> &BTreeSet<u64> {
        &self.there
    }
}

#[test]
fn an_event_that_was_released_before_it_was_said_to_be_stored_need_not_be_there() {
    let mut answered = Answered::default();
    for line in ["stored 1", "releasing 2", "stored 2", "stored 3", "releasing 3"] {
        answered.hear(line);
    }
    assert_eq!(*answered.there(), BTreeSet::from([1]));
}

/// Starts this test as another process on the folder, kills it after some lines, and returns all of them.
fn lines_until_killed(folder: &Folder, round: u64, kill_after: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "spool::crash::killed_at_any_moment_no_answered_event_is_lost", "--nocapture"])
        .env("SPOOL_TEST_VICTIM", format!("{}#{round}", folder.0.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut all = Vec::new();
    while all.len() < kill_after + 5 {
        match lines.next() {
            Some(line) => all.push(line.unwrap()),
            None => panic!("the process ended by itself: {:?}", child.wait()),
        }
    }
    child.kill().unwrap();
    // What it wrote before it died counts; a last line may be cut short.
    let rest = lines.map_while(Result::ok);
    all.extend(rest.filter(|line| !line.starts_with("stored ") || line.ends_with('.')));
    child.wait().unwrap();
    all.iter().map(|line| line.trim_end_matches('.').to_owned()).collect()
}

/// Appends for ever from several threads, says what was stored, and releases a few of the oldest.
fn victim(dir: &Path, round: u64) -> ! {
    let spool = Spool::open(&settings(dir)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let spool = spool.clone();
            scope.spawn(move || {
                let mut random = Seed::new();
                let mut next = (round * THREADS + thread) * SHARE;
                loop {
                    let end = next + 1 + random.index(20) as u64;
                    hold(&spool, next..end);
                    say("stored", next..end);
                    next = end;
                    if thread == 0 && random.index(4) == 0 {
                        let rows = spool.reader().unwrap().held_after(0, 5, 1 << 20).unwrap();
                        say("releasing", rows.iter().map(|row| number(row.event.as_ref().unwrap())));
                        spool.release(rows.iter().map(|row| row.seq).collect()).unwrap();
                    }
                }
            });
        }
    });
    unreachable!("it is killed")
}

fn say(what: &str, numbers: impl Iterator<Item = u64>) {
    let lines: String = numbers.map(|number| format!("{what} {number}.\n")).collect();
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes()).unwrap();
    out.flush().unwrap();
}
