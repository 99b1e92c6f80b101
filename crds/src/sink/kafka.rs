//! Apache Kafka.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::{SecretKey, Tls};

/// A topic of Apache Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kafka {
    /// Brokers to begin with, 1 to 16, each as host:port.
    #[schemars(
        length(min = 1, max = crate::bounds::ENDPOINTS),
        inner(length(min = 1, max = crate::bounds::ADDRESS_LENGTH))
    )]
    #[x_kube(validation = crate::rules::hosts())]
    pub brokers: Vec<String>,
    /// The topic: at most 249 letters, digits, dots, underscores and hyphens.
    #[schemars(length(min = 1, max = 249))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9._-]+$') && !(self in ['.', '..'])")
            .message("write letters, digits, dots, underscores and hyphens")
    )]
    pub topic: String,
    /// How batches are compressed: Zstd (default), Lz4, Snappy, Gzip or None.
    #[serde(default)]
    pub compression: KafkaCompression,
    /// What goes to one partition. Stream (default): the records of a stream, so that their order is kept. Source: all
    /// records of a source.
    #[serde(default)]
    pub partition_by: PartitionBy,
    /// TLS to the brokers. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The login. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KafkaCompression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    #[default]
    Zstd,
}

/// What goes to one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PartitionBy {
    /// The records of a stream: their order is kept.
    #[default]
    Stream,
    /// All records of a source.
    Source,
}

/// The login to Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sasl {
    /// Plain, ScramSha256 or ScramSha512.
    pub mechanism: SaslMechanism,
    /// The user's name, at most 253 characters.
    #[schemars(length(min = 1, max = crate::bounds::USER_LENGTH))]
    pub username: String,
    /// The password.
    pub password: SecretKey,
}

/// How the password is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaslMechanism {
    /// It is sent as it is: only with TLS.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}
