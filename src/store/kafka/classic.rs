//! The classic client: kafka, for brokers that the modern one refuses.
//!
//! It has no time limits of its own, keeps broken connections, and trusts what it reads. So it lives on
//! a helper thread, is spoken to only after a probe with limits, and is thrown away after any error.
//!
//! Invariants: the owner waits for at most its deadline; per-partition errors inside an `Ok` are
//! outcomes; a key goes to the partition that every other Kafka client puts it in.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use kafka::client::{KafkaClient, ProduceMessage, RequiredAcks};
use krafka::producer::murmur2;

use crate::event::Event;
use crate::limits::{CLASSIC_LEFT_BEHIND_MAX, KAFKA_WIRE_BATCH_BYTES, KAFKA_WIRE_RECORD_EXTRA_BYTES};
use crate::store::{Batch, Store, StoreError};

use super::errors::{self, Place};
use super::helper::{Gone, Helper, LeftBehind};
use super::runtime::attempt_timeout;
use super::{Connected, Settings, isolate};

type Outcome = Result<(), StoreError>;

static LEFT_BEHIND: LeftBehind = LeftBehind::new(CLASSIC_LEFT_BEHIND_MAX);

/// Between two questions for a topic that the broker is just creating.
const TOPIC_POLL: Duration = Duration::from_millis(100);

/// Connects by way of `broker`, which is known to accept connections, within the deadline.
pub(super) fn connect(settings: &Settings, broker: &str, at: &Place) -> Result<Connected, StoreError> {
    if LEFT_BEHIND.is_full() {
        return Err(at.unavailable(&format!(
            "{CLASSIC_LEFT_BEHIND_MAX} classic clients still hang in a broker that does not answer, and no \
             more are started: they end some two minutes after it went silent"
        )));
    }
    let deadline = settings.deadline;
    let build = {
        let (settings, broker, at) = (settings.clone(), broker.to_owned(), at.clone());
        move || Client::connect(settings, &broker, at).map(|mut client| (move |job| client.write(&job), ()))
    };
    match Helper::start("kafka-classic", &LEFT_BEHIND, deadline, build) {
        Ok(Ok((helper, ()))) => {
            let store = Classic { helper, at: at.clone(), deadline };
            Ok(Connected { store: Box::new(store), client: "classic", notes: notes() })
        }
        Ok(Err(error)) => Err(error),
        Err(gone) => Err(explain(gone, at)),
    }
}

fn notes() -> Vec<String> {
    vec![
        "the classic client writes records without headers and timestamps: ingest_id, received_at and \
         traceparent do not reach Kafka"
            .to_owned(),
        "the classic client can't tell how many replicas the topic has: with one, an acknowledgement means \
         the memory of one broker; set the topic's flush.messages=1, or more replicas"
            .to_owned(),
    ]
}

fn explain(gone: Gone, at: &Place) -> StoreError {
    match gone {
        Gone::OutOfTime => at.out_of_time(),
        Gone::Ended => at.unavailable("the classic client ended on an answer that it does not understand"),
    }
}

struct Job {
    batch: Batch,
    until: Instant,
}

/// The owner's side.
struct Classic {
    helper: Helper<Job, Vec<Outcome>>,
    at: Place,
    deadline: Duration,
}

impl Store for Classic {
    fn write(&mut self, batch: &Batch) -> Vec<Outcome> {
        let until = Instant::now() + self.deadline;
        let job = Job { batch: batch.clone(), until };
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
    at: Place,
}

impl Client {
    fn connect(settings: Settings, broker: &str, at: Place) -> Result<Self, StoreError> {
        let attempt = attempt_timeout(settings.deadline);
        let speaks = speaks_classic(broker, attempt).map_err(|error| {
            at.unavailable(&format!("{broker}: {error}: check KAFKA_BROKERS and the broker's log"))
        })?;
        if !speaks {
            return Err(at.unavailable(&format!(
                "{broker} is too new for the classic client (Kafka 4 dropped the requests that it sends): \
                 set KAFKA_CLIENT to auto or modern"
            )));
        }
        let mut client = KafkaClient::new(vec![broker.to_owned()]);
        client.set_client_id("logs-ingest".to_owned());
        let until = Instant::now() + settings.deadline / 2;
        // Asking for a topic makes the broker create it, where it does so on demand.
        let partitions = loop {
            client.load_metadata(&[&settings.topic]).map_err(|error| errors::classic(&error, &at))?;
            let topics = client.topics();
            let partitions = topics.partitions(&settings.topic);
            let known = partitions.map_or(0, |known| known.iter().filter(|p| p.leader().is_some()).count());
            let all = topics.partitions(&settings.topic).map_or(0, |known| known.len());
            if known > 0 {
                break u32::try_from(all).unwrap_or(u32::MAX);
            }
            if Instant::now() >= until {
                return Err(at.missing_topic());
            }
            std::thread::sleep(TOPIC_POLL);
        };
        Ok(Self { client, topic: settings.topic, partitions, ack_timeout: attempt, at })
    }

    fn write(&mut self, job: &Job) -> Vec<Outcome> {
        let groups = wire_groups(&job.batch);
        let in_time = || Instant::now() < job.until;
        isolate::write(job.batch.len(), groups, in_time, |group| self.attempt(&job.batch, group))
    }

    /// One produce round. What the client says of the whole call holds for every event of it.
    fn attempt(&mut self, batch: &Batch, group: &[usize]) -> Vec<Outcome> {
        let place = |index: &usize| partition_of(batch[*index].key(), self.partitions);
        let partitions: Vec<i32> = group.iter().map(place).collect();
        let mut outcomes: Vec<Outcome> = group.iter().map(|_| Err(self.at.out_of_time())).collect();
        let known = self.client.topics();
        let led: Vec<bool> = partitions
            .iter()
            .map(|&id| {
                let partitions = known.partitions(&self.topic);
                partitions.is_some_and(|all| all.partition(id).is_some_and(|one| one.leader().is_some()))
            })
            .collect();
        let messages: Vec<ProduceMessage<'_, '_>> = group
            .iter()
            .zip(&partitions)
            .zip(&led)
            .filter(|(_, led)| **led)
            .map(|((&index, &partition), _)| ProduceMessage {
                key: Some(batch[index].key()),
                value: Some(batch[index].payload()),
                topic: &self.topic,
                partition,
            })
            .collect();
        let result = self.client.produce_messages(RequiredAcks::All, self.ack_timeout, messages);
        let confirms = match result {
            Ok(confirms) => confirms,
            Err(error) => {
                let error = errors::classic(&error, &self.at);
                return group.iter().map(|_| Err(error.clone())).collect();
            }
        };
        for (slot, &partition) in partitions.iter().enumerate() {
            if !led[slot] {
                outcomes[slot] = Err(self.at.no_leader());
                continue;
            }
            let mut answers = confirms
                .iter()
                .filter(|confirm| confirm.topic == self.topic)
                .flat_map(|confirm| &confirm.partition_confirms);
            if let Some(answer) = answers.find(|answer| answer.partition == partition) {
                outcomes[slot] =
                    answer.offset.map(|_| ()).map_err(|code| errors::classic_code(code, &self.at));
            }
        }
        outcomes
    }
}

/// The partition of a key, as Java's clients and the modern one have it.
fn partition_of(key: &[u8], partitions: u32) -> i32 {
    let hash = murmur2(key) & 0x7fff_ffff;
    i32::try_from(hash % partitions.max(1)).unwrap_or(0)
}

/// Splits a batch so that whatever goes to one partition stays below the broker's limit on a wire
/// batch: it makes one of the messages that it is sent.
fn wire_groups(batch: &[Event]) -> Vec<Vec<usize>> {
    let mut groups = vec![Vec::new()];
    let mut bytes = 0;
    for (index, event) in batch.iter().enumerate() {
        let size = event.key().len() + event.payload().len() + KAFKA_WIRE_RECORD_EXTRA_BYTES / 8;
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

/// Does the broker still take the classic client's produce request (version 0)? Asked with an empty
/// one, with time limits, before the client itself is let at it. `false` is the broker hanging up.
///
/// Errors: no connection, no answer in time, an answer that is not Kafka's.
fn speaks_classic(broker: &str, limit: Duration) -> io::Result<bool> {
    let mut stream = dial(broker, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(&empty_produce_request())?;
    let mut head = [0_u8; 8];
    match stream.read_exact(&mut head) {
        Ok(()) => is_produce_answer(head).then_some(true).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "what answers there does not speak Kafka")
        }),
        Err(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Ok(false),
            io::ErrorKind::WouldBlock => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
            _ => Err(error),
        },
    }
}

/// Tries the addresses of a name in turn: `localhost` may be two.
fn dial(broker: &str, limit: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in broker.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

const PROBE_CORRELATION: i32 = 0x1065;

/// Length, key 0 (produce), version 0, correlation, client id, acks, milliseconds, no topics.
fn empty_produce_request() -> Vec<u8> {
    let client = b"logs-ingest";
    let mut body = Vec::new();
    body.extend_from_slice(&0_i16.to_be_bytes());
    body.extend_from_slice(&0_i16.to_be_bytes());
    body.extend_from_slice(&PROBE_CORRELATION.to_be_bytes());
    body.extend_from_slice(&i16::try_from(client.len()).unwrap_or(0).to_be_bytes());
    body.extend_from_slice(client);
    body.extend_from_slice(&(-1_i16).to_be_bytes());
    body.extend_from_slice(&1_000_i32.to_be_bytes());
    body.extend_from_slice(&0_i32.to_be_bytes());
    let mut request = i32::try_from(body.len()).unwrap_or(0).to_be_bytes().to_vec();
    request.extend_from_slice(&body);
    request
}

/// The answer to it is 8 bytes long, correlation and an empty list, after its own length.
fn is_produce_answer(head: [u8; 8]) -> bool {
    let length = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let correlation = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    length == 8 && correlation == PROBE_CORRELATION
}
