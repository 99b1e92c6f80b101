//! What a source says about its format, and what encoding a frame answers.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

pub use waybill_crds::{DropRule, Format as Kind, JsonMap, Meaning, Usage};

/// Whether a format's lines carry local times without a zone.
pub fn is_local(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::V2RayAccess
            | Kind::V2RayError
            | Kind::SoftEtherServer
            | Kind::SoftEtherSecurity
            | Kind::SoftEtherPacket
            | Kind::Sshd
            | Kind::Sudo
    )
}

/// Whether a writer of this format splits a line over a rotation, so that the pieces may be joined.
///
/// The qURL Connector writes through a buffer of 64 KiB that knows no lines (its `pkg/audit/logger.go`).
pub fn joins(kind: Kind) -> bool {
    kind == Kind::QurlConnector
}

/// What happened, as dashboards and alerts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Something came up or was done.
    Success,
    /// Someone was let through.
    Allow,
    /// Someone was refused.
    Deny,
    /// It failed, and nobody decided that it should.
    Error,
}

impl Outcome {
    /// The value of `waybill.outcome`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Error => "error",
        }
    }

    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"success" => Self::Success,
            b"allow" => Self::Allow,
            b"deny" => Self::Deny,
            b"error" => Self::Error,
            _ => return None,
        })
    }
}

/// How a source's lines are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The grammar.
    pub format: Kind,
    /// For times without an offset. In the repeated hour of autumn the first pass is taken and the record says
    /// `waybill.time_ambiguous`; a time in the skipped hour of spring is moved forward by the length of the gap.
    pub time_zone: TimeZone,
    /// What outbound tags mean. A tag that is not here was allowed: the log says accepted.
    pub outbounds: BTreeMap<String, Meaning>,
    /// What counts as evidence against a usage policy.
    pub usage: Usage,
    /// Records to leave out.
    pub drop: Vec<DropRule>,
    /// Whether `event.original` holds the line. A line that does not parse keeps it in any case.
    pub keep_original: bool,
    /// For [`Kind::Json`].
    pub json: Option<JsonMap>,
}

impl Settings {
    /// Settings of a source that says nothing but its format.
    pub fn new(format: Kind) -> Self {
        Self {
            format,
            time_zone: TimeZone::UTC,
            outbounds: BTreeMap::new(),
            usage: Usage::default(),
            drop: Vec::new(),
            keep_original: true,
            json: None,
        }
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts about a record that do not exclude each other")]
pub struct Verdict {
    /// The record's outcome, if the line has one.
    pub outcome: Option<Outcome>,
    /// The line was understood. False for pieces of lines, which are not tried.
    pub parsed: bool,
    /// The line may not be what the program meant to write.
    pub suspect: bool,
    /// The line says that lines of its own log are missing, or may be: `waybill.integrity` of an alert.
    pub incomplete: bool,
    /// A rule dropped the record; nothing was written.
    pub dropped: bool,
    /// The record's `@timestamp`, in nanoseconds since 1970 UTC.
    pub time: Option<i64>,
}

/// A mistake in the settings of a format.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A path is not of the form `$.a.b[0]`.
    #[error("{0:?} is not a path of the form $.a.b[0]")]
    InvalidPath(String),
    /// A mapped field would be written into a part of the record that Waybill writes itself.
    #[error("field {0:?} is written by Waybill itself and cannot be mapped")]
    ReservedField(String),
    /// A mapped field is not a dotted name, or it is inside another mapped field.
    #[error("{0:?} is not a usable field name")]
    InvalidField(String),
}
