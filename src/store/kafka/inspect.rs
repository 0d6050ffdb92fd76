//! What a broker reports of itself and of the topic, for `check-config`. Nothing is written or created: the broker sees a
//! producer that sends nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use krafka::Kafka;
use krafka::admin::{ConfigResource, DescribeConfigsOptions, DescribeTopicsOptions, TopicDescription};
use krafka::error::{ErrorCode, KrafkaError};
use krafka::producer::Acks;

use super::errors::{self, Cluster};
use super::runtime::{Runtime, attempt_timeout};
use super::{ClientChoice, Settings, contain};
use crate::limits::KAFKA_RESPONSE_BYTES_MAX;
use crate::store::StoreError;

/// Settings of a topic that decide what an acknowledgement is worth, and what the topic takes.
const TOPIC_SETTINGS: [&str; 3] = ["min.insync.replicas", "flush.messages", "max.message.bytes"];
/// The operation WRITE, as Kafka numbers it.
const WRITE: i32 = 1 << 4;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Configured brokers that cannot be reached, each with the reason, while others can.
    pub unreachable: Vec<String>,
    /// The broker answers that it lacks what the modern client needs.
    pub lacking: Option<String>,
    /// What is known of the topic. None: there is no such topic, or the broker was not asked, because it lacks what the
    /// modern client needs.
    pub topic: Option<Topic>,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// How many partitions it has.
    pub partitions: usize,
    /// Of these, those without a leader: their events cannot be written.
    pub leaderless: usize,
    /// Copies of the partition that has the fewest.
    pub replicas: usize,
    /// Copies that are up to date, where they are the fewest.
    pub in_sync: usize,
    /// Whether this client may write. None: the broker does not report it.
    pub may_write: Option<bool>,
    /// `min.insync.replicas`, `flush.messages` and `max.message.bytes`, as far as the broker reports them.
    pub settings: BTreeMap<String, String>,
    /// Why it reports none.
    pub settings_hidden: Option<String>,
}

/// Asks. Blocks for at most the deadline, and a third of it for each configured broker.
///
/// # Errors
/// Always `Unavailable`; the text says what failed and what to do.
pub fn inspect(settings: &Settings) -> Result<Inspection, StoreError> {
    let at = Cluster::new(&settings.brokers, &settings.topic);
    contain::call(&at, || look(settings, &at))
}

fn look(settings: &Settings, at: &Cluster) -> Result<Inspection, StoreError> {
    let runtime = Runtime::start(at)?;
    let brokers = runtime.reachable_first(settings, at)?;
    let mut found = Inspection { unreachable: unreachable(&runtime, settings), ..Inspection::default() };
    if settings.client == ClientChoice::Classic {
        return Ok(found);
    }
    let until = Instant::now() + settings.deadline;
    let work = async { tokio::time::timeout_at(until.into(), ask(settings, &brokers)).await };
    match runtime.block_on(work).unwrap_or_else(|_| Err(KrafkaError::timeout("inspect"))) {
        Ok(topic) => found.topic = topic,
        Err(error) => match errors::lacking(&error) {
            Some(lacking) => found.lacking = Some(lacking),
            None => return Err(errors::modern(&error, at)),
        },
    }
    Ok(found)
}

fn unreachable(runtime: &Runtime, settings: &Settings) -> Vec<String> {
    let alone = |broker: &String| Settings { brokers: vec![broker.clone()], ..settings.clone() };
    let tried = settings.brokers.iter().map(|broker| {
        let alone = alone(broker);
        runtime.reachable_first(&alone, &Cluster::new(&alone.brokers, &alone.topic))
    });
    tried.filter_map(Result::err).map(|error| error.to_string()).collect()
}

async fn ask(settings: &Settings, brokers: &[String]) -> Result<Option<Topic>, KrafkaError> {
    let attempt = attempt_timeout(settings.deadline);
    let kafka = Kafka::builder(brokers.join(","))
        .security(settings.security.auth())
        .client_id("logs-ingest-check")
        .connect_timeout(attempt)
        .request_timeout(attempt)
        .allow_auto_create_topics(false)
        .max_response_size(KAFKA_RESPONSE_BYTES_MAX)
        .connect()
        .await?;
    // Only an idempotent producer shows whether the broker has what the modern client needs, and lets it in.
    let producer = kafka.producer().acks(Acks::All).idempotent(true).max_block(attempt).metrics_push(false);
    drop(producer.build().await?);
    let admin = kafka.admin().metrics_push(false);
    let options = DescribeTopicsOptions::default().timeout(settings.deadline);
    let mut described = admin.describe_topics([&settings.topic], options).await?;
    let description = match described.remove(&settings.topic) {
        Some(Ok(description)) => description,
        Some(Err(KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. })) | None => {
            return Ok(None);
        }
        Some(Err(error)) => return Err(error),
    };
    let mut topic = Topic::of(&description);
    match topic_settings(&kafka, &settings.topic, &TOPIC_SETTINGS, settings.deadline).await {
        Ok(known) => topic.settings = known,
        // The right DescribeConfigs is not needed for writing.
        Err(error) => topic.settings_hidden = Some(error.to_string()),
    }
    Ok(Some(topic))
}

/// The settings of a topic with these names, as far as the broker has them. Needs the right DescribeConfigs.
pub(super) async fn topic_settings(
    kafka: &Kafka,
    topic: &str,
    names: &[&str],
    within: Duration,
) -> Result<BTreeMap<String, String>, KrafkaError> {
    let resource = ConfigResource::topic(topic);
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let options = DescribeConfigsOptions::default().config_names(names).timeout(within);
    let mut all = kafka.admin().metrics_push(false).describe_configs([resource.clone()], options).await?;
    let entries = all.remove(&resource).unwrap_or_else(|| Ok(Vec::new()))?;
    Ok(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

impl Topic {
    fn of(description: &TopicDescription) -> Self {
        let partitions = &description.partitions;
        let least = |count: fn(&krafka::admin::PartitionDescription) -> usize| {
            partitions.iter().map(count).min().unwrap_or(0)
        };
        Self {
            partitions: partitions.len(),
            leaderless: partitions.iter().filter(|partition| partition.leader.is_none()).count(),
            replicas: least(|partition| partition.replicas.len()),
            in_sync: least(|partition| partition.isr.len()),
            may_write: description.authorized_operations.map(|operations| operations & WRITE != 0),
            ..Self::default()
        }
    }
}
