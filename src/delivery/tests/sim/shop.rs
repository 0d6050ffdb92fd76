//! One machine: a folder, a clock, settings, and a daemon that is started, stopped and killed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::book::number_of;
use super::outside::{Outside, Settings, Way, look};
use crate::delivery::recovery::Leaving;
use crate::delivery::tests::clock::{Time, VirtualClock};
use crate::delivery::tests::process::{Options, Process};
use crate::delivery::tests::site::memory;
use crate::host::clock::Clock;
use crate::limits::SPOOL_TICK;
use crate::store::Standing;
use crate::store::browse::Wanted;
use crate::store::spool::{Figures, Journal};

/// The spool's database, and its write-ahead log.
const DATABASE: &str = "spool.sqlite3";
const LOG: &str = "spool.sqlite3-wal";
/// Rows that are read at once.
const PAGE: u32 = 10_000;

/// What is in the file that has the spool's name.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) held: BTreeSet<u64>,
    pub(super) home: BTreeSet<u64>,
    pub(super) dead: BTreeSet<u64>,
    /// What it was read after.
    print: Option<(Figures, [u64; 6], Option<u64>)>,
}

/// See the module.
pub(super) struct Shop {
    pub(super) id: usize,
    base: PathBuf,
    folder: PathBuf,
    folders: u32,
    pub(super) clock: Arc<VirtualClock>,
    /// What its administrator means, and what the daemon was started with.
    pub(super) intended: Settings,
    pub(super) settings: Settings,
    outside: Arc<Mutex<Outside>>,
    process: Option<Process>,
    pub(super) view: View,
    /// Reads it. Closed before the daemon, whose spool is then whole in one file.
    journal: Option<Journal>,
    /// Somebody has removed the spool's files while the daemon runs.
    pub(super) has_lost_files: bool,
    /// Answered events that went with them, and that no verdict has named.
    pub(super) taken: u64,
    /// Its events that became dead letters, and that no verdict has named.
    pub(super) letters: u64,
    /// Since when it says that all is well.
    pub(super) well_since_ms: Option<i64>,
    /// When the log had this length, and everything in it was answered.
    synced: (Instant, u64),
    pub(super) starts: u64,
}

impl Shop {
    pub(super) fn open(
        id: usize,
        settings: Settings,
        outside: &Arc<Mutex<Outside>>,
        time: &Arc<Time>,
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let base = memory().join(format!("logs-ingest-shop-{}-{count}", std::process::id()));
        let mut shop = Self {
            id,
            folder: base.join("0"),
            base,
            folders: 0,
            clock: Arc::new(VirtualClock::of(time)),
            intended: settings,
            settings,
            outside: Arc::clone(outside),
            process: None,
            view: View::default(),
            journal: None,
            has_lost_files: false,
            taken: 0,
            letters: 0,
            well_since_ms: None,
            synced: (time.now(), 0),
            starts: 0,
        };
        shop.start();
        shop
    }

    pub(super) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    fn start(&mut self) {
        let way = Way {
            outside: Arc::clone(&self.outside),
            clock: Arc::clone(&self.clock),
            shop: self.id,
            settings: self.settings,
        };
        look(&self.outside).book.keeps.insert(self.id, self.keep());
        let options = Options {
            has_kafka: self.settings.kafka.is_some(),
            has_postgres: self.settings.postgres.is_some(),
            keep: self.keep(),
            upkeep_every: Duration::from_secs(90),
            instance: self.settings.instance,
            ..Options::default()
        };
        let process = Process::start(&self.folder, Arc::new(way), &options);
        self.process = Some(process.unwrap_or_else(|error| panic!("the spool does not open: {error}")));
        self.view.print = None;
        self.has_lost_files = false;
        self.well_since_ms = None;
        self.starts += 1;
    }

    pub(super) fn keep(&self) -> Duration {
        Duration::from_secs(86_400 * self.settings.keep_days)
    }

    /// An orderly stop, and a start with other settings or the same.
    pub(super) fn restart(&mut self, settings: Settings) {
        self.stop();
        self.settings = settings;
        self.start();
    }

    fn stop(&mut self) {
        self.journal = None;
        self.process.take().expect("it runs").end();
    }

    /// Everything that was written is answered, and the writer rests: what a crash from now on may tear is what follows.
    pub(super) fn sync(&mut self) {
        self.process().upkeep();
        self.synced = (self.clock.now(), length(&self.folder.join(LOG)));
    }

    /// The process was killed just now. It starts again on what was durable; `cut`: the power failed too, and of what the
    /// log had not been asked to keep, so much in a thousand is there.
    pub(super) fn revive(&mut self, cut: Option<u64>) -> bool {
        self.journal = None;
        // The writer is done with what it was asked.
        let _ = self.process().spool.release(Vec::new());
        self.folders += 1;
        let next = self.base.join(self.folders.to_string());
        fs::create_dir_all(&next).expect("a folder is made");
        let mut was_cut = false;
        for entry in fs::read_dir(&self.folder).expect("the folder is there") {
            let from = entry.expect("an entry").path();
            let name = from.file_name().expect("a name").to_owned();
            let to = next.join(&name);
            match name.to_str().expect("our names are plain") {
                "spool.reserve" => fs::rename(&from, &to).expect("it is moved"),
                "spool.lock" | "spool.sqlite3-shm" => {}
                _ => drop(fs::copy(&from, &to).expect("it is copied")),
            }
            if let Some(cut) = cut.filter(|_| name == LOG) {
                was_cut = self.tear(&to, cut);
            }
        }
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
        self.folder = next;
        self.start();
        was_cut
    }

    /// Cuts what was written to the log since it was last known to be synced. Nothing of it was answered. While no upkeep
    /// was due, the log has only grown.
    fn tear(&self, log: &Path, cut: u64) -> bool {
        let ((at, from), now) = (self.synced, length(log));
        if now <= from || from == 0 || self.clock.now() - at >= SPOOL_TICK {
            return false;
        }
        let file = fs::OpenOptions::new().write(true).open(log).expect("it is there");
        file.set_len(from + (now - from) * cut / 1_000).expect("it is cut");
        true
    }

    /// Somebody removes the spool's files, while the daemon has them open.
    pub(super) fn lose_files(&mut self) {
        for name in [DATABASE, LOG, "spool.sqlite3-shm"] {
            let _ = fs::remove_file(self.folder.join(name));
        }
        self.has_lost_files = true;
    }

    /// Reads the spool again, if anything there has changed. Returns what was at home and is not any more.
    pub(super) fn read(&mut self) -> Vec<u64> {
        let file = fs::metadata(self.folder.join(DATABASE)).ok().map(|meta| meta.ino());
        let process = self.process.as_ref().expect("it runs");
        let mut figures = process.spool.figures();
        (figures.full_in, figures.disk_free, figures.bytes) = (None, 0, 0);
        let stats = process.stats.snapshot();
        let moved = [
            stats.accepted,
            stats.stored_held,
            stats.stored_home,
            stats.stored_dead_letter,
            stats.recovered,
            stats.recovered_dead_letter,
        ];
        let print = Some((figures, moved, file));
        if self.view.print == print {
            return Vec::new();
        }
        let mut view = View { print, ..View::default() };
        if file.is_some() {
            let mut journal = match self.journal.take() {
                Some(journal) => journal,
                None => Journal::open(&self.folder).expect("the spool can be read"),
            };
            journal.refresh().expect("the spool can be read");
            let wanted = Wanted::default();
            for row in journal.after(0, PAGE, &wanted, false).expect("rows are read").rows {
                let set = if row.standing == Standing::Home { &mut view.home } else { &mut view.held };
                set.insert(number(&row.ingest_id));
            }
            let letters =
                journal.letters_after(0, PAGE as usize, usize::MAX, &wanted).expect("letters are read");
            view.dead.extend(letters.rows.iter().map(|letter| number(&letter.kept.ingest_id)));
            self.journal = Some(journal);
        }
        let before = std::mem::replace(&mut self.view, view);
        before.home.difference(&self.view.home).copied().collect()
    }

    /// Rows that are to leave their stores, and could not yet.
    pub(super) fn leaving(&self) -> Option<&Leaving> {
        self.process.as_ref()?.recovery.as_ref()?.leaving.as_ref()
    }

    pub(super) fn describe(&self) -> String {
        let leaving = self.leaving().map(|rows| (rows.acked.clone(), rows.dead.clone()));
        let process = self.process.as_ref().expect("it runs");
        let (figures, health) = (process.spool.figures(), &process.health);
        let states = (health.kafka.state(), health.postgres.state());
        let settings = (self.settings.kafka, self.settings.postgres);
        let spool = (figures.held, figures.home, figures.dead_letters, figures.writable);
        let files = self.has_lost_files;
        format!("{settings:?} {states:?}, spool {spool:?}, lost files: {files}, leaving {leaving:?}")
    }

    pub(super) fn close(mut self) {
        self.stop();
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |meta| meta.len())
}

fn number(ingest_id: &str) -> u64 {
    number_of(uuid::Uuid::parse_str(ingest_id).expect("rows have ids"))
}
