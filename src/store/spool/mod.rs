//! The spool: events kept on this machine's disk, in SQLite, while Kafka is down or for good.
//!
//! One thread writes; every [`Spool`] handle sends it commands and waits for the answer, for a bounded time. Readers
//! have connections of their own and read by `seq`, some rows at a time.
//!
//! - `write` the one writer and its upkeep; `read` all readers; `repair` damaged files
//! - `schema` connections and the schema's versions; `row` events as rows, with their checksum; `counts` how many rows
//!   there are; `migrate` and `legacy` files of older versions
//! - `files` and `lock` the files around the database; `errors` SQLite's errors; `figures` how the spool stands
//!
//! Invariants: `Ok` means committed and fsynced; nothing is answered `Ok` after a failed commit; held rows leave only
//! by [`Spool::release`] or to the dead letters; a damaged file is set aside, and the youngest of them are kept.

mod counts;
mod errors;
mod figures;
mod files;
mod legacy;
mod lock;
mod migrate;
mod options;
mod read;
mod repair;
mod row;
mod schema;
mod write;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

pub use self::figures::Figures;
pub use self::options::{FolderOptions, Options};
pub use self::read::{
    Entry, Inspection, Journal, JournalError, Reader, Recount, RowProblem, Sizes, Table, inspect, recount,
};
pub use self::row::checksum;
pub use self::write::Fate;

use self::figures::SpoolState;
use self::files::Files;
use self::lock::Lock;
use self::write::{AnswerClaim, Command, Results, Work, Writer};
use crate::event::Event;
use crate::host::clock::Clock;
use crate::host::thread;
use crate::limits::{SPOOL_COMMANDS_MAX, SPOOL_DEADLINE};
use crate::store::{Batch, Cause, Destination, Standing, StoreError, WriteResult};

/// How a spool is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of its files (`DATA_DIR`).
    pub dir: PathBuf,
    /// The limit for the data in the file (`SPOOL_MAX_BYTES`). None: what suits its disk.
    pub max_bytes: Option<u64>,
    /// How long home rows are kept (`KEEP_DAYS`).
    pub keep: Duration,
    /// What time it is, for the spool's upkeep. How long a caller waits for an answer is real time.
    pub clock: Arc<dyn Clock>,
    /// How long the wall clock must have run evenly before it makes a row old.
    pub clock_trusted_after: Duration,
    /// The name of this daemon, noted in each row.
    pub instance: String,
    /// Where events go that have to wait for Kafka. None: there is no Kafka.
    pub destination: Option<Destination>,
    /// The daemon stops: a repair is interrupted, and the next start begins it again.
    pub stopping: Arc<AtomicBool>,
}

/// Why a spool cannot be opened. The text names the file and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Another daemon has it.
    InUse(String),
    /// A newer release made it.
    Newer(String),
    /// It cannot be read or written.
    Unusable(String),
    /// The daemon stopped during a repair.
    Stopped(String),
}

impl OpenError {
    fn cause(&self) -> Cause {
        match self {
            Self::InUse(_) => Cause::Busy,
            Self::Newer(_) => Cause::WrongSchema,
            Self::Unusable(_) => Cause::Disk,
            Self::Stopped(_) => Cause::Stopping,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(why) | Self::Newer(why) | Self::Unusable(why) | Self::Stopped(why) => {
                f.write_str(why)
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// A handle on the open spool. Clones share the one writer thread.
#[derive(Clone, Debug)]
pub struct Spool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    commands: Sender<Command>,
    state: Arc<SpoolState>,
    files: Files,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Spool {
    /// Opens the spool in the settings' folder and starts its writer. Makes what is missing; sets a damaged file aside and
    /// keeps its readable rows.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        let files = Files::in_dir(&settings.dir);
        files.make_dir().map_err(|error| {
            OpenError::Unusable(format!(
                "cannot create {}: {error}: create it for the daemon's user, or set another DATA_DIR",
                settings.dir.display()
            ))
        })?;
        let lock = Lock::take(&files.lock)?;
        if let Err(error) = files.close_to_others() {
            log::warn!("other users may read the spool in {}: {error}", settings.dir.display());
        }
        let state = Arc::new(SpoolState::default());
        let (commands, inbox) = bounded(SPOOL_COMMANDS_MAX);
        let writer = Writer::open(settings, files.clone(), lock, Arc::clone(&state))?;
        // Essential: nothing else may write here, and the spool is what is left when all else is down.
        let thread = thread::essential("spool", move || writer.run(&inbox))
            .map_err(|error| OpenError::Unusable(format!("cannot start the spool's thread: {error}")))?;
        Ok(Self { inner: Arc::new(Inner { commands, state, files, thread: Mutex::new(Some(thread)) }) })
    }

    /// Stores the batch in one fsynced transaction; one result per event, in order.
    #[must_use]
    pub fn append(&self, batch: &Batch, standing: Standing, reason: &str) -> Vec<WriteResult> {
        let work = Work::Append { batch: Arc::clone(batch), standing, reason: Arc::from(reason) };
        match self.command(work) {
            Ok(results) => results,
            Err(error) => vec![Err(error); batch.len()],
        }
    }

    /// Keeps dead letters, each with its error.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: none of them is kept.
    pub fn keep_letters(&self, letters: &[(Event, Arc<str>)]) -> WriteResult {
        self.command(Work::KeepLetters { letters: letters.to_vec() }).and_then(single)
    }

    /// Deletes rows that are safe elsewhere. Rows that are gone already are not an error.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: they are still here, and may be released again.
    pub fn release(&self, seqs: Vec<i64>) -> WriteResult {
        self.command(Work::Release { seqs }).and_then(single)
    }

    /// Moves held rows to the dead letters, each with its error, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: they are still held.
    pub fn dead_letter(&self, seqs: Vec<(i64, Arc<str>)>) -> WriteResult {
        self.command(Work::DeadLetter { seqs }).and_then(single)
    }

    /// Settles the dead letters with these ids, in one transaction; one result per id, in order.
    /// [`StoreError::Rejected`]: there is no such letter, or it cannot be sent.
    #[must_use]
    pub fn settle_letters(&self, ids: Vec<String>, fate: Fate) -> Vec<WriteResult> {
        let count = ids.len();
        let results = self.command(Work::SettleLetters { ids, fate });
        results.unwrap_or_else(|error| vec![Err(error); count])
    }

    /// A reader with a connection of its own.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the file cannot be opened.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        Reader::open(&self.inner.files.database, Arc::clone(&self.inner.state))
    }

    /// How the spool stands.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.inner.state.figures()
    }

    /// Finishes earlier commands, brings the log into the file and ends the writer. `false`: the deadline passed first;
    /// what was answered `Ok` is safe all the same.
    #[must_use]
    pub fn close(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        let (reply, answer) = bounded(1);
        match self.inner.commands.send_deadline(Command::Close { reply }, until) {
            Ok(()) => match answer.recv_deadline(until) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
                Err(RecvTimeoutError::Timeout) => return false,
            },
            Err(error) if error.is_disconnected() => {}
            Err(_) => return false,
        }
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.is_none_or(|thread| thread.join().is_ok())
    }

    fn command(&self, work: Work) -> Result<Results, StoreError> {
        let deadline = Instant::now() + SPOOL_DEADLINE;
        let (reply, answer) = bounded(1);
        let claim = AnswerClaim::default();
        let command = Command::Do { work, deadline, claim: claim.clone(), reply };
        self.inner
            .commands
            .send_deadline(command, deadline)
            .map_err(|error| self.no_answer(error.is_timeout()))?;
        match answer.recv_deadline(deadline) {
            // The writer has just claimed the answer.
            Err(RecvTimeoutError::Timeout) if !claim.take() => {
                answer.recv().map_err(|_| self.no_answer(false))
            }
            results => results.map_err(|error| self.no_answer(error == RecvTimeoutError::Timeout)),
        }
    }

    fn no_answer(&self, timeout: bool) -> StoreError {
        let path = self.inner.files.database.display();
        if timeout {
            let text = format!(
                "the spool {path} did not answer within {SPOOL_DEADLINE:?}: its disk hangs or is far too slow"
            );
            return StoreError::unavailable(Cause::OutOfTime, text);
        }
        StoreError::unavailable(
            Cause::Stopping,
            format!("the spool {path} is closed: the daemon is stopping"),
        )
    }
}

fn single(mut results: Results) -> WriteResult {
    results.pop().expect("BUG: a command without a result")
}
