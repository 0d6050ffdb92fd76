//! SQLite's errors, sorted by what to do, in texts that say what to do.

use std::fmt;
use std::path::Path;

use rusqlite::{Error, ErrorCode, ffi};

use crate::store::error::one_line;
use crate::store::{Cause, StoreError};

/// What to do after a failed statement or commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// One row's own fault: the others may still go in.
    Row,
    /// No room on the disk: nothing is wrong with the connection.
    Full,
    /// The disk failed, or the file cannot be written. The connection's cache is not to be trusted.
    Disk,
    /// The file is damaged.
    Damaged,
    /// Another program holds the file's lock.
    Busy,
    /// Anything else: the file may be sound.
    Other,
}

impl Fault {
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::SqliteFailure(failure, _) | Error::SqlInputError { error: failure, .. } => {
                Self::of_code(failure)
            }
            Error::ToSqlConversionFailure(_) => Self::Row,
            // A column of another type than the schema's, or text that is not text: SQLite did not write that.
            Error::InvalidColumnType(..) | Error::FromSqlConversionFailure(..) | Error::Utf8Error(..) => {
                Self::Damaged
            }
            _ => Self::Other,
        }
    }

    fn of_code(failure: &ffi::Error) -> Self {
        match failure.code {
            ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => Self::Row,
            ErrorCode::DiskFull => Self::Full,
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::NoLargeFileSupport => Self::Disk,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damaged,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
            _ => Self::Other,
        }
    }

    /// The cause for a caller who keeps the event.
    pub(super) fn cause(self) -> Cause {
        match self {
            Self::Full => Cause::Full,
            Self::Disk => Cause::Disk,
            Self::Damaged => Cause::Damaged,
            Self::Busy => Cause::Busy,
            Self::Row | Self::Other => Cause::Failing,
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Row => "this event cannot be kept as it is",
            Self::Full => "free room on that disk",
            Self::Disk => "check the disk, its mount and the file's owner",
            Self::Damaged => "the file is set aside and its readable rows are saved",
            Self::Busy => {
                "another program holds its lock: end that program, nothing else may write to this file"
            }
            Self::Other => "if it stays, restart the daemon and report this",
        }
    }
}

/// "what on path: SQLite's message: what to do".
pub(super) fn text(doing: &str, path: &Path, error: &Error) -> String {
    let fault = Fault::of(error);
    let said = Words(error).to_string();
    format!("{doing} {}: {}: {}", path.display(), one_line(&said), fault.advice())
}

/// The same, for a caller who keeps the event.
pub(super) fn unavailable(doing: &str, path: &Path, error: &Error) -> StoreError {
    StoreError::unavailable(Fault::of(error).cause(), text(doing, path, error))
}

/// SQLite's message and its extended code, which is different for a failed fsync and a failed write.
struct Words<'a>(&'a Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Error::SqliteFailure(failure, Some(message)) => {
                write!(f, "{message} (SQLite code {})", failure.extended_code)
            }
            Error::SqliteFailure(failure, None) => {
                write!(
                    f,
                    "{} (SQLite code {})",
                    ffi::code_to_str(failure.extended_code),
                    failure.extended_code
                )
            }
            other => other.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn extended_codes_fall_into_their_class() {
        for (code, fault) in [
            (ffi::SQLITE_FULL, Fault::Full),
            (ffi::SQLITE_IOERR_FSYNC, Fault::Disk),
            (ffi::SQLITE_IOERR_WRITE, Fault::Disk),
            (ffi::SQLITE_READONLY_DBMOVED, Fault::Disk),
            (ffi::SQLITE_CANTOPEN, Fault::Disk),
            (ffi::SQLITE_CORRUPT_INDEX, Fault::Damaged),
            (ffi::SQLITE_NOTADB, Fault::Damaged),
            (ffi::SQLITE_BUSY_SNAPSHOT, Fault::Busy),
            (ffi::SQLITE_CONSTRAINT_TRIGGER, Fault::Row),
            (ffi::SQLITE_TOOBIG, Fault::Row),
            (ffi::SQLITE_NOMEM, Fault::Other),
        ] {
            assert_eq!(Fault::of(&failure(code)), fault, "code {code}");
        }
    }

    #[test]
    fn what_sqlite_says_stays_on_one_line() {
        let verdict = "*** in database main ***\nTree 5 page 5: btreeInitPage() returns error code 11";
        let error = Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(verdict.to_owned()));
        let said = text("the spool is damaged:", Path::new("/data/spool.sqlite3"), &error);
        assert!(said.contains(r"main ***\nTree 5") && !said.contains('\n'), "{said}");
    }

    #[test]
    fn a_text_names_the_path_and_what_to_do() {
        let said = text("cannot write to", Path::new("/data/spool.sqlite3"), &failure(ffi::SQLITE_FULL));
        assert!(said.starts_with("cannot write to /data/spool.sqlite3: "), "{said}");
        assert!(said.ends_with(": free room on that disk"), "{said}");
    }
}
