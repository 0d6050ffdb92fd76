//! PostgreSQL: where events wait while Kafka is down, and their home where none is configured.
//!
//! The client has no time limits of its own, so a [`Postgres`] is the owner's side of a connection on a helper thread:
//! work goes there as closures, and the owner waits until the deadline.
//!
//! - `url` what `POSTGRES_URL` says; `tls` trust; `session` the connection and its settings
//! - `schema` the tables' versions; `rows` events as rows and back
//! - `write` storing events; `live` the same for the live path; `held` held rows on their way to Kafka; `keep` age and
//!   counts
//! - `browse` and `letters` rows and dead letters for people's commands
//! - `errors` the server's errors, sorted by what to do; `inspect` for `check-config`
//!
//! Invariants: `Ok` means committed with `synchronous_commit` on; every call returns within the deadline, whatever the
//! server does; after any `Unavailable` the owner drops the connection and makes a new one; what Kafka takes is never
//! refused for its characters or its length.

mod browse;
mod errors;
mod held;
mod inspect;
mod keep;
mod letters;
mod live;
mod options;
mod rows;
mod schema;
mod session;
mod tls;
mod url;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::bounded;

pub use self::browse::{Mark, RowKind};
pub use self::inspect::{Inspection, inspect};
pub use self::live::connect_live;
pub use self::options::Options;

#[cfg(test)]
pub(crate) use self::errors::Fault;
use self::errors::Server;
use self::session::Session;
use self::url::Target;
use crate::event::Event;
use crate::limits::{POSTGRES_CLOSE_WAIT, POSTGRES_LEFT_BEHIND_MAX};
use crate::store::helper::{Helper, LeftBehind};
use crate::store::{Batch, Cause, Destination, HeldRow, Standing, StoreError, WriteResult};

static LEFT_BEHIND: LeftBehind = LeftBehind::new(POSTGRES_LEFT_BEHIND_MAX);

/// Where the server is and how long to wait for it.
#[derive(Clone)]
pub struct Settings {
    /// `postgres://user:password@host:port/database?parameters` (`POSTGRES_URL`).
    pub url: String,
    /// The longest that one call takes (`POSTGRES_DEADLINE`).
    pub deadline: Duration,
    /// The name of this daemon, noted in each row that does not name another.
    pub instance: String,
    /// Where held rows are to go, noted in each. None: no Kafka is configured.
    pub destination: Option<Destination>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = describe(&self.url);
        f.debug_struct("Settings")
            .field("url", &url)
            .field("deadline", &self.deadline)
            .field("instance", &self.instance)
            .field("destination", &self.destination)
            .finish()
    }
}

/// What a URL names, for logs: "host:port/database as user".
///
/// # Errors
/// What is wrong with the URL, without its password.
pub fn describe(url: &str) -> Result<String, String> {
    Target::parse(url, Duration::from_secs(1)).map(|target| target.description())
}

/// Whether a usable URL holds a password.
#[must_use]
pub fn holds_password(url: &str) -> bool {
    Target::parse(url, Duration::from_secs(1)).is_ok_and(|target| target.config.get_password().is_some())
}

/// A connection.
pub struct Connected {
    /// Stores events, or drains them.
    pub store: Postgres,
    /// What the administrator should read once.
    pub notes: Vec<String>,
}

/// How many rows the tables hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows that wait for Kafka, counted up to [`crate::limits::POSTGRES_COUNT_MAX`].
    pub held: u64,
    /// Rows whose destination is PostgreSQL, counted up to the same limit.
    pub home: u64,
    /// Dead letters, counted up to the same limit.
    pub dead_letters: u64,
    /// When the held row that is next in order arrived.
    pub oldest_held_ms: Option<i64>,
}

/// Every row, counted one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recount {
    /// Rows that wait for Kafka.
    pub held: u64,
    /// Rows that Kafka has.
    pub forwarded: u64,
    /// Rows whose destination is PostgreSQL.
    pub home: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Of all these, the rows that this instance received since a certain time.
    pub own: u64,
}

/// Connects and brings the tables to this program's version. Blocks for at most the deadline, so it is called off the
/// data path.
///
/// # Errors
/// Always `Unavailable`; the text says what failed and what to do.
pub fn connect(settings: &Settings) -> Result<Connected, StoreError> {
    let target = Target::parse(&settings.url, settings.deadline)
        .map_err(|why| StoreError::unavailable(Cause::BadSetting, format!("POSTGRES_URL: {why}")))?;
    let at = Server::new(&target.address);
    if LEFT_BEHIND.is_full() {
        return Err(at.unavailable(
            Cause::OutOfTime,
            "an earlier connection still waits for a server that does not answer, and no more are made: it ends \
             when the server answers or stops, or when its machine is unreachable for long",
        ));
    }
    let deadline = settings.deadline;
    let build = {
        let (at, instance) = (at.clone(), settings.instance.as_str().into());
        let destination = settings.destination.clone();
        move || {
            let (session, notes) = Session::open(target, at, instance, destination, deadline)?;
            let mut session = Some(session);
            Ok((move |job: SessionJob| job(&mut session), notes))
        }
    };
    match Helper::start("postgres", &LEFT_BEHIND, deadline, build) {
        Ok(Ok((helper, notes))) => Ok(Connected { store: Postgres { helper, at, deadline }, notes }),
        Ok(Err(error)) => Err(error),
        Err(gone) => Err(at.gone("connect", gone)),
    }
}

/// What the helper does with its session; after the close it is `None`.
type SessionJob = Box<dyn FnOnce(&mut Option<Session>) + Send>;

/// The owner's side of one connection. After any `Unavailable` it is of no use: drop it and [`connect`] again.
pub struct Postgres {
    helper: Helper<SessionJob, ()>,
    at: Server,
    deadline: Duration,
}

impl Postgres {
    /// Stores the batch in one transaction; one result per event, in order. What is there already is not stored again. An
    /// event that the server refuses for its own data is found and left out.
    pub fn append(&mut self, batch: &Batch, standing: Standing, reason: &str) -> Vec<WriteResult> {
        let (events, reason) = (Arc::clone(batch), reason.to_owned());
        self.call("store events", move |session, until| {
            Ok(write::append(session, &events, standing, &reason, until))
        })
        .unwrap_or_else(|error| vec![Err(error); batch.len()])
    }

    /// Keeps dead letters, each with its error.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: none of them is kept. [`StoreError::Rejected`]: the server refuses one of them for its
    /// own data, and none is kept.
    pub fn keep_letters(&mut self, letters: &[(Event, Arc<str>)]) -> WriteResult {
        let letters = letters.to_vec();
        self.call("store dead letters", move |session, until| write::keep_letters(session, &letters, until))
    }

    /// Makes this connection the one drainer of these tables, as long as it lives. `false`: another connection is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn take_drain_lock(&mut self) -> Result<bool, StoreError> {
        self.query("take the drain lock", held::take_lock)
    }

    /// Rows after `seq` that wait for Kafka, oldest first: at most `max_rows`, and about `max_bytes` of events, but at
    /// least one. A row may be committed after one with a higher `seq`: with 0 none is missed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn held_after(
        &mut self,
        seq: i64,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Vec<HeldRow>, StoreError> {
        self.query("read held events", move |session, until| {
            held::held_after(session, seq, max_rows, max_bytes, until)
        })
    }

    /// Marks rows that Kafka acknowledged. Rows that are gone or marked already are not an error.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: they are still held, and may be forwarded again.
    pub fn forwarded(&mut self, seqs: &[i64]) -> WriteResult {
        let seqs = seqs.to_vec();
        self.query("mark forwarded events", move |session, until| held::forwarded(session, &seqs, until))
    }

    /// Moves held rows to the dead letters, each with its error, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: they are still held.
    pub fn dead_letter(&mut self, seqs: &[(i64, Arc<str>)]) -> WriteResult {
        let seqs = seqs.to_vec();
        self.query("move events to the dead letters", move |session, until| {
            held::dead_letter(session, &seqs, until)
        })
    }

    /// Removes rows forwarded longer ago than `forwarded_keep` and home rows received longer ago than `keep`, the oldest
    /// first, at most `most`. Returns how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn sweep(
        &mut self,
        forwarded_keep: Duration,
        keep: Duration,
        most: usize,
    ) -> Result<usize, StoreError> {
        self.query("remove old events", move |session, until| {
            keep::sweep(session, forwarded_keep, keep, most, until)
        })
    }

    /// Removes the oldest forwarded and home rows, at most `most`, while the table holds more than `max_bytes`, by the
    /// server's own estimate of its rows. Returns how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn trim(&mut self, max_bytes: u64, most: usize) -> Result<usize, StoreError> {
        self.query("remove events for room", move |session, until| {
            keep::trim(session, max_bytes, most, until)
        })
    }

    /// How many rows the tables hold.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn counts(&mut self) -> Result<RowCounts, StoreError> {
        self.query("count events", keep::counts)
    }

    /// Counts every row, and those that this instance received since then. It reads whole tables: use a connection of its
    /// own with a long deadline.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn recount(&mut self, since: SystemTime) -> Result<Recount, StoreError> {
        self.query("count every event", move |session, until| keep::recount(session, since, until))
    }

    /// [`Postgres::call`] for work that fails only because the server could not do it now.
    fn query<T: Send + 'static>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&mut Session, Instant) -> Result<T, ::postgres::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.call(doing, move |session, until| {
            work(session, until).map_err(|error| session.at.failed(doing, &error))
        })
    }

    /// Does `work` on the helper and waits for it until the deadline.
    fn call<T: Send + 'static>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&mut Session, Instant) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let until = Instant::now() + self.deadline;
        let (reply, answer) = bounded(1);
        let job: SessionJob = Box::new(move |session| {
            if let Some(session) = session {
                // The owner may have gone.
                let _ = reply.send(work(session, until));
            }
        });
        self.helper.call(job, until).map_err(|gone| self.at.gone(doing, gone))?;
        answer.try_recv().expect("BUG: a job that ended without an answer")
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The client sends the server a last message when it is dropped, which may hang: then it is left behind.
        let close: SessionJob = Box::new(|session| drop(session.take()));
        let _ = self.helper.call(close, Instant::now() + POSTGRES_CLOSE_WAIT);
    }
}
