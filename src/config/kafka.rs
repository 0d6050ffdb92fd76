//! What the settings say of Kafka.

use super::parse;
use super::raw::RawSettings;
use super::{ConfigError, Reader, file, is_present, secret, stands_in_arguments};
use crate::store::kafka::{ClientChoice, Sasl, Security, Settings, Tls};

pub(super) fn settings(
    read: &Reader,
    raw: &RawSettings,
    max_event_bytes: usize,
) -> Result<Option<Settings>, ConfigError> {
    let topic = read.topic("KAFKA_TOPIC", &raw.kafka_topic)?;
    let choice = read.text("KAFKA_CLIENT", &raw.kafka_client);
    let client = choice
        .to_ascii_lowercase()
        .parse::<ClientChoice>()
        .map_err(|legal| read.refuse("KAFKA_CLIENT", &raw.kafka_client, legal))?;
    let deadline = read.duration("KAFKA_DEADLINE", &raw.kafka_deadline, 500, 60_000)?;
    let embed_id = read.switch("KAFKA_EMBED_ID", &raw.kafka_embed_id)?;
    let security = security(read, raw)?;
    if client == ClientChoice::Classic && !security.is_none() {
        let why =
            "the classic client knows neither TLS nor SASL: use modern, or KAFKA_SECURITY_PROTOCOL=PLAINTEXT";
        return Err(read.refuse("KAFKA_CLIENT", &raw.kafka_client, why));
    }
    let typed = raw.kafka_brokers.as_deref().unwrap_or_default();
    if typed.trim().is_empty() {
        return Ok(None);
    }
    let brokers = parse::brokers(typed).map_err(|why| read.refuse("KAFKA_BROKERS", typed, why))?;
    Ok(Some(Settings { brokers, topic, client, deadline, max_event_bytes, embed_id, security }))
}

fn security(read: &Reader, raw: &RawSettings) -> Result<Security, ConfigError> {
    let protocol = read.text("KAFKA_SECURITY_PROTOCOL", &raw.kafka_security_protocol).to_ascii_uppercase();
    let (tls, sasl) = match protocol.as_str() {
        "PLAINTEXT" => (false, false),
        "SSL" => (true, false),
        "SASL_PLAINTEXT" => (false, true),
        "SASL_SSL" => (true, true),
        _ => {
            let legal = "use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL";
            return Err(read.refuse("KAFKA_SECURITY_PROTOCOL", &raw.kafka_security_protocol, legal));
        }
    };
    Ok(Security {
        tls: self::tls(read, raw, tls)?,
        sasl: if sasl { Some(self::sasl(read, raw)?) } else { no_sasl(read, raw)? },
    })
}

fn tls(read: &Reader, raw: &RawSettings, is_on: bool) -> Result<Option<Tls>, ConfigError> {
    let ca = file("KAFKA_SSL_CA_LOCATION", raw.kafka_ssl_ca_location.as_deref());
    let certificate = file("KAFKA_SSL_CERTIFICATE_LOCATION", raw.kafka_ssl_certificate_location.as_deref());
    let key = file("KAFKA_SSL_KEY_LOCATION", raw.kafka_ssl_key_location.as_deref());
    if !is_on {
        // A broker that is meant to be spoken to in secret must not be spoken to in clear for a forgotten word.
        let unused = [
            ("KAFKA_SSL_CA_LOCATION", ca),
            ("KAFKA_SSL_CERTIFICATE_LOCATION", certificate),
            ("KAFKA_SSL_KEY_LOCATION", key),
        ];
        return match unused.into_iter().find_map(|(name, path)| path.map(|path| (name, path))) {
            Some((name, path)) => Err(read.refuse(
                name,
                &path.to_string_lossy(),
                "it needs KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL",
            )),
            None => Ok(None),
        };
    }
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            let why = "KAFKA_SSL_CERTIFICATE_LOCATION needs its private key: name its file";
            return Err(read.refuse("KAFKA_SSL_KEY_LOCATION", "", why));
        }
        (None, Some(_)) => {
            let why = "KAFKA_SSL_KEY_LOCATION needs its certificate: name its file";
            return Err(read.refuse("KAFKA_SSL_CERTIFICATE_LOCATION", "", why));
        }
    };
    Ok(Some(Tls { ca, identity }))
}

fn password(read: &Reader, raw: &RawSettings) -> Result<Option<String>, ConfigError> {
    let (given, file) = (raw.kafka_sasl_password.as_deref(), raw.kafka_sasl_password_file.as_deref());
    if given.filter(is_present).is_some() && stands_in_arguments("--kafka-sasl-password") {
        let why = "every user of this machine can read a password on the command line: use KAFKA_SASL_PASSWORD_FILE";
        return Err(read.refuse("KAFKA_SASL_PASSWORD", "(not shown)", why));
    }
    secret("KAFKA_SASL_PASSWORD", given, file)
        .map_err(|why| read.refuse("KAFKA_SASL_PASSWORD_FILE", file.unwrap_or_default(), why))
}

fn sasl(read: &Reader, raw: &RawSettings) -> Result<Sasl, ConfigError> {
    let username = raw.kafka_sasl_username.as_deref().unwrap_or_default().trim().to_owned();
    if username.is_empty() {
        return Err(read.refuse("KAFKA_SASL_USERNAME", "", "SASL needs a name: set it"));
    }
    let Some(password) = password(read, raw)? else {
        let why = "SASL needs a password: set it, or better KAFKA_SASL_PASSWORD_FILE";
        return Err(read.refuse("KAFKA_SASL_PASSWORD", "(not shown)", why));
    };
    let mechanism = read.text("KAFKA_SASL_MECHANISM", &raw.kafka_sasl_mechanism).to_ascii_uppercase();
    let mechanism = mechanism
        .parse()
        .map_err(|legal| read.refuse("KAFKA_SASL_MECHANISM", &raw.kafka_sasl_mechanism, legal))?;
    Ok(Sasl { mechanism, username, password })
}

/// A name or a password that nobody would be told.
fn no_sasl(read: &Reader, raw: &RawSettings) -> Result<Option<Sasl>, ConfigError> {
    let why = "it needs KAFKA_SECURITY_PROTOCOL=SASL_SSL or SASL_PLAINTEXT";
    if let Some(name) = raw.kafka_sasl_username.as_deref().filter(is_present) {
        return Err(read.refuse("KAFKA_SASL_USERNAME", name, why));
    }
    match password(read, raw)? {
        Some(_) => Err(read.refuse("KAFKA_SASL_PASSWORD", "(not shown)", why)),
        None => Ok(None),
    }
}
