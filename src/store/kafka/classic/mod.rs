//! The classic client: kafka, for brokers that the modern one refuses.
//!
//! It has no time limits of its own, keeps broken connections, and trusts what it reads. So it lives on
//! a helper thread, connects only after a question with limits (`compatible`), and is thrown away after any error.
//!
//! Invariants: the owner waits for at most its deadline; errors of single partitions inside an `Ok` become
//! results of their events; a key goes to the partition that every other Kafka client puts it in.

mod compatible;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka::client::{KafkaClient, ProduceMessage, RequiredAcks};
use krafka::producer::murmur2;

use super::Settings;
use super::errors::{self, Cluster};
use super::runtime::attempt_timeout;
use crate::event::Event;
use crate::host::clock;
use crate::limits::{CLASSIC_LEFT_BEHIND_MAX, KAFKA_WIRE_BATCH_BYTES};
use crate::store::helper::{Gone, Helper, LeftBehind};
use crate::store::{Batch, Cause, Connected, Store, StoreError, WriteResult, isolate};

static LEFT_BEHIND: LeftBehind = LeftBehind::new(CLASSIC_LEFT_BEHIND_MAX);

/// Between two questions about a topic that the broker is just creating, or whose partitions have no leader yet.
const TOPIC_POLL: Duration = Duration::from_millis(100);

/// Connects within the deadline by way of the first of `brokers` that answers.
pub(super) fn connect(
    settings: &Settings,
    brokers: &[String],
    at: &Cluster,
) -> Result<Connected, StoreError> {
    if LEFT_BEHIND.is_full() {
        let why = format!(
            "{CLASSIC_LEFT_BEHIND_MAX} classic clients still wait for a broker that does not answer, and no \
             more are started: they end some two minutes after its last answer"
        );
        return Err(at.unavailable(Cause::OutOfTime, &why));
    }
    let deadline = settings.deadline;
    let build = {
        let (settings, brokers, at) = (settings.clone(), brokers.to_vec(), at.clone());
        move || Client::connect(settings, &brokers, at).map(|mut client| (move |job| client.write(&job), ()))
    };
    match Helper::start("kafka-classic", &LEFT_BEHIND, deadline, build) {
        Ok(Ok((helper, ()))) => {
            let store = Classic { helper, at: at.clone(), deadline };
            Ok(Connected { store: Box::new(store), client: "classic", notes: notes(settings.embed_id) })
        }
        Ok(Err(error)) => Err(error),
        Err(gone) => Err(explain(gone, at)),
    }
}

fn notes(embed_id: bool) -> Vec<String> {
    let lost = match embed_id {
        true => "traceparent, x-request-id and skew_ms do not reach Kafka",
        false => {
            "ingest_id, received_at, skew_ms, traceparent and x-request-id do not reach Kafka; KAFKA_EMBED_ID=on puts the first \
             two into the value"
        }
    };
    vec![
        format!("the classic client writes records without headers and timestamps: {lost}"),
        "the classic client cannot see how many replicas the topic has: with one, an acknowledgement means \
         the memory of one broker; set the topic's flush.messages=1, or more replicas"
            .to_owned(),
    ]
}

fn explain(gone: Gone, at: &Cluster) -> StoreError {
    match gone {
        Gone::OutOfTime => at.out_of_time(),
        Gone::Panicked => at.panicked(),
        Gone::GivenUp => at.unavailable(Cause::Unreachable, "the client was given up after an earlier error"),
    }
}

struct ProduceJob {
    batch: Batch,
    until: Instant,
    /// How long leaders are waited for.
    leaders_until: Instant,
}

/// The owner's side.
struct Classic {
    helper: Helper<ProduceJob, Vec<WriteResult>>,
    at: Cluster,
    deadline: Duration,
}

impl Store for Classic {
    fn write(&mut self, batch: &Batch) -> Vec<WriteResult> {
        let now = Instant::now();
        let (until, leaders_until) = (now + self.deadline, now + attempt_timeout(self.deadline));
        let job = ProduceJob { batch: batch.clone(), until, leaders_until };
        self.helper.call(job, until).unwrap_or_else(|gone| {
            let error = explain(gone, &self.at);
            batch.iter().map(|_| Err(error.clone())).collect()
        })
    }
}

/// The helper's side.
struct Client {
    client: KafkaClient,
    topic: String,
    partitions: u32,
    ack_timeout: Duration,
    embed_id: bool,
    at: Cluster,
}

impl Client {
    fn connect(settings: Settings, brokers: &[String], at: Cluster) -> Result<Self, StoreError> {
        let broker = speaking(brokers, settings.deadline, &at)?;
        let mut client = KafkaClient::new(vec![broker.to_owned()]);
        client.set_client_id("logs-ingest".to_owned());
        let partitions = partitions(&mut client, &settings, &at)?;
        // Sooner than the deadline of `write`, so that the broker reports the result.
        let ack_timeout = settings.deadline - settings.deadline / 10;
        Ok(Self { client, topic: settings.topic, partitions, ack_timeout, embed_id: settings.embed_id, at })
    }

    fn write(&mut self, job: &ProduceJob) -> Vec<WriteResult> {
        let groups = wire_groups(&job.batch);
        let in_time = || Instant::now() < job.until;
        let implies = errors::judge_of_size(&job.batch);
        let results = isolate::write(job.batch.len(), groups, 2, in_time, implies, |group| {
            self.attempt_with_leaders(&job.batch, group, job.leaders_until)
        });
        results.into_iter().map(errors::pardon_the_clock).collect()
    }

    fn value(&self, event: &Event) -> Bytes {
        match self.embed_id {
            true => event.payload_with_id(&clock::rfc3339(event.received_at_ms())),
            false => event.payload().clone(),
        }
    }

    /// A try of a group. A new topic gets its leaders a moment after its name, and a leader that moved is found by asking.
    fn attempt_with_leaders(&mut self, batch: &Batch, group: &[usize], until: Instant) -> Vec<WriteResult> {
        let mut results = self.attempt(batch, group);
        let lacks_leader =
            |result: &WriteResult| matches!(result, Err(StoreError::Unavailable(Cause::NoLeader, _)));
        let mut left: Vec<usize> = (0..group.len()).filter(|&at| lacks_leader(&results[at])).collect();
        while !left.is_empty() && Instant::now() + TOPIC_POLL < until {
            std::thread::sleep(TOPIC_POLL);
            if self.client.load_metadata(&[&self.topic]).is_err() {
                break;
            }
            let again: Vec<usize> = left.iter().map(|&at| group[at]).collect();
            for (&at, result) in left.iter().zip(self.attempt(batch, &again)) {
                results[at] = result;
            }
            left.retain(|&at| lacks_leader(&results[at]));
        }
        results
    }

    /// One produce request per broker. An error of the whole call is the result of every event in it.
    fn attempt(&mut self, batch: &Batch, group: &[usize]) -> Vec<WriteResult> {
        let to: Vec<i32> =
            group.iter().map(|&index| partition_of(batch[index].key(), self.partitions)).collect();
        // One message to a partition without a leader would fail the whole call.
        let led = led(&self.client, &self.topic);
        let values: Vec<Bytes> = group.iter().map(|&index| self.value(&batch[index])).collect();
        let messages = group.iter().zip(&values).zip(&to).filter(|(_, partition)| led.contains(partition));
        let messages = messages.map(|((&index, value), &partition)| ProduceMessage {
            key: Some(batch[index].key()),
            value: Some(value),
            topic: &self.topic,
            partition,
        });
        let messages: Vec<_> = messages.collect();
        let confirms = match self.client.produce_messages(RequiredAcks::All, self.ack_timeout, messages) {
            Ok(confirms) => confirms,
            Err(error) => {
                let error = errors::classic(&error, &self.at);
                return group.iter().map(|_| Err(error.clone())).collect();
            }
        };
        let answers: HashMap<i32, _> = confirms
            .iter()
            .filter(|confirm| confirm.topic == self.topic)
            .flat_map(|confirm| &confirm.partition_confirms)
            .map(|answer| (answer.partition, answer.offset))
            .collect();
        let result = |partition| match answers.get(partition) {
            Some(Ok(_)) => Ok(()),
            Some(Err(code)) => Err(errors::classic_code(*code, &self.at)),
            None if led.contains(partition) => {
                Err(self.at.unavailable(Cause::Failing, "the answer leaves a partition out"))
            }
            None => Err(self.at.no_leader()),
        };
        to.iter().map(result).collect()
    }
}

/// The first of `brokers` that the classic client can use.
fn speaking<'a>(brokers: &'a [String], deadline: Duration, at: &Cluster) -> Result<&'a str, StoreError> {
    let until = Instant::now() + deadline;
    let mut why = at.out_of_time();
    for broker in brokers {
        if Instant::now() >= until {
            break;
        }
        why = match compatible::is_compatible(broker, attempt_timeout(deadline)) {
            Ok(true) => return Ok(broker),
            Ok(false) => at.unavailable(
                Cause::Unsupported,
                &format!(
                    "{broker} is too new for the classic client (Kafka 4 dropped the requests that it sends): \
                     set KAFKA_CLIENT to auto or modern"
                ),
            ),
            Err(error) => at.unavailable(
                Cause::Unreachable,
                &format!(
                    "{error} (the classic client asked {broker}): check KAFKA_BROKERS and the broker's log"
                ),
            ),
        };
    }
    Err(why)
}

/// Partitions that have a leader, as far as the client knows.
fn led(client: &KafkaClient, topic: &str) -> HashSet<i32> {
    let partitions = client.topics().partitions(topic).map(|partitions| partitions.available_ids());
    partitions.unwrap_or_default().into_iter().collect()
}

/// How many partitions the topic has. The question makes the broker create it, where it does so on demand.
fn partitions(client: &mut KafkaClient, settings: &Settings, at: &Cluster) -> Result<u32, StoreError> {
    let until = Instant::now() + attempt_timeout(settings.deadline);
    loop {
        client.load_metadata(&[&settings.topic]).map_err(|error| errors::classic(&error, at))?;
        if !led(client, &settings.topic).is_empty() {
            let all = client.topics().partitions(&settings.topic).map_or(0, |partitions| partitions.len());
            return Ok(u32::try_from(all).unwrap_or(u32::MAX));
        }
        if Instant::now() >= until {
            return Err(at.missing_topic());
        }
        std::thread::sleep(TOPIC_POLL);
    }
}

/// The partition of a key, the same as in Java's clients and the modern one.
fn partition_of(key: &[u8], partitions: u32) -> i32 {
    let hash = murmur2(key) & 0x7fff_ffff;
    i32::try_from(hash % partitions.max(1)).unwrap_or(0)
}

/// Splits a batch so that what goes to one partition stays below the broker's limit on a wire batch: an old broker makes
/// one of the messages that it gets.
fn wire_groups(batch: &[Event]) -> Vec<Vec<usize>> {
    let mut groups = vec![Vec::new()];
    let mut bytes = 0;
    for (index, event) in batch.iter().enumerate() {
        let size = event.size_bytes();
        if bytes > 0 && bytes + size > KAFKA_WIRE_BATCH_BYTES {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(group) = groups.last_mut() {
            group.push(index);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::event::Arrival;

    fn event(bytes: usize) -> Event {
        let arrival = Arrival::new(Uuid::now_v7(), 0);
        Event::restored(arrival, Bytes::from_static(b"key"), Bytes::from(vec![b'x'; bytes]))
    }

    #[test]
    fn a_panic_on_the_helper_thread_is_unavailable() {
        static LEFT: LeftBehind = LeftBehind::new(1);
        let at = Cluster::new(&["till:9092".to_owned()], "pos-logs");
        let deadline = Duration::from_secs(20);
        let build = || Ok((|_: ProduceJob| panic!("a client's bug, on purpose"), ()));
        let (helper, ()) = Helper::start("t-classic", &LEFT, deadline, build).unwrap().unwrap();
        let mut store = Classic { helper, at, deadline };
        let batch: Batch = [event(1), event(2)].into();
        let began = Instant::now();
        let results = store.write(&batch);
        assert!(results.iter().all(|one| matches!(one, Err(StoreError::Unavailable(Cause::Bug, _)))));
        assert!(store.write(&batch).iter().all(|one| matches!(one, Err(StoreError::Unavailable(..)))));
        assert!(began.elapsed() < deadline, "at once");
    }

    #[test]
    fn keys_go_where_javas_clients_put_them() {
        // From Java's own tests of its hash: Utils.murmur2.
        for (key, hash) in
            [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)]
        {
            let expected = (hash & 0x7fff_ffff) % 7;
            assert_eq!(partition_of(key.as_bytes(), 7), expected, "{key}");
        }
        assert_eq!(partition_of(b"", 1), 0);
    }

    #[test]
    fn groups_keep_order_lose_nothing_and_stay_below_the_limit() {
        let sizes = [10, 400_000, 400_000, 400_000, 2_000_000, 5, 999_000, 999_000];
        let batch: Vec<Event> = sizes.into_iter().map(event).collect();
        let groups = wire_groups(&batch);
        assert_eq!(groups, [vec![0, 1, 2], vec![3], vec![4], vec![5, 6], vec![7]]);
        assert_eq!(wire_groups(&[]), [Vec::<usize>::new()]);
    }
}
