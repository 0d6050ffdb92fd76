//! What arrives is what was sent, and which client brings it.

use krafka::producer::murmur2;

use super::*;
use crate::support::kafka::read_by_java;

/// Java's own choice of a partition.
fn partition_of(key: &[u8], partitions: u32) -> i32 {
    i32::try_from((murmur2(key) & 0x7fff_ffff) % partitions).unwrap()
}

/// Keys that a till may send: empty, not ASCII, long, and many that spread over the partitions.
fn samples() -> Vec<Event> {
    let mut samples = events("plain", 40);
    let trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    samples.push(event_at("", r#"{"request_id":""}"#, clock::record_ms() - 86_400_000, None));
    samples.push(event_at("Kasse-7-äöü-€", "{}", clock::record_ms(), trace));
    samples.push(event(&"k".repeat(10_000)));
    samples
}

fn assert_as_sent(record: &Record, event: &Event, headers: bool) {
    assert_eq!(record.value, event.payload().as_ref());
    assert_eq!(record.partition, partition_of(event.key(), 3), "where Java's clients put the key");
    if !headers {
        assert_eq!(record.headers, vec![]);
        return;
    }
    assert_eq!(record.timestamp, event.received_at_ms());
    let names: Vec<&str> = record.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["ingest_id", "received_at", "content-type"]);
    assert_eq!(names.len(), 3 + usize::from(event.traceparent().is_some()));
    assert_eq!(record.header("ingest_id"), Some(event.ingest_id().to_string()));
    assert_eq!(record.header("received_at"), Some(clock::rfc3339(event.received_at_ms())));
    assert_eq!(record.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(record.header("traceparent").as_deref(), event.traceparent());
}

fn writes_what_was_sent(broker: &Broker, topic: &str, choice: ClientChoice, client: &str) {
    let mut connected = connected(broker, topic, choice);
    assert_eq!(connected.client, client);
    let notes = connected.notes.join("\n");
    assert!(notes.contains("flush.messages"), "one replica is worth a word: {notes}");
    let batch: Batch = samples().into();
    assert_stored(&connected.store.write(&batch), batch.len());
    assert_eq!(connected.store.tick(), Ok(()));
    let more: Batch = events("more", 1).into();
    assert_stored(&connected.store.write(&more), 1);
    let records = by_key(broker.read_all(topic));
    assert_eq!(records.len(), batch.len() + more.len());
    for event in batch.iter().chain(more.iter()) {
        assert_as_sent(&records[&key(event)], event, client == "modern");
    }
}

#[test]
fn modern_writes_key_value_time_and_headers_on_kafka_3() {
    writes_what_was_sent(&KAFKA_3, "modern", ClientChoice::Modern, "modern");
    let line = read_by_java(&KAFKA_3, "modern", 43)
        .into_iter()
        .find(|line| line.contains("Kasse-7-äöü-€"))
        .expect("Java reads the record too");
    let fields: Vec<&str> = line.split('\t').collect();
    assert!(fields[0].starts_with("CreateTime:"), "{line}");
    for header in ["ingest_id:", "received_at:", "content-type:application/json", "traceparent:00-0af765"] {
        assert!(line.contains(header), "{header} in {line}");
    }
    assert_eq!(fields[3..], ["Kasse-7-äöü-€", "{}"], "{line}");
}

#[test]
fn auto_takes_the_modern_client_on_kafka_4() {
    writes_what_was_sent(&KAFKA_4, "modern", ClientChoice::Auto, "modern");
}

#[test]
fn auto_ends_at_the_classic_client_where_the_broker_says_unsupported() {
    let _alone = alone(&CLASSIC);
    let why = refusal(&settings(&KAFKA_2, "auto", ClientChoice::Modern));
    assert!(why.contains("InitProducerId") && why.contains("KAFKA_CLIENT"), "{why}");
    writes_what_was_sent(&KAFKA_2, "auto", ClientChoice::Auto, "classic");
}

#[test]
fn classic_writes_key_and_value_on_kafka_3() {
    let _alone = alone(&CLASSIC);
    writes_what_was_sent(&KAFKA_3, "classic", ClientChoice::Classic, "classic");
}

#[test]
fn classic_says_that_kafka_4_is_too_new() {
    let _alone = alone(&CLASSIC);
    // The broker's own start is not measured.
    let settings = settings(&KAFKA_4, "classic", ClientChoice::Classic);
    let started = Instant::now();
    let why = refusal(&settings);
    assert_within(started, DEADLINE);
    assert!(why.contains("too new") && why.contains("KAFKA_CLIENT"), "{why}");
}

#[test]
fn a_missing_topic_is_named_at_once_where_the_broker_creates_none() {
    let broker = alone(&FRAGILE);
    for choice in [ClientChoice::Auto, ClientChoice::Modern] {
        let started = Instant::now();
        let why = refusal(&settings(&broker, "no-such-topic", choice));
        assert_within(started, DEADLINE / 2);
        let wanted = format!("Kafka at {}: topic 'no-such-topic' does not exist", broker.address());
        assert!(why.starts_with(&wanted) && why.contains("auto.create.topics.enable"), "{why}");
    }
}
