//! The public sockets: TCP for the shop's network, under TLS where a certificate is set, and a Unix socket
//! for programs on the same machine.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use log::info;

use crate::app::StartError;
use crate::config::Config;
use crate::door::{Certificates, Listener, SocketFile};
use crate::limits::LISTEN_BACKLOG;
use crate::reload::Reloads;

/// All of them, bound.
pub struct Entrance {
    /// For the door.
    pub listeners: Vec<Listener>,
    /// The TCP socket's address.
    pub address: SocketAddr,
    /// Removes the Unix socket's file when it goes.
    pub socket_file: Option<SocketFile>,
}

/// Binds what the settings name. Certificates are read again by `reloads`.
///
/// Errors: what can't be had or used, in one sentence.
pub fn open(config: &Config, reloads: &mut Reloads) -> Result<Entrance, StartError> {
    let unusable = |error| StartError::system("the listening socket", &error);
    let certificates = match &config.tls {
        Some(files) => {
            Some(Arc::new(Certificates::read(files.clone()).map_err(|why| StartError::setting(&why))?))
        }
        None => None,
    };
    let tcp = bind(config)?;
    let address = tcp.local_addr().map_err(unusable)?;
    if let Some(certificates) = &certificates {
        info!("{}", certificates.describe());
        reloads.add(Arc::clone(certificates) as _);
    }
    let mut listeners = vec![Listener::tcp(tcp, certificates).map_err(unusable)?];
    let mut socket_file = None;
    if let Some(path) = &config.unix_socket {
        let (file, listener) = SocketFile::bind(path).map_err(StartError::unavailable)?;
        listeners.push(Listener::unix(listener).map_err(unusable)?);
        socket_file = Some(file);
    }
    Ok(Entrance { listeners, address, socket_file })
}

fn bind(config: &Config) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(config.host, config.port);
    let listener = TcpListener::bind(address).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there: stop it or set PORT",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address: set HOST",
            io::ErrorKind::PermissionDenied => "ports below 1024 need a right that this user lacks: set PORT",
            _ => "set HOST and PORT",
        };
        StartError::unavailable(format!("can't listen on {address}: {error}; {advice}"))
    })?;
    // std lets 128 connections wait to be accepted; of a larger burst the kernel would keep some waiting for seconds.
    rustix::net::listen(&listener, LISTEN_BACKLOG)
        .map_err(|error| StartError::system("the listening socket", &error.into()))?;
    Ok(listener)
}
