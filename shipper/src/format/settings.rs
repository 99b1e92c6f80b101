//! What a source says about its format, and what encoding a frame answers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;

/// A grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Access log of V2Ray and Xray. Lines of the error log among them are recognised.
    V2RayAccess,
    /// Error log of V2Ray and Xray. Lines of the access log among them are recognised.
    V2RayError,
    /// JSONL of the qURL Connector, and its mirror on the runtime log.
    QurlConnector,
    /// OpenSSH's server, and the other programs of the same file. See [`Kind::Sudo`].
    Sshd,
    /// sudo and su. Lines of sshd and PAM among them are recognised.
    Sudo,
    /// Any JSONL, with a [`JsonMap`].
    Json,
    /// Lines of text.
    Text,
}

impl Kind {
    /// Every kind, in the order of the policy's documentation.
    pub const ALL: [Self; 7] =
        [Self::V2RayAccess, Self::V2RayError, Self::QurlConnector, Self::Sshd, Self::Sudo, Self::Json, Self::Text];

    /// The name that the policy uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2RayAccess => "V2RayAccess",
            Self::V2RayError => "V2RayError",
            Self::QurlConnector => "QurlConnector",
            Self::Sshd => "Sshd",
            Self::Sudo => "Sudo",
            Self::Json => "Json",
            Self::Text => "Text",
        }
    }

    /// Whether its lines carry local times without a zone.
    pub fn is_local(self) -> bool {
        matches!(self, Self::V2RayAccess | Self::V2RayError | Self::Sshd | Self::Sudo)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| Error::UnknownFormat(name.to_owned()))
    }
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

/// What an outbound tag of a V2Ray or Xray configuration stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The connection was let through.
    Allow,
    /// The connection was refused: a `blackhole` outbound, whatever it is called.
    Deny,
    /// Noise, such as the panel's own polling: no record.
    Drop,
}

/// A record whose `field` equals this text is dropped, and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropRule {
    /// Dotted name in the canonical record, such as `source.ip`.
    pub field: String,
    /// The whole value; numbers and booleans as JSON writes them. Of a list, one element is enough.
    pub equals: String,
}

/// Where a JSON line keeps what the canonical record needs. Paths are `$.a.b[0]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonMap {
    /// The time: RFC 3339, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970.
    pub time: Option<String>,
    /// The outcome: success, allow, deny, error or one of their common synonyms.
    pub outcome: Option<String>,
    /// Canonical field to path.
    pub fields: BTreeMap<String, String>,
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
            drop: Vec::new(),
            keep_original: true,
            json: None,
        }
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The record's outcome, if the line has one.
    pub outcome: Option<Outcome>,
    /// The line was understood. False for pieces of lines, which are not tried.
    pub parsed: bool,
    /// A rule dropped the record; nothing was written.
    pub dropped: bool,
    /// The record's `@timestamp`, in nanoseconds since 1970 UTC.
    pub time: Option<i64>,
}

/// A mistake in the settings of a format.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The format is not one of [`Kind::ALL`].
    #[error("unknown format {0:?}")]
    UnknownFormat(String),
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
