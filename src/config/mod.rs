//! Settings: environment and flags from one definition, in two steps. `raw` is what the
//! administrator typed, `Config` is what the daemon uses: typed, in range, checked against each other.
//!
//! Invariant: every error names the setting, the value as typed and what is legal.

mod definition;
mod kafka;
mod origin;
mod parse;
mod raw;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

pub use definition::{Definition, definitions};
pub use origin::{InForce, Origin, in_force};
pub use parse::duration as parse_duration;
pub use raw::RawSettings;
use raw::Reader;

use crate::door::{self, CertificateFiles, entrance};
use crate::event::{BatchRules, Rules};
use crate::limits;
use crate::store;
use crate::store::postgres;
use crate::telemetry::timings::Timings;
use crate::wire::keys::Guard;

/// Every setting, ready for use.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub entrance: entrance::Settings,
    /// Folder of the spool.
    pub data_dir: PathBuf,
    /// This daemon's name in stored rows.
    pub instance: String,
    /// Threads that parse and validate.
    pub workers: usize,
    /// Events that may wait for the producer.
    pub queue_events: usize,
    /// Bytes of events that may wait for the producer.
    pub queue_bytes: usize,
    /// Client connections at once.
    pub max_connections: usize,
    /// Of these, from one address. None: no such cap.
    pub max_connections_per_address: Option<usize>,
    /// Connections between door and HTTP server.
    pub upstream_connections: usize,
    /// For a whole request head, from its first byte.
    pub head_timeout: Duration,
    /// For a whole body, from the head's end.
    pub body_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// What events are made by.
    pub rules: Rules,
    /// None: everyone may send.
    pub api_keys_file: Option<PathBuf>,
    /// Whether the status needs a key too.
    pub protect_status: bool,
    /// How large a batch may be.
    pub batch: BatchRules,
    /// For how long answers to requests with an `Idempotency-Key` are remembered.
    pub idempotency_window: Duration,
    /// None: the spool is the events' home.
    pub kafka: Option<store::kafka::Settings>,
    /// None: the spool is the only fallback.
    pub postgres: Option<postgres::Settings>,
    /// Age at which rows are removed from Postgres that Kafka has.
    pub forwarded_keep: Duration,
    /// Data that Postgres may hold of events that need not wait for Kafka; 0 is unlimited.
    pub postgres_max_bytes: u64,
    /// Data that the spool may hold. None: what suits its disk.
    pub spool_max_bytes: Option<u64>,
    /// Age at which home rows are removed.
    pub keep: Duration,
    /// Held events a second that go back to Kafka; 0 is unlimited.
    pub recovery_rate: u32,
    /// For storing and answering what was taken when the daemon is stopped.
    pub shutdown_timeout: Duration,
    /// What is logged.
    pub log_level: LevelFilter,
}

/// Reading an answer and bringing it to its client.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);

/// A setting that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    name: &'static str,
    value: String,
    problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?} can't be used: {}", self.name, self.value, self.problem)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// The longest that one round of the producer's ordinarily lasts: every store's deadline.
    #[must_use]
    pub fn round_timeout(&self) -> Duration {
        let kafka = self.kafka.as_ref().map_or(Duration::ZERO, |kafka| kafka.deadline);
        let postgres = self.postgres.as_ref().map_or(Duration::ZERO, |postgres| postgres.deadline);
        kafka + postgres + limits::SPOOL_DEADLINE
    }

    /// The longest that a request may wait for its answer once it is inside: its own round, the one before
    /// it, and a margin. One that was begun ahead between them does not try again what failed in the first.
    #[must_use]
    pub fn answer_timeout(&self) -> Duration {
        2 * self.round_timeout() + ANSWER_MARGIN
    }

    /// The same for a batch, which is written in several rounds, each with the stores' deadlines.
    #[must_use]
    pub fn batch_timeout(&self) -> Duration {
        let by_events = self.batch.max_events.div_ceil(limits::SLICE_EVENTS);
        let by_bytes = self.batch.max_bytes.div_ceil(limits::SLICE_BYTES);
        let rounds = u32::try_from(by_events + by_bytes).unwrap_or(u32::MAX);
        self.round_timeout().saturating_mul(rounds.saturating_add(1)) + ANSWER_MARGIN
    }

    /// What the door needs to know.
    #[must_use]
    pub fn door(&self, guard: &Guard, timings: &Timings) -> door::Settings {
        door::Settings {
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            upstream_connections: self.upstream_connections,
            head_timeout: self.head_timeout,
            body_timeout: self.body_timeout,
            idle_timeout: self.idle_timeout,
            upstream_timeout: self.answer_timeout(),
            body_bytes_max: self.rules.body_bytes_max(),
            guard: guard.clone(),
            batch_timeout: self.batch_timeout(),
            batch_bytes_max: self.batch.max_bytes,
            answers: timings.request.clone(),
        }
    }

    /// Types, ranges and relations of what was typed.
    ///
    /// Errors: the first setting that can't be used.
    pub fn from_raw(raw: &RawSettings) -> Result<Self, ConfigError> {
        let read = Reader::new();
        let max_event_bytes = read.bytes("MAX_EVENT_BYTES", &raw.max_event_bytes, 1 << 10, 16 << 20)?;
        let config = Self {
            entrance: entrance::Settings {
                host: read.address("HOST", &raw.host)?,
                port: read.number("PORT", &raw.port, 0, 65_535)?,
                tls: tls_files(&read, raw)?,
                unix_socket: unix_socket(&read, raw)?,
            },
            data_dir: data_dir(raw),
            instance: instance(raw),
            workers: workers(&read, raw)?,
            queue_events: read.number("QUEUE_EVENTS", &raw.queue_events, 1, 1_000_000)?,
            queue_bytes: read.bytes("QUEUE_BYTES", &raw.queue_bytes, 64 << 10, 8 << 30)?,
            max_connections: read.number("MAX_CONNECTIONS", &raw.max_connections, 1, 100_000)?,
            max_connections_per_address: connections_per_address(&read, raw)?,
            upstream_connections: read.number(
                "UPSTREAM_CONNECTIONS",
                &raw.upstream_connections,
                limits::DOOR_KEPT_CONNECTIONS + 1,
                limits::UPSTREAM_CONNECTIONS_MAX,
            )?,
            head_timeout: read.duration("HEAD_TIMEOUT", &raw.head_timeout, 100, 3_600_000)?,
            body_timeout: read.duration("BODY_TIMEOUT", &raw.body_timeout, 100, 3_600_000)?,
            idle_timeout: read.duration("IDLE_TIMEOUT", &raw.idle_timeout, 100, 86_400_000)?,
            rules: Rules { max_event_bytes, redact_cards: read.switch("REDACT_PAN", &raw.redact_pan)? },
            api_keys_file: file("API_KEYS_FILE", raw.api_keys_file.as_deref()),
            protect_status: read.switch("PROTECT_STATUS", &raw.protect_status)?,
            batch: BatchRules {
                max_events: read.number("MAX_BATCH_EVENTS", &raw.max_batch_events, 1, 100_000)?,
                max_bytes: read.bytes("MAX_BATCH_BYTES", &raw.max_batch_bytes, 64 << 10, 64 << 20)?,
            },
            idempotency_window: read.duration(
                "IDEMPOTENCY_WINDOW",
                &raw.idempotency_window,
                1_000,
                86_400_000,
            )?,
            kafka: self::kafka::settings(&read, raw, max_event_bytes)?,
            postgres: postgres_settings(&read, raw)?,
            forwarded_keep: days(read.number("FORWARDED_KEEP_DAYS", &raw.forwarded_keep_days, 0, 36_500)?),
            postgres_max_bytes: read.bytes("POSTGRES_MAX_BYTES", &raw.postgres_max_bytes, 0, 1 << 44)? as u64,
            spool_max_bytes: spool_max_bytes(&read, raw)?,
            keep: days(read.number("KEEP_DAYS", &raw.keep_days, 1, 36_500)?),
            recovery_rate: read.number("RECOVERY_RATE", &raw.recovery_rate, 0, 1_000_000)?,
            shutdown_timeout: read.duration("SHUTDOWN_TIMEOUT", &raw.shutdown_timeout, 1_000, 600_000)?,
            log_level: read.level("LOG_LEVEL", &raw.log_level)?,
        };
        config.check_relations(&read, raw)?;
        Ok(config)
    }

    fn check_relations(&self, read: &Reader, raw: &RawSettings) -> Result<(), ConfigError> {
        let event = self.rules.max_event_bytes;
        if self.queue_bytes < 2 * event {
            let least = format!("it must hold two events of MAX_EVENT_BYTES ({event} bytes each)");
            return Err(read.refuse("QUEUE_BYTES", &raw.queue_bytes, least));
        }
        if self.spool_max_bytes.is_some_and(|most| most < 8 * event as u64) {
            let least = format!("it must hold eight events of MAX_EVENT_BYTES ({event} bytes each)");
            let typed = raw.spool_max_bytes.as_deref().unwrap_or_default();
            return Err(read.refuse("SPOOL_MAX_BYTES", typed, least));
        }
        let kafka = self.kafka.as_ref().map_or(Duration::ZERO, |kafka| kafka.deadline);
        let postgres = self.postgres.as_ref().map_or(Duration::ZERO, |postgres| postgres.deadline);
        let least = kafka + postgres + Duration::from_secs(1);
        if self.shutdown_timeout < least {
            let why = format!(
                "it must be at least KAFKA_DEADLINE and POSTGRES_DEADLINE together and 1 s more ({} s)",
                least.as_secs_f64()
            );
            return Err(read.refuse("SHUTDOWN_TIMEOUT", &raw.shutdown_timeout, why));
        }
        if self.protect_status && self.api_keys_file.is_none() {
            let why = "there are no keys to protect the status with: set API_KEYS_FILE";
            return Err(read.refuse("PROTECT_STATUS", &raw.protect_status, why));
        }
        Ok(())
    }
}

/// The folder of the spool: DATA_DIR, or what systemd made for the service, or ./data.
#[must_use]
pub fn data_dir(raw: &RawSettings) -> PathBuf {
    match raw.data_dir.as_deref().filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => std::env::var_os("STATE_DIRECTORY")
            .filter(|dir| !dir.is_empty())
            .map_or_else(|| PathBuf::from("data"), PathBuf::from),
    }
}

/// Where a daemon with these settings is reached from this machine.
///
/// # Errors
/// HOST or PORT can't be used, or PORT is 0 and only the daemon's log says which it got.
pub fn local_url(raw: &RawSettings) -> Result<String, ConfigError> {
    let read = Reader::new();
    let host = read.address("HOST", &raw.host)?;
    let port: u16 = read.number("PORT", &raw.port, 0, 65_535)?;
    if port == 0 {
        return Err(read.refuse("PORT", &raw.port, "the system chose the daemon's port, its log says which"));
    }
    let host = if host.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { host };
    let scheme = if own_certificate(raw).is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}", std::net::SocketAddr::new(host, port)))
}

/// The certificate that a daemon with these settings shows.
#[must_use]
pub fn own_certificate(raw: &RawSettings) -> Option<PathBuf> {
    file("TLS_CERT", raw.tls_cert.as_deref())
}

fn connections_per_address(read: &Reader, raw: &RawSettings) -> Result<Option<usize>, ConfigError> {
    let most = read.number("MAX_CONNECTIONS_PER_ADDRESS", &raw.max_connections_per_address, 0, 100_000)?;
    Ok((most > 0).then_some(most))
}

/// A file that was named, or that systemd gave the service under the setting's own name.
fn file(name: &str, typed: Option<&str>) -> Option<PathBuf> {
    named(typed).or_else(|| credential(name))
}

/// A path that was typed, if one was.
fn named(typed: Option<&str>) -> Option<PathBuf> {
    typed.map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn tls_files(read: &Reader, raw: &RawSettings) -> Result<Option<CertificateFiles>, ConfigError> {
    match (file("TLS_CERT", raw.tls_cert.as_deref()), file("TLS_KEY", raw.tls_key.as_deref())) {
        (Some(certificate), Some(key)) => Ok(Some(CertificateFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(read.refuse("TLS_KEY", "", "TLS_CERT needs its private key: name its file")),
        (None, Some(_)) => Err(read.refuse("TLS_CERT", "", "TLS_KEY needs its certificate: name its file")),
    }
}

fn unix_socket(read: &Reader, raw: &RawSettings) -> Result<Option<PathBuf>, ConfigError> {
    let Some(path) = named(raw.unix_socket.as_deref()) else { return Ok(None) };
    if path.as_os_str().len() > limits::SOCKET_PATH_BYTES_MAX {
        let legal = format!("use a path of at most {} bytes", limits::SOCKET_PATH_BYTES_MAX);
        return Err(read.refuse("UNIX_SOCKET", &path.to_string_lossy(), legal));
    }
    Ok(Some(path))
}

fn days(days: u64) -> Duration {
    Duration::from_secs(86_400 * days)
}

fn postgres_settings(read: &Reader, raw: &RawSettings) -> Result<Option<postgres::Settings>, ConfigError> {
    let deadline = read.duration("POSTGRES_DEADLINE", &raw.postgres_deadline, 500, 60_000)?;
    let url = secret("POSTGRES_URL", raw.postgres_url.as_deref(), raw.postgres_url_file.as_deref()).map_err(
        |why| read.refuse("POSTGRES_URL_FILE", raw.postgres_url_file.as_deref().unwrap_or_default(), why),
    )?;
    let Some(url) = url else { return Ok(None) };
    // The URL may hold a password: what is wrong with it is said, and not what it is.
    postgres::describe(&url).map_err(|why| read.refuse("POSTGRES_URL", "(not shown)", why))?;
    if stands_in_arguments("--postgres-url") && postgres::holds_password(&url) {
        let why = "every user of this machine can read a password on the command line: use POSTGRES_URL_FILE";
        return Err(read.refuse("POSTGRES_URL", "(not shown)", why));
    }
    Ok(Some(postgres::Settings { url, deadline, instance: instance(raw) }))
}

/// Whether a flag stands on the command line, as `--flag value` or `--flag=value`.
fn stands_in_arguments(flag: &str) -> bool {
    std::env::args_os().any(|argument| {
        let argument = argument.to_string_lossy();
        argument.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}

/// A setting that is nobody's business: given itself, as the name of a file that holds it, or as a
/// systemd credential of its name.
fn secret(name: &str, given: Option<&str>, file: Option<&str>) -> Result<Option<String>, String> {
    if let Some(given) = given.filter(is_present) {
        return Ok(Some(given.trim().to_owned()));
    }
    let Some(path) = file.filter(is_present).map(PathBuf::from).or_else(|| credential(name)) else {
        return Ok(None);
    };
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Ok(Some(text.trim().to_owned())),
        Ok(_) => Err(format!("the file {} is empty", path.display())),
        Err(error) => Err(format!("the file {} can't be read: {error}", path.display())),
    }
}

fn is_present(text: &&str) -> bool {
    !text.trim().is_empty()
}

/// Settings whose file systemd may give the service as a credential of the setting's name.
const CREDENTIALS: [&str; 8] = [
    "API_KEYS_FILE",
    "KAFKA_SASL_PASSWORD",
    "KAFKA_SSL_CA_LOCATION",
    "KAFKA_SSL_CERTIFICATE_LOCATION",
    "KAFKA_SSL_KEY_LOCATION",
    "POSTGRES_URL",
    "TLS_CERT",
    "TLS_KEY",
];

/// The file that systemd gave the service under this name, if it did.
fn credential(name: &str) -> Option<PathBuf> {
    if !CREDENTIALS.contains(&name) {
        return None;
    }
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    Some(PathBuf::from(folder).join(name)).filter(|path| path.exists())
}

fn instance(raw: &RawSettings) -> String {
    let named = raw.instance.as_deref().unwrap_or_default().trim();
    if named.is_empty() {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    } else {
        named.into()
    }
}

fn spool_max_bytes(read: &Reader, raw: &RawSettings) -> Result<Option<u64>, ConfigError> {
    let typed = raw.spool_max_bytes.as_deref().filter(|typed| !typed.trim().is_empty());
    typed
        .map(|typed| read.bytes("SPOOL_MAX_BYTES", typed, 1 << 20, 1 << 44).map(|bytes| bytes as u64))
        .transpose()
}

fn workers(read: &Reader, raw: &RawSettings) -> Result<usize, ConfigError> {
    match raw.workers.as_deref().filter(|typed| !typed.trim().is_empty()) {
        Some(typed) => read.number("WORKERS", typed, 1, 1_024),
        None => Ok(std::thread::available_parallelism().map_or(4, |cores| (2 * cores.get()).max(4))),
    }
}
