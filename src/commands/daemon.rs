//! A running daemon, as commands ask it: one small HTTP client whose times and sizes are bounded.
//!
//! Over TLS it trusts the certificate that the settings name, or, if they name none, public CAs.
//!
//! Invariants: no proxy of the environment is used, no redirect is followed, so that only the named daemon is
//! asked; an error names the address and what to do.

use std::fmt;
use std::io::ErrorKind;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Error};

use crate::config::{RawSettings, local_url, own_certificate};
use crate::limits::PEM_BYTES_MAX;
use crate::wire::keys;

/// For the connection; loopback and local networks take milliseconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// For the whole answer: the daemon has it ready.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The same for events that are to be stored: longer than the daemon itself takes at most.
const STORED_LIMIT: Duration = Duration::from_secs(60);
/// The largest answer to a command is some kilobytes.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Which daemon a command asks.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DaemonArgs {
    /// The running daemon [default: http://127.0.0.1:PORT, or HOST's own address; https:// with TLS_CERT]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// File that holds the API key for it and nothing else; needed if its status is protected
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Certificate to trust with https:// [default: TLS_CERT, else public CAs]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// What the daemon answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Its `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// The body.
    pub json: Value,
}

/// Why there is no answer. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskError {
    /// No connection: nothing listens there, or there is no such host.
    Unreachable(String),
    /// Something answers, but not as a daemon does.
    Strange(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Strange(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for AskError {}

/// The client.
pub struct Daemon {
    agent: Agent,
    url: String,
    api_key: Option<String>,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Daemon {
    /// The daemon that the arguments name, or the one of these settings on this machine. Asks nothing yet.
    ///
    /// # Errors
    /// A text for people: the URL, the key's file or TLS_CERT cannot be used, or the settings name none.
    pub fn new(args: &DaemonArgs, settings: &RawSettings) -> Result<Self, String> {
        let url = match args.url.as_deref().map(str::trim).filter(|url| !url.is_empty()) {
            Some(url) => checked(url)?,
            None => local_url(settings).map_err(|error| format!("{error}, or name the daemon by --url"))?,
        };
        let roots = match (&args.ca_file, own_certificate(settings)) {
            (Some(path), _) => trusted("--ca-file", path)?,
            (None, Some(path)) => trusted("TLS_CERT", &path)?,
            (None, None) => RootCerts::WebPki,
        };
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_connect(Some(CONNECT_LIMIT))
            .timeout_global(Some(ANSWER_LIMIT))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("logs-ingest/", env!("CARGO_PKG_VERSION")))
            .build();
        let api_key = args.api_key_file.as_deref().map(keys::read_one).transpose()?;
        Ok(Self { agent: config.new_agent(), url, api_key })
    }

    /// Its base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks for `path`, whatever the status of the answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn get(&self, path: &str) -> Result<Answer, AskError> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(key) = &self.api_key {
            request = request.header("X-API-Key", key);
        }
        self.understood(path, request.call(), ANSWER_LIMIT)
    }

    /// The answer to `path` where that is 200.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn read(&self, path: &str) -> Result<Value, AskError> {
        let Answer { status, json, .. } = self.get(path)?;
        match status {
            200 => Ok(json),
            _ => {
                let why = json["detail"].as_str().unwrap_or("no reason given");
                Err(AskError::Strange(format!("{} answers {path} with {status}: {why}", self.url)))
            }
        }
    }

    /// Sends a body, gzip, under an Idempotency-Key, and waits until it is stored; whatever the status of the answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn post(
        &self,
        path: &str,
        kind: &str,
        idempotency_key: &str,
        gzip: &[u8],
    ) -> Result<Answer, AskError> {
        let mut request = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("Content-Type", kind)
            .header("Content-Encoding", "gzip")
            .header("Idempotency-Key", idempotency_key);
        if let Some(key) = &self.api_key {
            request = request.header("X-API-Key", key);
        }
        let request = request.config().timeout_global(Some(STORED_LIMIT)).build();
        self.understood(path, request.send(gzip), STORED_LIMIT)
    }

    fn understood(
        &self,
        path: &str,
        answer: Result<Response<Body>, Error>,
        limit: Duration,
    ) -> Result<Answer, AskError> {
        let mut answer = answer.map_err(|error| self.trouble(&error, limit))?;
        let status = answer.status().as_u16();
        let retry_after =
            answer.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| self.trouble(&error, limit))?;
        let json = serde_json::from_slice(&body).map_err(|_| {
            let text = format!("{} answers {path} with {status} and not with JSON", self.url);
            AskError::Strange(format!("{text}: is that logs-ingest? name the daemon by --url"))
        })?;
        Ok(Answer { status, retry_after, json })
    }

    fn trouble(&self, error: &Error, limit: Duration) -> AskError {
        let url = &self.url;
        let unreachable = |why: &str| {
            AskError::Unreachable(format!(
                "cannot reach the daemon at {url}: {why}: is it running? set PORT as the daemon has it, or use --url"
            ))
        };
        match error {
            Error::Io(error) if is_unreachable(error.kind()) => unreachable(&error.to_string()),
            Error::HostNotFound => unreachable("no such host"),
            Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                unreachable(&format!("no connection within {CONNECT_LIMIT:?}"))
            }
            Error::Timeout(_) => {
                AskError::Strange(format!("the daemon at {url} did not answer within {limit:?}: see its log"))
            }
            error => AskError::Strange(format!(
                "cannot understand the daemon at {url}: {error}: is that logs-ingest?"
            )),
        }
    }
}

/// The certificates of a PEM file.
fn trusted(name: &str, path: &Path) -> Result<RootCerts, String> {
    let unusable = |why: String| format!("{name} {} cannot be used: {why}", path.display());
    let mut pem = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| unusable(error.to_string()))?;
    file.take(PEM_BYTES_MAX).read_to_end(&mut pem).map_err(|error| unusable(error.to_string()))?;
    let items: Result<Vec<PemItem<'static>>, Error> = parse_pem(&pem).collect();
    let certificates =
        items.map_err(|error| unusable(error.to_string()))?.into_iter().filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        });
    Ok(certificates.into())
}

fn is_unreachable(kind: ErrorKind) -> bool {
    use ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(kind, ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable)
}

/// `http://host[:port]` without a slash at the end.
fn checked(url: &str) -> Result<String, String> {
    let bare = url.trim_end_matches('/');
    let rest = bare.strip_prefix("http://").or_else(|| bare.strip_prefix("https://"));
    match rest {
        Some(host) if !host.is_empty() && !host.contains(['@', '?', '#', ' ']) => Ok(bare.to_owned()),
        _ => Err("--url cannot be used: write http://host:port, without a user name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn at(address: SocketAddr) -> Daemon {
        let args = DaemonArgs { url: Some(format!("http://{address}/")), ..DaemonArgs::default() };
        Daemon::new(&args, &RawSettings::default()).unwrap()
    }

    /// Something that is not a daemon of ours: it sends `text` to whoever asks, then closes.
    fn stranger(text: &'static str) -> (Daemon, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let daemon = at(listener.local_addr().unwrap());
        let says = crate::host::thread::start("stranger", move || {
            let (mut peer, _) = listener.accept().unwrap();
            let _ = peer.read(&mut [0; 1_024]);
            let _ = peer.write_all(text.as_bytes());
        });
        (daemon, says.unwrap())
    }

    #[test]
    fn an_address_is_checked_before_it_is_asked() {
        for (url, want) in [
            ("http://127.0.0.1:8000", Some("http://127.0.0.1:8000")),
            ("https://logs.shop.example/", Some("https://logs.shop.example")),
            ("127.0.0.1:8000", None),
            ("http://", None),
            ("http://me:secret@host", None),
            ("ftp://host", None),
        ] {
            assert_eq!(checked(url).ok().as_deref(), want, "{url}");
        }
    }

    #[test]
    fn the_settings_name_the_daemon_of_this_machine() {
        use clap::Parser;
        for (line, want) in [
            (vec![], Ok("http://127.0.0.1:8000")),
            (vec!["--host", "::", "--port", "80"], Ok("http://127.0.0.1:80")),
            (vec!["--host", "::1"], Ok("http://[::1]:8000")),
            (vec!["--host", "192.0.2.7"], Ok("http://192.0.2.7:8000")),
            (vec!["--port", "0"], Err("its log says which, or name the daemon by --url")),
        ] {
            let cli = crate::commands::Cli::try_parse_from(["logs-ingest"].iter().chain(&line)).unwrap();
            match (Daemon::new(&DaemonArgs::default(), &cli.settings), want) {
                (Ok(daemon), Ok(url)) => assert_eq!(daemon.url(), url),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (got, want) => panic!("{line:?}: {got:?} instead of {want:?}"),
            }
        }
    }

    #[test]
    fn a_daemon_that_does_not_run_and_a_strange_one_are_different_errors() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let Err(AskError::Unreachable(why)) = at(free).get("/stats") else {
            panic!("nothing listens at {free}")
        };
        assert!(why.contains(&free.to_string()) && why.contains("is it running?"), "{why}");
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<ht>",
            "HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{",
            "",
        ] {
            let (daemon, says) = stranger(text);
            let Err(AskError::Strange(why)) = daemon.get("/stats") else { panic!("{text:?} was understood") };
            assert!(why.contains(daemon.url()), "{why}");
            says.join().unwrap();
        }
    }

    #[test]
    fn a_key_is_shown_to_the_daemon_and_to_nobody_else() {
        const KEY: &str = "0123456789abcdef";
        let file = std::env::temp_dir().join(format!("logs-ingest-key-{}", std::process::id()));
        std::fs::write(&file, format!("{KEY}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let args = DaemonArgs { url: Some(url), api_key_file: Some(file.clone()), ca_file: None };
        let daemon = Daemon::new(&args, &RawSettings::default());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o604)).unwrap();
        let refused = Daemon::new(&args, &RawSettings::default());
        std::fs::remove_file(&file).unwrap();
        assert!(refused.is_err_and(|why| why.contains("everyone may read it") && !why.contains(KEY)));

        let says = crate::host::thread::start("daemon", move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut heard = vec![0; 1_024];
            let count = peer.read(&mut heard).unwrap();
            peer.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\n{}").unwrap();
            String::from_utf8_lossy(&heard[..count]).to_lowercase()
        });
        let daemon = daemon.unwrap();
        assert_eq!(daemon.get("/stats").unwrap().status, 200);
        let heard = says.unwrap().join().unwrap();
        assert!(heard.contains(&format!("\r\nx-api-key: {KEY}\r\n")), "{heard}");
        assert!(!format!("{daemon:?}").contains(KEY));
    }

    #[test]
    fn every_status_is_an_answer_and_redirects_are_not_followed() {
        for (text, status) in [
            ("HTTP/1.1 503 x\r\nContent-Length: 2\r\n\r\n{}", 503),
            ("HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\n{}", 302),
        ] {
            let (daemon, says) = stranger(text);
            assert_eq!(
                daemon.get("/readyz"),
                Ok(Answer { status, retry_after: None, json: serde_json::json!({}) })
            );
            says.join().unwrap();
        }
    }
}
