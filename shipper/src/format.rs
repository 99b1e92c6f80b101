//! From bytes to a record: what a format is given, and what it answers.
//!
//! Formats are pure: bytes in, record out. No I/O, no clock, no global state. A line that does not parse is encoded raw and
//! counted, never dropped.
//!
//! [`Encoder`] is the one entry: a stream has one, and gives it every [`Frame`]. Inside, a format (`v2ray`, `qurl_connector`,
//! `json`, `text`) fills a [`record::Record`], which is borrowed slices of the line and nothing else, and `ecs` writes that as
//! one line of JSON: Elastic Common Schema 9, nested, plus the namespace `waybill`. No record allocates once the encoder's
//! buffers have grown to the size of the lines.
//!
//! What holds for every format:
//! - One frame gives exactly one line of valid JSON, or none if a rule dropped it. Text is escaped so that no byte of a line
//!   can end a string, and so that nothing that a terminal or a line splitter obeys (control characters of either range, DEL,
//!   U+2028, U+2029, bidirectional overrides) passes unescaped.
//! - `@timestamp` is the line's own time, else the container runtime's, else when it was read.
//! - Pieces of a line are not parsed as if they were the line.

mod address;
pub(crate) mod base;
mod control;
mod drop_rule;
mod ecs;
mod encoder;
mod escape;
mod go_stack;
mod host_log;
mod join;
mod journal;
mod json;
mod kubernetes_audit;
mod linux_audit;
mod logfmt;
mod members;
mod object;
mod pam;
mod peer;
mod qurl_connector;
mod record;
mod redact;
mod scan;
mod settings;
mod softether;
mod sshd;
mod sshd_messages;
mod sudo;
mod sudo_json;
mod syslog;
mod text;
mod time;
mod v2ray;
mod v2ray_access;
mod v2ray_dns;
mod v2ray_error;
mod v2ray_forgery;
mod v2ray_panel;
mod v2ray_usage;
mod vis;

pub use control::encode_control;
pub use encoder::Encoder;
pub use go_stack::{Extent, extent, stacks};
pub use qurl_connector::parses_alone;
pub use record::{record_hash, write_id};
pub use settings::{DropRule, Error, JsonMap, Kind, Meaning, Outcome, Settings, Usage, Verdict, is_local, joins};

/// What all records of one stream have in common; rendered once, used for every record.
#[derive(Debug, Clone, Default)]
pub struct StreamInfo {
    /// The stream's identity: 128 random bits.
    pub stream: [u8; 16],
    /// The policy's name.
    pub policy: String,
    /// The source's name.
    pub source: String,
    /// The path under which the stream was found first; may hold any byte.
    pub path: Vec<u8>,
    /// What the path pattern captured, such as `hub` → `DEFAULT`.
    pub captures: Vec<(String, String)>,
    /// The node's host name.
    pub host: String,
    /// The pod that wrote the stream, from its path under `/var/log/pods`.
    pub kubernetes: Option<Kubernetes>,
}

/// The container that wrote a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kubernetes {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub uid: String,
    /// Name of the container.
    pub container: String,
}

/// One framed record, before its format sees it.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The text without its terminator and without a container runtime's wrapping. May hold any byte.
    pub text: &'a [u8],
    /// Position in the stream, from 1.
    pub seq: u64,
    /// Logical offset of the record's first byte in its stream.
    pub offset: u64,
    /// 64-bit hash of `text`, the last part of the record id.
    pub hash: u64,
    /// When the bytes were read, in nanoseconds since 1970 UTC: the event's time where the line carries none.
    pub observed: i64,
    /// What the container runtime wrote around the text.
    pub envelope: Option<Envelope<'a>>,
    /// Set if the line was longer than the bound and this is a piece of it.
    pub fragment: Option<Fragment>,
    /// The record's writer did not finish it: an unterminated end of a finished file, or a piece of a split line.
    pub partial: bool,
}

/// What a container runtime wrote around a line.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// RFC 3339 time of the line.
    pub time: &'a [u8],
    /// `stdout` or `stderr`.
    pub output: &'a [u8],
}

/// The place of a piece in a line that was longer than the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Offset of the whole line's first byte: the same for all of its pieces.
    pub line: u64,
    /// 0, 1, 2 …
    pub index: u32,
    /// The last piece of its line.
    pub last: bool,
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod documented;
#[cfg(test)]
mod genuine;
#[cfg(test)]
mod growth;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

/// The dotted names of the fields that hold slices of a line.
#[cfg(test)]
pub(crate) fn field_names() -> impl Iterator<Item = &'static str> {
    record::Field::ALL.iter().map(|field| field.place().name)
}
