//! The sockets on which clients arrive.

use std::io::{self, ErrorKind};
use std::net;
use std::os::unix;
use std::sync::Arc;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};

use super::certificates::Certificates;
use super::stream::{Peer, Socket, Stream};
use super::tls::TlsSession;

/// A socket on which clients arrive.
#[derive(Debug)]
pub struct Listener(ListenerSocket);

#[derive(Debug)]
enum ListenerSocket {
    Tcp(TcpListener, Option<Arc<Certificates>>),
    Unix(UnixListener),
}

impl Listener {
    /// For the network. With certificates it speaks TLS and nothing else.
    ///
    /// # Errors
    /// The system's.
    pub fn tcp(listener: net::TcpListener, tls: Option<Arc<Certificates>>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self(ListenerSocket::Tcp(TcpListener::from_std(listener), tls)))
    }

    /// For programs on this machine.
    ///
    /// # Errors
    /// The system's.
    pub fn unix(listener: unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self(ListenerSocket::Unix(UnixListener::from_std(listener))))
    }

    /// The certificates for TLS clients.
    pub(super) fn certificates(&self) -> Option<&Arc<Certificates>> {
        match &self.0 {
            ListenerSocket::Tcp(_, tls) => tls.as_ref(),
            ListenerSocket::Unix(_) => None,
        }
    }

    /// Accepts one connection.
    pub(super) fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.0 {
            ListenerSocket::Tcp(listener, tls) => {
                let (socket, address) = listener.accept()?;
                // Without it an answer may wait for the client's delayed acknowledgement.
                let _ = socket.set_nodelay(true);
                let session = tls.as_ref().map(|tls| TlsSession::new(tls.config())).transpose();
                let session = session.map_err(|error| io::Error::new(ErrorKind::ConnectionAborted, error))?;
                Ok((Stream::new(Socket::Tcp(socket), session), Peer::Address(address.ip())))
            }
            ListenerSocket::Unix(listener) => {
                let (socket, _) = listener.accept()?;
                Ok((Stream::new(Socket::Unix(socket), None), Peer::Local))
            }
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match &mut self.0 {
            ListenerSocket::Tcp(listener, _) => listener,
            ListenerSocket::Unix(listener) => listener,
        }
    }
}

impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}
