//! The door's settings.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{TypedValueParser, ValueHint};

use super::{CertificateFiles, inside};
use crate::limits::SOCKET_PATH_BYTES_MAX;
use crate::setting::{address, count, duration};

/// Where to listen.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Listening")]
#[group(skip)]
pub struct ListenOptions {
    /// Address to listen on: 0.0.0.0 for all of IPv4, :: for IPv4 and IPv6, 127.0.0.1 for this machine only
    #[arg(long, env, default_value = "0.0.0.0", value_name = "ADDRESS", value_parser = address)]
    pub host: IpAddr,
    /// Port to listen on. With 0 the system chooses one, and the log says which
    #[arg(long, env, default_value = "8000", value_name = "PORT", value_parser = count(0..=65_535_u16))]
    pub port: u16,
    /// Path of a Unix socket to listen on as well, for programs on this machine. The daemon's user and group may
    /// connect
    #[arg(long, env, value_name = "PATH", value_parser = socket_path())]
    pub unix_socket: Option<PathBuf>,
    /// Whether under TLS.
    #[command(flatten)]
    pub tls: TlsOptions,
}

/// Which certificate to show.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Listening")]
#[group(skip)]
pub struct TlsOptions {
    /// PEM file with the certificate, followed by the intermediate ones. With it the port speaks HTTPS only (TLS 1.2
    /// and 1.3). SIGHUP reloads it. A systemd credential named TLS_CERT is used too
    #[arg(long, env, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the private key of TLS_CERT. SIGHUP reloads it. A systemd credential named TLS_KEY is used too
    #[arg(long, env, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<PathBuf>,
}

impl TlsOptions {
    /// Both files. None: the port speaks plain HTTP.
    #[must_use]
    pub fn files(&self) -> Option<CertificateFiles> {
        let (certificate, key) = (self.tls_cert.clone()?, self.tls_key.clone()?);
        Some(CertificateFiles { certificate, key })
    }
}

/// What clients may take up.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
#[group(skip)]
pub struct Options {
    /// Client connections at once. When all are in use, a new one takes the place of the one that has been idle
    /// longest; only when none is idle it is answered 503 (with TLS: closed)
    #[arg(long, env, default_value = "1024", value_name = "COUNT", value_parser = count(1..=100_000_usize))]
    pub max_connections: usize,
    /// Client connections at once from one address; more are answered 503. 0 sets no such limit, which is right
    /// behind a proxy
    #[arg(long, env, default_value = "0", value_name = "COUNT", value_parser = count(0..=100_000_usize))]
    pub max_connections_per_address: usize,
    /// Time for a client to send a whole request head, from its first byte, and for its TLS handshake
    #[arg(long, env, default_value = "10s", value_name = "DURATION", value_parser = duration(100..=3_600_000))]
    pub head_timeout: Duration,
    /// Time for a client to send a whole request body, and to read the answer
    #[arg(long, env, default_value = "15s", value_name = "DURATION", value_parser = duration(100..=3_600_000))]
    pub body_timeout: Duration,
    /// Time that a connection may stay open without a request
    #[arg(long, env, default_value = "75s", value_name = "DURATION", value_parser = duration(100..=86_400_000))]
    pub idle_timeout: Duration,
    /// Requests that are worked on at once, that is, mostly wait to be stored; 4 of them are never events. Further
    /// requests wait for up to 10 s, then they are answered 503
    #[arg(long, env, default_value = "256", value_name = "COUNT", value_parser = count(inside::CONNECTIONS))]
    pub upstream_connections: usize,
}

fn socket_path() -> impl TypedValueParser<Value = PathBuf> {
    |text: &str| match text.len() {
        ..=SOCKET_PATH_BYTES_MAX => Ok(PathBuf::from(text)),
        _ => Err(format!("use a path of at most {SOCKET_PATH_BYTES_MAX} bytes")),
    }
}
