//! `waybill check --probe`: connects, logs in, and looks for the topic and the right to write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;
use waybill_crds::Kafka;

use super::events::Lines;
use super::producer::Producer;
use super::{BATCH, diagnose, explain};
use crate::sink::{Context, Failure};

/// How long it may take altogether.
const PATIENCE: Duration = Duration::from_secs(15);
/// How much longer it may take once no broker could be reached: a name may have several addresses, which are tried in turn.
const LAST_TRIES: Duration = Duration::from_secs(3);
/// One step.
const STEP: Duration = Duration::from_secs(1);
/// What the library's log says once a broker gave the producer its id, which takes the right to write.
const ASSIGNED: &str = "-> Assigned";

/// Tries the topic out without sending a record.
pub fn probe(settings: &Kafka, context: &Context) -> Result<String, Failure> {
    let lines = Arc::new(Lines::default());
    let producer = Producer::heard(settings, context, BATCH, Some(Arc::clone(&lines)))?;
    let deadline = Instant::now() + PATIENCE;
    let mut partitions = None;
    let mut last = None;
    // Since when no broker could be reached.
    let mut lost: Option<Instant> = None;
    while Instant::now() < deadline && (partitions.is_some() || lost.is_none_or(|since| since.elapsed() < LAST_TRIES)) {
        if partitions.is_none() {
            match producer.topic(&settings.topic, STEP) {
                Ok(count) => partitions = Some(count),
                Err(code @ (Code::BrokerTransportFailure | Code::OperationTimedOut | Code::LeaderNotAvailable)) => {
                    // The library does not say everything: each broker is looked at once.
                    if last.is_none() {
                        let found = diagnose::brokers(settings, &context.secrets);
                        if let Some(held) = found.as_ref().filter(|failure| failure.is_held()) {
                            return Err(held.clone());
                        }
                        if found.is_some() {
                            lost.get_or_insert_with(Instant::now);
                        }
                        last = Some(found.unwrap_or_else(|| explain::code(code, settings)));
                    }
                }
                Err(code) => return Err(explain::code(code, settings)),
            }
        }
        producer.poll(STEP / 10);
        if let Some((code, text)) = producer.fatal() {
            return Err(explain::fatal(code, &text, settings));
        }
        if let Some(complaint) = producer.complaint() {
            let failure = explain::complaint(&complaint, settings, &context.secrets);
            if failure.is_held() {
                return Err(failure);
            }
            // The first cause says more than what follows from it.
            if complaint.code != Code::AllBrokersDown || last.is_none() {
                last = Some(failure);
            }
            if matches!(complaint.code, Code::AllBrokersDown | Code::Resolve | Code::BrokerTransportFailure) {
                lost.get_or_insert_with(Instant::now);
            }
        }
        if let Some(count) = partitions
            && lines.has(ASSIGNED)
        {
            let broker = settings.brokers.first().map_or("", String::as_str);
            return Ok(format!(
                "topic {} with {count} partitions is there at {broker} and takes a producer",
                settings.topic
            ));
        }
    }
    Err(last.unwrap_or_else(|| Failure::again(format!("no answer came within {} s", PATIENCE.as_secs()))))
}
