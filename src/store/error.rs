//! Why a store did not take an event. The type decides what happens next, the text explains it to people.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Why a store did not take an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Nothing is wrong with the event: the store cannot take it now. Keep the event and use the next store.
    /// The text says what failed, on what, and what to do.
    Unavailable(Cause, Arc<str>),
    /// The store answered, and will never take this event as it is.
    Rejected(Refusal, Arc<str>),
}

/// Why a store takes nothing now, sorted by what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection: look at the address, the server and the network between. A server that is just starting or
    /// stopping too.
    Unreachable,
    /// Connected, and no answer within the deadline.
    OutOfTime,
    /// It answered no: login, certificate, rights, or a server that takes no writes. Change settings or rights.
    Refused,
    /// It lacks what this program needs: another version or kind of server.
    Unsupported,
    /// A setting cannot be used: an illegal name, a file that cannot be read.
    BadSetting,
    /// There is no such topic.
    TopicUnknown,
    /// A partition has no leader now.
    NoLeader,
    /// A partition has fewer replicas in sync than its topic asks for.
    NotEnoughReplicas,
    /// The database or its tables are missing, newer than this program, or not as it makes them.
    WrongSchema,
    /// Others are in the way: locks, too many connections, no thread left.
    Busy,
    /// No room: a full disk, or the limit that a setting names.
    Full,
    /// The local disk fails, or its file cannot be opened or written.
    Disk,
    /// The local file is damaged.
    Damaged,
    /// The topic refuses the time of receipt: this machine's clock and the broker's disagree.
    ClockRefused,
    /// It answered with an error of its own: look at its log.
    Failing,
    /// The daemon is stopping.
    Stopping,
    /// A bug, in this program or in a client library: report it.
    Bug,
}

/// Why a store will never take an event as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is larger than the topic takes.
    TooLarge,
    /// The topic does not take its time of receipt.
    TimestampRefused,
    /// The topic's settings forbid it.
    PolicyOfTopic,
    /// A value of it, by a type, a constraint or an index of the table.
    ValueRefused,
    /// There is no dead letter with this id.
    NoSuchLetter,
    /// Its row is damaged, so that it cannot be sent.
    DamagedRow,
}

impl StoreError {
    /// [`StoreError::Unavailable`], its text on one line.
    pub fn unavailable(cause: Cause, text: impl AsRef<str>) -> Self {
        Self::Unavailable(cause, one_line(text.as_ref()).into())
    }

    /// [`StoreError::Rejected`], its text on one line.
    pub fn rejected(refusal: Refusal, text: impl AsRef<str>) -> Self {
        Self::Rejected(refusal, one_line(text.as_ref()).into())
    }

    /// What people read.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        match self {
            Self::Unavailable(_, text) | Self::Rejected(_, text) => text,
        }
    }

    /// The cause to report where no other store is left to take the event.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Unavailable(cause, _) => *cause,
            Self::Rejected(..) => Cause::Failing,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for StoreError {}

/// A text on one line, its control characters escaped. What a library or a server says goes into log lines and
/// errors, and neither promises to have no line ends.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_line_and_is_escaped_once() {
        let said = "*** in database main ***\nTree 5: \u{1b}[31m\"für\"\\\r\n";
        let line = r#"*** in database main ***\nTree 5: \u{1b}[31m"für"\\r\n"#;
        let error = StoreError::unavailable(Cause::Damaged, said);
        assert_eq!(error.to_string(), line);
        assert_eq!(StoreError::rejected(Refusal::ValueRefused, error.text()).to_string(), line);
        assert!(matches!(one_line("plain"), Cow::Borrowed("plain")));
    }
}
