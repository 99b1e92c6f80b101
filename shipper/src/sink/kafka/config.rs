//! The client library's configuration: from a policy and its secrets.

use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use waybill_crds::{Kafka, KafkaCompression, SaslMechanism, SecretKey};

use crate::sink::{Context, Failure, Secrets, Stamp, tls};

/// A larger request is refused by every broker that has Kafka's default `socket.request.max.bytes`, by closing the connection.
/// Below that the broker judges.
const LARGEST_MESSAGE: &str = "100000000";
/// How long a connection may take to be made.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// What the secrets' files look like now.
pub(super) fn stamp(settings: &Kafka, context: &Context) -> Stamp {
    let password = settings.sasl.as_ref().map(|s| &s.password);
    context.secrets.stamp(tls::keys(settings.tls.as_ref()).chain(password))
}

/// The configuration of a producer. `batch` bounds a batch of several messages, in bytes.
pub(super) fn client(settings: &Kafka, context: &Context, batch: usize) -> Result<ClientConfig, Failure> {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", settings.brokers.join(","))
        .set("client.id", format!("waybill-{}-{}", context.policy, context.name))
        // Acknowledged by all in-sync replicas, in order, once.
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // One request at a time, and none after one that was refused: no record may overtake another of its stream.
        .set("max.in.flight.requests.per.connection", "1")
        .set("enable.gapless.guarantee", "true")
        // A message is never given up here: only a broker's answer settles it.
        .set("message.timeout.ms", "0")
        .set("message.max.bytes", LARGEST_MESSAGE)
        .set("batch.size", batch.to_string())
        .set("linger.ms", "10")
        .set("compression.codec", codec(settings.compression))
        // The sink bounds what the producer holds by itself, so that one large message always fits.
        .set("queue.buffering.max.messages", "0")
        .set("queue.buffering.max.kbytes", "1048576")
        // A topic is made by whoever decides on its partitions and its retention.
        .set("allow.auto.create.topics", "false")
        .set("topic.metadata.propagation.max.ms", "5000")
        .set("reconnect.backoff.max.ms", "3000")
        .set("socket.connection.setup.timeout.ms", CONNECT.as_millis().to_string())
        .set("socket.keepalive.enable", "true")
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Warning);
    client.set(
        "security.protocol",
        match (&settings.tls, &settings.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        },
    );
    if let Some(tls) = &settings.tls {
        match &tls.ca {
            Some(ca) => {
                tls::authorities(Some(ca), &context.secrets)?;
                client.set("ssl.ca.pem", pem(ca, &context.secrets)?);
            }
            // OpenSSL is linked in, and knows no place by itself.
            None => {
                let named = std::env::var("SSL_CERT_FILE").ok().filter(|file| !file.is_empty());
                client.set("ssl.ca.location", named.unwrap_or_else(|| "probe".to_owned()));
            }
        }
        if let (Some(certificate), Some(private_key)) = (&tls.certificate, &tls.private_key) {
            tls::authorities(Some(certificate), &context.secrets)?;
            let key = pem(private_key, &context.secrets)?;
            tls::parse_key(key.as_bytes(), private_key)?;
            client.set("ssl.certificate.pem", pem(certificate, &context.secrets)?).set("ssl.key.pem", key);
        }
    }
    if let Some(sasl) = &settings.sasl {
        client
            .set("sasl.mechanism", mechanism(sasl.mechanism))
            .set("sasl.username", &sasl.username)
            .set("sasl.password", context.secrets.text(&sasl.password)?);
    }
    Ok(client)
}

/// The mechanism's name on the wire.
pub(super) fn mechanism(mechanism: SaslMechanism) -> &'static str {
    match mechanism {
        SaslMechanism::Plain => "PLAIN",
        SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
        SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
    }
}

fn codec(compression: KafkaCompression) -> &'static str {
    match compression {
        KafkaCompression::None => "none",
        KafkaCompression::Gzip => "gzip",
        KafkaCompression::Snappy => "snappy",
        KafkaCompression::Lz4 => "lz4",
        KafkaCompression::Zstd => "zstd",
    }
}

fn pem(key: &SecretKey, secrets: &Secrets) -> Result<String, Failure> {
    let secret = secrets.read(key)?;
    std::str::from_utf8(secret.bytes()).map(str::to_owned).map_err(|_| {
        Failure::held(format!("secret {}, key {}: is not PEM text", key.secret, key.key), "put it there as PEM")
    })
}
