//! What the administrator typed: the one definition behind flags, environment, `--help` and defaults.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Command};
use log::LevelFilter;

use super::{ConfigError, parse};

/// Every setting as text. A blank value means the default.
#[derive(Args, Clone, Debug, Default)]
pub struct RawSettings {
    /// Address to listen on: 0.0.0.0 for every IPv4 address, :: for both families, 127.0.0.1 for this box alone
    #[arg(long, env = "HOST", default_value = "0.0.0.0", value_name = "ADDRESS", help_heading = "HTTP")]
    pub(super) host: String,
    /// Port to listen on; 0 lets the system choose one and the log says which
    #[arg(long, env = "PORT", default_value = "8000", value_name = "PORT", help_heading = "HTTP")]
    pub(super) port: String,
    /// Threads that parse and validate [default: two a core, at least 4]
    #[arg(long, env = "WORKERS", value_name = "COUNT", help_heading = "HTTP")]
    pub(super) workers: Option<String>,
    /// Client connections at once; more are answered 503
    #[arg(
        long,
        env = "MAX_CONNECTIONS",
        default_value = "1024",
        value_name = "COUNT",
        help_heading = "HTTP"
    )]
    pub(super) max_connections: String,
    /// Of these, connections at once from one address; 0 sets no such cap, which is right behind a proxy
    #[arg(
        long,
        env = "MAX_CONNECTIONS_PER_ADDRESS",
        default_value = "0",
        value_name = "COUNT",
        help_heading = "HTTP"
    )]
    pub(super) max_connections_per_address: String,
    /// Certificate (and those between it and its authority) as PEM: the port then speaks HTTPS only, TLS 1.2
    /// and 1.3. A systemd credential TLS_CERT is read too. SIGHUP reads it anew
    #[arg(long, env = "TLS_CERT", value_name = "FILE", help_heading = "HTTP")]
    pub(super) tls_cert: Option<String>,
    /// Private key of TLS_CERT as PEM; a systemd credential TLS_KEY is read too
    #[arg(long, env = "TLS_KEY", value_name = "FILE", help_heading = "HTTP")]
    pub(super) tls_key: Option<String>,
    /// Unix socket to listen on as well, for programs of this box; the daemon's user and group may connect
    #[arg(long, env = "UNIX_SOCKET", value_name = "PATH", help_heading = "HTTP")]
    pub(super) unix_socket: Option<String>,
    /// Connections between the door and the HTTP server inside: requests that can wait for storage at once
    #[arg(
        long,
        env = "UPSTREAM_CONNECTIONS",
        default_value = "256",
        value_name = "COUNT",
        help_heading = "HTTP"
    )]
    pub(super) upstream_connections: String,
    /// Time for a whole request head, from its first byte
    #[arg(long, env = "HEAD_TIMEOUT", default_value = "10s", value_name = "DURATION", help_heading = "HTTP")]
    pub(super) head_timeout: String,
    /// Time for a whole request body
    #[arg(long, env = "BODY_TIMEOUT", default_value = "15s", value_name = "DURATION", help_heading = "HTTP")]
    pub(super) body_timeout: String,
    /// Time that a connection may stay open between two requests
    #[arg(long, env = "IDLE_TIMEOUT", default_value = "75s", value_name = "DURATION", help_heading = "HTTP")]
    pub(super) idle_timeout: String,
    /// Largest event: its key, value and headers together, as stored (1KiB to 16MiB)
    #[arg(
        long,
        env = "MAX_EVENT_BYTES",
        default_value = "400KiB",
        value_name = "SIZE",
        help_heading = "HTTP"
    )]
    pub(super) max_event_bytes: String,
    /// File of API keys, one NAME KEY or NAME sha256:HEX a line; without one everyone may send. A systemd
    /// credential API_KEYS_FILE is read too. SIGHUP reads it anew
    #[arg(long, env = "API_KEYS_FILE", value_name = "FILE", help_heading = "HTTP")]
    pub(super) api_keys_file: Option<String>,
    /// Whether the status (/stats, /metrics, /) needs an API key as well: on or off
    #[arg(long, env = "PROTECT_STATUS", default_value = "off", value_name = "SWITCH", help_heading = "HTTP")]
    pub(super) protect_status: String,
    /// Events in one request to /api/logs/ingest/batch
    #[arg(
        long,
        env = "MAX_BATCH_EVENTS",
        default_value = "10000",
        value_name = "COUNT",
        help_heading = "HTTP"
    )]
    pub(super) max_batch_events: String,
    /// Largest body of such a request, as sent and with its gzip undone (64KiB to 64MiB)
    #[arg(long, env = "MAX_BATCH_BYTES", default_value = "8MiB", value_name = "SIZE", help_heading = "HTTP")]
    pub(super) max_batch_bytes: String,
    /// Time for which the answer to a request with an Idempotency-Key is remembered, for its repeats
    #[arg(
        long,
        env = "IDEMPOTENCY_WINDOW",
        default_value = "10m",
        value_name = "DURATION",
        help_heading = "HTTP"
    )]
    pub(super) idempotency_window: String,
    /// Mask card numbers in events before they are stored or sent on: on, off. Logs never show them
    #[arg(long, env = "REDACT_PAN", default_value = "on", value_name = "SWITCH", help_heading = "HTTP")]
    pub(super) redact_pan: String,

    /// Brokers as host:port, separated by commas; none: events stay in PostgreSQL or in the local spool
    #[arg(long, env = "KAFKA_BROKERS", value_name = "LIST", help_heading = "Kafka")]
    pub(super) kafka_brokers: Option<String>,
    /// Topic that events are sent to
    #[arg(
        long,
        env = "KAFKA_TOPIC",
        default_value = "pos-logs",
        value_name = "TOPIC",
        help_heading = "Kafka"
    )]
    pub(super) kafka_topic: String,
    /// Client library: modern (Kafka 2.8 and later), classic (for brokers that refuse modern; not Kafka 4), or auto
    #[arg(long, env = "KAFKA_CLIENT", default_value = "auto", value_name = "NAME", help_heading = "Kafka")]
    pub(super) kafka_client: String,
    /// How brokers are spoken to: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. All but the first need the modern client
    #[arg(
        long,
        env = "KAFKA_SECURITY_PROTOCOL",
        default_value = "PLAINTEXT",
        value_name = "NAME",
        help_heading = "Kafka"
    )]
    pub(super) kafka_security_protocol: String,
    /// How the password is proven with SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
    #[arg(
        long,
        env = "KAFKA_SASL_MECHANISM",
        default_value = "PLAIN",
        value_name = "NAME",
        help_heading = "Kafka"
    )]
    pub(super) kafka_sasl_mechanism: String,
    /// The daemon's name with SASL
    #[arg(long, env = "KAFKA_SASL_USERNAME", value_name = "NAME", help_heading = "Kafka")]
    pub(super) kafka_sasl_username: Option<String>,
    /// Its password. Better in a file: see below
    #[arg(
        long,
        env = "KAFKA_SASL_PASSWORD",
        hide_env_values = true,
        value_name = "TEXT",
        help_heading = "Kafka"
    )]
    pub(super) kafka_sasl_password: Option<String>,
    /// File that holds KAFKA_SASL_PASSWORD; a systemd credential KAFKA_SASL_PASSWORD is read too
    #[arg(long, env = "KAFKA_SASL_PASSWORD_FILE", value_name = "FILE", help_heading = "Kafka")]
    pub(super) kafka_sasl_password_file: Option<String>,
    /// PEM file of the authorities that are believed with SSL and SASL_SSL; none: the system's
    #[arg(long, env = "KAFKA_SSL_CA_LOCATION", value_name = "FILE", help_heading = "Kafka")]
    pub(super) kafka_ssl_ca_location: Option<String>,
    /// PEM file of the certificate that brokers are shown, where they ask for one
    #[arg(long, env = "KAFKA_SSL_CERTIFICATE_LOCATION", value_name = "FILE", help_heading = "Kafka")]
    pub(super) kafka_ssl_certificate_location: Option<String>,
    /// PEM file of its private key, without a passphrase
    #[arg(long, env = "KAFKA_SSL_KEY_LOCATION", value_name = "FILE", help_heading = "Kafka")]
    pub(super) kafka_ssl_key_location: Option<String>,
    /// Whether the value of a record has ingest_id and received_at as its last members, for readers that see no
    /// record headers, and for the classic client, which has none: on or off
    #[arg(
        long,
        env = "KAFKA_EMBED_ID",
        default_value = "off",
        value_name = "SWITCH",
        help_heading = "Kafka"
    )]
    pub(super) kafka_embed_id: String,
    /// Longest wait for the broker before events go to the next store instead
    #[arg(
        long,
        env = "KAFKA_DEADLINE",
        default_value = "3s",
        value_name = "DURATION",
        help_heading = "Kafka"
    )]
    pub(super) kafka_deadline: String,
    /// Held events a second that go back to Kafka after an outage; 0 is unlimited
    #[arg(
        long,
        env = "RECOVERY_RATE",
        default_value = "2000",
        value_name = "EVENTS",
        help_heading = "Kafka"
    )]
    pub(super) recovery_rate: String,

    /// PostgreSQL that takes over when Kafka is down, or is the events' home without Kafka:
    /// postgres://user:password@host:port/database?sslmode=verify-full. Better in a file: see below
    #[arg(
        long,
        env = "POSTGRES_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "PostgreSQL"
    )]
    pub(super) postgres_url: Option<String>,
    /// File that holds POSTGRES_URL, so that the password stands in no environment; a systemd credential
    /// POSTGRES_URL is read too
    #[arg(long, env = "POSTGRES_URL_FILE", value_name = "FILE", help_heading = "PostgreSQL")]
    pub(super) postgres_url_file: Option<String>,
    /// Longest wait for PostgreSQL before events go to the spool instead
    #[arg(
        long,
        env = "POSTGRES_DEADLINE",
        default_value = "3s",
        value_name = "DURATION",
        help_heading = "PostgreSQL"
    )]
    pub(super) postgres_deadline: String,
    /// Days for which rows stay in PostgreSQL that Kafka has
    #[arg(
        long,
        env = "FORWARDED_KEEP_DAYS",
        default_value = "7",
        value_name = "DAYS",
        help_heading = "PostgreSQL"
    )]
    pub(super) forwarded_keep_days: String,

    /// Data that the table in PostgreSQL may hold, roughly; beyond it the oldest events are removed that Kafka has
    /// or whose home it is, never held ones; 0 is unlimited
    #[arg(
        long,
        env = "POSTGRES_MAX_BYTES",
        default_value = "0",
        value_name = "SIZE",
        help_heading = "PostgreSQL"
    )]
    pub(super) postgres_max_bytes: String,

    /// Folder of the spool [default: the service's state directory under systemd, else ./data]
    #[arg(long, env = "DATA_DIR", value_name = "FOLDER", help_heading = "Storage", global = true)]
    pub(super) data_dir: Option<String>,
    /// Data that the spool may hold [default: 1GiB, or a quarter of a disk of less than 4GiB]
    #[arg(long, env = "SPOOL_MAX_BYTES", value_name = "SIZE", help_heading = "Storage")]
    pub(super) spool_max_bytes: Option<String>,
    /// Days after which events are removed whose home is the spool; held ones are never removed unsent
    #[arg(long, env = "KEEP_DAYS", default_value = "30", value_name = "DAYS", help_heading = "Storage")]
    pub(super) keep_days: String,
    /// Events that may wait for storage; more are answered 503
    #[arg(
        long,
        env = "QUEUE_EVENTS",
        default_value = "50000",
        value_name = "COUNT",
        help_heading = "Storage"
    )]
    pub(super) queue_events: String,
    /// Bytes of events that may wait for storage; more are answered 503
    #[arg(long, env = "QUEUE_BYTES", default_value = "64MiB", value_name = "SIZE", help_heading = "Storage")]
    pub(super) queue_bytes: String,

    /// Name of this daemon in stored rows [default: the host's name]
    #[arg(long, env = "INSTANCE", value_name = "NAME", help_heading = "Process")]
    pub(super) instance: Option<String>,
    /// Time to store and answer what was taken, when the daemon is told to stop
    #[arg(
        long,
        env = "SHUTDOWN_TIMEOUT",
        default_value = "10s",
        value_name = "DURATION",
        help_heading = "Process"
    )]
    pub(super) shutdown_timeout: String,
    /// What is logged: error, warn, info, debug, trace
    #[arg(long, env = "LOG_LEVEL", default_value = "info", value_name = "LEVEL", help_heading = "Process")]
    pub(super) log_level: String,
}

/// Reads typed values; knows the defaults from the definition above, so that blank means default.
pub(super) struct Reader {
    definition: Command,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { definition: RawSettings::augment_args(Command::new("settings")) }
    }

    pub(super) fn text(&self, name: &str, typed: &str) -> String {
        let typed = typed.trim();
        if typed.is_empty() { self.default_of(name) } else { typed.to_owned() }
    }

    fn default_of(&self, name: &str) -> String {
        let defines = |arg: &&clap::Arg| arg.get_env().is_some_and(|env| env == name);
        self.definition
            .get_arguments()
            .find(defines)
            .and_then(|arg| arg.get_default_values().first())
            .map(|value| value.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    pub(super) fn refuse(&self, name: &'static str, typed: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError { name, value: typed.to_owned(), problem: problem.into() }
    }

    pub(super) fn number<T>(
        &self,
        name: &'static str,
        typed: &str,
        least: T,
        most: T,
    ) -> Result<T, ConfigError>
    where
        T: std::str::FromStr + PartialOrd + std::fmt::Display,
    {
        let legal = || format!("use a whole number from {least} to {most}");
        match self.text(name, typed).parse::<T>() {
            Ok(number) if number >= least && number <= most => Ok(number),
            _ => Err(self.refuse(name, typed, legal())),
        }
    }

    pub(super) fn bytes(
        &self,
        name: &'static str,
        typed: &str,
        least: usize,
        most: usize,
    ) -> Result<usize, ConfigError> {
        match parse::bytes(&self.text(name, typed)) {
            Some(bytes) if (least..=most).contains(&bytes) => Ok(bytes),
            _ => {
                let (least, most) = (parse::show_bytes(least), parse::show_bytes(most));
                let legal = format!("use a size from {least} to {most}: bytes, or with KiB, MiB or GiB");
                Err(self.refuse(name, typed, legal))
            }
        }
    }

    pub(super) fn duration(
        &self,
        name: &'static str,
        typed: &str,
        least_ms: u64,
        most_ms: u64,
    ) -> Result<Duration, ConfigError> {
        match parse::duration_ms(&self.text(name, typed)) {
            Some(ms) if (least_ms..=most_ms).contains(&ms) => Ok(Duration::from_millis(ms)),
            _ => {
                let legal = format!(
                    "use a duration from {least_ms}ms to {}s: seconds, or with ms, s, m or h",
                    most_ms / 1_000
                );
                Err(self.refuse(name, typed, legal))
            }
        }
    }

    pub(super) fn address(&self, name: &'static str, typed: &str) -> Result<IpAddr, ConfigError> {
        let text = self.text(name, typed);
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&text);
        match bare {
            "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
            _ => bare.parse().map_err(|_| {
                self.refuse(name, typed, "use an IP address of this machine, 0.0.0.0, :: or localhost")
            }),
        }
    }

    pub(super) fn topic(&self, name: &'static str, typed: &str) -> Result<String, ConfigError> {
        let topic = self.text(name, typed);
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.len() <= 249 && topic.chars().all(legal) && topic != "." && topic != ".." {
            return Ok(topic);
        }
        Err(self.refuse(name, typed, "use up to 249 letters, digits, '.', '_' and '-'"))
    }

    pub(super) fn switch(&self, name: &'static str, typed: &str) -> Result<bool, ConfigError> {
        match self.text(name, typed).to_ascii_lowercase().as_str() {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(self.refuse(name, typed, "use on or off")),
        }
    }

    pub(super) fn level(&self, name: &'static str, typed: &str) -> Result<LevelFilter, ConfigError> {
        match self.text(name, typed).to_ascii_lowercase().as_str() {
            "error" => Ok(LevelFilter::Error),
            "warn" => Ok(LevelFilter::Warn),
            "info" => Ok(LevelFilter::Info),
            "debug" => Ok(LevelFilter::Debug),
            "trace" => Ok(LevelFilter::Trace),
            _ => Err(self.refuse(name, typed, "use error, warn, info, debug or trace")),
        }
    }
}
