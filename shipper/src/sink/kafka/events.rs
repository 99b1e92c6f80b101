//! What the producer tells us while it is polled: reports, complaints and its log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use super::log::Limit;
use super::placement::Placement;
use super::window::Tag;

/// An error that concerns no message: of a connection, of the login, or of the producer as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    /// What kind.
    pub(super) code: RDKafkaErrorCode,
    /// What the client library says, with the broker's name in front.
    pub(super) text: String,
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    /// What the message was sent with.
    pub(super) tag: Tag,
    /// Why it was not taken.
    pub(super) error: Option<RDKafkaErrorCode>,
}

/// Where it all is kept until someone looks.
#[derive(Debug)]
pub(super) struct Events {
    sink: String,
    placement: Placement,
    reports: Mutex<Vec<Report>>,
    complaint: Mutex<Option<Complaint>>,
    log: Mutex<Limit>,
    heard: Option<Arc<Lines>>,
}

/// Every line of the library's log, for a probe.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Vec<String>>);

impl Lines {
    /// Whether a line has this text.
    pub(super) fn has(&self, text: &str) -> bool {
        lock(&self.0).iter().any(|line| line.contains(text))
    }
}

impl Events {
    pub(super) fn new(sink: &str, placement: Placement, heard: Option<Arc<Lines>>) -> Self {
        Self {
            sink: sink.to_owned(),
            placement,
            reports: Mutex::default(),
            complaint: Mutex::default(),
            log: Mutex::default(),
            heard,
        }
    }

    /// The reports since the last call.
    pub(super) fn reports(&self) -> Vec<Report> {
        std::mem::take(&mut *lock(&self.reports))
    }

    /// The complaint since the last call that says most.
    pub(super) fn complaint(&self) -> Option<Complaint> {
        lock(&self.complaint).take()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much a complaint tells of the cause.
fn weight(code: RDKafkaErrorCode) -> u8 {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Fatal => 3,
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism | Code::SSL => 2,
        // It follows whatever brought down the last connection.
        Code::AllBrokersDown => 0,
        _ => 1,
    }
}

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if let Some(lines) = &self.heard {
            lock(&lines.0).push(format!("{facility}: {message}"));
            return;
        }
        if matches!(level, RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug) {
            tracing::debug!(target: "librdkafka", sink = self.sink, facility, "{message}");
        } else if let Some(unsaid) = lock(&self.log).admit(std::time::Instant::now()) {
            tracing::warn!(target: "librdkafka", sink = self.sink, facility, unsaid, "{message}");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let mut slot = lock(&self.complaint);
        if slot.as_ref().is_none_or(|had| weight(code) >= weight(had.code)) {
            *slot = Some(Complaint { code, text: reason.to_owned() });
        }
    }
}

impl ProducerContext<Placement> for Events {
    type DeliveryOpaque = Box<Tag>;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: Box<Tag>) {
        let error = result.as_ref().err().map(|(e, _)| e.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown));
        lock(&self.reports).push(Report { tag: *tag, error });
    }

    fn get_custom_partitioner(&self) -> Option<&Placement> {
        Some(&self.placement)
    }
}
