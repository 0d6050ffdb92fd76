//! Kafka's settings.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ArgAction;
use clap::builder::ValueHint;

use super::{ClientChoice, Mechanism};
use crate::setting::{Secret, choice, duration, switch};

/// What an administrator can set of Kafka.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Kafka")]
#[group(skip)]
pub struct Options {
    /// Brokers as host:port, separated by commas. Without them events stay in PostgreSQL or in the local spool
    #[arg(long, env, value_name = "LIST")]
    pub kafka_brokers: Option<Brokers>,
    /// Topic that events are written to
    #[arg(long, env, default_value = "pos-logs", value_name = "TOPIC", value_parser = topic)]
    pub kafka_topic: String,
    /// Longest wait for Kafka before events go to the next store
    #[arg(long, env, default_value = "3s", value_name = "DURATION", value_parser = duration(500..=60_000))]
    pub kafka_deadline: Duration,
    /// Client library: modern (for Kafka 3.9 and later), classic (for older brokers; not for Kafka 4), or auto, which is
    /// modern unless the broker lacks what that needs
    #[arg(long, env, default_value = "auto", value_name = "NAME", value_parser = choice(ClientChoice::WORDS))]
    pub kafka_client: ClientChoice,
    /// Whether ingest_id and received_at are also the last members of a record's value: on or off. For readers that see
    /// no record headers, and for the classic client, which writes none
    #[arg(
        long,
        env,
        default_value = "off",
        value_name = "SWITCH",
        value_parser = switch(),
        action = ArgAction::Set
    )]
    pub kafka_embed_id: bool,
    /// How to connect: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. All but PLAINTEXT need the modern client
    #[arg(long, env, default_value = "PLAINTEXT", value_name = "NAME", value_parser = choice(Protocol::WORDS))]
    pub kafka_security_protocol: Protocol,
    /// PEM file of the CAs to trust with SSL and SASL_SSL; without it the system's CAs are trusted. A systemd credential
    /// named KAFKA_SSL_CA_LOCATION is used too
    #[arg(long, env, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kafka_ssl_ca_location: Option<PathBuf>,
    /// PEM file of the certificate to show to brokers that ask for one. A systemd credential of this name is used too
    #[arg(long, env, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kafka_ssl_certificate_location: Option<PathBuf>,
    /// PEM file of the private key of that certificate, without a passphrase. A systemd credential of this name is used
    /// too
    #[arg(long, env, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kafka_ssl_key_location: Option<PathBuf>,
    /// How SASL proves the password: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
    #[arg(long, env, default_value = "PLAIN", value_name = "NAME", value_parser = choice(Mechanism::WORDS))]
    pub kafka_sasl_mechanism: Mechanism,
    /// User name for SASL_PLAINTEXT and SASL_SSL
    #[arg(long, env, value_name = "NAME")]
    pub kafka_sasl_username: Option<String>,
    /// Password of that user. Better in a file: see KAFKA_SASL_PASSWORD_FILE
    #[arg(long, env, hide_env_values = true, value_name = "TEXT")]
    pub kafka_sasl_password: Option<Secret>,
    /// File that holds KAFKA_SASL_PASSWORD. A systemd credential named KAFKA_SASL_PASSWORD is used too
    #[arg(long, env, value_name = "FILE")]
    pub kafka_sasl_password_file: Option<PathBuf>,
}

/// `host:port` of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brokers(pub Vec<String>);

impl FromStr for Brokers {
    type Err = String;

    /// `till-server:9092, [::1]:9092, broker` (port 9092 when none is named).
    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(|entry| broker(entry.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn broker(entry: &str) -> Result<String, String> {
    const FORM: &str = "use host:port, several separated by commas";
    let refuse = |why: &str| Err(format!("{why} in {entry:?}: {FORM}"));
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (entry, "9092"),
    };
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host_is_legal = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(is_of_name),
    };
    match port.parse::<u16>() {
        _ if entry.is_empty() => Err(format!("an entry is empty: {FORM}")),
        _ if entry.contains("://") => refuse("there is a scheme"),
        _ if !host_is_legal => refuse("the host is not a host name or address"),
        Ok(port) if port > 0 => Ok(format!("{host}:{port}")),
        _ => refuse("the port is not a number from 1 to 65535"),
    }
}

fn topic(name: &str) -> Result<String, &'static str> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name.len() <= 249 && name.chars().all(is_legal) && name != "." && name != ".." {
        true => Ok(name.to_owned()),
        false => Err("use up to 249 letters, digits, '.', '_' and '-'"),
    }
}

/// How brokers are connected to, in Kafka's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Encrypted.
    pub tls: bool,
    /// With a name and a password.
    pub sasl: bool,
}

impl Protocol {
    const WORDS: &[(&str, Self)] = &[
        ("PLAINTEXT", Self { tls: false, sasl: false }),
        ("SSL", Self { tls: true, sasl: false }),
        ("SASL_PLAINTEXT", Self { tls: false, sasl: true }),
        ("SASL_SSL", Self { tls: true, sasl: true }),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_lists_name_the_entry_that_is_wrong() {
        let Brokers(list) = "kafka-1:9092, 10.0.0.7 ,[::1]:19092".parse().unwrap();
        assert_eq!(list, ["kafka-1:9092", "10.0.0.7:9092", "[::1]:19092"]);
        for (text, part) in [
            ("a:9092,,b:9092", "empty"),
            ("a:0", "\"a:0\""),
            ("a:b:c", "\"a:b:c\""),
            ("kafka://a:9092", "scheme"),
            ("a b:9092", "\"a b:9092\""),
            ("a:65536", "1 to 65535"),
        ] {
            let why = text.parse::<Brokers>().unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
