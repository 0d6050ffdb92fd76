//! One connection to the inner server.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};

use mio::net::UnixStream;

use super::answer_reader::AnswerReader;
use super::parcel::Parcel;
use crate::limits::DOOR_BUFFER_BYTES_KEPT;
use crate::wire::routes::Lane;

/// What a connection waits for: the kinds of [`crate::door::timers::Timers`].
pub(super) mod wait {
    /// Free, for ingest, until it is closed for being idle.
    pub(in crate::door::inside) const FREE_INGEST: usize = 0;
    /// Free, kept for everything else, until it is pinged.
    pub(in crate::door::inside) const FREE_KEPT: usize = 1;
    /// For the answer to its first request or to a ping.
    pub(in crate::door::inside) const PING: usize = 2;
    /// For the answer to a client's request.
    pub(in crate::door::inside) const BUSY: usize = 3;
    /// For the answer to a batch.
    pub(in crate::door::inside) const BUSY_BATCH: usize = 4;
    pub(in crate::door::inside) const KINDS: usize = 5;
}

/// Connections that may break under one request, before they took a byte of it.
const TRIES_MAX: u8 = 3;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Nothing,
    /// Its first request is out: until that is answered nothing says that the server reads it.
    Proving,
    /// A ping is out.
    Pinging,
    /// It has a request of this client.
    Serving {
        client: usize,
    },
    /// It has a request whose client is gone.
    Orphaned,
    /// It has the answer, and the event loop has yet to take it.
    Answered,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "idle",
            Self::Proving => "proving itself",
            Self::Pinging => "pinged",
            Self::Serving { .. } | Self::Orphaned | Self::Answered => "serving a request",
        })
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) stream: UnixStream,
    pub(super) polls_writable: bool,
    pub(super) lane: Lane,
    pub(super) doing: Doing,
    /// The generation that it was opened in.
    pub(super) generation: u64,
    pub(super) parcel: Parcel,
    written: usize,
    pub(super) reader: AnswerReader,
}

impl Upstream {
    /// With its first request, the ping that proves it.
    pub(super) fn new(stream: UnixStream, lane: Lane, generation: u64) -> Self {
        let mut parcel = Parcel::default();
        parcel.ping();
        Self {
            stream,
            polls_writable: false,
            lane,
            doing: Doing::Proving,
            generation,
            parcel,
            written: 0,
            reader: AnswerReader::default(),
        }
    }

    /// Writes what the socket takes.
    pub(super) fn write(&mut self) -> io::Result<()> {
        while !self.is_sent() {
            let (head, body) = self.parcel.from(self.written);
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

    pub(super) fn is_sent(&self) -> bool {
        self.written >= self.parcel.len()
    }

    /// One read of an answer. `Ok(true)` when there may be more to read.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<bool, String> {
        match self.stream.read(buffer) {
            Ok(0) if self.reader.end() => Ok(false),
            Ok(0) => Err("it closed the connection".to_owned()),
            Ok(_) if self.doing == Doing::Nothing => {
                Err("it sent something that was not asked for".to_owned())
            }
            Ok(count) => {
                self.reader.feed(&buffer[..count])?;
                Ok(count == buffer.len())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The request, if the server took no byte of it and others have not tried it often enough.
    pub(super) fn take_back(&mut self) -> Option<Parcel> {
        if self.written > 0 || self.parcel.tries >= TRIES_MAX {
            return None;
        }
        self.parcel.tries += 1;
        Some(std::mem::take(&mut self.parcel))
    }

    /// Ready for the next request. Returns whether the connection may take one, and what was counted for the body.
    pub(super) fn reset(&mut self) -> (bool, usize) {
        let keeps = self.reader.keeps();
        self.reader.reset(DOOR_BUFFER_BYTES_KEPT);
        self.written = 0;
        self.doing = Doing::Nothing;
        (keeps, self.parcel.reset())
    }
}
