//! One client connection: its socket, its buffers, and how far its request has come.

use std::io::{self, ErrorKind};
use std::time::Instant;

use super::framing::{BodyError, BodyReader, Framing};
use super::inside::Parcel;
use super::stream::{Peer, Stream};
use crate::limits::DOOR_BUFFER_BYTES_KEPT;
use crate::wire::reply::Reply;
use crate::wire::routes::{BodyKind, Lane};

/// What a client waits for, or what is expected of it: the kinds of [`super::timers::Timers`].
pub(super) mod wait {
    pub(in crate::door) const IDLE: usize = 0;
    pub(in crate::door) const HEAD: usize = 1;
    pub(in crate::door) const BODY: usize = 2;
    pub(in crate::door) const QUEUED_INGEST: usize = 3;
    pub(in crate::door) const QUEUED_KEPT: usize = 4;
    pub(in crate::door) const WRITING: usize = 5;
    pub(in crate::door) const LINGERING: usize = 6;
    pub(in crate::door) const KINDS: usize = 7;
}

/// What a connection does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientState {
    /// Between requests; no byte of the next one has arrived.
    Idle,
    /// The TLS handshake is under way; no byte of a request has arrived.
    Handshake,
    /// A head is arriving.
    Head,
    /// A body is arriving.
    Body,
    /// The request is whole and waits for room inside.
    Queued,
    /// The request is inside, on the connection of this number.
    Asking(usize),
    /// The answer is being written.
    Writing(Then),
    /// The last answer is sent and the sending side is shut. What the client still sends is read and dropped, because
    /// closing a socket with unread bytes could destroy the answer before the client has read it.
    Lingering {
        /// Bytes that may still come.
        left: usize,
    },
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The next request.
    Keep,
    /// The end of the connection; the client may still be sending.
    Linger,
    /// The end of the connection; the client has sent everything.
    Close,
}

/// What the answer needs to know of the request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) lane: Lane,
    pub(super) closes: bool,
    pub(super) is_http10: bool,
    pub(super) is_head: bool,
    /// What the body is: whether it goes inside, and how long the answer may take.
    pub(super) body: BodyKind,
    pub(super) body_limit: usize,
    pub(super) request_id: String,
    /// Method and path, if it is refused for what its head asks.
    pub(super) asked: Option<(String, String)>,
    /// When its last byte arrived.
    pub(super) whole_at: Option<Instant>,
}

impl Request {
    fn new() -> Self {
        Self {
            lane: Lane::Kept,
            closes: true,
            is_http10: false,
            is_head: false,
            body: BodyKind::Dropped,
            body_limit: 0,
            request_id: String::new(),
            asked: None,
            whole_at: None,
        }
    }

    /// Forgets it: nothing is known of the next one yet.
    pub(super) fn reset(&mut self) {
        let mut request_id = std::mem::take(&mut self.request_id);
        request_id.clear();
        *self = Self { request_id, ..Self::new() };
    }
}

/// A client connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    /// It is in the queue for the next turn.
    pub(super) is_again: bool,
    /// It counts among the connections of its address.
    pub(super) is_counted: bool,
    pub(super) state: ClientState,
    /// The socket may have something to read. Cleared by a read that finds less than it could take.
    pub(super) readable: bool,
    /// The client will send no more: the poll has reported it, but no read has found the end yet.
    pub(super) ending: bool,
    /// A read found the end.
    pub(super) ended: bool,
    pub(super) polls_writable: bool,
    /// Bytes received and not yet taken: at most a head, or what one read brought beyond a request.
    pub(super) pending: Vec<u8>,
    /// Length of `pending` when it was last parsed: parsing it again for every byte would take quadratic time.
    pub(super) parsed_len: usize,
    pub(super) empty_lines: usize,
    pub(super) reader: BodyReader,
    /// The request as it goes inside, while it is not there.
    pub(super) parcel: Parcel,
    pub(super) out: Vec<u8>,
    pub(super) written: usize,
    pub(super) counted_out: usize,
    pub(super) request: Request,
}

impl Client {
    pub(super) fn new(stream: Stream, peer: Peer) -> Self {
        Self {
            stream,
            peer,
            is_again: false,
            is_counted: false,
            state: ClientState::Idle,
            readable: false,
            ending: false,
            ended: false,
            polls_writable: false,
            pending: Vec::new(),
            parsed_len: 0,
            empty_lines: 0,
            reader: BodyReader::new(Framing::Empty, 0),
            parcel: Parcel::default(),
            out: Vec::new(),
            written: 0,
            counted_out: 0,
            request: Request::new(),
        }
    }

    /// One read. The end is noted in `ended`.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let brought = match self.stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(0);
            }
            brought => brought?,
        };
        self.ended |= brought.end;
        // The poll reports an end only once.
        self.readable = !brought.end && (brought.more || self.ending);
        Ok(brought.bytes)
    }

    /// Writes what the socket takes. `Ok(true)` when everything is sent.
    pub(super) fn write(&mut self) -> io::Result<bool> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match self.stream.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            flushed => flushed.map(|()| true),
        }
    }

    /// Takes what belongs to the body from the front of `input`. Returns the bytes taken, and by how many bytes of memory
    /// the body grew.
    ///
    /// # Errors
    /// The reply to a body that is too large or badly framed.
    pub(super) fn take_body(&mut self, input: &[u8]) -> Result<(usize, usize), Reply> {
        let body = &mut self.parcel.body;
        let before = body.capacity();
        match self.reader.feed(input, body) {
            Ok(taken) => Ok((taken, body.capacity() - before)),
            Err(BodyError::TooLarge) => Err(Reply::too_large("the body", self.request.body_limit)),
            Err(BodyError::Broken(why)) => Err(Reply::bad_request(why)),
        }
    }

    /// Gives back large buffers, so that an idle connection costs little.
    pub(super) fn shrink(&mut self) {
        self.parcel.shrink();
        for buffer in [&mut self.pending, &mut self.out] {
            if buffer.capacity() > DOOR_BUFFER_BYTES_KEPT {
                buffer.shrink_to(DOOR_BUFFER_BYTES_KEPT);
            }
        }
    }
}
