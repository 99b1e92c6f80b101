//! What the agent is to do: a policy, resolved into what the engine and the sinks need.

pub mod resolve;

use std::path::PathBuf;

use waybill_crds::Cycle;

use crate::format;
use crate::lane::kill_switch::Switch;
use crate::rotate::reopen::Reopen;
use crate::rotate::retain::Bounds;
use crate::sink::{Context, Secrets};
use crate::source::envelope::Envelope;
use crate::source::pattern::Pattern;
use crate::source::receive::Listen;

/// A resolved policy.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The policy's name.
    pub policy: String,
    /// BLAKE3 of the policy's text, in hex.
    pub digest: String,
    /// The generation of the kill switches; 0 on a bare host.
    pub generation: i64,
    /// Bounds.
    pub limits: Limits,
    /// In the policy's order: a file belongs to the first that matches it.
    pub sources: Vec<SourcePlan>,
    /// One lane each.
    pub sinks: Vec<SinkPlan>,
    /// The engaged kill switches.
    pub switches: Vec<Switch>,
    /// Switches that are not engaged, with who lifted them and why.
    pub lifted: Vec<Switch>,
}

/// Kill switches that are ordered apart from a policy's document: all of them as they are at a generation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notice {
    /// The generation of the policy that they were taken from.
    pub generation: i64,
    /// The engaged ones.
    pub switches: Vec<Switch>,
    /// Those that are not engaged, with who lifted them and why.
    pub lifted: Vec<Switch>,
}

impl Plan {
    /// Where its sources listen.
    pub fn listens(&self) -> Vec<Listen> {
        self.sources.iter().filter_map(|source| source.listen.clone()).collect()
    }

    /// Takes the switches of a notice that is newer than the plan.
    pub fn heed(&mut self, notice: &Notice) {
        if notice.generation > self.generation {
            self.generation = notice.generation;
            self.switches.clone_from(&notice.switches);
            self.lifted.clone_from(&notice.lifted);
        }
    }
}

/// Bounds of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of encoded records in memory, all lanes together.
    pub in_flight: usize,
    /// Longest line that stays whole, in bytes.
    pub line: usize,
    /// Files held open beside those that owe bytes to a required lane.
    pub open_files: usize,
    /// Seconds that SIGTERM gives the lanes.
    pub drain_seconds: u64,
}

/// What to read.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// The source's name.
    pub name: String,
    /// Path patterns.
    pub patterns: Vec<Pattern>,
    /// What to leave out.
    pub exclude: Vec<Pattern>,
    /// What container runtimes wrapped around the lines.
    pub envelope: Envelope,
    /// Files and lanes met for the first time begin at their end.
    pub start_now: bool,
    /// Grammar and what goes with it.
    pub settings: format::Settings,
    /// How its files are rotated; `None` = by someone else.
    pub rotation: Option<RotationPlan>,
    /// How long its archives and rotated files are kept; `None` = until someone else removes them.
    pub retention: Option<Bounds>,
    /// Which of its files the file system protects.
    pub protect: waybill_crds::Protect,
    /// Its files are written by the agent itself, from what is sent to it.
    pub listen: Option<Listen>,
}

/// Where to deliver.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkPlan {
    /// The sink's name.
    pub name: String,
    /// What of a record is delivered.
    pub encoding: Encoding,
    /// What retention waits for.
    pub required: bool,
    /// The sources that it takes; `None` = all.
    pub sources: Option<Vec<String>>,
    /// How.
    pub kind: SinkKind,
}

pub use waybill_crds::Encoding;

/// A sink's type and settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// A data stream of Elasticsearch or OpenSearch.
    Elasticsearch(waybill_crds::Elasticsearch),
    /// Canonical JSONL in a file that is rotated.
    File(FilePlan),
    /// A topic of Apache Kafka.
    #[cfg(feature = "kafka")]
    Kafka(waybill_crds::Kafka),
    /// One JSON line a record on standard output.
    Stdout,
    /// RFC 5424 over TLS, TCP or UDP.
    Syslog(waybill_crds::SyslogSink),
    /// Amazon CloudWatch Logs.
    #[cfg(feature = "aws")]
    CloudWatch(waybill_crds::CloudWatch),
}

/// Settings of a `File` sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePlan {
    /// The live file.
    pub path: PathBuf,
    /// It is rotated before it would grow beyond this, in bytes; 0 = never for its size.
    pub max_size: u64,
    /// It is rotated when this changes.
    pub cycle: Cycle,
    /// What its archives are compressed with.
    pub compression: crate::source::decompress::Compression,
    /// How long its archives are kept.
    pub retention: Bounds,
    /// Which of its archives the file system protects.
    pub protect: waybill_crds::Protect,
}

/// How a source's live files become archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationPlan {
    /// By which means.
    pub mode: RotationMode,
    /// A live file is rotated when it is as large as this, in bytes.
    pub max_size: u64,
    /// And when this turns, in the source's time zone.
    pub cycle: Cycle,
    /// How archives are compressed.
    pub compression: crate::source::decompress::Compression,
    /// Where they are put; `None` = beside the live file.
    pub folder: Option<PathBuf>,
}

/// By which means a source's files are rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationMode {
    /// What is archived is cut from the front of the live file.
    Collapse,
    /// The live file is renamed, and its writer made to open a new one.
    Rename(Reopen),
}

impl SinkPlan {
    /// Where the records go: with name and type it makes the lane's key.
    pub fn destination(&self) -> String {
        match &self.kind {
            SinkKind::Elasticsearch(sink) => sink.data_stream.clone(),
            SinkKind::File(file) => file.path.display().to_string(),
            #[cfg(feature = "kafka")]
            SinkKind::Kafka(kafka) => kafka.topic.clone(),
            SinkKind::Stdout => "stdout".to_owned(),
            SinkKind::Syslog(syslog) => syslog.address.clone(),
            #[cfg(feature = "aws")]
            SinkKind::CloudWatch(cloud) => format!("{} {}", cloud.region, cloud.log_group),
        }
    }

    /// The type's name in the policy.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            SinkKind::Elasticsearch(_) => "Elasticsearch",
            SinkKind::File(_) => "File",
            #[cfg(feature = "kafka")]
            SinkKind::Kafka(_) => "Kafka",
            SinkKind::Stdout => "Stdout",
            SinkKind::Syslog(_) => "Syslog",
            #[cfg(feature = "aws")]
            SinkKind::CloudWatch(_) => "CloudWatch",
        }
    }

    /// What its sink is to know.
    pub fn context(&self, plan: &Plan, host: &str, secrets: &Secrets) -> Context {
        Context {
            name: self.name.clone(),
            encoding: self.encoding,
            in_flight: plan.limits.in_flight,
            policy: plan.policy.clone(),
            host: host.to_owned(),
            secrets: secrets.clone(),
        }
    }

    /// Whether it takes a source's records.
    pub fn takes(&self, source: &str) -> bool {
        self.sources.as_ref().is_none_or(|names| names.iter().any(|n| n == source))
    }
}
