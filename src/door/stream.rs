//! A client's connection as a stream of bytes: a TCP or a Unix socket, plain or under TLS. Nothing here blocks.
//!
//! Invariant: one read makes at most one read of the socket, so that clients get equal turns.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::tls::TlsSession;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A machine, which may be this one.
    Address(IpAddr),
    /// A program on this machine, over the Unix socket.
    Local,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{}", address.to_canonical()),
            Self::Local => f.write_str("unix"),
        }
    }
}

/// The socket itself.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
        }
    }

    /// The first byte to read, which stays unread.
    fn peek(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        match self {
            Self::Tcp(socket) => Ok((socket.peek(&mut byte)? == 1).then_some(byte[0])),
            // Only TCP can be under TLS.
            Self::Unix(_) => Ok(None),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The result of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    pub(super) bytes: usize,
    /// There may be more to read. If not, the poll reports when there is.
    pub(super) more: bool,
    /// The client will send no more.
    pub(super) end: bool,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
    tls: Option<Box<TlsSession>>,
    /// The client does not speak TLS where it has to. The answer goes out plain: it would not understand another.
    is_refused_bare: bool,
}

impl Stream {
    pub(super) fn new(socket: Socket, tls: Option<TlsSession>) -> Self {
        Self { socket, tls: tls.map(Box::new), is_refused_bare: false }
    }

    /// Reads once. `WouldBlock`: there was nothing to read. Bytes that are not TLS where they have to be stay unread: see
    /// [`Stream::is_refused_bare`].
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Brought> {
        let brought = match &mut self.tls {
            None => read_bare(&mut self.socket, buffer),
            Some(session) if session.has_begun() => session.read(&mut self.socket, buffer),
            Some(session) => match self.socket.peek() {
                Ok(Some(byte)) if !TlsSession::may_begin_with(byte) => {
                    self.tls = None;
                    self.is_refused_bare = true;
                    Ok(Brought { more: true, ..Brought::default() })
                }
                Ok(_) => session.read(&mut self.socket, buffer),
                Err(error) => Err(error),
            },
        };
        match brought {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                Ok(Brought { more: true, ..Brought::default() })
            }
            other => other,
        }
    }

    /// Takes bytes to write, as many as there is room for. [`Stream::flush`] says when they are sent.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write(bytes),
            Some(session) => session.write(&mut self.socket, bytes),
        }
    }

    /// Sends what [`Stream::write`] took, and the messages of TLS itself. `WouldBlock`: some of it still waits.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.tls.as_mut().map_or(Ok(()), |session| session.flush(&mut self.socket))
    }

    /// Something was taken and is not sent yet.
    pub(super) fn has_unwritten(&self) -> bool {
        self.tls.as_ref().is_some_and(|session| session.has_unwritten())
    }

    /// Shuts the sending side; reading goes on.
    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        self.say_goodbye();
        self.socket.shutdown_write()
    }

    /// Sends a TLS client, if the socket has room, the notice that the connection ends on purpose.
    pub(super) fn say_goodbye(&mut self) {
        if let Some(session) = &mut self.tls {
            session.say_goodbye(&mut self.socket);
        }
    }

    /// The TLS handshake has begun and is not complete.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|session| session.has_begun() && session.is_handshaking())
    }

    /// It has to be under TLS, and no byte has arrived.
    pub(super) fn is_untouched(&self) -> bool {
        self.tls.as_ref().is_some_and(|session| !session.has_begun())
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn is_refused_bare(&self) -> bool {
        self.is_refused_bare
    }
}

fn read_bare(socket: &mut Socket, buffer: &mut [u8]) -> io::Result<Brought> {
    let bytes = socket.read(buffer)?;
    // A short read has emptied the socket.
    Ok(Brought { bytes, more: bytes == buffer.len(), end: bytes == 0 })
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(socket) => socket.register(registry, token, interests),
            Socket::Unix(socket) => socket.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(socket) => socket.reregister(registry, token, interests),
            Socket::Unix(socket) => socket.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(socket) => socket.deregister(registry),
            Socket::Unix(socket) => socket.deregister(registry),
        }
    }
}
