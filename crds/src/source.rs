//! What a policy says to read.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::format::{DropRule, Format, JsonMap, Meaning};
use crate::kill_switch::KillSwitch;
use crate::protect::Protect;
use crate::retention::Retention;
use crate::rotation::{Rotation, RotationMode};
use crate::usage::Usage;

/// What to read. A file belongs to the first source that matches it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'File') == has(self.file)")
        .message("type File needs the object file with its paths, and no other type has it"),
    validation = Rule::new("(self.type == 'Syslog') == has(self.syslog)")
        .message("type Syslog needs the object syslog, such as syslog: {listen: \"0.0.0.0:5514\"}, and no other type has it"),
    validation = Rule::new("self.format == 'Json' || !has(self.json)")
        .message("json is for format Json: write format: Json, or leave json out"),
    validation = Rule::new("self.type == 'File' || (self.rotation.mode == 'Observe' && !has(self.retention) \
            && !self.protect.live && !self.protect.archives)")
        .message("rotation, retention and protect are for type File: leave them out")
)]
pub struct Source {
    /// The source's name: at most 40 lower-case letters, digits and hyphens. It is part of state and records.
    #[schemars(length(min = 1, max = crate::bounds::NAME_LENGTH), extend("x-waybill" = "name", "pattern" = crate::bounds::NAME_PATTERN))]
    pub name: String,
    /// File (default): files by path patterns. Syslog: a socket, for what SoftEther sends itself.
    #[serde(rename = "type", default)]
    pub kind: SourceType,
    /// Which files are read, for type File.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
    /// Where to listen, for type Syslog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog: Option<SyslogSource>,
    /// The grammar of the lines: V2RayAccess, V2RayError, SoftEtherServer, SoftEtherSecurity, SoftEtherPacket, QurlConnector,
    /// Sshd, Sudo, LinuxAudit, KubernetesAudit, Json or Text.
    pub format: Format,
    /// Where a JSON line keeps what the canonical record needs. Only for format Json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonMap>,
    /// The IANA name of the zone for formats whose lines carry none, such as Europe/Berlin; at most 63 characters. Default:
    /// the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = crate::bounds::OTHER_NAME_LENGTH))]
    #[x_kube(
        validation = crate::rules::text("^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$", "write an IANA name such as Europe/Berlin or UTC")
    )]
    pub time_zone: Option<String>,
    /// What an outbound tag means (V2Ray and Xray): Allow, Deny or Drop. At most 32 tags. One that is not here was allowed, but
    /// for block, blocked, blackhole, reject and deny.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::meanings")]
    pub outbounds: BTreeMap<String, Meaning>,
    /// What counts as evidence that a connection breaks a usage policy (V2Ray and Xray). Default: evidence of BitTorrent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Records to leave out. What is dropped is counted. At most 32 rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::ENTRIES))]
    pub drop: Vec<DropRule>,
    /// Whether a record keeps its raw line in `event.original`. Default true.
    #[serde(default = "keep_original")]
    pub keep_original: bool,
    /// Who rotates the files, and how. Default: someone else does.
    #[serde(default)]
    pub rotation: Rotation,
    /// How long archives, and rotated files that the patterns name, are kept. Default: with mode Observe nothing is removed;
    /// with Rename and Collapse archives are kept 90 days and at most 14 of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Attributes of the file system against tampering. Default: none.
    #[serde(default)]
    pub protect: Protect,
    /// Stops this source alone.
    #[serde(default)]
    pub kill_switch: KillSwitch,
}

impl Source {
    /// The retention that applies: what is written, or the default where Waybill makes the archives itself.
    pub fn effective_retention(&self) -> Option<Retention> {
        match (&self.retention, self.rotation.mode) {
            (Some(retention), _) => Some(retention.clone()),
            (None, RotationMode::Observe) => None,
            (None, RotationMode::Rename | RotationMode::Collapse) => Some(Retention::default()),
        }
    }
}

fn keep_original() -> bool {
    true
}

/// Where a source's records come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SourceType {
    /// Files by path patterns.
    #[default]
    File,
    /// A socket that speaks syslog.
    Syslog,
}

/// Which files a source reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// Absolute path patterns, 1 to 32 of at most 512 characters. `*`, `?` and `[a-z]` stay within a folder, `**` as a whole
    /// component crosses folders, and `{hub}` matches as `*` does and captures what it matched.
    #[schemars(
        length(min = 1, max = crate::bounds::PATHS),
        inner(length(min = 1, max = crate::bounds::PATH_LENGTH))
    )]
    #[x_kube(validation = crate::rules::patterns())]
    pub paths: Vec<String>,
    /// Patterns of files to leave out, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::PATHS), inner(length(min = 1, max = crate::bounds::PATH_LENGTH)))]
    #[x_kube(validation = crate::rules::patterns())]
    pub exclude: Vec<String>,
    /// The wrapping of a container runtime that is taken off: None (default), Cri or Docker. Its pieces are joined; stream
    /// and pod are kept.
    #[serde(default)]
    pub envelope: Envelope,
    /// Where reading starts in files and for lanes that are met for the first time: Oldest (default) or Now.
    #[serde(default)]
    pub start_at: StartAt,
}

/// The wrapping of a container runtime around each line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Envelope {
    /// None: lines are as the program wrote them.
    #[default]
    None,
    /// The log format of the container runtime interface: containerd, CRI-O.
    Cri,
    /// Docker's json-file.
    Docker,
}

/// Where reading starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StartAt {
    /// At the oldest byte there is.
    #[default]
    Oldest,
    /// At what is written from now on.
    Now,
}

/// Where a source listens for syslog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyslogSource {
    /// The address and port to listen on, such as 0.0.0.0:5514 or [::]:5514.
    #[schemars(length(min = 1, max = crate::bounds::ADDRESS_LENGTH))]
    #[x_kube(validation = crate::rules::listen())]
    pub listen: String,
    /// Udp (default) or Tcp.
    #[serde(default)]
    pub transport: ListenTransport,
}

/// How a syslog source is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ListenTransport {
    /// One datagram a record.
    #[default]
    Udp,
    /// A connection.
    Tcp,
}
