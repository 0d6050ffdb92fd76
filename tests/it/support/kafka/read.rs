//! What a topic holds, by krafka's consumer and, for an independent view, by Kafka's own.

use std::time::Duration;

use krafka::consumer::AutoOffsetReset;
use krafka::error::KrafkaError;

use super::{Broker, block_on, client, script};

/// A reader has this long for a topic.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// How often it tries, while the broker finds itself again.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// A record as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Vec<u8>,
    pub(crate) timestamp: i64,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// The value of the header `name`, as text.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        value.map(|value| String::from_utf8(value.clone()).unwrap())
    }
}

/// Everything that `topic` holds now, by partition and offset.
pub(crate) fn read_all(bootstrap: &str, topic: &str) -> Vec<Record> {
    let mut records = block_on(async {
        tokio::time::timeout(READ_LIMIT, read_again_while_leaders_move(bootstrap, topic))
            .await
            .unwrap_or_else(|_| panic!("reading {topic} takes longer than {READ_LIMIT:?}"))
    })
    .unwrap_or_else(|error| panic!("reading {topic}: {error}"));
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

/// A broker that was frozen or killed takes a new epoch, and tells early readers so.
async fn read_again_while_leaders_move(bootstrap: &str, topic: &str) -> Result<Vec<Record>, KrafkaError> {
    loop {
        match read(bootstrap, topic).await {
            Err(error) if error.is_retriable() => tokio::time::sleep(RETRY_EVERY).await,
            result => return result,
        }
    }
}

async fn read(bootstrap: &str, topic: &str) -> Result<Vec<Record>, KrafkaError> {
    let kafka = client(bootstrap).await?;
    let consumer = kafka
        .consumer_without_group()
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .metrics_push(false)
        .build()
        .await?;
    let known = consumer.fetch_metadata(Some(topic)).await?;
    let partitions: Vec<i32> =
        known.topics.iter().flat_map(|topic| topic.partitions_iter().map(|one| one.partition)).collect();
    consumer.assign(topic, partitions.clone()).await?;
    let mut missing = Vec::new();
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition).await?;
        if high > low {
            missing.push((partition, high));
        }
    }
    let mut records = Vec::new();
    while !missing.is_empty() {
        for record in consumer.poll(Duration::from_millis(200)).await? {
            records.push(Record {
                partition: record.partition,
                offset: record.offset,
                key: record.key.map(Into::into),
                value: record.value.map(Into::into).unwrap_or_default(),
                timestamp: record.timestamp,
                headers: record
                    .headers
                    .into_iter()
                    .map(|(key, value)| (key, value.map(Into::into).unwrap_or_default()))
                    .collect(),
            });
        }
        // A position may stand behind the last record when that is a marker, which readers never see.
        let mut still = Vec::new();
        for (partition, high) in missing {
            if consumer.position(topic, partition).await.is_none_or(|position| position < high) {
                still.push((partition, high));
            }
        }
        missing = still;
    }
    consumer.close().await?;
    Ok(records)
}

/// `count` records of `topic` as Kafka's own Java console consumer prints them, a line each: time,
/// partition, headers, key and value, with tabs between.
pub(crate) fn read_by_java(broker: &Broker, topic: &str, count: usize) -> Vec<String> {
    let count = count.to_string();
    let arguments = ["read", "--bootstrap", &broker.address(), "--topic", topic, "--max", &count];
    script(&[&arguments[..], &["--timeout", "20"]].concat()).lines().map(str::to_owned).collect()
}
