//! Both Kafka clients on real brokers: what they write, and what they report, and when, if they cannot.

mod faults;
mod refusals;
mod writes;

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use logs_ingest::event::{Arrival, Event};
use logs_ingest::host::clock;
use logs_ingest::store::Connected;
use logs_ingest::store::kafka::{ClientChoice, Settings, connect};
use logs_ingest::store::{Batch, StoreError};
use uuid::Uuid;

use crate::support::kafka::{Broker, Record, Version};

const DEADLINE: Duration = Duration::from_secs(3);
/// For brokers that answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a busy machine may add to a time limit.
const MARGIN: Duration = Duration::from_millis(1_500);

static KAFKA_2: LazyLock<Broker> = LazyLock::new(|| Broker::builder(Version::V2_8).partitions(3).start());
static KAFKA_3: LazyLock<Broker> = LazyLock::new(|| Broker::builder(Version::V3_9).partitions(3).start());
static KAFKA_4: LazyLock<Broker> = LazyLock::new(|| Broker::builder(Version::V4_3).partitions(3).start());

/// Broken on purpose, by one test at a time.
static FRAGILE: LazyLock<Mutex<Broker>> =
    LazyLock::new(|| Mutex::new(Broker::builder(Version::V4_3).auto_create(false).acls().start()));

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
        embed_id: false,
        security: Default::default(),
        destination: None,
    }
}

/// Where what is written counts, and not when.
fn connected(broker: &Broker, topic: &str, client: ClientChoice) -> Connected {
    connected_with(broker, Settings { deadline: PATIENCE, ..settings(broker, topic, client) })
}

fn connected_with(broker: &Broker, settings: Settings) -> Connected {
    connect(&settings).unwrap_or_else(|error| panic!("{error}\n{}", broker.log()))
}

fn refusal(settings: &Settings) -> String {
    match connect(settings) {
        Ok(connected) => panic!("connected by the {} client", connected.client),
        Err(StoreError::Rejected(_, why)) => panic!("rejected: {why}"),
        Err(StoreError::Unavailable(_, why)) => why.to_string(),
    }
}

fn event_at(key: &str, payload: impl Into<Bytes>, received_at_ms: i64, traceparent: Option<&str>) -> Event {
    let arrival =
        Arrival { traceparent: traceparent.map(Box::from), ..Arrival::new(Uuid::now_v7(), received_at_ms) };
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

fn key(event: &Event) -> String {
    String::from_utf8(event.key().to_vec()).unwrap()
}

fn keys(events: &[Event]) -> Vec<String> {
    let mut keys: Vec<String> = events.iter().map(key).collect();
    keys.sort();
    keys
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

#[track_caller]
fn assert_unavailable(outcomes: &[Result<(), StoreError>], count: usize) {
    assert_eq!(outcomes.len(), count);
    for outcome in outcomes {
        assert!(matches!(outcome, Err(StoreError::Unavailable(..))), "{outcome:?}");
    }
}
