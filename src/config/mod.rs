//! The settings together: each room declares its own, here they are read, checked against each other, and shown with their
//! origins.
//!
//! - `raw` what is typed, and its typed values; `relations` what settings ask of each other
//!
//! Invariants: every error names the setting, the value as typed and what is legal; no text shows a secret; a setting's
//! name is typed once, as the field of its room's group.

/// The variable of a setting, by its field.
macro_rules! name_of {
    ($group:expr, $field:ident) => {{
        let _ = &$group.$field;
        stringify!($field).to_uppercase()
    }};
}

mod raw;
mod relations;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use raw::{Definition, Origin, RawSettings, definitions};

use crate::delivery::recovery::Retention;
use crate::delivery::{pacing, queue};
use crate::door;
use crate::event::{BatchRules, Rules};
use crate::host;
use crate::http;
use crate::limits;
use crate::store::kafka::{Sasl, Security, Tls};
use crate::store::{kafka, postgres, spool};
use crate::telemetry::logging;
use crate::telemetry::timings::Timings;
use crate::wire::keys::{self, Guard};

/// Every room's settings, in the order of `--help`.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Config {
    /// Where to listen.
    #[command(flatten)]
    pub listen: door::ListenOptions,
    /// Who may come in.
    #[command(flatten)]
    pub keys: keys::Options,
    #[command(flatten)]
    kafka: kafka::Options,
    /// How fast held events go back.
    #[command(flatten)]
    pub recovery: pacing::Options,
    #[command(flatten)]
    postgres: postgres::Options,
    #[command(flatten)]
    folder: spool::FolderOptions,
    #[command(flatten)]
    spool: spool::Options,
    /// What events are made by.
    #[command(flatten)]
    pub rules: Rules,
    /// How large a batch may be.
    #[command(flatten)]
    pub batch: BatchRules,
    /// What clients may take up.
    #[command(flatten)]
    pub door: door::Options,
    /// Workers, and how long they remember answers.
    #[command(flatten)]
    pub http: http::Options,
    /// How much may wait for the producer.
    #[command(flatten)]
    pub queue: queue::Options,
    /// What is logged.
    #[command(flatten)]
    pub logging: logging::Options,
    #[command(flatten)]
    process: host::Options,
}

/// Reading an answer and bringing it to its client.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);

const ANY_PATH: &str = "BUG: every text is a path";

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    name: String,
    value: String,
    problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?} cannot be used: {}", self.name, self.value, self.problem)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Types, ranges and relations of what was typed.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn from_raw(raw: &RawSettings) -> Result<Self, ConfigError> {
        let config = raw.read()?;
        relations::check(raw, &config)?;
        Ok(config)
    }

    /// None: there is no Kafka.
    #[must_use]
    pub fn kafka(&self) -> Option<kafka::Settings> {
        let options = self.kafka.clone();
        let identity = options.kafka_ssl_certificate_location.zip(options.kafka_ssl_key_location);
        let tls = Tls { ca: options.kafka_ssl_ca_location, identity };
        let sasl = options.kafka_sasl_username.zip(options.kafka_sasl_password);
        let mechanism = options.kafka_sasl_mechanism;
        Some(kafka::Settings {
            brokers: options.kafka_brokers?.0,
            topic: options.kafka_topic,
            client: options.kafka_client,
            deadline: options.kafka_deadline,
            max_event_bytes: self.rules.max_event_bytes,
            embed_id: options.kafka_embed_id,
            destination: None,
            security: Security {
                tls: options.kafka_security_protocol.tls.then_some(tls),
                sasl: sasl.map(|(username, password)| Sasl {
                    mechanism,
                    username,
                    password: password.reveal().to_owned(),
                }),
            },
        })
    }

    /// None: there is no PostgreSQL.
    #[must_use]
    pub fn postgres(&self) -> Option<postgres::Settings> {
        self.postgres.postgres_url.as_ref().map(|url| postgres::Settings {
            url: url.reveal().to_owned(),
            deadline: self.postgres.postgres_deadline,
            instance: self.instance(),
            destination: None,
        })
    }

    /// How long rows stay, and how much of them in PostgreSQL.
    #[must_use]
    pub fn keep(&self) -> Retention {
        Retention {
            forwarded: self.postgres.forwarded_keep_days,
            home: self.spool.keep_days,
            bytes: self.postgres.postgres_max_bytes as u64,
        }
    }

    /// The folder of the spool.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        folder(self.folder.clone())
    }

    /// Data that the spool may hold. None: what suits its disk.
    #[must_use]
    pub fn spool_max_bytes(&self) -> Option<u64> {
        self.spool.spool_max_bytes.map(|bytes| bytes as u64)
    }

    /// This daemon's name in stored rows.
    #[must_use]
    pub fn instance(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.process.instance.clone().unwrap_or_else(host)
    }

    /// For storing and answering what was received when the daemon stops.
    #[must_use]
    pub fn shutdown_timeout(&self) -> Duration {
        self.process.shutdown_timeout
    }

    /// Of the stores behind the network, together.
    fn deadlines(&self) -> Duration {
        let kafka = self.kafka.kafka_brokers.as_ref().map(|_| self.kafka.kafka_deadline);
        let postgres = self.postgres.postgres_url.as_ref().map(|_| self.postgres.postgres_deadline);
        kafka.unwrap_or_default() + postgres.unwrap_or_default()
    }

    /// The longest that one round of the producer's ordinarily lasts: every store's deadline.
    #[must_use]
    pub fn round_timeout(&self) -> Duration {
        self.deadlines() + limits::SPOOL_DEADLINE
    }

    /// The longest that a request may wait for its answer once it is inside: its own round, the one before
    /// it, and a margin. One that was begun ahead between them does not try again what failed in the first.
    #[must_use]
    pub fn answer_timeout(&self) -> Duration {
        2 * self.round_timeout() + ANSWER_MARGIN
    }

    /// The same for a batch, which is written in several rounds, each with the stores' deadlines.
    fn batch_timeout(&self) -> Duration {
        let by_events = self.batch.max_batch_events.div_ceil(limits::SLICE_EVENTS);
        let by_bytes = self.batch.max_batch_bytes.div_ceil(limits::SLICE_BYTES);
        let rounds = u32::try_from(by_events + by_bytes).unwrap_or(u32::MAX);
        self.round_timeout().saturating_mul(rounds.saturating_add(1)) + ANSWER_MARGIN
    }

    /// What the door needs to know.
    #[must_use]
    pub fn door(&self, guard: &Guard, timings: &Timings) -> door::Settings {
        door::Settings {
            options: self.door.clone(),
            upstream_timeout: self.answer_timeout(),
            body_bytes_max: self.rules.body_bytes_max(),
            guard: guard.clone(),
            batch_timeout: self.batch_timeout(),
            batch_bytes_max: self.batch.max_batch_bytes,
            answers: timings.request.clone(),
        }
    }
}

/// DATA_DIR, or what systemd made for the service, or ./data.
fn folder(options: spool::FolderOptions) -> PathBuf {
    let of_service = || std::env::var_os("STATE_DIRECTORY").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    options.data_dir.or_else(of_service).unwrap_or_else(|| PathBuf::from("data"))
}

/// The folder of the spool, whatever the other settings are.
#[must_use]
pub fn data_dir(raw: &RawSettings) -> PathBuf {
    folder(raw.read().expect(ANY_PATH))
}

/// Where a daemon with these settings is reached from this machine.
///
/// # Errors
/// HOST or PORT cannot be used, or PORT is 0 and only the daemon's log says which it got.
pub fn local_url(raw: &RawSettings) -> Result<String, ConfigError> {
    let listen: door::ListenOptions = raw.read()?;
    if listen.port == 0 {
        let why = "the system chose the daemon's port, its log says which";
        return Err(raw.refuse(&name_of!(listen, port), why));
    }
    let any = listen.host.is_unspecified();
    let host = if any { IpAddr::from([127, 0, 0, 1]) } else { listen.host };
    let scheme = if listen.tls.tls_cert.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}", SocketAddr::new(host, listen.port)))
}

/// The certificate that a daemon with these settings shows.
#[must_use]
pub fn own_certificate(raw: &RawSettings) -> Option<PathBuf> {
    raw.read().map(|options: door::TlsOptions| options.tls_cert).expect(ANY_PATH)
}

/// A setting in force, for people: no secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// Its environment variable.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where that comes from.
    pub origin: String,
}

/// Every setting, as typed and as `config` was made of them.
///
/// # Errors
/// A file with a secret cannot be read any more.
pub fn in_force(raw: &RawSettings, config: &Config) -> Result<Vec<InForce>, ConfigError> {
    let url = name_of!(config.postgres, postgres_url);
    let found_at_start = [
        (name_of!(config.http, workers), config.http.workers().to_string()),
        (name_of!(config.process, instance), config.instance()),
        (name_of!(config.folder, data_dir), config.data_dir().display().to_string()),
        (name_of!(config.spool, spool_max_bytes), "what suits the disk".to_owned()),
    ];
    let shown = |setting: Definition| {
        let (text, origin) = raw.in_force(&setting)?;
        let Definition { name, default, is_secret, .. } = setting;
        let value = match text.or(default) {
            Some(text) if name == url => {
                format!("{} (password not shown)", postgres::describe(&text).unwrap_or_default())
            }
            Some(_) if is_secret => "(not shown)".to_owned(),
            Some(text) => text,
            None => {
                let found = found_at_start.iter().find(|(found, _)| *found == name);
                found.map_or("none", |(_, value)| value).to_owned()
            }
        };
        Ok(InForce { name, value, origin: origin.to_string() })
    };
    definitions().into_iter().map(shown).collect()
}
