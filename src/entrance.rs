//! The public sockets: TCP for the shop's network, under TLS where a certificate is set, and a Unix socket
//! for programs on the same machine; and what the door needs to know and to have.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use log::{info, warn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::app::StartError;
use crate::config::Config;
use crate::door::{self, Certificates, Listener, SocketFile};
use crate::http::endpoints::body_bytes_max;
use crate::keys::Guard;
use crate::limits::{DESCRIPTORS_RESERVED, LISTEN_BACKLOG};
use crate::reload::Reloads;
use crate::systemd::Handed;
use crate::timings::Timings;

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
    let mut handed = Handed::take().map_err(|why| StartError::setting(&why))?;
    if handed.tcp.is_empty() {
        handed.tcp.push(bind(config)?);
    } else {
        info!("the service manager listens by TCP for the daemon: HOST and PORT mean nothing now");
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
    let own = config.unix_socket.as_ref().filter(|_| handed.unix.is_empty());
    for listener in handed.unix {
        info!("the service manager listens on a Unix socket for the daemon: UNIX_SOCKET means nothing now");
        listeners.push(Listener::unix(listener).map_err(unusable)?);
    }
    if let Some(path) = own {
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

/// Raises the descriptor limit to what connections need, or says that it can't be.
///
/// Errors: the system allows too few.
pub fn make_room(config: &Config) -> Result<(), StartError> {
    let need = (settings(config, &Guard::default(), &Timings::default()).descriptors() + DESCRIPTORS_RESERVED)
        as u64;
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
        config.max_connections, config.upstream_connections
    )))
}

/// What the door needs to know.
#[must_use]
pub fn settings(config: &Config, guard: &Guard, timings: &Timings) -> door::Settings {
    door::Settings {
        max_connections: config.max_connections,
        max_connections_per_address: config.max_connections_per_address,
        upstream_connections: config.upstream_connections,
        head_timeout: config.head_timeout,
        body_timeout: config.body_timeout,
        idle_timeout: config.idle_timeout,
        upstream_timeout: config.answer_timeout(),
        body_bytes_max: body_bytes_max(config.rules.max_event_bytes),
        guard: guard.clone(),
        batch_timeout: config.batch_timeout(),
        batch_bytes_max: config.batch.max_bytes,
        answers: timings.request.clone(),
    }
}

/// Where it listens, and who may come in.
pub fn tell(config: &Config, address: SocketAddr, guard: &Guard) {
    let tls = if config.tls.is_some() { "on" } else { "off" };
    info!("listening on {address} tls={tls} data_dir={:?}", config.data_dir);
    if let Some(path) = &config.unix_socket {
        info!("listening also on the unix socket {}", path.display());
    }
    if !guard.is_set() && !address.ip().is_loopback() {
        warn!("API_KEYS_FILE is not set: everyone who reaches {address} may send events and read the status");
    }
}
