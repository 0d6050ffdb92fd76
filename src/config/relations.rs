//! What settings ask of each other.

use std::time::Duration;

use super::{Config, ConfigError, Origin, RawSettings};
use crate::store::{kafka, postgres};

const NEEDS_TLS: &str = "it needs KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL";
const NEEDS_SASL: &str = "it needs KAFKA_SECURITY_PROTOCOL=SASL_SSL or SASL_PLAINTEXT";
const NO_TLS_NO_SASL: &str =
    "the classic client knows neither TLS nor SASL: use modern, or KAFKA_SECURITY_PROTOCOL=PLAINTEXT";

/// # Errors
/// The first setting that does not go with the others.
pub(super) fn check(raw: &RawSettings, config: &Config) -> Result<(), ConfigError> {
    let refuse_if = |is_wrong: bool, name: &str, why: &str| match is_wrong {
        true => Err(raw.refuse(name, why)),
        false => Ok(()),
    };
    let never_as_flag = |has_password: bool, name: &str| {
        let is_flag = raw.typed(name).is_some_and(|(_, _, origin)| *origin == Origin::Flag);
        let why = "every user of this machine can read a password on the command line: use";
        refuse_if(has_password && is_flag, name, &format!("{why} {name}_FILE"))
    };
    let pair = |certificate: (&str, bool), key: (&str, bool)| {
        let need = |name: &str, what: &str| format!("{name} needs its {what}: name its file");
        refuse_if(certificate.1 && !key.1, key.0, &need(certificate.0, "private key"))?;
        refuse_if(key.1 && !certificate.1, certificate.0, &need(key.0, "certificate"))
    };

    // A broker that is to be reached securely is never reached in clear because a word was forgotten.
    let kafka = &config.kafka;
    let kafka::Protocol { tls, sasl } = kafka.kafka_security_protocol;
    let certificate = kafka.kafka_ssl_certificate_location.is_some();
    let key = kafka.kafka_ssl_key_location.is_some();
    refuse_if(!tls && kafka.kafka_ssl_ca_location.is_some(), "KAFKA_SSL_CA_LOCATION", NEEDS_TLS)?;
    refuse_if(!tls && certificate, "KAFKA_SSL_CERTIFICATE_LOCATION", NEEDS_TLS)?;
    refuse_if(!tls && key, "KAFKA_SSL_KEY_LOCATION", NEEDS_TLS)?;
    pair(("KAFKA_SSL_CERTIFICATE_LOCATION", certificate), ("KAFKA_SSL_KEY_LOCATION", key))?;
    let (user, password) = (kafka.kafka_sasl_username.is_some(), kafka.kafka_sasl_password.is_some());
    never_as_flag(password, "KAFKA_SASL_PASSWORD")?;
    refuse_if(!sasl && user, "KAFKA_SASL_USERNAME", NEEDS_SASL)?;
    refuse_if(!sasl && password, "KAFKA_SASL_PASSWORD", NEEDS_SASL)?;
    refuse_if(sasl && !user, "KAFKA_SASL_USERNAME", "SASL needs a user name: set it")?;
    let why = "SASL needs a password: set it, or better KAFKA_SASL_PASSWORD_FILE";
    refuse_if(sasl && !password, "KAFKA_SASL_PASSWORD", why)?;
    let is_classic = kafka.kafka_client == kafka::ClientChoice::Classic;
    refuse_if(is_classic && (tls || sasl), "KAFKA_CLIENT", NO_TLS_NO_SASL)?;

    let url = config.postgres.postgres_url.as_ref();
    never_as_flag(url.is_some_and(|url| postgres::holds_password(url.reveal())), "POSTGRES_URL")?;
    let files = &config.listen.tls;
    pair(("TLS_CERT", files.tls_cert.is_some()), ("TLS_KEY", files.tls_key.is_some()))?;
    let is_unkeyed = config.keys.protect_status && config.keys.api_keys_file.is_none();
    let why = "there are no keys to protect the status with: set API_KEYS_FILE";
    refuse_if(is_unkeyed, "PROTECT_STATUS", why)?;

    let event = config.rules.max_event_bytes;
    let least = |many: &str| format!("it must hold {many} events of MAX_EVENT_BYTES ({event} bytes each)");
    refuse_if(config.queue.queue_bytes < 2 * event, "QUEUE_BYTES", &least("two"))?;
    let is_small = config.spool.spool_max_bytes.is_some_and(|most| most < 8 * event);
    refuse_if(is_small, "SPOOL_MAX_BYTES", &least("eight"))?;
    let least = config.deadlines() + Duration::from_secs(1);
    let why = format!(
        "it must be at least KAFKA_DEADLINE and POSTGRES_DEADLINE together and 1 s more ({} s)",
        least.as_secs_f64()
    );
    refuse_if(config.process.shutdown_timeout < least, "SHUTDOWN_TIMEOUT", &why)
}
