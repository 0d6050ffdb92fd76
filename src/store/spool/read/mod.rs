//! Reading the spool, beside its writer or without one: `held` for Kafka; for people `journal`, `browse`, `check`
//! and `recount` the rows, `inspect` the folder.
//!
//! Invariants: connections of their own that cannot write; short reads of a bounded number of rows, so that
//! checkpoints get through.

mod browse;
mod check;
mod held;
mod inspect;
mod journal;
mod recount;

pub use self::check::{RowProblem, Sizes, Table};
pub use self::held::Reader;
pub use self::inspect::{Inspection, inspect};
pub use self::journal::{Entry, Journal, JournalError};
pub use self::recount::{Recount, recount};
