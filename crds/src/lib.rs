//! The `AuditPolicy` contract: its types, their defaults, and how a document is read and judged.
//!
//! One document configures everything. On a cluster `kubectl apply` hands it to the operator; on a bare host the agent reads
//! the very same file. This crate is what both agree on, and it knows neither a network nor a file system:
//!
//! - [`AuditPolicy`] and its parts, one module a part, are the types. Every default is filled in when a document is
//!   deserialized, so that whoever reads a spec meets no absent value where a default exists.
//! - [`read`] turns text into a [`Document`]: the spec, every mistake with its path and line, and the kill switches even of a
//!   document that is broken elsewhere.
//! - [`validate`] judges a spec by what it says alone.
//! - [`crd`] is the `CustomResourceDefinition`; `auditpolicies.waybill.dev.yaml` beside this crate is generated from it.
#![forbid(unsafe_code)]
#![allow(
    clippy::doc_markdown,
    reason = "`kubectl explain` shows the comments of fields, and backticks would be noise there"
)]
#![allow(unreachable_pub, reason = "the derive of schemas puts a copy of each type into a function")]

mod agent;
pub mod bounds;
mod document;
mod finding;
mod format;
mod kill_switch;
mod limits;
mod policy;
mod protect;
mod quantity;
mod retention;
mod rotation;
mod rules;
mod schema;
mod secret;
mod sink;
mod source;
mod status;
mod usage;
mod validate;

pub use agent::{Agent, MaxUnavailable, Quantity, Resources, Toleration, UpdateStrategy};
pub use document::{AUTHORS_ANNOTATION, AUTHORS_VERIFIED, Document, Switches, read};
pub use finding::{Finding, Severity};
pub use format::{DropRule, Format, JsonMap, Meaning};
pub use kill_switch::{KillSwitch, KillSwitchMode};
pub use limits::Limits;
pub use policy::{AuditPolicy, AuditPolicySpec};
pub use protect::{Protect, WhenUnsupported};
pub use quantity::{ByteSize, MinFree, ParseQuantityError};
pub use retention::{OnPressure, Retention};
pub use rotation::{Compression, Cycle, FileRotation, Process, Reopen, ReopenType, Rotation, RotationMode, Signal};
pub use schema::{crd, crd_yaml};
pub use secret::{SecretKey, Tls};
pub use sink::{
    CloudWatch, Elasticsearch, ElasticsearchAuth, Encoding, Facility, FileSink, Kafka, KafkaCompression, OutOfRange,
    PartitionBy, RETENTION_DAYS as CLOUD_WATCH_RETENTION_DAYS, Sasl, SaslMechanism, Severity as SyslogSeverity, Sink,
    SinkType, SyslogSink, SyslogTransport,
};
pub use source::{Envelope, FileSource, ListenTransport, Source, SourceType, StartAt, SyslogSource};
pub use status::{AuditPolicyStatus, LostNode, Nodes, SinkState, SinkStatus};
pub use usage::Usage;
pub use validate::validate;
