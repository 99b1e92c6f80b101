//! The idempotent producer, polled by whoever owns it.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};
use waybill_crds::Kafka;

use super::events::{Complaint, Events, Lines, Report};
use super::message::Message;
use super::placement::Placement;
use super::window::Tag;
use super::{config, explain};
use crate::sink::{Context, Failure, Stamp};

/// Why a message was not accepted for sending.
pub(super) enum Refusal {
    /// There is no room now, or the producer is at its end.
    Full,
    /// No broker takes a request of this size.
    TooLarge,
    /// Something else.
    Code(RDKafkaErrorCode),
}

/// A producer. What it still holds when it is dropped is not sent.
pub(super) struct Producer {
    inner: BaseProducer<Events, Placement>,
    /// The secrets that it was made with.
    pub(super) stamp: Stamp,
}

impl Producer {
    /// Makes a producer, which begins to connect. `batch` bounds a batch of several messages, in bytes.
    pub(super) fn new(settings: &Kafka, context: &Context, batch: usize) -> Result<Self, Failure> {
        Self::heard(settings, context, batch, None)
    }

    /// The same; its log goes to `lines`.
    pub(super) fn heard(
        settings: &Kafka,
        context: &Context,
        batch: usize,
        lines: Option<Arc<Lines>>,
    ) -> Result<Self, Failure> {
        // Looked at first: secrets that change while they are read make the next look find a difference.
        let stamp = config::stamp(settings, context);
        let mut client = config::client(settings, context, batch)?;
        if lines.is_some() {
            client.set("debug", "eos").set_log_level(RDKafkaLogLevel::Debug);
        }
        let events = Events::new(&context.name, Placement(settings.partition_by), lines);
        let inner =
            BaseProducer::from_config_and_context(&client, events).map_err(|e| explain::creation(&e, settings))?;
        Ok(Self { inner, stamp })
    }

    /// Hands a message over; the client library copies it.
    pub(super) fn send(&self, topic: &str, message: Message<'_>, tag: Tag) -> Result<(), Refusal> {
        let record = BaseRecord::with_opaque_to(topic, Box::new(tag))
            .key(message.key.as_str())
            .payload(message.payload)
            .headers(message.headers);
        self.inner.send(record).map_err(|(error, _)| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull | RDKafkaErrorCode::Fatal) => Refusal::Full,
            Some(code) if explain::is_too_large(code) => Refusal::TooLarge,
            code => Refusal::Code(code.unwrap_or(RDKafkaErrorCode::Unknown)),
        })
    }

    /// Hears what the producer has to say for so long.
    pub(super) fn poll(&self, patience: Duration) {
        self.inner.poll(patience);
    }

    /// The reports since the last call.
    pub(super) fn reports(&self) -> Vec<Report> {
        self.inner.context().reports()
    }

    /// The complaint since the last call that tells most of the cause.
    pub(super) fn complaint(&self) -> Option<Complaint> {
        self.inner.context().complaint()
    }

    /// Why the producer can't go on at all, if so.
    pub(super) fn fatal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.inner.client().fatal_error()
    }

    /// What the broker says of the topic: its partitions, or what is in the way.
    pub(super) fn topic(&self, topic: &str, patience: Duration) -> Result<usize, RDKafkaErrorCode> {
        let unknown = RDKafkaErrorCode::Unknown;
        let metadata = self
            .inner
            .client()
            .fetch_metadata(Some(topic), patience)
            .map_err(|e| e.rdkafka_error_code().unwrap_or(unknown))?;
        let found = metadata.topics().iter().find(|t| t.name() == topic).ok_or(RDKafkaErrorCode::UnknownTopic)?;
        match found.error() {
            Some(error) => Err(error.into()),
            None => Ok(found.partitions().len()),
        }
    }

    /// Lets go of the messages that were not put into a request yet.
    pub(super) fn purge_queued(&self) {
        self.inner.purge(PurgeConfig::default().queue());
    }

    /// Lets go of all messages, also of those whose outcome will never be known then.
    pub(super) fn purge_all(&self) {
        self.inner.purge(PurgeConfig::default().queue().inflight());
    }
}
