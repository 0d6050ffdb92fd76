//! Kafka: two clients behind one trait, and the choice between them.
//!
//! The modern client (krafka) wherever the broker lets it: with headers and timestamps.
//! The classic one (kafka) where a broker says that it does not support what the modern needs.
//!
//! - `modern` and `classic` the two clients; `runtime` what drives the modern one; `contain` what a panic in either costs
//! - `times` which time a record is sent with; `errors` their errors, sorted by what to do; `security` TLS and SASL; `inspect` for `check-config`
//!
//! Invariants: the classic client is chosen only on an answer that says "unsupported", never because no broker can be
//! reached; a store that gave one `Unavailable` is thrown away by its owner, who asks for a new one; acknowledged means
//! acks=all.

mod classic;
mod contain;
mod errors;
mod inspect;
#[cfg(test)]
pub(crate) use self::{modern::HAS_PRODUCER_ID, times::TopicTimes};
mod modern;
mod options;
mod runtime;
mod security;
mod times;

use std::time::{Duration, Instant};

use krafka::error::KrafkaError;

use crate::limits::{KAFKA_WIRE_BATCH_BYTES, KAFKA_WIRE_RECORD_EXTRA_BYTES};
use crate::store::{Connected, Destination, StoreError};

pub use inspect::{Inspection, Topic, inspect};
pub use options::{Brokers, Options, Protocol};
pub use security::{Mechanism, Sasl, Security, Tls};

use contain::Contained;
use errors::Cluster;
use runtime::Runtime;

/// Where to write and how long to wait.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port` of brokers to ask first; the rest of the cluster is learned from them.
    pub brokers: Vec<String>,
    /// The topic.
    pub topic: String,
    /// Which client to use.
    pub client: ClientChoice,
    /// The longest that one `write` takes (`KAFKA_DEADLINE`).
    pub deadline: Duration,
    /// The largest event that validation lets through (`MAX_EVENT_BYTES`).
    pub max_event_bytes: usize,
    /// Whether the value has the event's id and time of receipt too (`KAFKA_EMBED_ID`).
    pub embed_id: bool,
    /// TLS and SASL.
    pub security: Security,
    /// Learns the cluster's id at each connection. None: nobody asks for it.
    pub destination: Option<Destination>,
}

/// Which Kafka client to use (`KAFKA_CLIENT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientChoice {
    /// Modern, unless the broker says that it does not support it.
    Auto,
    /// krafka: for brokers from 0.11 on that have idempotent producers.
    Modern,
    /// kafka: for brokers before 4.0; no headers, no record timestamps.
    Classic,
}

impl ClientChoice {
    const WORDS: &[(&str, Self)] =
        &[("auto", Self::Auto), ("modern", Self::Modern), ("classic", Self::Classic)];
}

/// Connects and learns the topic's partitions; nothing is written, so only a later acknowledged write
/// proves that Kafka is back. The client is `modern` or `classic`. Creates the topic where the broker does so on demand.
/// Blocks for at most twice the deadline (once per client), so it is called off the data path.
///
/// # Errors
/// Always `Unavailable`; the text says what failed and what to do.
pub fn connect(settings: &Settings) -> Result<Connected, StoreError> {
    let at = Cluster::new(&settings.brokers, &settings.topic);
    let mut connected = contain::call(&at, || connect_client(settings, &at))?;
    connected.store = Box::new(Contained::new(connected.store, at));
    if settings.security.is_password_in_clear() {
        let note = "KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT with PLAIN sends the password in clear text: use SASL_SSL, or SCRAM";
        connected.notes.push(note.to_owned());
    }
    if settings.max_event_bytes + KAFKA_WIRE_RECORD_EXTRA_BYTES > KAFKA_WIRE_BATCH_BYTES {
        connected.notes.push(format!(
            "MAX_EVENT_BYTES ({}) is more than a broker takes by default: raise max.message.bytes of \
             topic '{}', or larger events become dead letters",
            settings.max_event_bytes, settings.topic
        ));
    }
    Ok(connected)
}

fn connect_client(settings: &Settings, at: &Cluster) -> Result<Connected, StoreError> {
    let until = Instant::now() + settings.deadline;
    let runtime = Runtime::start(at)?;
    let brokers = runtime.reachable_first(settings, at)?;
    match settings.client {
        ClientChoice::Classic => classic::connect(settings, &brokers, at),
        ClientChoice::Modern => modern::connect(runtime, settings, &brokers, until, at)
            .map_err(|error| errors::modern(&error, at)),
        ClientChoice::Auto => modern::connect(runtime, settings, &brokers, until, at)
            .or_else(|error| fall_back(&error, settings, &brokers, at)),
    }
}

/// The classic client, when `error` is an answer that says that the modern one cannot work here.
fn fall_back(
    error: &KrafkaError,
    settings: &Settings,
    brokers: &[String],
    at: &Cluster,
) -> Result<Connected, StoreError> {
    // The classic client would send in clear text, and without a login.
    let lacking = errors::lacking(error).filter(|_| settings.security.is_none());
    let lacking = lacking.ok_or_else(|| errors::modern(error, at))?;
    let mut connected = classic::connect(settings, brokers, at)?;
    let note = format!("the classic client is used: the broker lacks what the modern one needs ({lacking})");
    connected.notes.insert(0, note);
    Ok(connected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Cause;

    #[test]
    fn an_address_that_refuses_is_named_and_never_falls_to_classic() {
        // Bound, so that nobody else has the port, but not listening: it refuses.
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        drop(socket);
        let settings = Settings {
            brokers: vec![address.clone()],
            topic: "pos-logs".to_owned(),
            client: ClientChoice::Auto,
            deadline: Duration::from_secs(3),
            max_event_bytes: 1024,
            embed_id: false,
            security: Security::default(),
            destination: None,
        };
        let Err(StoreError::Unavailable(Cause::Unreachable, why)) = connect(&settings) else {
            panic!("connected to nothing")
        };
        assert!(why.contains(&address) && why.contains("KAFKA_BROKERS"), "{why}");
    }
}
