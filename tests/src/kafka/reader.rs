//! Reads a topic back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

/// How long a broker may take for one answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its key.
    pub key: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its value.
    pub payload: Vec<u8>,
}

/// All that a topic holds now, partition by partition, each in order.
pub fn read(broker: &str, topic: &str) -> Result<Vec<Message>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", "tests")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|t| t.partitions().iter().map(rdkafka::metadata::MetadataPartition::id))
        .collect();
    let (mut list, mut ends) = (TopicPartitionList::new(), BTreeMap::new());
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        if high > low {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
            ends.insert(partition, high);
        }
    }
    let mut messages = Vec::new();
    if ends.is_empty() {
        return Ok(messages);
    }
    consumer.assign(&list)?;
    let mut heard = Instant::now();
    while !ends.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            Some(message) => {
                let message = message?;
                heard = Instant::now();
                let headers = message.headers().map(|all| {
                    let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
                    all.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
                });
                let next = message.offset() + 1;
                messages.push(Message {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
                    headers: headers.unwrap_or_default(),
                    payload: message.payload().unwrap_or_default().to_vec(),
                });
                ends.retain(|partition, end| *partition != message.partition() || next < *end);
            }
            None if heard.elapsed() > PATIENCE => bail!("the topic {topic} is not read to its end: {ends:?} are left"),
            None => {}
        }
    }
    messages.sort_by_key(|message| (message.partition, message.offset));
    Ok(messages)
}
