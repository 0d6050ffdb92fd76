//! Exit codes, and why the daemon does not start. The codes from 64 are those of the system's sysexits.h.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "Exit::meaning says it, to people too")]
pub enum Exit {
    Ok = 0,
    Failed = 1,
    Unknown = 2,
    Usage = 64,
    Unavailable = 69,
    Software = 70,
    Config = 78,
}

impl Exit {
    const ALL: [Self; 7] =
        [Self::Ok, Self::Failed, Self::Unknown, Self::Usage, Self::Unavailable, Self::Software, Self::Config];

    const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "all went well",
            Self::Failed => "a command could not do all it was asked to, or found a problem",
            Self::Unknown => "ledger cannot compare everything, or status finds no daemon that stores events",
            Self::Usage => "wrong command line",
            Self::Unavailable => "the port or the spool is unavailable",
            Self::Software => "a bug, or a stop that could not finish in time",
            Self::Config => "a setting cannot be used, or the spool is of a newer version",
        }
    }

    /// All codes in one sentence, for `--help` and README.
    #[must_use]
    pub fn all() -> String {
        let all: Vec<_> =
            Self::ALL.iter().map(|exit| format!("{} {}", *exit as u8, exit.meaning())).collect();
        format!("Exit codes: {}.", all.join("; "))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the daemon cannot start, and the exit code that says so.
#[derive(Debug)]
pub struct StartError {
    /// The process's exit code.
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

    /// A setting's value cannot be used.
    #[must_use]
    pub fn setting(problem: &dyn fmt::Display) -> Self {
        Self::new(Exit::Config, problem)
    }

    /// The system refused something.
    #[must_use]
    pub fn system(what: &str, error: &io::Error) -> Self {
        Self::unavailable(format!("{what}: {error}"))
    }
}
