//! Exit codes, after the system's sysexits.h where it has one.

use std::process::ExitCode;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// A command could not do what it was asked to; it said why.
    Failed = 1,
    /// `ledger` can't tell whether the books agree; `status` finds a daemon that stores nothing, or none.
    Unknown = 2,
    /// The command line makes no sense.
    Usage = 64,
    /// The port or the spool can't be had.
    Unavailable = 69,
    /// A bug, or a stop that had to leave something behind.
    Software = 70,
    /// A setting can't be used, or the spool was made by a newer version.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
