//! TLS of one connection, on a socket that does not block.
//!
//! Invariant: what it holds is bounded: outgoing bytes by [`DOOR_TLS_BYTES_MAX`], incoming ones by rustls (a record, or a
//! handshake message of 64 KiB), and more is read only after those were taken.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

use super::stream::{Brought, Socket};
use crate::limits::DOOR_TLS_BYTES_MAX;

/// The first byte that every TLS client sends: the type of a record that holds a handshake message.
const HANDSHAKE_RECORD: u8 = 0x16;

/// A connection's TLS.
#[derive(Debug)]
pub(super) struct TlsSession {
    connection: ServerConnection,
    has_begun: bool,
}

impl TlsSession {
    /// The client speaks first.
    ///
    /// # Errors
    /// Those of rustls.
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let mut connection = ServerConnection::new(config)?;
        connection.set_buffer_limit(Some(DOOR_TLS_BYTES_MAX));
        Ok(Self { connection, has_begun: false })
    }

    pub(super) fn may_begin_with(byte: u8) -> bool {
        byte == HANDSHAKE_RECORD
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    pub(super) fn has_unwritten(&self) -> bool {
        self.connection.wants_write()
    }

    /// Returns what is decrypted already, or what one read of the socket brings.
    pub(super) fn read(&mut self, socket: &mut Socket, buffer: &mut [u8]) -> io::Result<Brought> {
        let decrypted = self.take(buffer)?;
        if decrypted.bytes > 0 || decrypted.end {
            return Ok(Brought { more: true, ..decrypted });
        }
        let mut noted = Noted { socket, is_empty: false };
        if self.connection.read_tls(&mut noted)? > 0 {
            self.has_begun = true;
        }
        let is_empty = noted.is_empty;
        let state = match self.connection.process_new_packets() {
            Ok(state) => state,
            Err(error) => {
                // Sends the alert that says why, if the socket has room.
                let _ = self.flush(socket);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        };
        match self.flush(socket) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        let decrypted = self.take(buffer)?;
        let more = !is_empty || decrypted.bytes == buffer.len() || state.peer_has_closed();
        Ok(Brought { more, ..decrypted })
    }

    fn take(&mut self, buffer: &mut [u8]) -> io::Result<Brought> {
        match self.connection.reader().read(buffer) {
            // Many clients close without a notice. The framing shows whether a body was cut off.
            Ok(0) => Ok(Brought { end: true, ..Brought::default() }),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Ok(Brought { end: true, ..Brought::default() })
            }
            Ok(bytes) => Ok(Brought { bytes, ..Brought::default() }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Brought::default()),
            Err(error) => Err(error),
        }
    }

    /// Encrypts as many bytes as there is room for.
    pub(super) fn write(&mut self, socket: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
        self.flush(socket)?;
        let taken = self.connection.writer().write(bytes)?;
        match self.flush(socket) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    pub(super) fn flush(&mut self, socket: &mut Socket) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn say_goodbye(&mut self, socket: &mut Socket) {
        if self.has_begun {
            self.connection.send_close_notify();
            let _ = self.flush(socket);
        }
    }
}

/// A socket, and whether the last read has emptied it.
struct Noted<'s> {
    socket: &'s mut Socket,
    is_empty: bool,
}

impl Read for Noted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.read(buffer)?;
        self.is_empty = count < buffer.len();
        Ok(count)
    }
}
