//! Kafka as memory: clusters with ids and producer ids, topics with retention and kinds of time, disks that are wiped.
//!
//! A [`KafkaClient`] stands for `store::kafka::modern::Modern` and krafka behind it. It dates records as the product does.
//! With a producer id it keeps that and its sequence numbers through a broken connection.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use super::book::{Book, Broken, Destination, number};
use super::faults::Fault;
use super::outside::{Way, keep_last};
use crate::delivery::tests::world::Mood;
use crate::host::clock::Clock;
use crate::limits::KAFKA_TOPIC_SETTINGS_EVERY;
use crate::store::kafka::{HAS_PRODUCER_ID, TopicTimes};
use crate::store::{Batch, Cause, Refusal, Store, StoreError, WriteResult};

pub(super) const PARTITIONS: u64 = 3;
/// A broker remembers so many batches of each producer.
const BATCHES_KNOWN: usize = 5;
/// Records in a segment.
const SEGMENT: usize = 8;
/// How often a broker looks for what is old.
const LOOK_MS: i64 = 300_000;

/// A topic's settings, for all topics of a cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// `retention.ms`
    pub(super) retention_ms: i64,
    /// `message.timestamp.type=LogAppendTime`
    pub(super) is_append_time: bool,
    /// `cleanup.policy=compact`
    pub(super) is_compact: bool,
}

impl Policy {
    /// As `Modern::read_times` gets it.
    fn times(self) -> TopicTimes {
        let kind = if self.is_append_time { "LogAppendTime" } else { "CreateTime" };
        let settings =
            [("retention.ms", self.retention_ms.to_string()), ("message.timestamp.type", kind.to_owned())];
        TopicTimes::of(&settings.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

/// `message.timestamp.after.max.ms`
pub(super) const AHEAD_MAX_MS: i64 = 3_600_000;

impl Default for Policy {
    fn default() -> Self {
        Self { retention_ms: 7 * 86_400_000, is_append_time: false, is_compact: false }
    }
}

/// What answers at one address.
#[derive(Default)]
pub(super) struct Cluster {
    pub(super) mood: Mood,
    pub(super) policy: Policy,
    /// Its id, which is another one after its disk was wiped.
    generation: u64,
    next_producer: i64,
    partitions: BTreeMap<(u8, u64), Partition>,
    looked_ms: i64,
}

#[derive(Default)]
struct Partition {
    segments: VecDeque<Vec<Record>>,
    /// First and last sequence number of each producer's last batches.
    producers: HashMap<i64, VecDeque<(i64, i64)>>,
}

/// Of a daemon's event, or of another program.
struct Record {
    number: Option<u64>,
    key: u64,
    time_ms: i64,
    appended_ms: i64,
    /// The sender's clock was wrong.
    is_clock_off: bool,
    /// `retention.ms` as the sender knew it.
    retention_ms: i64,
}

/// What a broker makes of a batch's sequence numbers.
enum Sequence {
    Next,
    Known,
    OutOfOrder,
}

impl Partition {
    fn judge(&self, producer: i64, first: i64, last: i64) -> Sequence {
        // A producer that is not known here may begin anywhere.
        let Some(known) = self.producers.get(&producer) else { return Sequence::Next };
        match known.back() {
            _ if known.contains(&(first, last)) => Sequence::Known,
            Some((_, newest)) if first == newest + 1 => Sequence::Next,
            _ => Sequence::OutOfOrder,
        }
    }

    fn append(&mut self, record: Record) {
        match self.segments.back_mut() {
            Some(active) if active.len() < SEGMENT => active.push(record),
            _ => self.segments.push_back(vec![record]),
        }
    }

    /// A whole segment goes when its newest record is too old.
    fn remove_old(&mut self, before_ms: i64) -> Vec<Record> {
        let mut removed = Vec::new();
        let is_old = |segment: &Vec<Record>| segment.iter().all(|record| record.time_ms < before_ms);
        while self.segments.front().is_some_and(is_old) {
            removed.extend(self.segments.pop_front().into_iter().flatten());
        }
        removed
    }

    /// Of each key only the last record stays.
    fn compact(&mut self) -> Vec<Record> {
        let mut records: Vec<Record> = std::mem::take(&mut self.segments).into_iter().flatten().collect();
        let mut last = HashMap::new();
        for (at, record) in records.iter().enumerate() {
            last.insert(record.key, at);
        }
        let mut removed = Vec::new();
        for (at, record) in records.drain(..).enumerate() {
            if last[&record.key] == at { self.append(record) } else { removed.push(record) }
        }
        removed
    }
}

impl Cluster {
    /// Its disk is wiped, and it is made again at the same address.
    pub(super) fn wipe(&mut self) {
        self.generation += 1;
        self.next_producer = 0;
        self.partitions.clear();
    }

    /// Its next producer id.
    fn gives_producer(&mut self) -> i64 {
        self.next_producer += 1;
        self.next_producer - 1
    }

    /// Another program writes single records to every partition of a topic, with an idempotent producer.
    pub(super) fn other_writes(&mut self, topic: u8, records: i64, now_ms: i64) {
        let producer = self.gives_producer();
        for partition in 0..PARTITIONS {
            let partition = self.partitions.entry((topic, partition)).or_default();
            for sequence in 0..records {
                let known = partition.producers.entry(producer).or_default();
                keep_last(known, (sequence, sequence), BATCHES_KNOWN);
                let record = Record {
                    number: None,
                    key: u64::MAX,
                    time_ms: now_ms,
                    appended_ms: now_ms,
                    is_clock_off: false,
                    retention_ms: 0,
                };
                partition.append(record);
            }
        }
    }

    /// What is too old, or not the last of its key, goes.
    pub(super) fn remove_old(&mut self, now_ms: i64, book: &mut Book) {
        if now_ms - self.looked_ms < LOOK_MS {
            return;
        }
        self.looked_ms = now_ms;
        let policy = self.policy;
        for partition in self.partitions.values_mut() {
            if policy.is_compact {
                for record in partition.compact() {
                    check_removed(book, &record, policy, now_ms, Fault::F52);
                }
            }
            for record in partition.remove_old(now_ms - policy.retention_ms) {
                check_removed(book, &record, policy, now_ms, Fault::F31);
            }
        }
    }
}

/// Readers have half the retention at least for each event, unless somebody has made it shorter meanwhile.
fn check_removed(book: &mut Book, record: &Record, policy: Policy, now_ms: i64, fault: Fault) {
    let Some(number) = record.number else { return };
    let stood_ms = now_ms - record.appended_ms;
    if fault == Fault::F31 && policy.retention_ms < record.retention_ms {
        return;
    }
    if stood_ms + LOOK_MS < policy.retention_ms / 2 {
        // Only a record that was dated before it was sent goes too early.
        let is_explained = fault == Fault::F52 || record.time_ms + 60_000 < record.appended_ms;
        let fault = if record.is_clock_off && fault == Fault::F31 { Fault::WrongClock } else { fault };
        let text = format!("the broker removed {number} after {} s of {policy:?}", stood_ms / 1_000);
        book.find(Broken::Removed, is_explained.then_some(fault), Some(number), text);
    }
}

/// See the module.
pub(super) struct KafkaClient {
    way: Way,
    cluster: usize,
    topic: u8,
    is_recovery: bool,
    /// Its producer id, if it has any.
    producer: Option<i64>,
    sequences: HashMap<u64, i64>,
    /// What it knows of its topic, and when it asked.
    policy: Policy,
    asked_at: Instant,
}

fn unavailable(cause: Cause) -> StoreError {
    StoreError::unavailable(cause, format!("kafka: {cause:?}"))
}

impl KafkaClient {
    /// A broker that only answers proves nothing.
    pub(super) fn connect(
        way: &Way,
        cluster: usize,
        topic: u8,
        is_recovery: bool,
    ) -> Result<Self, StoreError> {
        let mood = way.look().clusters[cluster].mood;
        if mood == Mood::Unreachable {
            return Err(unavailable(Cause::Unreachable));
        }
        let mut outside = way.look();
        let producer = HAS_PRODUCER_ID.then(|| outside.clusters[cluster].gives_producer());
        let policy = outside.clusters[cluster].policy;
        let (way, sequences, asked_at) = (way.clone(), HashMap::new(), way.clock.now());
        Ok(Self { way, cluster, topic, is_recovery, producer, sequences, policy, asked_at })
    }

    fn exchange(&mut self, batch: &Batch) -> Vec<WriteResult> {
        let mood = self.way.look().clusters[self.cluster].mood;
        match mood {
            Mood::Silent => self.way.wait_in_vain(),
            Mood::Unreachable => return vec![Err(unavailable(Cause::Unreachable)); batch.len()],
            Mood::Down => return vec![Err(unavailable(Cause::Refused)); batch.len()],
            Mood::Works | Mood::Without(_) => {}
        }
        let mut results: Vec<WriteResult> = vec![Ok(()); batch.len()];
        for partition in 0..PARTITIONS {
            let mut taken = Vec::new();
            for (at, event) in batch.iter().enumerate() {
                let outside = self.way.look();
                let key = outside.book.sent.get(&number(event)).map_or(0, |sent| sent.key);
                if key % PARTITIONS != partition {
                    continue;
                }
                match self.judge(&outside, mood, partition, event) {
                    Ok(time_ms) => taken.push((at, number(event), key, time_ms)),
                    Err(error) => results[at] = Err(error),
                }
            }
            let outcome = self.send(partition, &taken);
            let answered = if mood == Mood::Silent { Err(unavailable(Cause::OutOfTime)) } else { outcome };
            taken.iter().for_each(|one| results[one.0] = answered.clone());
        }
        results
    }

    /// The time of its record, as `Modern::record` and the broker make it.
    fn judge(
        &self,
        outside: &super::outside::Outside,
        mood: Mood,
        partition: u64,
        event: &crate::event::Event,
    ) -> Result<i64, StoreError> {
        if mood == Mood::Without(partition as u8) {
            return Err(unavailable(Cause::NoLeader));
        }
        if outside.book.sent.get(&number(event)).is_some_and(|sent| sent.is_poison) {
            return Err(StoreError::rejected(Refusal::TooLarge, "poison"));
        }
        let now_ms = outside.time.true_ms();
        if outside.clusters[self.cluster].policy.is_append_time {
            return Ok(now_ms);
        }
        let time_ms = self.policy.times().of_record(event.received_at_ms(), self.way.clock.record_ms());
        // As `store::kafka::errors::pardon_the_clock` has it.
        if time_ms > now_ms + AHEAD_MAX_MS { Err(unavailable(Cause::ClockRefused)) } else { Ok(time_ms) }
    }

    /// One batch for a partition.
    fn send(&mut self, partition: u64, taken: &[(usize, u64, u64, i64)]) -> WriteResult {
        if taken.is_empty() {
            return Ok(());
        }
        let mut guard = self.way.look();
        let outside = &mut *guard;
        let now_ms = outside.time.true_ms();
        let first = self.sequences.get(&partition).copied().unwrap_or(0);
        let last = first + taken.len() as i64 - 1;
        let log = outside.clusters[self.cluster].partitions.entry((self.topic, partition)).or_default();
        match self.producer.map_or(Sequence::Next, |producer| log.judge(producer, first, last)) {
            Sequence::OutOfOrder => return Err(unavailable(Cause::Failing)),
            Sequence::Known => {
                taken.iter().for_each(|one| outside.book.hint(one.1, Fault::F26));
            }
            Sequence::Next => {
                let at = Destination::Topic(self.cluster, self.topic);
                if let Some(producer) = self.producer {
                    keep_last(log.producers.entry(producer).or_default(), (first, last), BATCHES_KNOWN);
                }
                for &(_, number, key, time_ms) in taken {
                    let is_clock_off = self.way.clock.record_ms().abs_diff(now_ms) > 60_000;
                    log.append(Record {
                        number: Some(number),
                        key,
                        time_ms,
                        appended_ms: now_ms,
                        is_clock_off,
                        retention_ms: self.policy.retention_ms,
                    });
                    outside.book.arrives(number, at, self.is_recovery, now_ms);
                }
            }
        }
        self.sequences.insert(partition, last + 1);
        Ok(())
    }
}

impl Store for KafkaClient {
    fn write(&mut self, batch: &Batch) -> Vec<WriteResult> {
        self.way.point();
        if self.way.clock.now() - self.asked_at >= KAFKA_TOPIC_SETTINGS_EVERY {
            self.policy = self.way.look().clusters[self.cluster].policy;
            self.asked_at = self.way.clock.now();
        }
        let results = self.exchange(batch);
        self.way.point_at(self.is_recovery);
        results
    }
}
