//! Both Kafka clients on real brokers: what they write, what they say when they can't, and when.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use krafka::producer::murmur2;
use logs_ingest::clock;
use logs_ingest::event::{Arrival, Event};
use logs_ingest::store::kafka::{ClientChoice, Connected, Settings, connect};
use logs_ingest::store::{Batch, StoreError};
use uuid::Uuid;

use crate::support::kafka::{Broker, Record, Version, read_by_java};

const DEADLINE: Duration = Duration::from_secs(3);
/// What a busy machine may add to a time limit.
const MARGIN: Duration = Duration::from_millis(1_500);

static KAFKA_2: LazyLock<Broker> = LazyLock::new(|| Broker::builder(Version::V2_8).partitions(3).start());
static KAFKA_3: LazyLock<Broker> = LazyLock::new(|| Broker::builder(Version::V3_9).partitions(3).start());
static KAFKA_4: LazyLock<Broker> = LazyLock::new(|| Broker::builder(Version::V4_3).partitions(3).start());

/// Broken on purpose, by one test at a time.
static FRAGILE: LazyLock<Mutex<Broker>> =
    LazyLock::new(|| Mutex::new(Broker::builder(Version::V4_3).auto_create(false).start()));

/// The helpers that classic clients leave behind are counted for the whole process.
static CLASSIC: Mutex<()> = Mutex::new(());

fn alone<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn settings(broker: &Broker, topic: &str, client: ClientChoice) -> Settings {
    Settings {
        brokers: vec![broker.address()],
        topic: topic.to_owned(),
        client,
        deadline: DEADLINE,
        max_event_bytes: 400 * 1024,
    }
}

fn connected(broker: &Broker, topic: &str, client: ClientChoice) -> Connected {
    connect(&settings(broker, topic, client)).unwrap_or_else(|error| panic!("{error}\n{}", broker.log()))
}

fn refusal(settings: &Settings) -> String {
    match connect(settings) {
        Ok(connected) => panic!("connected by the {} client", connected.client),
        Err(StoreError::Rejected(why)) => panic!("rejected: {why}"),
        Err(StoreError::Unavailable(why)) => why.to_string(),
    }
}

fn event_at(key: &str, payload: impl Into<Bytes>, received_at_ms: i64, traceparent: Option<&str>) -> Event {
    let arrival =
        Arrival { ingest_id: Uuid::now_v7(), received_at_ms, traceparent: traceparent.map(Box::from) };
    Event::restored(arrival, Bytes::copy_from_slice(key.as_bytes()), payload.into())
}

fn event(key: &str) -> Event {
    event_at(key, format!(r#"{{"request_id":"{key}"}}"#), clock::record_ms(), None)
}

fn events(name: &str, count: usize) -> Vec<Event> {
    (0..count).map(|number| event(&format!("{name}-{number}"))).collect()
}

fn by_key(records: Vec<Record>) -> BTreeMap<String, Record> {
    let count = records.len();
    let named: BTreeMap<_, _> = records
        .into_iter()
        .map(|record| (String::from_utf8(record.key.clone().expect("a key")).unwrap(), record))
        .collect();
    assert_eq!(named.len(), count, "a key was written twice");
    named
}

fn keys(events: &[Event]) -> Vec<String> {
    let mut keys: Vec<String> =
        events.iter().map(|event| String::from_utf8(event.key().to_vec()).unwrap()).collect();
    keys.sort();
    keys
}

/// Java's own choice of a partition.
fn partition_of(key: &[u8], partitions: u32) -> i32 {
    i32::try_from((murmur2(key) & 0x7fff_ffff) % partitions).unwrap()
}

#[track_caller]
fn assert_stored(outcomes: &[Result<(), StoreError>], count: usize) {
    assert_eq!(outcomes.len(), count);
    for outcome in outcomes {
        assert_eq!(outcome, &Ok(()));
    }
}

#[track_caller]
fn assert_within(started: Instant, limit: Duration) {
    let took = started.elapsed();
    assert!(took < limit + MARGIN, "took {took:?}, the limit is {limit:?}");
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
    connected.store.tick();
    let more: Batch = events("more", 1).into();
    assert_stored(&connected.store.write(&more), 1);
    let records = by_key(broker.read_all(topic));
    assert_eq!(records.len(), batch.len() + more.len());
    for event in batch.iter().chain(more.iter()) {
        let key = String::from_utf8(event.key().to_vec()).unwrap();
        assert_as_sent(&records[&key], event, client == "modern");
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
    let started = Instant::now();
    let why = refusal(&settings(&KAFKA_4, "classic", ClientChoice::Classic));
    assert_within(started, DEADLINE);
    assert!(why.contains("too new") && why.contains("KAFKA_CLIENT"), "{why}");
}

#[test]
fn a_dead_bootstrap_address_costs_nothing_while_another_lives() {
    let mut settings = settings(&KAFKA_4, "bootstrap", ClientChoice::Auto);
    // A documentation address: packets to it vanish, or are refused at once where there is no route.
    settings.brokers.insert(0, "192.0.2.1:9092".to_owned());
    settings.brokers.insert(0, "127.0.0.1:1".to_owned());
    let mut connected = connect(&settings).unwrap_or_else(|error| panic!("{error}"));
    assert_stored(&connected.store.write(&events("boot", 3).into()), 3);
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

#[test]
fn only_the_oversized_event_is_rejected() {
    let _alone = alone(&CLASSIC);
    for choice in [ClientChoice::Modern, ClientChoice::Classic] {
        let topic = format!("oversized-{choice:?}");
        let mut connected = connected(&KAFKA_3, &topic, choice);
        let mut batch = events("small", 20);
        batch.insert(7, event_at("big", vec![b'x'; 1_200_000], clock::record_ms(), None));
        let outcomes = connected.store.write(&batch.clone().into());
        assert_rejected_only(&outcomes, 7, "max.message.bytes");
        batch.remove(7);
        let written = by_key(KAFKA_3.read_all(&topic));
        assert_eq!(written.into_keys().collect::<Vec<_>>(), keys(&batch), "{choice:?}");
    }
}

#[track_caller]
fn assert_rejected_only(outcomes: &[Result<(), StoreError>], bad: usize, word: &str) {
    for (index, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Err(StoreError::Rejected(why)) if index == bad => assert!(why.contains(word), "{why}"),
            outcome if index == bad => panic!("the bad event: {outcome:?}"),
            outcome => assert_eq!(outcome, &Ok(()), "event {index}"),
        }
    }
}

#[test]
fn one_bad_in_500_costs_no_neighbour() {
    let broker: &Broker = &KAFKA_4;
    broker.create_topic("one-bad", 1, &[("message.timestamp.after.max.ms", "3600000")]);
    let mut connected = connected(broker, "one-bad", ClientChoice::Modern);
    let mut batch = events("good", 499);
    let two_days = clock::record_ms() + 2 * 86_400_000;
    batch.insert(321, event_at("from-the-future", "{}", two_days, None));
    let started = Instant::now();
    let outcomes = connected.store.write(&batch.clone().into());
    assert_within(started, DEADLINE);
    assert_rejected_only(&outcomes, 321, "message.timestamp");
    batch.remove(321);
    assert_eq!(by_key(broker.read_all("one-bad")).into_keys().collect::<Vec<_>>(), keys(&batch));
    assert_stored(&connected.store.write(&events("after", 3).into()), 3);
}

#[test]
fn a_topic_with_a_small_limit_takes_what_fits_one_by_one() {
    let _alone = alone(&CLASSIC);
    for choice in [ClientChoice::Modern, ClientChoice::Classic] {
        let topic = format!("small-{choice:?}");
        KAFKA_3.create_topic(&topic, 1, &[("max.message.bytes", "4096")]);
        let mut connected = connected(&KAFKA_3, &topic, choice);
        let mut batch = events("fits", 300);
        batch.push(event_at("does-not", vec![b'x'; 5_000], clock::record_ms(), None));
        let outcomes = connected.store.write(&batch.clone().into());
        assert_rejected_only(&outcomes, 300, "max.message.bytes");
        batch.pop();
        assert_eq!(by_key(KAFKA_3.read_all(&topic)).into_keys().collect::<Vec<_>>(), keys(&batch));
    }
}

#[test]
fn a_batch_of_the_largest_size_goes_through() {
    let _alone = alone(&CLASSIC);
    for choice in [ClientChoice::Modern, ClientChoice::Classic] {
        let topic = format!("large-{choice:?}");
        KAFKA_3.create_topic(&topic, 1, &[]);
        let mut connected = connected(&KAFKA_3, &topic, choice);
        let large = |number: usize| {
            event_at(&format!("{number}"), vec![b'x'; 400 * 1024 - 600], clock::record_ms(), None)
        };
        let batch: Batch = (0..10).map(large).collect();
        assert_stored(&connected.store.write(&batch), 10);
        assert_eq!(KAFKA_3.read_all(&topic).len(), 10);
    }
}

#[track_caller]
fn assert_unavailable(outcomes: &[Result<(), StoreError>], count: usize) {
    assert_eq!(outcomes.len(), count);
    for outcome in outcomes {
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    }
}

#[test]
fn a_frozen_broker_holds_a_write_for_the_deadline_and_a_connect_too() {
    let broker = alone(&FRAGILE);
    broker.create_topic("frozen", 3, &[]);
    let mut connected = connected(&broker, "frozen", ClientChoice::Auto);
    assert_stored(&connected.store.write(&events("before", 10).into()), 10);
    broker.freeze();
    let started = Instant::now();
    assert_unavailable(&connected.store.write(&events("during", 500).into()), 500);
    assert_within(started, DEADLINE);
    let started = Instant::now();
    drop(connected);
    assert!(started.elapsed() < MARGIN, "a drop never waits for the broker");
    let started = Instant::now();
    let why = refusal(&settings(&broker, "frozen", ClientChoice::Auto));
    assert_within(started, DEADLINE);
    assert!(!why.contains("KAFKA_CLIENT"), "silence is no answer that says unsupported: {why}");
    broker.thaw();
    let mut connected = connected_soon(&broker, "frozen");
    assert_stored(&connected.store.write(&events("after", 10).into()), 10);
}

/// A broker that was frozen or killed acknowledges again when its old session has run out.
fn connected_soon(broker: &Broker, topic: &str) -> Connected {
    let end = Instant::now() + Duration::from_secs(60);
    let mut trial = 0;
    loop {
        trial += 1;
        let connection = connect(&settings(broker, topic, ClientChoice::Auto));
        if let Ok(mut connected) = connection {
            let outcomes = connected.store.write(&events(&format!("trial-{trial}"), 1).into());
            if outcomes == [Ok(())] {
                return connected;
            }
        }
        assert!(Instant::now() < end, "the broker never came back: {}", broker.log());
    }
}

#[test]
fn a_broker_killed_in_mid_write_loses_nothing_that_it_acknowledged() {
    let mut broker = alone(&FRAGILE);
    broker.create_topic("killed", 3, &[]);
    let mut connected = connected(&broker, "killed", ClientChoice::Auto);
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writer = {
        let acknowledged = Arc::clone(&acknowledged);
        logs_ingest::thread::start("t-writer", move || {
            for round in 0.. {
                let batch: Batch = events(&format!("round-{round}"), 200).into();
                let started = Instant::now();
                let outcomes = connected.store.write(&batch);
                let took = started.elapsed();
                let stored = batch.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
                acknowledged
                    .lock()
                    .unwrap()
                    .extend(stored.map(|(event, _)| keys(&[event.clone()]).remove(0)));
                if outcomes.iter().any(Result::is_err) {
                    return took;
                }
            }
            unreachable!()
        })
        .unwrap()
    };
    let end = Instant::now() + Duration::from_secs(30);
    while acknowledged.lock().unwrap().len() < 2_000 {
        assert!(Instant::now() < end, "the writer does not get on");
        std::thread::yield_now();
    }
    broker.kill();
    let took = writer.join().unwrap();
    assert!(took < DEADLINE + MARGIN, "the write under way took {took:?}");
    broker.restart();
    drop(connected_soon(&broker, "killed"));
    let written: Vec<String> = broker
        .read_all("killed")
        .into_iter()
        .map(|record| String::from_utf8(record.key.unwrap()).unwrap())
        .collect();
    let written: std::collections::BTreeSet<&String> = written.iter().collect();
    for key in acknowledged.lock().unwrap().iter() {
        assert!(written.contains(key), "{key} was acknowledged and is gone");
    }
}

#[test]
fn classic_clients_stuck_in_a_frozen_broker_are_left_behind_up_to_a_bound() {
    let _alone = alone(&CLASSIC);
    let broker = Broker::start(Version::V3_9);
    let mut stores: Vec<Connected> =
        (0..4).map(|_| connected(&broker, "stuck", ClientChoice::Classic)).collect();
    assert_stored(&stores[0].store.write(&events("before", 5).into()), 5);
    broker.freeze();
    for connected in &mut stores {
        let started = Instant::now();
        assert_unavailable(&connected.store.write(&events("during", 5).into()), 5);
        assert_within(started, DEADLINE);
        let started = Instant::now();
        assert_unavailable(&connected.store.write(&events("again", 5).into()), 5);
        assert!(started.elapsed() < MARGIN, "a lost client says so at once");
    }
    drop(stores);
    let settings = settings(&broker, "stuck", ClientChoice::Classic);
    let why = refusal(&settings);
    assert!(why.contains("4 classic clients still hang"), "{why}");
    broker.thaw();
    let end = Instant::now() + Duration::from_secs(30);
    let mut connected = loop {
        match connect(&settings) {
            Ok(connected) => break connected,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    };
    assert_stored(&connected.store.write(&events("after", 5).into()), 5);
}
