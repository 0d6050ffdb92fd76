//! PostgreSQL's errors, sorted by what to do, in texts that say what to do.
//!
//! Invariants: an event is `Rejected` only when the server refused it for its own data; no text holds the password, nor
//! the row that was refused (the server's message is passed on, its detail is not).

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::Arc;

use postgres::Error;

use crate::store::helper::Gone;
use crate::store::{Cause, Refusal, StoreError};

/// Which server and database an error is about.
#[derive(Clone, Debug)]
pub(super) struct Server(Arc<str>);

/// What to do after a failed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A row's own data: the others may still go in.
    Row,
    /// Another session was in the way: the same statement may succeed when it is tried again.
    Conflict,
    /// The server or the session: try another store.
    Server,
}

impl Fault {
    pub(super) fn of(error: &Error) -> Self {
        error.code().map_or(Self::Server, |code| Self::of_code(code.code()))
    }

    /// By the server's SQLSTATE.
    pub(crate) fn of_code(code: &str) -> Self {
        match code {
            // Too long for an index that somebody added.
            "54000" => Self::Row,
            "40001" | "40P01" => Self::Conflict,
            _ if code.starts_with("22") || code.starts_with("23") => Self::Row,
            _ => Self::Server,
        }
    }
}

impl Server {
    pub(super) fn new(address: &str) -> Self {
        Self(address.into())
    }

    /// "PostgreSQL at host:port/database: what".
    pub(super) fn unavailable(&self, cause: Cause, what: &str) -> StoreError {
        StoreError::unavailable(cause, format!("PostgreSQL at {}: {what}", self.0))
    }

    /// The server could not do it now.
    pub(super) fn failed(&self, doing: &str, error: &Error) -> StoreError {
        let (cause, advice) = advice(error);
        self.unavailable(cause, &format!("cannot {doing}: {}: {advice}", words(error)))
    }

    /// The server refused this row for its own data.
    pub(super) fn rejected(&self, error: &Error) -> StoreError {
        let constraint = error.as_db_error().and_then(|error| error.constraint());
        let constraint = constraint.map(|name| format!(", constraint {name}")).unwrap_or_default();
        let why = format!("PostgreSQL at {} refuses this event: {}{constraint}", self.0, words(error));
        StoreError::rejected(Refusal::ValueRefused, why)
    }

    pub(super) fn gone(&self, doing: &str, gone: Gone) -> StoreError {
        let (cause, why) = match gone {
            Gone::OutOfTime => (
                Cause::OutOfTime,
                "no answer within the deadline: look at the server and the network between, or raise \
                 POSTGRES_DEADLINE",
            ),
            Gone::Panicked => (Cause::Bug, "the client library panicked: report the log line about it"),
            Gone::GivenUp => (Cause::Unreachable, "the connection was given up after an earlier error"),
        };
        self.unavailable(cause, &format!("cannot {doing}: {why}"))
    }
}

/// The server's message and code, or the client's message with its causes.
fn words(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", error.message(), error.code().code());
    }
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(words, ": {error}");
        cause = error.source();
    }
    words
}

fn advice(error: &Error) -> (Cause, &'static str) {
    match error.code() {
        Some(code) => advice_on(code.code()),
        None => (Cause::Unreachable, "check POSTGRES_URL, the server and the network between"),
    }
}

fn advice_on(code: &str) -> (Cause, &'static str) {
    match code {
        "25006" => (
            Cause::Refused,
            "the server takes no writes: name the primary, or look at default_transaction_read_only",
        ),
        "53100" => (Cause::Full, "free room on the server's disk"),
        "53300" => {
            (Cause::Busy, "raise max_connections or the role's CONNECTION LIMIT, or end other sessions")
        }
        "55P03" => {
            (Cause::Busy, "another session holds a lock on the table: look at pg_stat_activity and end it")
        }
        "57014" => (Cause::OutOfTime, "look at the server's load and locks, or raise POSTGRES_DEADLINE"),
        "57P01" | "57P02" | "57P03" => {
            (Cause::Unreachable, "the server is starting or stopping: the daemon tries again")
        }
        "42501" => (
            Cause::Refused,
            "grant the role CREATE on its schema, or have the files of sql/postgres/ applied, one after the other, \
             and grant SELECT, INSERT, UPDATE, DELETE on its tables",
        ),
        "42P01" | "3F000" | "42703" => (
            Cause::WrongSchema,
            "the tables are not as sql/postgres/ makes them: look at the role's search_path, restore them, or \
             drop logs_ingest_schema, raw_logs and dead_letters to have them made again",
        ),
        "42P07" => (
            Cause::WrongSchema,
            "tables of these names exist and are not this program's: give its role a schema of its own by \
             search_path",
        ),
        "28000" | "28P01" => {
            (Cause::Refused, "check user and password in POSTGRES_URL, and the server's pg_hba.conf")
        }
        "3D000" => (Cause::WrongSchema, "create the database, or name another in POSTGRES_URL"),
        "40001" | "40P01" => (Cause::Busy, "other sessions change the same rows: look at pg_stat_activity"),
        _ if code.starts_with("58") || code.starts_with("XX") => {
            (Cause::Failing, "look at the server's log and its disk")
        }
        _ => (Cause::Failing, "look at the server's log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fall_into_their_class() {
        for (code, fault, cause) in [
            ("22P05", Fault::Row, Cause::Failing),
            ("22021", Fault::Row, Cause::Failing),
            ("23514", Fault::Row, Cause::Failing),
            ("54000", Fault::Row, Cause::Failing),
            ("54001", Fault::Server, Cause::Failing),
            ("40001", Fault::Conflict, Cause::Busy),
            ("40P01", Fault::Conflict, Cause::Busy),
            ("40003", Fault::Server, Cause::Failing),
            ("25006", Fault::Server, Cause::Refused),
            ("53100", Fault::Server, Cause::Full),
            ("53300", Fault::Server, Cause::Busy),
            ("57P01", Fault::Server, Cause::Unreachable),
            ("28P01", Fault::Server, Cause::Refused),
            ("42501", Fault::Server, Cause::Refused),
            ("42P01", Fault::Server, Cause::WrongSchema),
            ("3D000", Fault::Server, Cause::WrongSchema),
            ("3F000", Fault::Server, Cause::WrongSchema),
            ("55P03", Fault::Server, Cause::Busy),
            ("57014", Fault::Server, Cause::OutOfTime),
            ("P0001", Fault::Server, Cause::Failing),
            ("XX001", Fault::Server, Cause::Failing),
            ("08P01", Fault::Server, Cause::Failing),
        ] {
            assert_eq!((Fault::of_code(code), advice_on(code).0), (fault, cause), "{code}");
        }
    }

    #[test]
    fn a_text_names_the_server_and_what_to_do() {
        let server = Server::new("db.shop:5432/logs");
        let StoreError::Unavailable(Cause::OutOfTime, why) = server.gone("store events", Gone::OutOfTime)
        else {
            panic!("not for another store")
        };
        assert!(why.starts_with("PostgreSQL at db.shop:5432/logs: cannot store events: "), "{why}");
        assert!(why.contains("POSTGRES_DEADLINE"), "{why}");
    }
}
