//! Exit codes, after the system's sysexits.h where it has one, and why a daemon does not start.

use std::fmt;
use std::io;
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

/// Why the daemon can't start, and the exit code that says so.
#[derive(Debug)]
pub struct StartError {
    /// The process ends with this.
    pub exit: Exit,
    text: String,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for StartError {}

impl StartError {
    pub(crate) fn unavailable(text: String) -> Self {
        Self { exit: Exit::Unavailable, text }
    }

    pub(crate) fn new(exit: Exit, problem: &dyn fmt::Display) -> Self {
        Self { exit, text: problem.to_string() }
    }

    /// What a setting names can't be used.
    pub(crate) fn setting(problem: &dyn fmt::Display) -> Self {
        Self::new(Exit::Config, problem)
    }

    pub(crate) fn system(what: &str, error: &io::Error) -> Self {
        Self::unavailable(format!("{what}: {error}"))
    }
}
