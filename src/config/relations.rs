//! What settings ask of each other.

use std::time::Duration;

use super::{Config, ConfigError, Origin, RawSettings};
use crate::store::{kafka, postgres};

/// Name, and whether it is set.
macro_rules! optional {
    ($group:expr, $field:ident) => {
        (name_of!($group, $field), $group.$field.is_some())
    };
}

const NEEDS_TLS: &str = "it needs KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL";
const NEEDS_SASL: &str = "it needs KAFKA_SECURITY_PROTOCOL=SASL_SSL or SASL_PLAINTEXT";
const NO_TLS_NO_SASL: &str =
    "the classic client knows neither TLS nor SASL: use modern, or KAFKA_SECURITY_PROTOCOL=PLAINTEXT";

/// # Errors
/// The first setting that does not go with the others.
pub(super) fn check(raw: &RawSettings, config: &Config) -> Result<(), ConfigError> {
    let refuse_if = |is_wrong: bool, name: String, why: &str| match is_wrong {
        true => Err(raw.refuse(&name, why)),
        false => Ok(()),
    };
    let never_as_flag = |has_password: bool, name: String| {
        let is_flag = raw.typed(&name).is_some_and(|(_, _, origin)| *origin == Origin::Flag);
        let why = "every user of this machine can read a password on the command line: use";
        let why = format!("{why} {name}_FILE");
        refuse_if(has_password && is_flag, name, &why)
    };
    let pair = |(certificate, has_certificate): (String, bool), (key, has_key): (String, bool)| {
        let need = |name: &str, what: &str| format!("{name} needs its {what}: name its file");
        let (needs_key, needs_certificate) = (need(&certificate, "private key"), need(&key, "certificate"));
        refuse_if(has_certificate && !has_key, key, &needs_key)?;
        refuse_if(has_key && !has_certificate, certificate, &needs_certificate)
    };

    // A broker that is to be reached securely is never reached in clear because a word was forgotten.
    let kafka = &config.kafka;
    let kafka::Protocol { tls, sasl } = kafka.kafka_security_protocol;
    let ca = optional!(kafka, kafka_ssl_ca_location);
    let certificate = optional!(kafka, kafka_ssl_certificate_location);
    let key = optional!(kafka, kafka_ssl_key_location);
    for (name, is_set) in [ca, certificate.clone(), key.clone()] {
        refuse_if(!tls && is_set, name, NEEDS_TLS)?;
    }
    pair(certificate, key)?;
    let (user, has_user) = optional!(kafka, kafka_sasl_username);
    let (password, has_password) = optional!(kafka, kafka_sasl_password);
    never_as_flag(has_password, password.clone())?;
    refuse_if(!sasl && has_user, user.clone(), NEEDS_SASL)?;
    refuse_if(!sasl && has_password, password.clone(), NEEDS_SASL)?;
    refuse_if(sasl && !has_user, user, "SASL needs a user name: set it")?;
    let why = format!("SASL needs a password: set it, or better {password}_FILE");
    refuse_if(sasl && !has_password, password, &why)?;
    let is_classic = kafka.kafka_client == kafka::ClientChoice::Classic;
    refuse_if(is_classic && (tls || sasl), name_of!(kafka, kafka_client), NO_TLS_NO_SASL)?;

    let (url, _) = optional!(config.postgres, postgres_url);
    let typed_url = config.postgres.postgres_url.as_ref();
    never_as_flag(typed_url.is_some_and(|url| postgres::holds_password(url.reveal())), url)?;
    pair(optional!(config.listen.tls, tls_cert), optional!(config.listen.tls, tls_key))?;
    let is_unkeyed = config.keys.protect_status && config.keys.api_keys_file.is_none();
    let why = "there are no keys to protect the status with: set API_KEYS_FILE";
    refuse_if(is_unkeyed, name_of!(config.keys, protect_status), why)?;

    let event = config.rules.max_event_bytes;
    let least = |many: &str| format!("it must hold {many} events of MAX_EVENT_BYTES ({event} bytes each)");
    let queue_is_small = config.queue.queue_bytes < 2 * event;
    refuse_if(queue_is_small, name_of!(config.queue, queue_bytes), &least("two"))?;
    let spool_is_small = config.spool.spool_max_bytes.is_some_and(|most| most < 8 * event);
    refuse_if(spool_is_small, name_of!(config.spool, spool_max_bytes), &least("eight"))?;
    let least = config.deadlines() + Duration::from_secs(1);
    let why = format!(
        "it must be at least KAFKA_DEADLINE and POSTGRES_DEADLINE together and 1 s more ({} s)",
        least.as_secs_f64()
    );
    let is_short = config.process.shutdown_timeout < least;
    refuse_if(is_short, name_of!(config.process, shutdown_timeout), &why)
}
