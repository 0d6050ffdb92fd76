//! Where events go. One trait, one batch type, errors sorted by what to do about them.
//!
//! Invariants: a store's `write` returns within the deadline it was built with, whatever the other
//! side does; it gives one outcome an event, in order; `Ok` means stored in the sense of a 202.

pub mod browse;
mod error;
mod helper;
mod isolate;
pub mod kafka;
pub mod postgres;
pub mod spool;

use std::sync::Arc;

pub use self::error::{Cause, Refusal, StoreError};

use crate::event::Event;

/// Events that travel together. Shared, not moved: a store left behind by its deadline may still
/// hold it while the next store writes it.
pub type Batch = Arc<[Event]>;

/// What a row is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits for Kafka and is never dropped unsent.
    Held,
    /// The spool is its destination: kept like a journal, by age and size.
    Home,
}

impl Standing {
    /// What the column `state` says. What cannot be read is taken for what loses nothing.
    #[must_use]
    pub fn of_column(state: &[u8]) -> Self {
        if state == Self::Home.as_str().as_bytes() { Self::Home } else { Self::Held }
    }

    /// As the column `state` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Home => "home",
        }
    }
}

/// The store that keeps an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredIn {
    /// Acknowledged by the broker.
    Kafka,
    /// Committed in Postgres.
    Postgres,
    /// Committed and fsynced in the local spool.
    Spool,
    /// Kept, but the broker will not have it as it is.
    DeadLetter,
}

impl StoredIn {
    /// As logs and `X-Stored-In` have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
            Self::Spool => "spool",
            Self::DeadLetter => "dead-letter",
        }
    }
}

/// A row that waits for Kafka.
#[derive(Clone, Debug)]
pub struct HeldRow {
    /// Its place in the order; what `release` and `bury` take.
    pub seq: i64,
    /// The event, or what is wrong with the row: such a row is for the dead letters.
    pub event: Result<Event, Arc<str>>,
}

/// What became of one event of a write.
pub type WriteResult = Result<(), StoreError>;

/// A client that is connected, for the live path.
pub struct Connected {
    /// Writes to the store.
    pub store: Box<dyn Store>,
    /// Which client library it is.
    pub client: &'static str,
    /// What the administrator should read once.
    pub notes: Vec<String>,
}

/// One place that keeps events.
pub trait Store: Send {
    /// Begins with a batch that `write` will be called with, after those that were begun before it. A store that
    /// has several on their way at once need not stand still between one's acknowledgement and the next. What
    /// `write` is never called with may be stored, or not.
    fn begin(&mut self, batch: &Batch) {
        let _ = batch;
    }

    /// Writes the batch and waits for the outcome of each event, in the batch's order.
    fn write(&mut self, batch: &Batch) -> Vec<WriteResult>;

    /// Keeps events that Kafka refuses for their own sake, each with its reason; all or none.
    ///
    /// # Errors
    /// None of them is kept; a store that has no place for them says so.
    fn keep_letters(&mut self, letters: &[(Event, Arc<str>)]) -> WriteResult {
        let _ = letters;
        Err(StoreError::unavailable(Cause::Unsupported, "this store keeps no dead letters"))
    }

    /// Called every second or so by the owner when it has nothing to write, for clients that need to be driven.
    /// Must return within a few milliseconds.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the client is of no use any more.
    fn tick(&mut self) -> WriteResult {
        Ok(())
    }
}
