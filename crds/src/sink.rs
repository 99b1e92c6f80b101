//! Where a policy's records go.

mod cloud_watch;
mod elasticsearch;
mod file;
mod kafka;
mod syslog;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::cloud_watch::{CloudWatch, OutOfRange, RETENTION_DAYS};
pub use self::elasticsearch::{Elasticsearch, ElasticsearchAuth};
pub use self::file::FileSink;
pub use self::kafka::{Kafka, KafkaCompression, PartitionBy, Sasl, SaslMechanism};
pub use self::syslog::{Facility, Severity, SyslogSink, SyslogTransport};
use crate::kill_switch::KillSwitch;

/// Where records go. Each sink has a lane of its own, so that one that is down delays no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Kafka') == has(self.kafka)")
        .message("type Kafka needs the object kafka, and no other type has it"),
    validation = Rule::new("(self.type == 'Elasticsearch') == has(self.elasticsearch)")
        .message("type Elasticsearch needs the object elasticsearch, and no other type has it"),
    validation = Rule::new("(self.type == 'CloudWatch') == has(self.cloudWatch)")
        .message("type CloudWatch needs the object cloudWatch, and no other type has it"),
    validation = Rule::new("(self.type == 'Syslog') == has(self.syslog)")
        .message("type Syslog needs the object syslog, and no other type has it"),
    validation = Rule::new("(self.type == 'File') == has(self.file)")
        .message("type File needs the object file with its path, and no other type has it"),
    validation = Rule::new("!has(self.sources) || size(self.sources) > 0")
        .message("an empty list of sources would deliver nothing: name some, or leave sources out for all of them")
)]
pub struct Sink {
    /// The sink's name: at most 40 lower-case letters, digits and hyphens. With type and destination it is the lane's key.
    #[schemars(length(min = 1, max = crate::bounds::NAME_LENGTH), extend("x-waybill" = "name", "pattern" = crate::bounds::NAME_PATTERN))]
    pub name: String,
    /// Kafka, Elasticsearch (also OpenSearch), CloudWatch, Syslog, File or Stdout.
    #[serde(rename = "type")]
    pub kind: SinkType,
    /// Whether retention waits for this sink. Default true; for Syslog false, because it acknowledges nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Names of the sources that are delivered, 1 to 64. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = crate::bounds::SOURCES), inner(length(min = 1, max = crate::bounds::NAME_LENGTH)))]
    pub sources: Option<Vec<String>>,
    /// What is delivered. Ecs (default): the canonical record. Original: the line as it was.
    #[serde(default)]
    pub encoding: Encoding,
    /// For type Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<Kafka>,
    /// For type Elasticsearch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<Elasticsearch>,
    /// For type CloudWatch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_watch: Option<CloudWatch>,
    /// For type Syslog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog: Option<SyslogSink>,
    /// For type File.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSink>,
    /// Stops this sink alone.
    #[serde(default)]
    pub kill_switch: KillSwitch,
}

impl Sink {
    /// Whether retention waits for this sink.
    pub fn is_required(&self) -> bool {
        self.required.unwrap_or(self.kind != SinkType::Syslog)
    }

    /// Whether this sink delivers the source of that name.
    pub fn takes(&self, source: &str) -> bool {
        self.sources.as_ref().is_none_or(|names| names.iter().any(|name| name == source))
    }
}

/// What kind of place records go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum SinkType {
    /// Apache Kafka.
    Kafka,
    /// Elasticsearch 8 and 9, OpenSearch 2 and 3.
    Elasticsearch,
    /// Amazon CloudWatch Logs.
    CloudWatch,
    /// RFC 5424 over TLS, TCP or UDP.
    Syslog,
    /// A file on the node.
    File,
    /// The agent's own standard output.
    Stdout,
}

impl SinkType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::Kafka, Self::Elasticsearch, Self::CloudWatch, Self::Syslog, Self::File, Self::Stdout];

    /// The name that a policy uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kafka => "Kafka",
            Self::Elasticsearch => "Elasticsearch",
            Self::CloudWatch => "CloudWatch",
            Self::Syslog => "Syslog",
            Self::File => "File",
            Self::Stdout => "Stdout",
        }
    }
}

/// What a sink delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Encoding {
    /// The canonical record: Elastic Common Schema as one JSON object.
    #[default]
    Ecs,
    /// The line as it was.
    Original,
}
