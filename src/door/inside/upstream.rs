//! The connections to the inner server: one request at a time on each, never pipelined.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mio::net::UnixStream;

use super::answer::AnswerReader;
use crate::door::render::PING;
use crate::door::slots::Slots;
use crate::door::timers::Timers;
use crate::limits::{
    DOOR_BUFFER_BYTES_KEPT, DOOR_PING_INTERVAL, DOOR_PING_TIMEOUT, DOOR_RESERVED_DESCRIPTORS,
    DOOR_UPSTREAM_IDLE,
};
use crate::wire::routes::Lane;

/// What an upstream connection waits for: the kinds of [`Timers`].
pub(in crate::door) mod wait {
    /// Free, for ingest, until it is closed for being idle.
    pub(in crate::door) const FREE_INGEST: usize = 0;
    /// Free, kept for everything else, until it is pinged.
    pub(in crate::door) const FREE_KEPT: usize = 1;
    /// For the answer to its first request or to a ping.
    pub(in crate::door) const PING: usize = 2;
    /// For the answer to a client's request.
    pub(in crate::door) const BUSY: usize = 3;
    /// For the answer to a batch.
    pub(in crate::door) const BUSY_BATCH: usize = 4;
    pub(in crate::door) const KINDS: usize = 5;
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::door) enum Job {
    /// Nothing.
    Free,
    /// Its first request is out: until that is answered nothing says that the server reads it.
    Proving,
    /// A ping is out.
    Pinging,
    /// It has a request of this client, or of one that is gone.
    Busy(Option<usize>),
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Free => "idle",
            Self::Proving => "proving itself",
            Self::Pinging => "pinged",
            Self::Busy(_) => "serving a request",
        })
    }
}

/// An upstream connection.
#[derive(Debug)]
pub(in crate::door) struct Upstream {
    pub(in crate::door) stream: UnixStream,
    pub(in crate::door) polls_writable: bool,
    pub(in crate::door) lane: Lane,
    pub(in crate::door) job: Job,
    /// The server's building that it was opened in; an older one is not asked again.
    pub(in crate::door) generation: u64,
    pub(in crate::door) head: Vec<u8>,
    pub(in crate::door) body: Vec<u8>,
    /// Bytes of it that the loop has counted as memory in use.
    pub(in crate::door) counted_body: usize,
    pub(in crate::door) written: usize,
    pub(in crate::door) reader: AnswerReader,
}

impl Upstream {
    pub(in crate::door) fn new(stream: UnixStream, lane: Lane, generation: u64) -> Self {
        Self {
            stream,
            polls_writable: false,
            lane,
            job: Job::Proving,
            generation,
            head: PING.to_vec(),
            body: Vec::new(),
            counted_body: 0,
            written: 0,
            reader: AnswerReader::default(),
        }
    }

    /// Writes what the socket takes.
    pub(in crate::door) fn write(&mut self) -> io::Result<()> {
        while !self.is_sent() {
            let head = self.head.get(self.written..).unwrap_or_default();
            let body = &self.body[self.written.saturating_sub(self.head.len())..];
            match self.stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(in crate::door) fn is_sent(&self) -> bool {
        self.written >= self.head.len() + self.body.len()
    }

    /// A body that is sent is not kept for as long as its answer takes. Returns what was counted for it.
    pub(in crate::door) fn drop_body(&mut self) -> usize {
        self.body.clear();
        self.body.shrink_to(DOOR_BUFFER_BYTES_KEPT);
        std::mem::take(&mut self.counted_body)
    }

    /// One read of an answer. `Ok(true)` when there may be more to read.
    pub(in crate::door) fn read(&mut self, buffer: &mut [u8]) -> Result<bool, String> {
        match self.stream.read(buffer) {
            Ok(0) if self.reader.end() => Ok(false),
            Ok(0) => Err("it closed the connection".to_owned()),
            Ok(_) if self.job == Job::Free => Err("it sent something that was not asked for".to_owned()),
            Ok(count) => {
                self.reader.feed(&buffer[..count])?;
                Ok(count == buffer.len())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Ready for the next request. Returns whether the connection may take one.
    pub(in crate::door) fn reset(&mut self) -> bool {
        let keeps = self.reader.keeps();
        self.reader.reset(DOOR_BUFFER_BYTES_KEPT);
        for buffer in [&mut self.head, &mut self.body] {
            buffer.clear();
            buffer.shrink_to(DOOR_BUFFER_BYTES_KEPT);
        }
        self.written = 0;
        self.job = Job::Free;
        keeps
    }
}

/// All upstream connections, and the rules of opening them.
#[derive(Debug)]
pub(in crate::door) struct Pool {
    pub(in crate::door) connections: Slots<Upstream>,
    pub(in crate::door) waits: Timers<{ wait::KINDS }>,
    pub(in crate::door) path: PathBuf,
    pub(in crate::door) ingest_max: usize,
    pub(in crate::door) open_kept: usize,
    pub(in crate::door) open_ingest: usize,
    /// One at a time: the server's thread pool loses connections that come in a burst.
    pub(in crate::door) opening: Option<usize>,
    pub(in crate::door) open_backoff: Backoff,
    pub(in crate::door) rebuild_backoff: Backoff,
    pub(in crate::door) generation: u64,
    /// The socket file that connections lead to: a new server makes a new one.
    pub(in crate::door) identity: Option<Identity>,
    pub(in crate::door) reserve: Reserve,
    /// When anything was last answered.
    pub(in crate::door) last_answer: Option<Instant>,
    /// A new server was asked for, and none has answered since.
    pub(in crate::door) is_in_doubt: bool,
}

/// Which file a path names: its number, and when it was made, for numbers are given out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::door) struct Identity(u64, i64, i64);

impl Pool {
    pub(in crate::door) fn new(
        path: PathBuf,
        ingest_max: usize,
        busy: Duration,
        busy_batch: Duration,
    ) -> Self {
        let ms = Duration::from_millis;
        Self {
            connections: Slots::new(),
            waits: Timers::new([DOOR_UPSTREAM_IDLE, DOOR_PING_INTERVAL, DOOR_PING_TIMEOUT, busy, busy_batch]),
            path,
            ingest_max,
            open_kept: 0,
            open_ingest: 0,
            opening: None,
            open_backoff: Backoff::new(ms(20), ms(1_000)),
            rebuild_backoff: Backoff::new(ms(1_000), ms(30_000)),
            generation: 0,
            identity: None,
            reserve: Reserve::default(),
            last_answer: None,
            is_in_doubt: false,
        }
    }

    /// Which socket file is there now.
    pub(in crate::door) fn identity_now(&self) -> Option<Identity> {
        let metadata = std::fs::metadata(&self.path).ok()?;
        Some(Identity(metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
    }

    pub(in crate::door) fn open_count(&mut self, lane: Lane) -> &mut usize {
        match lane {
            Lane::Ingest => &mut self.open_ingest,
            Lane::Kept => &mut self.open_kept,
        }
    }

    /// The free connection used last: the others may then be closed for being idle.
    pub(in crate::door) fn free(&self, lane: Lane) -> Option<usize> {
        match lane {
            Lane::Ingest => self.waits.back(wait::FREE_INGEST),
            // Those are pinged, so all of them should take turns.
            Lane::Kept => self.waits.front(wait::FREE_KEPT),
        }
    }
}

/// Tries that grow apart.
#[derive(Debug)]
pub(in crate::door) struct Backoff {
    least: Duration,
    most: Duration,
    step: Duration,
    /// Not before then.
    pub(in crate::door) until: Option<Instant>,
}

impl Backoff {
    fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, step: least, until: None }
    }

    pub(in crate::door) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// A try was made and did not help.
    pub(in crate::door) fn grow(&mut self, now: Instant) {
        self.until = now.checked_add(self.step);
        self.step = (self.step * 2).min(self.most);
    }

    pub(in crate::door) fn reset(&mut self) {
        self.step = self.least;
        self.until = None;
    }
}

/// Descriptors held back. The inner server stops listening for good when its accept finds none, so
/// a connection is opened only into room that is known to be there.
#[derive(Debug, Default)]
pub(in crate::door) struct Reserve {
    files: Vec<File>,
}

impl Reserve {
    /// Takes what is missing. `false` when the process has no descriptors left.
    pub(in crate::door) fn fill(&mut self) -> bool {
        while self.files.len() < DOOR_RESERVED_DESCRIPTORS {
            match File::open("/dev/null") {
                Ok(file) => self.files.push(file),
                Err(_) => return false,
            }
        }
        true
    }

    /// Makes the room.
    pub(in crate::door) fn release(&mut self) {
        self.files.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_most() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(10), ms(25));
        assert!(backoff.is_over(now));
        for step in [10, 20, 25, 25] {
            backoff.grow(now);
            assert_eq!(backoff.until, Some(now + ms(step)));
            assert!(!backoff.is_over(now) && backoff.is_over(now + ms(step)));
        }
        backoff.reset();
        assert!(backoff.is_over(now));
    }
}
