//! The modern client: krafka, with headers and record timestamps, and without a producer id.
//!
//! Invariants: after `write` returns, the client keeps only what was begun ahead and what the deadline cut off: the latter
//! is reported `Unavailable` and may still arrive (at least once); client and runtime live and die together, and their
//! end never waits.

mod headers;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use krafka::admin::DescribeClusterOptions;
use krafka::error::KrafkaError;
use krafka::producer::{Acks, DeliveryHandle, Producer};
use krafka::{Kafka, PartitionInfo, Record};

use self::headers::Texts;
use super::Settings;
use super::errors::{self, Cluster};
use super::inspect;
use super::runtime::{Runtime, attempt_timeout};
use super::times::TopicTimes;
use crate::event::Event;
use crate::host::clock;
use crate::limits::{
    KAFKA_BUFFER_BYTES, KAFKA_REQUEST_BYTES_MAX, KAFKA_RESPONSE_BYTES_MAX, KAFKA_TOPIC_SETTINGS_EVERY,
    KAFKA_WIRE_BATCH_BYTES,
};
use crate::store::{Batch, Connected, Destination, Store, StoreError, WriteResult, isolate};

/// How long `tick` drives the client: long enough to read what arrived, and too short to delay an event.
const TICK: Duration = Duration::from_millis(1);

/// The client itself cuts a batch that is too large into quarters before it gives up: smaller pieces than that are not
/// asked twice.
const PIECES: usize = 8;

/// After so many records of a large batch the client may use its sockets, so that earlier records move on.
const PIECE_EVENTS: usize = 500;

/// No id that another cluster behind the same address could know: after its disk was wiped, a broker took events for the
/// repeats of another producer's, and acknowledged what it did not write. A retry may write a copy.
pub(crate) const HAS_PRODUCER_ID: bool = false;

/// Headers that a record has at most.
const HEADERS_MAX: usize = 8;

struct Modern {
    // Declared, and so dropped, before the runtime of its tasks.
    producer: Producer,
    /// Batches that `write` was not called with yet, oldest first: at most two.
    begun: VecDeque<(Batch, Sent)>,
    runtime: Runtime,
    at: Cluster,
    kafka: Kafka,
    topic: String,
    times: TopicTimes,
    /// When the topic's settings are to be read again.
    times_due: Instant,
    deadline: Duration,
    embed_id: bool,
}

/// The first events of a group: what the client has, or did not take.
#[derive(Default)]
struct Sent {
    /// One per event, as far as they are known.
    results: Vec<Option<WriteResult>>,
    /// Those that the client has, by their index.
    waiting: Vec<(usize, DeliveryHandle)>,
}

/// Connects until `until`. The error is the client's own, because it decides about the classic client.
pub(super) fn connect(
    runtime: Runtime,
    settings: &Settings,
    brokers: &[String],
    until: Instant,
    at: &Cluster,
) -> Result<Connected, KrafkaError> {
    let attempt = attempt_timeout(settings.deadline);
    let work = async {
        let kafka = Kafka::builder(brokers.join(","))
            .client_id("logs-ingest")
            .security(settings.security.auth())
            .connect_timeout(attempt)
            .request_timeout(attempt)
            .allow_auto_create_topics(true)
            .metadata_topic_cache_ttl(None)
            .max_response_size(KAFKA_RESPONSE_BYTES_MAX)
            .connect()
            .await?;
        // Only for its answer: a broker that gives no producer ids is one that the classic client was made for.
        let probe = kafka.producer().acks(Acks::All).idempotent(true).max_block(attempt).metrics_push(false);
        drop(probe.build().await?);
        let producer = kafka
            .producer()
            .acks(Acks::All)
            .idempotent(HAS_PRODUCER_ID)
            .linger(Duration::ZERO)
            .batch_size(KAFKA_WIRE_BATCH_BYTES)
            .max_request_size(KAFKA_REQUEST_BYTES_MAX)
            .buffer_memory(KAFKA_BUFFER_BYTES)
            // Sooner than the deadline of `write`, so that the client reports the result.
            .delivery_timeout(settings.deadline - settings.deadline / 10)
            // Also the time for a missing topic to be created.
            .max_block(attempt)
            .metrics_push(false)
            .build()
            .await?;
        let partitions = producer.partitions_for(&settings.topic).await?;
        Ok::<_, KrafkaError>((kafka, producer, partitions))
    };
    let limited = async { tokio::time::timeout_at(until.into(), work).await };
    let (kafka, producer, partitions) =
        runtime.block_on(limited).unwrap_or_else(|_| Err(KrafkaError::timeout("connect")))?;
    let mut store = Modern {
        producer,
        begun: VecDeque::new(),
        runtime,
        at: at.clone(),
        kafka,
        topic: settings.topic.clone(),
        times: TopicTimes::UNKNOWN,
        times_due: Instant::now(),
        deadline: settings.deadline,
        embed_id: settings.embed_id,
    };
    let mut notes = notes(&settings.topic, &partitions);
    if let Some(destination) = &settings.destination {
        notes.extend(store.runtime.block_on(learn_cluster(&store.kafka, destination, attempt)));
    }
    notes.extend(store.read_times(attempt));
    Ok(Connected { store: Box::new(store), client: "modern", notes })
}

/// Asks for the cluster's id, which a broker before 2.8 does not report: it stays unknown then. The text is news for the
/// administrator.
async fn learn_cluster(kafka: &Kafka, destination: &Destination, within: Duration) -> Option<String> {
    let options = DescribeClusterOptions::default().timeout(within);
    let admin = kafka.admin().metrics_push(false);
    let asked = tokio::time::timeout(within, admin.describe_cluster(options)).await;
    let cluster_id = asked.ok()?.ok()?.cluster_id;
    let before = destination.is_on(&cluster_id)?;
    Some(format!(
        "the brokers are another cluster than before, and held events go there: before={before:?} now={cluster_id:?}"
    ))
}

fn notes(topic: &str, partitions: &[PartitionInfo]) -> Vec<String> {
    let single = partitions.iter().any(|partition| partition.replicas.len() < 2);
    let note = format!(
        "topic '{topic}' has one replica: an acknowledgement means the memory of one broker, and a \
         power cut there can lose what it acknowledged; set the topic's flush.messages=1, or more replicas"
    );
    single.then_some(note).into_iter().collect()
}

impl Modern {
    /// Reads what the topic does with times. The texts are for the administrator, the first time.
    fn read_times(&mut self, within: Duration) -> Option<String> {
        self.times_due = Instant::now() + KAFKA_TOPIC_SETTINGS_EVERY;
        let asking = inspect::topic_settings(&self.kafka, &self.topic, &TopicTimes::NAMES, within);
        let asked = self.runtime.block_on(async { tokio::time::timeout(within, asking).await });
        let topic = &self.topic;
        match asked.unwrap_or_else(|_| Err(KrafkaError::timeout("describe the topic"))) {
            Ok(settings) => {
                self.times = TopicTimes::of(&settings);
                let policy = settings.get("cleanup.policy").filter(|policy| policy.contains("compact"))?;
                Some(format!(
                    "topic '{topic}' has cleanup.policy={policy}: of the events of one request_id the broker keeps the \
                     last alone; set cleanup.policy=delete"
                ))
            }
            // What is known already is better than nothing.
            Err(error) => Some(format!(
                "the settings of topic '{topic}' cannot be read ({error}): late events get the time of sending; grant \
                 DescribeConfigs on it"
            )),
        }
    }

    fn record(&self, event: &Event, texts: headers::Own, now_ms: i64) -> Record {
        let value = match self.embed_id {
            true => event.payload_with_id(&clock::rfc3339(event.received_at_ms())),
            false => event.payload().clone(),
        };
        let mut record = Record::new(self.topic.as_str(), value)
            .key(event.key().clone())
            .timestamp(self.times.of_record(event.received_at_ms(), now_ms));
        record.headers = Vec::with_capacity(HEADERS_MAX);
        record = record
            .header("ingest_id", texts.ingest_id)
            .header("received_at", texts.received_at)
            .header("content-type", "application/json");
        if let Some(skew_ms) = texts.skew_ms {
            record = record.header("skew_ms", skew_ms);
        }
        for (name, value) in event.headers() {
            record = record.header(name, value.to_owned());
        }
        record
    }

    fn result<T>(&self, result: Result<T, KrafkaError>) -> WriteResult {
        result.map(|_| ()).map_err(|error| errors::modern(&error, &self.at))
    }

    /// Gives the client what it does not have yet, as far as it takes it until `until`.
    fn send(&self, batch: &Batch, group: &[usize], sent: &mut Sent, until: Instant) {
        let left = &group[sent.results.len()..];
        if left.is_empty() {
            return;
        }
        let (texts, now_ms) = (Texts::of(left.iter().map(|&index| &batch[index])), clock::record_ms());
        let enqueue = async {
            for (nth, &index) in left.iter().enumerate() {
                if left.len() > PIECE_EVENTS && nth % PIECE_EVENTS == 0 {
                    tokio::task::yield_now().await;
                }
                let slot = sent.results.len();
                match self.producer.enqueue(self.record(&batch[index], texts.own(nth), now_ms)).await {
                    Ok(handle) => {
                        sent.results.push(None);
                        sent.waiting.push((slot, handle));
                    }
                    refused => sent.results.push(Some(self.result(refused))),
                }
            }
        };
        // What is left is out of time, or is sent by the next call.
        let _ = self.runtime.block_on(async { tokio::time::timeout_at(until.into(), enqueue).await });
    }

    /// Waits until `until` for the results of what the client has.
    fn receive(&self, sent: &mut Sent, until: Instant) {
        let Sent { results, waiting } = sent;
        let answers = async {
            for (slot, handle) in waiting.iter_mut() {
                results[*slot] = Some(self.result(handle.await));
            }
        };
        if self.runtime.block_on(async { tokio::time::timeout_at(until.into(), answers).await }).is_err() {
            // Handles are awaited in order: later ones may have their answer already.
            for (slot, handle) in waiting.iter_mut() {
                let mut now = Context::from_waker(Waker::noop());
                if results[*slot].is_none()
                    && let Poll::Ready(result) = Pin::new(handle).poll(&mut now)
                {
                    results[*slot] = Some(self.result(result));
                }
            }
        }
        waiting.clear();
    }

    /// One try of a group, of which the client may have some already.
    fn attempt(&self, batch: &Batch, group: &[usize], mut sent: Sent, until: Instant) -> Vec<WriteResult> {
        self.send(batch, group, &mut sent, until);
        self.receive(&mut sent, until);
        sent.results.resize(group.len(), None);
        let results =
            sent.results.into_iter().map(|known| known.unwrap_or_else(|| Err(self.at.out_of_time())));
        match self.is_sound() {
            Ok(()) => results.collect(),
            // Whatever the client reports then, this is why. What was acknowledged is stored all the same.
            Err(panicked) => results.map(|result| result.map_err(|_| panicked.clone())).collect(),
        }
    }

    /// The same for a batch that was begun. It may have shared wire batches with those begun around it: what is refused is
    /// tried again without them, so that what is refused then is refused for what is in its own batch.
    fn attempt_begun(
        &mut self,
        batch: &Batch,
        group: &[usize],
        sent: Sent,
        until: Instant,
    ) -> Vec<WriteResult> {
        let mut results = self.attempt(batch, group, sent, until);
        let is_refused = |at: &usize| matches!(results[*at], Err(StoreError::Rejected(..)));
        let refused: Vec<usize> = (0..group.len()).filter(is_refused).collect();
        if refused.is_empty() {
            return results;
        }
        let mut behind = std::mem::take(&mut self.begun);
        behind.iter_mut().for_each(|(_, sent)| self.receive(sent, until));
        self.begun = behind;
        let again: Vec<usize> = refused.iter().map(|&at| group[at]).collect();
        for (at, result) in refused.into_iter().zip(self.attempt(batch, &again, Sent::default(), until)) {
            results[at] = result;
        }
        results
    }

    /// An error once a task of the client has panicked.
    fn is_sound(&self) -> WriteResult {
        if self.runtime.has_panicked() { Err(self.at.panicked()) } else { Ok(()) }
    }

    /// The batch, if it was begun. Those before it are not asked for any more.
    fn take_begun(&mut self, batch: &Batch) -> Option<Sent> {
        while let Some((begun, sent)) = self.begun.pop_front() {
            if Arc::ptr_eq(&begun, batch) {
                return Some(sent);
            }
        }
        None
    }
}

impl Store for Modern {
    fn begin(&mut self, batch: &Batch) {
        if self.begun.iter().any(|(begun, _)| Arc::ptr_eq(begun, batch)) {
            return;
        }
        let until = Instant::now() + attempt_timeout(self.deadline);
        let all: Vec<usize> = (0..batch.len()).collect();
        let mut sent = Sent::default();
        self.send(batch, &all, &mut sent, until);
        self.begun.push_back((Arc::clone(batch), sent));
    }

    fn write(&mut self, batch: &Batch) -> Vec<WriteResult> {
        if let Err(error) = self.is_sound() {
            return vec![Err(error); batch.len()];
        }
        let until = Instant::now() + self.deadline;
        if self.times_due <= Instant::now() {
            self.read_times(attempt_timeout(self.deadline));
        }
        let all = (0..batch.len()).collect();
        let in_time = || Instant::now() < until;
        let implies = errors::judge_of_size(batch);
        let mut begun = self.take_begun(batch);
        let results =
            isolate::write(batch.len(), vec![all], PIECES, in_time, implies, |group| match begun.take() {
                Some(sent) => self.attempt_begun(batch, group, sent, until),
                None => self.attempt(batch, group, Sent::default(), until),
            });
        results.into_iter().map(errors::pardon_the_clock).collect()
    }

    fn tick(&mut self) -> WriteResult {
        // The client's tasks, such as closing idle connections, run only while it is driven.
        self.runtime.block_on(async { tokio::time::sleep(TICK).await });
        self.is_sound()
    }
}
