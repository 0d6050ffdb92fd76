//! What a client's error means for the event: one pure table per client.
//!
//! Invariant: `Rejected` only when the broker answered and refuses the record itself; whatever else goes
//! wrong is `Unavailable`, so that the event is kept and goes to the next store.
//! A broker refuses a whole wire batch: `isolate` finds the event.

use std::fmt;
use std::io;
use std::sync::Arc;

use kafka::error::{Error as ClassicError, KafkaCode};
use krafka::error::{ErrorCode, KrafkaError, ProtocolErrorKind};

use super::security;
use crate::event::Event;
use crate::store::{Cause, Refusal, StoreError, WriteResult};

/// The brokers and the topic that the texts name.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    brokers: Arc<str>,
    topic: Arc<str>,
}

impl Cluster {
    pub(super) fn new(brokers: &[String], topic: &str) -> Self {
        Self { brokers: brokers.join(", ").into(), topic: topic.into() }
    }

    pub(super) fn unavailable(&self, cause: Cause, why: &str) -> StoreError {
        StoreError::unavailable(cause, self.text(why))
    }

    fn rejected(&self, refusal: Refusal, why: &str) -> StoreError {
        StoreError::rejected(refusal, self.text(why))
    }

    fn text(&self, why: &str) -> String {
        format!("Kafka at {}: {why}", self.brokers)
    }

    pub(super) fn out_of_time(&self) -> StoreError {
        let why = "no answer within the deadline: look at the broker, or raise KAFKA_DEADLINE";
        self.unavailable(Cause::OutOfTime, why)
    }

    pub(super) fn panicked(&self) -> StoreError {
        self.unavailable(Cause::Bug, "the client library panicked: report the log line about it")
    }

    pub(super) fn missing_topic(&self) -> StoreError {
        let topic = &self.topic;
        let why = format!(
            "topic '{topic}' does not exist: create it, or set auto.create.topics.enable on the broker"
        );
        self.unavailable(Cause::TopicUnknown, &why)
    }

    fn too_large(&self) -> StoreError {
        let topic = &self.topic;
        let why =
            format!("the event is larger than topic '{topic}' takes: raise the topic's max.message.bytes");
        self.rejected(Refusal::TooLarge, &why)
    }

    fn invalid_time(&self) -> StoreError {
        let topic = &self.topic;
        let why = format!(
            "topic '{topic}' does not take the event's time of receipt: look at its \
             message.timestamp settings and at both clocks"
        );
        self.rejected(Refusal::TimestampRefused, &why)
    }

    pub(super) fn no_leader(&self) -> StoreError {
        let topic = &self.topic;
        let why = format!("a partition of topic '{topic}' has no leader now: look at the brokers");
        self.unavailable(Cause::NoLeader, &why)
    }

    fn few_replicas(&self) -> StoreError {
        let topic = &self.topic;
        let why = format!(
            "topic '{topic}' has fewer replicas in sync than its min.insync.replicas: look at the brokers"
        );
        self.unavailable(Cause::NotEnoughReplicas, &why)
    }

    fn not_allowed(&self) -> StoreError {
        let topic = &self.topic;
        let why = format!(
            "not allowed to write to topic '{topic}': grant WRITE on it (and IDEMPOTENT_WRITE on the cluster)"
        );
        self.unavailable(Cause::Refused, &why)
    }

    fn illegal_topic(&self) -> StoreError {
        let topic = &self.topic;
        let why = format!("'{topic}' is not a legal topic name: change KAFKA_TOPIC");
        self.unavailable(Cause::BadSetting, &why)
    }

    fn answered(&self, code: &dyn fmt::Debug) -> StoreError {
        self.unavailable(Cause::Failing, &format!("the broker answered {code:?}: look at its log"))
    }
}

/// For `isolate`: if an event is too large for the topic, so are all that are at least as large on the wire. Without
/// this, a topic with a small limit would take a try for each.
pub(super) fn judge_of_size(events: &[Event]) -> impl Fn(Refusal, usize, usize) -> bool {
    let size = |index: usize| {
        let event = &events[index];
        let headers: usize = event.headers().map(|(_, value)| value.len()).sum();
        event.key().len() + event.payload().len() + headers
    };
    move |refusal, one, other| refusal == Refusal::TooLarge && size(other) >= size(one)
}

/// A refused time is found like any refusal, but the event is not to blame: this machine's clock or the broker's is, and
/// so every event would be refused. It waits until the clocks agree.
pub(super) fn pardon_the_clock(result: WriteResult) -> WriteResult {
    match result {
        Err(StoreError::Rejected(Refusal::TimestampRefused, text)) => {
            Err(StoreError::Unavailable(Cause::ClockRefused, text))
        }
        other => other,
    }
}

/// What the broker lacks for the modern client, when its answer says so. Only with such an answer does `auto` take the
/// classic client.
pub(super) fn lacking(error: &KrafkaError) -> Option<String> {
    match error {
        // What follows the first clause is advice for programmers.
        KrafkaError::Protocol { kind: ProtocolErrorKind::UnknownApiVersion, message } => {
            Some(message.split(';').next().unwrap_or(message).to_owned())
        }
        KrafkaError::Broker { code: ErrorCode::UnsupportedVersion, .. } => {
            Some("it answered UnsupportedVersion".to_owned())
        }
        _ => None,
    }
}

/// The modern client's error, sorted by what to do.
pub(super) fn modern(error: &KrafkaError, at: &Cluster) -> StoreError {
    if let Some(lacking) = lacking(error) {
        let why = format!(
            "the broker lacks what the modern client needs ({lacking}): set KAFKA_CLIENT to auto or classic"
        );
        return at.unavailable(Cause::Unsupported, &why);
    }
    if let Some(advice) = security::advice(&error.to_string()) {
        return at.unavailable(Cause::Refused, &format!("{advice} ({error})"));
    }
    match error {
        KrafkaError::Broker { code, .. } => match code {
            ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => at.too_large(),
            ErrorCode::InvalidTimestamp => at.invalid_time(),
            ErrorCode::InvalidRecord | ErrorCode::PolicyViolation => {
                let why = format!("the broker refuses the record ({code:?}): look at its topic's settings");
                at.rejected(Refusal::PolicyOfTopic, &why)
            }
            ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => at.missing_topic(),
            ErrorCode::InvalidTopic => at.illegal_topic(),
            ErrorCode::LeaderNotAvailable | ErrorCode::NotLeaderForPartition => at.no_leader(),
            ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => at.few_replicas(),
            ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed => at.not_allowed(),
            other => at.answered(other),
        },
        KrafkaError::UnknownTopic { .. } => at.missing_topic(),
        KrafkaError::DeliveryTimeout { message, .. } => match message.split_once("last error: ") {
            Some((_, last)) => at.unavailable(
                Cause::OutOfTime,
                &format!("no acknowledgement within the deadline; last: {last}"),
            ),
            None => at.out_of_time(),
        },
        KrafkaError::Timeout { .. } => at.out_of_time(),
        KrafkaError::Network(error) => at.unavailable(
            Cause::Unreachable,
            &format!("{error}: check KAFKA_BROKERS, the broker and the network between"),
        ),
        KrafkaError::Auth { message, .. } => {
            at.unavailable(Cause::Refused, &format!("authentication failed: {message}"))
        }
        KrafkaError::Config { message } => at.unavailable(Cause::BadSetting, message),
        // The client broke its own rules.
        KrafkaError::Closed { .. } | KrafkaError::IllegalState { .. } => {
            at.unavailable(Cause::Bug, &error.to_string())
        }
        other => at.unavailable(Cause::Failing, &other.to_string()),
    }
}

/// What the classic client reports for one partition, sorted by what to do.
pub(super) fn classic_code(code: KafkaCode, at: &Cluster) -> StoreError {
    match code {
        KafkaCode::MessageSizeTooLarge | KafkaCode::RecordListTooLarge => at.too_large(),
        KafkaCode::InvalidTimestamp => at.invalid_time(),
        KafkaCode::UnknownTopicOrPartition => at.missing_topic(),
        KafkaCode::InvalidTopic => at.illegal_topic(),
        KafkaCode::LeaderNotAvailable | KafkaCode::NotLeaderForPartition => at.no_leader(),
        KafkaCode::NotEnoughReplicas | KafkaCode::NotEnoughReplicasAfterAppend => at.few_replicas(),
        KafkaCode::TopicAuthorizationFailed | KafkaCode::ClusterAuthorizationFailed => at.not_allowed(),
        KafkaCode::RequestTimedOut => at.out_of_time(),
        other => at.answered(&other),
    }
}

/// The classic client's error on a whole call, sorted by what to do. It does not say which event, so it never rejects one.
pub(super) fn classic(error: &ClassicError, at: &Cluster) -> StoreError {
    let (cause, why) = match error {
        ClassicError::Kafka(code) | ClassicError::TopicPartitionError { error_code: code, .. } => {
            let error = classic_code(*code, at);
            return StoreError::Unavailable(error.cause(), Arc::clone(error.text()));
        }
        ClassicError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            (Cause::Unreachable, "the broker closed the connection".to_owned())
        }
        ClassicError::Io(_) | ClassicError::NoHostReachable => (Cause::Unreachable, error.to_string()),
        other => (Cause::Failing, other.to_string()),
    };
    at.unavailable(cause, &format!("{why}: check KAFKA_BROKERS, the broker and the network between"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Cluster {
        Cluster::new(&["till:9092".to_owned()], "pos-logs")
    }

    fn rejects(error: &StoreError) -> bool {
        matches!(error, StoreError::Rejected(..))
    }

    /// What is decided on: the text is for people.
    fn class(error: &StoreError) -> Result<Cause, Refusal> {
        match error {
            StoreError::Unavailable(cause, _) => Ok(*cause),
            StoreError::Rejected(refusal, _) => Err(*refusal),
        }
    }

    #[test]
    fn a_broker_rejects_an_event_only_for_what_is_in_it() {
        use ErrorCode as E;
        for (code, want, word) in [
            (E::MessageTooLarge, Err(Refusal::TooLarge), "max.message.bytes"),
            (E::RecordListTooLarge, Err(Refusal::TooLarge), "max.message.bytes"),
            (E::InvalidRecord, Err(Refusal::PolicyOfTopic), "InvalidRecord"),
            (E::PolicyViolation, Err(Refusal::PolicyOfTopic), "PolicyViolation"),
            (E::InvalidTimestamp, Err(Refusal::TimestampRefused), "message.timestamp"),
            (E::UnknownTopicOrPartition, Ok(Cause::TopicUnknown), "topic 'pos-logs' does not exist"),
            (E::UnknownTopicId, Ok(Cause::TopicUnknown), "topic 'pos-logs' does not exist"),
            (E::InvalidTopic, Ok(Cause::BadSetting), "KAFKA_TOPIC"),
            (E::LeaderNotAvailable, Ok(Cause::NoLeader), "no leader"),
            (E::NotLeaderForPartition, Ok(Cause::NoLeader), "no leader"),
            (E::NotEnoughReplicas, Ok(Cause::NotEnoughReplicas), "min.insync.replicas"),
            (E::NotEnoughReplicasAfterAppend, Ok(Cause::NotEnoughReplicas), "min.insync.replicas"),
            (E::TopicAuthorizationFailed, Ok(Cause::Refused), "WRITE"),
            (E::ClusterAuthorizationFailed, Ok(Cause::Refused), "IDEMPOTENT_WRITE"),
            (E::SaslAuthenticationFailed, Ok(Cause::Refused), "SaslAuthenticationFailed"),
            (E::UnknownServerError, Ok(Cause::Failing), "UnknownServerError"),
            (E::CorruptMessage, Ok(Cause::Failing), "CorruptMessage"),
            (E::KafkaStorageException, Ok(Cause::Failing), "KafkaStorageException"),
            (E::UnsupportedVersion, Ok(Cause::Unsupported), "KAFKA_CLIENT"),
        ] {
            let error = modern(&KrafkaError::broker(code, "produce failed"), &at());
            assert_eq!(class(&error), want, "{code:?}");
            let text = error.to_string();
            assert!(text.starts_with("Kafka at till:9092: ") && text.contains(word), "{code:?}: {text}");
        }
    }

    #[test]
    fn the_event_is_not_to_blame_for_a_refused_time() {
        let refused = modern(&KrafkaError::broker(ErrorCode::InvalidTimestamp, "x"), &at());
        let pardoned = pardon_the_clock(Err(refused)).unwrap_err();
        assert!(matches!(pardoned, StoreError::Unavailable(Cause::ClockRefused, _)), "{pardoned:?}");
        let too_large = modern(&KrafkaError::broker(ErrorCode::MessageTooLarge, "x"), &at());
        assert!(rejects(&pardon_the_clock(Err(too_large)).unwrap_err()));
    }

    #[test]
    fn without_an_answer_nothing_is_rejected() {
        for (error, cause) in [
            (KrafkaError::timeout("x"), Cause::OutOfTime),
            (KrafkaError::delivery_timeout(true, "x"), Cause::OutOfTime),
            (KrafkaError::network(std::io::Error::other("refused")), Cause::Unreachable),
            (KrafkaError::auth("bad password"), Cause::Refused),
            (KrafkaError::config("x"), Cause::BadSetting),
            (KrafkaError::closed("x"), Cause::Bug),
            (KrafkaError::fenced("x"), Cause::Failing),
            (KrafkaError::out_of_order_sequence("pos-logs", 0, "x"), Cause::Failing),
            (KrafkaError::unknown_topic("pos-logs"), Cause::TopicUnknown),
            (KrafkaError::protocol_kind(ProtocolErrorKind::FrameTooLarge, "x"), Cause::Failing),
        ] {
            assert_eq!(class(&modern(&error, &at())), Ok(cause), "{error}");
            assert_eq!(lacking(&error), None, "{error}");
        }
    }

    #[test]
    fn an_expiry_names_the_last_error_when_there_was_one() {
        let message = "not acknowledged after 3 attempt(s); last error: broker error: KafkaStorageException";
        let text = modern(&KrafkaError::delivery_timeout(true, message), &at()).to_string();
        assert!(text.ends_with("last: broker error: KafkaStorageException"), "{text}");
        let text = modern(&KrafkaError::delivery_timeout(false, "not acknowledged"), &at()).to_string();
        assert!(text.contains("KAFKA_DEADLINE"), "{text}");
    }

    #[test]
    fn only_an_answer_says_unsupported() {
        let lacks = "this cluster does not provide InitProducerId; build it with x";
        let error = KrafkaError::protocol_kind(ProtocolErrorKind::UnknownApiVersion, lacks);
        assert!(lacking(&error).is_some());
        let text = modern(&error, &at()).to_string();
        assert!(text.contains("InitProducerId") && text.contains("KAFKA_CLIENT"), "{text}");
        assert!(!text.contains("build it"), "advice for programmers: {text}");
        assert!(lacking(&KrafkaError::broker(ErrorCode::UnsupportedVersion, "x")).is_some());
    }

    #[test]
    fn the_classic_clients_codes_have_the_same_classes() {
        use KafkaCode as C;
        for (code, want) in [
            (C::MessageSizeTooLarge, Err(Refusal::TooLarge)),
            (C::RecordListTooLarge, Err(Refusal::TooLarge)),
            (C::InvalidTimestamp, Err(Refusal::TimestampRefused)),
            (C::UnknownTopicOrPartition, Ok(Cause::TopicUnknown)),
            (C::NotLeaderForPartition, Ok(Cause::NoLeader)),
            (C::NotEnoughReplicas, Ok(Cause::NotEnoughReplicas)),
            (C::TopicAuthorizationFailed, Ok(Cause::Refused)),
            (C::RequestTimedOut, Ok(Cause::OutOfTime)),
            (C::Unknown, Ok(Cause::Failing)),
        ] {
            assert_eq!(class(&classic_code(code, &at())), want, "{code:?}");
            assert!(!rejects(&classic(&ClassicError::Kafka(code), &at())), "{code:?} on a whole call");
        }
        let hung_up = ClassicError::Io(io::ErrorKind::UnexpectedEof.into());
        assert!(classic(&hung_up, &at()).to_string().contains("closed the connection"));
        let text = classic(&ClassicError::NoHostReachable, &at()).to_string();
        assert!(text.contains("till:9092") && text.contains("KAFKA_BROKERS"), "{text}");
    }
}
