//! What the client library's errors mean, and what would mend them.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use waybill_crds::Kafka;

use super::config;
use super::diagnose::{self, Port};
use super::events::Complaint;
use crate::sink::{Failure, Secrets};

/// Whether an error says that a batch is larger than the topic or the broker takes.
pub(super) fn is_too_large(code: Code) -> bool {
    matches!(code, Code::MessageSizeTooLarge | Code::MessageBatchTooLarge)
}

/// What a report's error means. What is not known holds the lane.
pub(super) fn code(code: Code, settings: &Kafka) -> Failure {
    let topic = &settings.topic;
    let user = user(settings);
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => Failure::held(
            format!("there is no topic {topic}, or {user} may not see it"),
            "make the topic, correct sink.kafka.topic, or grant Write on it",
        ),
        Code::InvalidTopic => {
            Failure::held(format!("the broker takes no topic of the name {topic}"), "correct sink.kafka.topic")
        }
        Code::TopicAuthorizationFailed => {
            Failure::held(format!("{user} may not write to topic {topic}"), "grant Write on the topic")
        }
        Code::ClusterAuthorizationFailed | Code::TransactionalIdAuthorizationFailed => Failure::held(
            format!("{user} may write to no topic"),
            format!("grant Write on topic {topic} (before Kafka 2.8 also IdempotentWrite on the cluster)"),
        ),
        Code::UnsupportedCompressionType => Failure::held(
            format!("topic {topic} does not take the compression {:?}", settings.compression),
            "choose another in sink.kafka.compression",
        ),
        Code::PolicyViolation => Failure::held(
            format!("a policy of the cluster refuses what is sent to topic {topic}"),
            "look at the policy, or use another topic",
        ),
        Code::UnsupportedForMessageFormat | Code::UnsupportedVersion | Code::UnsupportedFeature => Failure::held(
            format!("the broker is too old for an idempotent producer ({code})"),
            "use Kafka 0.11 or later, and message.format.version likewise",
        ),
        Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::MessageTimedOut
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::NetworkException
        | Code::KafkaStorageError
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerEpoch
        | Code::Inconsistent
        | Code::Retry => Failure::again(format!("topic {topic}: {code}")),
        _ => Failure::held(
            format!("topic {topic}: {code}"),
            "this answer is not known: look at the broker's log; delivery is tried again",
        ),
    }
}

/// What an error means that ends the producer.
pub(super) fn fatal(fatal: Code, text: &str, settings: &Kafka) -> Failure {
    match code(fatal, settings) {
        Failure::Again { what } => Failure::again(format!("{what} ({}); the producer is made anew", bare(text))),
        held => held,
    }
}

/// Why a producer could not even be made.
pub(super) fn creation(error: &KafkaError, settings: &Kafka) -> Failure {
    let remedy = if settings.tls.as_ref().is_some_and(|t| t.certificate.is_some()) {
        "put a certificate and the key that it was made for into sink.kafka.tls"
    } else {
        "correct the settings in sink.kafka"
    };
    let text = match error {
        KafkaError::ClientConfig(_, text, key, _) => format!("{key}: {text}"),
        KafkaError::ClientCreation(text) => text.clone(),
        other => other.to_string(),
    };
    Failure::held(format!("the client cannot be set up: {}", bare(&text)), remedy)
}

/// What a complaint means. Of TLS the library knows too little: the connection is tried once more to learn the cause.
pub(super) fn complaint(complaint: &Complaint, settings: &Kafka, secrets: &Secrets) -> Failure {
    let (broker, text) = split(&complaint.text);
    let at = if broker.is_empty() { settings.brokers.join(", ") } else { broker.to_owned() };
    match complaint.code {
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => {
            login(&at, text, settings)
        }
        Code::SSL | Code::BrokerTransportFailure if text.contains("alert") => Failure::held(
            format!("{at}: it does not accept the client certificate ({})", alert(text)),
            "name a certificate in sink.kafka.tls.certificate that the brokers' authority signed, and its key",
        ),
        Code::SSL => diagnose::tls(&at, settings.tls.as_ref(), secrets).unwrap_or_else(|| {
            Failure::held(
                format!("{at}: TLS failed: {text}"),
                "look at the certificates of the broker and in sink.kafka.tls",
            )
        }),
        Code::BrokerTransportFailure if text.contains("PLAINTEXT broker listener") => match diagnose::port(&at) {
            Port::Kafka => Failure::held(
                format!("{at}: it does not speak TLS on this port"),
                "name the port of a TLS listener, or leave sink.kafka.tls out",
            ),
            Port::Tls | Port::Silent => {
                Failure::again(format!("{at}: the connection was closed during the TLS handshake"))
            }
        },
        Code::Resolve => Failure::again(format!(
            "{at}: the host name is not known; correct sink.kafka.brokers, or look at the name service"
        )),
        Code::AllBrokersDown => Failure::again(format!(
            "none of the brokers can be reached: {at}; look at the addresses, at firewalls and at the brokers"
        )),
        Code::BrokerTransportFailure if text.contains("Connection refused") => diagnose::nobody(&at),
        Code::BrokerTransportFailure if text.ends_with("timed out in state CONNECT") => Failure::again(format!(
            "{at}: no connection within {} s; look at the address in sink.kafka.brokers and at firewalls",
            config::CONNECT.as_secs()
        )),
        Code::BrokerTransportFailure if text.contains("setup timed out") => Failure::again(format!(
            "{at}: it takes the connection and does not answer; if this is Kafka's port, look at the broker"
        )),
        Code::BrokerTransportFailure | Code::OperationTimedOut => Failure::again(format!("{at}: {text}")),
        Code::Fatal => Failure::again(format!("{at}: {text}")),
        other => code(other, settings),
    }
}

fn login(at: &str, text: &str, settings: &Kafka) -> Failure {
    let Some(sasl) = &settings.sasl else {
        return Failure::held(format!("{at}: it wants a login: {text}"), "write sasl into sink.kafka");
    };
    let name = config::mechanism(sasl.mechanism);
    let lower = text.to_ascii_lowercase();
    if lower.contains("mechanism")
        && (lower.contains("unsupported") || lower.contains("not supported") || lower.contains("not enabled"))
    {
        return Failure::held(
            format!("{at}: it does not take the login by {name}"),
            "write a mechanism into sink.kafka.sasl that the broker has in sasl.enabled.mechanisms",
        );
    }
    Failure::held(
        format!("{at}: it refuses the login of {} by {name}", sasl.username),
        format!(
            "correct sink.kafka.sasl.username, or the password in secret {}, key {}",
            sasl.password.secret, sasl.password.key
        ),
    )
}

/// The user as brokers see it.
fn user(settings: &Kafka) -> String {
    match &settings.sasl {
        Some(sasl) => format!("user {}", sasl.username),
        None if settings.tls.as_ref().is_some_and(|t| t.certificate.is_some()) => {
            "the client certificate's user".into()
        }
        None => "the anonymous user".into(),
    }
}

/// Takes the broker's name off an error: `sasl_ssl://host:9093/bootstrap: text (after 3ms in state …)`.
fn split(text: &str) -> (&str, &str) {
    let text = bare(text);
    let Some((name, rest)) = text.split_once(": ") else { return ("", text) };
    let address = name.split_once("://").map_or(name, |(_, address)| address);
    let Some((address, _)) = address.split_once('/') else { return ("", text) };
    (address, rest)
}

/// Without the part that changes from time to time, so that the same trouble has the same words.
fn bare(text: &str) -> &str {
    let cut = text.find(" (after ").or_else(|| text.find(" (install")).unwrap_or(text.len());
    text.get(..cut).unwrap_or(text).trim()
}

/// The words of a TLS alert.
fn alert(text: &str) -> &str {
    let from = text.find("alert").unwrap_or_default();
    let part = text.get(from..).unwrap_or(text);
    part.split(':').next().unwrap_or(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_taken_apart() {
        let text = "sasl_ssl://127.0.0.1:9093/bootstrap: SASL authentication error: no (after 301ms in state AUTH_REQ, 3 identical error(s) suppressed)";
        assert_eq!(split(text), ("127.0.0.1:9093", "SASL authentication error: no"));
        assert_eq!(
            split("[::1]:9092/1: Connect to [::1]:9092 failed (after 1ms)"),
            ("[::1]:9092", "Connect to [::1]:9092 failed")
        );
        assert_eq!(split("1/1 brokers are down"), ("", "1/1 brokers are down"));
    }
}
