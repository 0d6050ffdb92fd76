//! What a client's error means for the event: one pure table a client.
//!
//! Invariant: `Rejected` only when the broker answered and refuses the record for its own sake;
//! whatever else goes wrong is `Unavailable`, so that the event is kept and goes elsewhere.
//! A refusal is the broker's word on a whole wire batch: `isolate` finds the event.

use std::io;
use std::sync::Arc;

use kafka::error::{Error as ClassicError, KafkaCode};
use krafka::error::{ErrorCode, KrafkaError, ProtocolErrorKind};

use super::security;
use crate::event::Event;
use crate::store::StoreError;

/// Whom and what the texts talk about.
#[derive(Clone, Debug)]
pub(super) struct Place {
    brokers: Arc<str>,
    topic: Arc<str>,
}

impl Place {
    pub(super) fn new(brokers: &[String], topic: &str) -> Self {
        Self { brokers: brokers.join(", ").into(), topic: topic.into() }
    }

    pub(super) fn unavailable(&self, why: &str) -> StoreError {
        StoreError::Unavailable(self.text(why))
    }

    fn rejected(&self, why: &str) -> StoreError {
        StoreError::Rejected(self.text(why))
    }

    fn text(&self, why: &str) -> Arc<str> {
        format!("Kafka at {}: {why}", self.brokers).into()
    }

    pub(super) fn out_of_time(&self) -> StoreError {
        self.unavailable("no answer within the deadline: look at the broker, or raise KAFKA_DEADLINE")
    }

    pub(super) fn missing_topic(&self) -> StoreError {
        let topic = &self.topic;
        self.unavailable(&format!(
            "topic '{topic}' does not exist: create it, or set auto.create.topics.enable on the broker"
        ))
    }

    fn too_large(&self) -> StoreError {
        let topic = &self.topic;
        self.rejected(&format!(
            "the event is larger than topic '{topic}' takes: raise the topic's max.message.bytes"
        ))
    }

    /// For `isolate`: an event that the topic finds too large tells of all that are at least as large on the
    /// wire. A topic with a small limit would else take a try for each.
    pub(super) fn judge_of_size<'a>(
        &self,
        events: &'a [Event],
    ) -> impl Fn(&str, usize, usize) -> bool + use<'a> {
        let too_large = self.too_large().to_string();
        let size = |index: usize| {
            let event = &events[index];
            let headers = [event.traceparent(), event.x_request_id()];
            event.key().len()
                + event.payload().len()
                + headers.into_iter().flatten().map(str::len).sum::<usize>()
        };
        move |why, one, other| why == too_large && size(other) >= size(one)
    }

    fn invalid_time(&self) -> StoreError {
        let topic = &self.topic;
        self.rejected(&format!(
            "topic '{topic}' does not take the event's time of receipt: look at its \
             message.timestamp settings and at both clocks"
        ))
    }

    /// A refused time is found alone, like any refusal, but it is no fault of the event: it is this
    /// machine's clock, and so it would be every event. It waits until the clocks agree.
    pub(super) fn pardon_the_clock(&self, outcome: Result<(), StoreError>) -> Result<(), StoreError> {
        match outcome {
            Err(error) if error == self.invalid_time() => {
                Err(StoreError::Unavailable(error.to_string().into()))
            }
            other => other,
        }
    }

    pub(super) fn no_leader(&self) -> StoreError {
        let topic = &self.topic;
        self.unavailable(&format!("a partition of topic '{topic}' has no leader now: look at the brokers"))
    }

    fn few_replicas(&self) -> StoreError {
        let topic = &self.topic;
        self.unavailable(&format!(
            "topic '{topic}' has fewer replicas in sync than its min.insync.replicas: look at the brokers"
        ))
    }

    fn not_allowed(&self) -> StoreError {
        let topic = &self.topic;
        self.unavailable(&format!(
            "not allowed to write to topic '{topic}': grant WRITE on it (and IDEMPOTENT_WRITE on the cluster)"
        ))
    }

    fn illegal_topic(&self) -> StoreError {
        let topic = &self.topic;
        self.unavailable(&format!("'{topic}' is no legal topic name: change KAFKA_TOPIC"))
    }
}

/// What the broker lacks for the modern client, when its answer says so. Only such an answer lets
/// `auto` take the classic client.
pub(super) fn lacking(error: &KrafkaError) -> Option<String> {
    match error {
        // What comes after the first clause is advice for programmers.
        KrafkaError::Protocol { kind: ProtocolErrorKind::UnknownApiVersion, message } => {
            Some(message.split(';').next().unwrap_or(message).to_owned())
        }
        KrafkaError::Broker { code: ErrorCode::UnsupportedVersion, .. } => {
            Some("it answered UnsupportedVersion".to_owned())
        }
        _ => None,
    }
}

/// The modern client's error, by what to do.
pub(super) fn modern(error: &KrafkaError, at: &Place) -> StoreError {
    if let Some(lacking) = lacking(error) {
        return at.unavailable(&format!(
            "the broker lacks what the modern client needs ({lacking}): set KAFKA_CLIENT to auto or classic"
        ));
    }
    if let Some(advice) = security::advice(&error.to_string()) {
        return at.unavailable(&format!("{advice} ({error})"));
    }
    match error {
        KrafkaError::Broker { code, .. } => match code {
            ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => at.too_large(),
            ErrorCode::InvalidTimestamp => at.invalid_time(),
            ErrorCode::InvalidRecord | ErrorCode::PolicyViolation => at
                .rejected(&format!("the broker refuses the record ({code:?}): look at its topic's settings")),
            ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => at.missing_topic(),
            ErrorCode::InvalidTopic => at.illegal_topic(),
            ErrorCode::LeaderNotAvailable | ErrorCode::NotLeaderForPartition => at.no_leader(),
            ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => at.few_replicas(),
            ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed => at.not_allowed(),
            other => at.unavailable(&format!("the broker answered {other:?}: look at its log")),
        },
        KrafkaError::UnknownTopic { .. } => at.missing_topic(),
        KrafkaError::DeliveryTimeout { message, .. } => match message.split_once("last error: ") {
            Some((_, last)) => {
                at.unavailable(&format!("no acknowledgement within the deadline; last: {last}"))
            }
            None => at.out_of_time(),
        },
        KrafkaError::Timeout { .. } => at.out_of_time(),
        KrafkaError::Network(error) => {
            at.unavailable(&format!("{error}: check KAFKA_BROKERS, the broker and the network between"))
        }
        KrafkaError::Auth { message, .. } => at.unavailable(&format!("authentication failed: {message}")),
        other => at.unavailable(&other.to_string()),
    }
}

/// What the classic client says of one partition, by what to do.
pub(super) fn classic_code(code: KafkaCode, at: &Place) -> StoreError {
    match code {
        KafkaCode::MessageSizeTooLarge | KafkaCode::RecordListTooLarge => at.too_large(),
        KafkaCode::InvalidTimestamp => at.invalid_time(),
        KafkaCode::UnknownTopicOrPartition => at.missing_topic(),
        KafkaCode::InvalidTopic => at.illegal_topic(),
        KafkaCode::LeaderNotAvailable | KafkaCode::NotLeaderForPartition => at.no_leader(),
        KafkaCode::NotEnoughReplicas | KafkaCode::NotEnoughReplicasAfterAppend => at.few_replicas(),
        KafkaCode::TopicAuthorizationFailed | KafkaCode::ClusterAuthorizationFailed => at.not_allowed(),
        KafkaCode::RequestTimedOut => at.out_of_time(),
        other => at.unavailable(&format!("the broker answered {other:?}: look at its log")),
    }
}

/// The classic client's error on a whole call, by what to do. It says nothing of single events, so
/// it never rejects one.
pub(super) fn classic(error: &ClassicError, at: &Place) -> StoreError {
    let why = match error {
        ClassicError::Kafka(code) | ClassicError::TopicPartitionError { error_code: code, .. } => {
            return match classic_code(*code, at) {
                StoreError::Rejected(text) | StoreError::Unavailable(text) => StoreError::Unavailable(text),
            };
        }
        ClassicError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the broker closed the connection".to_owned()
        }
        other => other.to_string(),
    };
    at.unavailable(&format!("{why}: check KAFKA_BROKERS, the broker and the network between"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Place {
        Place::new(&["till:9092".to_owned()], "pos-logs")
    }

    fn rejects(error: &StoreError) -> bool {
        matches!(error, StoreError::Rejected(_))
    }

    #[test]
    fn a_broker_rejects_an_event_only_for_its_own_sake() {
        use ErrorCode as E;
        for (code, rejected, word) in [
            (E::MessageTooLarge, true, "max.message.bytes"),
            (E::RecordListTooLarge, true, "max.message.bytes"),
            (E::InvalidRecord, true, "InvalidRecord"),
            (E::PolicyViolation, true, "PolicyViolation"),
            (E::InvalidTimestamp, true, "message.timestamp"),
            (E::UnknownTopicOrPartition, false, "topic 'pos-logs' does not exist"),
            (E::UnknownTopicId, false, "topic 'pos-logs' does not exist"),
            (E::InvalidTopic, false, "KAFKA_TOPIC"),
            (E::LeaderNotAvailable, false, "no leader"),
            (E::NotLeaderForPartition, false, "no leader"),
            (E::NotEnoughReplicas, false, "min.insync.replicas"),
            (E::NotEnoughReplicasAfterAppend, false, "min.insync.replicas"),
            (E::TopicAuthorizationFailed, false, "WRITE"),
            (E::ClusterAuthorizationFailed, false, "IDEMPOTENT_WRITE"),
            (E::SaslAuthenticationFailed, false, "SaslAuthenticationFailed"),
            (E::UnknownServerError, false, "UnknownServerError"),
            (E::CorruptMessage, false, "CorruptMessage"),
            (E::KafkaStorageException, false, "KafkaStorageException"),
            (E::UnsupportedVersion, false, "KAFKA_CLIENT"),
        ] {
            let error = modern(&KrafkaError::broker(code, "produce failed"), &at());
            assert_eq!(rejects(&error), rejected, "{code:?}");
            let text = error.to_string();
            assert!(text.starts_with("Kafka at till:9092: ") && text.contains(word), "{code:?}: {text}");
        }
    }

    #[test]
    fn a_refused_time_is_no_fault_of_the_event() {
        let refused = modern(&KrafkaError::broker(ErrorCode::InvalidTimestamp, "x"), &at());
        assert!(!rejects(&at().pardon_the_clock(Err(refused)).unwrap_err()));
        let too_large = modern(&KrafkaError::broker(ErrorCode::MessageTooLarge, "x"), &at());
        assert!(rejects(&at().pardon_the_clock(Err(too_large)).unwrap_err()));
    }

    #[test]
    fn what_is_no_answer_never_rejects() {
        for error in [
            KrafkaError::timeout("x"),
            KrafkaError::delivery_timeout(true, "x"),
            KrafkaError::network(std::io::Error::other("refused")),
            KrafkaError::auth("bad password"),
            KrafkaError::config("x"),
            KrafkaError::closed("x"),
            KrafkaError::fenced("x"),
            KrafkaError::out_of_order_sequence("pos-logs", 0, "x"),
            KrafkaError::unknown_topic("pos-logs"),
            KrafkaError::protocol_kind(ProtocolErrorKind::FrameTooLarge, "x"),
        ] {
            assert!(!rejects(&modern(&error, &at())), "{error}");
            assert_eq!(lacking(&error), None, "{error}");
        }
    }

    #[test]
    fn an_expiry_tells_the_last_error_when_there_was_one() {
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
        for (code, rejected) in [
            (C::MessageSizeTooLarge, true),
            (C::RecordListTooLarge, true),
            (C::InvalidTimestamp, true),
            (C::UnknownTopicOrPartition, false),
            (C::NotLeaderForPartition, false),
            (C::NotEnoughReplicas, false),
            (C::TopicAuthorizationFailed, false),
            (C::RequestTimedOut, false),
            (C::Unknown, false),
        ] {
            assert_eq!(rejects(&classic_code(code, &at())), rejected, "{code:?}");
            assert!(!rejects(&classic(&ClassicError::Kafka(code), &at())), "{code:?} on a whole call");
        }
        let hung_up = ClassicError::Io(io::ErrorKind::UnexpectedEof.into());
        assert!(classic(&hung_up, &at()).to_string().contains("closed the connection"));
        let text = classic(&ClassicError::NoHostReachable, &at()).to_string();
        assert!(text.contains("till:9092") && text.contains("KAFKA_BROKERS"), "{text}");
    }
}
