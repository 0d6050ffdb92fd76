//! Where events go: one trait, one batch type, errors sorted by what to do about them.
//!
//! Invariants: a store's `write` returns within the deadline that it was built with, whatever the other
//! side does; it gives one result per event, in order; `Ok` means stored in the sense of a 202.

pub mod browse;
mod destination;
mod error;
mod helper;
mod isolate;
pub mod kafka;
pub mod postgres;
pub mod spool;

use std::sync::Arc;

pub use self::destination::Destination;
pub use self::error::{Cause, Refusal, StoreError};

use crate::event::Event;

/// Events that travel together. Shared, not moved: a store that missed its deadline may still hold it while the next
/// store writes it.
pub type Batch = Arc<[Event]>;

/// What a row is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits for Kafka and is never dropped unsent.
    Held,
    /// The spool is its destination: kept like a journal, by age and size.
    Home,
}

impl Standing {
    /// What the column `state` says. An unreadable one counts as held, so that nothing is lost.
    #[must_use]
    pub fn of_column(state: &[u8]) -> Self {
        if state == Self::Home.as_str().as_bytes() { Self::Home } else { Self::Held }
    }

    /// As it stands in the column `state`.
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
    /// Kept as a dead letter: the broker refuses it as it is.
    DeadLetter,
}

impl StoredIn {
    /// As logs and `X-Stored-In` show it.
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
    /// Its number in the store's order.
    pub seq: i64,
    /// The event, or what is wrong with the row: such a row becomes a dead letter.
    pub event: Result<Event, Arc<str>>,
}

/// The result of writing one event, or of a change that is made whole or not at all.
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

/// A place that keeps events.
pub trait Store: Send {
    /// Begins with a batch that `write` will be called with, after those that were begun before it. So a store that can
    /// have several batches under way need not wait for one's acknowledgement before it sends the next. A batch that
    /// `write` is never called with may be stored, or not.
    fn begin(&mut self, batch: &Batch) {
        let _ = batch;
    }

    /// Writes the batch and waits for the result of each event, in the batch's order.
    fn write(&mut self, batch: &Batch) -> Vec<WriteResult>;

    /// Keeps dead letters: events that Kafka refuses as they are, each with its reason; all or none.
    ///
    /// # Errors
    /// None of them is kept, also in a store that keeps no dead letters.
    fn keep_letters(&mut self, letters: &[(Event, Arc<str>)]) -> WriteResult {
        let _ = letters;
        Err(StoreError::unavailable(Cause::Unsupported, "this store keeps no dead letters"))
    }

    /// The owner calls it about every second while it has nothing to write, for clients that need to be driven. It returns
    /// within a few milliseconds.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the client is of no use any more.
    fn tick(&mut self) -> WriteResult {
        Ok(())
    }
}
