//! The public sockets: TCP for the shop's network, under TLS where a certificate is set, and a Unix socket for programs on
//! the same machine; and the file descriptors that connections need.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use log::{info, warn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Certificates, ListenOptions, Listener, SocketFile};
use crate::host::exit::StartError;
use crate::host::reload::Reloads;
use crate::host::systemd::Handed;
use crate::limits::{DESCRIPTORS_RESERVED, LISTEN_BACKLOG};
use crate::wire::keys::Guard;

/// The public sockets, bound.
pub struct Entrance {
    /// For the door.
    pub listeners: Vec<Listener>,
    /// The TCP socket's address.
    pub address: SocketAddr,
    /// Removes the file of the Unix socket when it is dropped.
    pub socket_file: Option<SocketFile>,
}

/// Binds what the settings name. `reloads` reloads the certificates.
///
/// # Errors
/// What is unavailable or cannot be used, in one sentence.
pub fn open(options: &ListenOptions, reloads: &mut Reloads) -> Result<Entrance, StartError> {
    let unusable = |error| StartError::system("the listening socket", &error);
    let certificates = match options.tls.files() {
        Some(files) => Some(Arc::new(Certificates::read(files).map_err(|why| StartError::setting(&why))?)),
        None => None,
    };
    let mut handed = Handed::take().map_err(|why| StartError::setting(&why))?;
    if handed.tcp.is_empty() {
        handed.tcp.push(bind(options)?);
    } else {
        info!("HOST and PORT are ignored: the service manager listens on TCP for the daemon");
    }
    let address = handed.tcp[0].local_addr().map_err(unusable)?;
    if let Some(certificates) = &certificates {
        info!("{}", certificates.describe());
        reloads.add(Arc::clone(certificates) as _);
    }
    let mut listeners = Vec::new();
    for listener in handed.tcp {
        listeners.push(Listener::tcp(listener, certificates.clone()).map_err(unusable)?);
    }
    let mut socket_file = None;
    let own = options.unix_socket.as_ref().filter(|_| handed.unix.is_empty());
    for listener in handed.unix {
        info!("UNIX_SOCKET is ignored: the service manager listens on a Unix socket for the daemon");
        listeners.push(Listener::unix(listener).map_err(unusable)?);
    }
    if let Some(path) = own {
        let (file, listener) = SocketFile::bind(path).map_err(StartError::unavailable)?;
        listeners.push(Listener::unix(listener).map_err(unusable)?);
        socket_file = Some(file);
    }
    Ok(Entrance { listeners, address, socket_file })
}

fn bind(options: &ListenOptions) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(options.host, options.port);
    let listener = TcpListener::bind(address).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there: stop it or set PORT",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address: set HOST",
            io::ErrorKind::PermissionDenied => "this user may not use ports below 1024: set PORT",
            _ => "set HOST and PORT",
        };
        StartError::unavailable(format!("cannot listen on {address}: {error}; {advice}"))
    })?;
    // std allows 128 connections to wait until they are accepted; of a larger burst some clients would wait for seconds.
    rustix::net::listen(&listener, LISTEN_BACKLOG)
        .map_err(|error| StartError::system("the listening socket", &error.into()))?;
    Ok(listener)
}

/// Raises the limit of file descriptors to what connections need.
///
/// # Errors
/// The system allows too few.
pub fn make_room(door: &super::Settings) -> Result<(), StartError> {
    let need = (door.descriptors() + DESCRIPTORS_RESERVED) as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= need) {
        return Ok(());
    }
    let raised =
        Rlimit { current: Some(limit.maximum.map_or(need, |most| most.min(need))), maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() && raised.current >= Some(need) {
        return Ok(());
    }
    let most = limit.maximum.or(limit.current).unwrap_or_default();
    Err(StartError::setting(&format!(
        "MAX_CONNECTIONS={} and UPSTREAM_CONNECTIONS={} need {need} file descriptors, but the system allows {most}: \
         lower them, or raise the limit (LimitNOFILE= under systemd, ulimit -n)",
        door.options.max_connections, door.options.upstream_connections
    )))
}

/// Logs where the daemon listens, and who may send.
pub fn log_addresses(options: &ListenOptions, data_dir: &Path, address: SocketAddr, guard: &Guard) {
    let tls = if options.tls.files().is_some() { "on" } else { "off" };
    info!("listening on {address} tls={tls} data_dir={data_dir:?}");
    if let Some(path) = &options.unix_socket {
        info!("listening also on the unix socket {}", path.display());
    }
    if !guard.is_set() && !address.ip().is_loopback() {
        warn!("API_KEYS_FILE is not set: everyone who reaches {address} may send events and read the status");
    }
}
