//! What the lines of a source mean.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The grammar of a source's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Format {
    /// Access log of V2Ray and Xray.
    V2RayAccess,
    /// Error log of V2Ray and Xray.
    V2RayError,
    /// Server log of SoftEther VPN.
    SoftEtherServer,
    /// Security log of a SoftEther hub.
    SoftEtherSecurity,
    /// Packet log of a SoftEther hub.
    SoftEtherPacket,
    /// JSONL of the qURL Connector.
    QurlConnector,
    /// OpenSSH's server.
    Sshd,
    /// sudo.
    Sudo,
    /// auditd.
    LinuxAudit,
    /// Audit log of kube-apiserver.
    KubernetesAudit,
    /// Any JSONL, with a field map.
    Json,
    /// Lines of text.
    Text,
}

impl Format {
    /// Every format, in the order of the documentation.
    pub const ALL: [Self; 12] = [
        Self::V2RayAccess,
        Self::V2RayError,
        Self::SoftEtherServer,
        Self::SoftEtherSecurity,
        Self::SoftEtherPacket,
        Self::QurlConnector,
        Self::Sshd,
        Self::Sudo,
        Self::LinuxAudit,
        Self::KubernetesAudit,
        Self::Json,
        Self::Text,
    ];

    /// The format of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The name that a policy uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2RayAccess => "V2RayAccess",
            Self::V2RayError => "V2RayError",
            Self::SoftEtherServer => "SoftEtherServer",
            Self::SoftEtherSecurity => "SoftEtherSecurity",
            Self::SoftEtherPacket => "SoftEtherPacket",
            Self::QurlConnector => "QurlConnector",
            Self::Sshd => "Sshd",
            Self::Sudo => "Sudo",
            Self::LinuxAudit => "LinuxAudit",
            Self::KubernetesAudit => "KubernetesAudit",
            Self::Json => "Json",
            Self::Text => "Text",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a JSON line keeps what the canonical record needs. A path is `$.a.b[0]`, at most 256 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JsonMap {
    /// The path of the time: RFC 3339, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = crate::bounds::VALUE_LENGTH))]
    #[x_kube(validation = crate::rules::json_path())]
    pub time: Option<String>,
    /// The path of the outcome: success, allow, deny, error or one of their common synonyms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = crate::bounds::VALUE_LENGTH))]
    #[x_kube(validation = crate::rules::json_path())]
    pub outcome: Option<String>,
    /// Fields of the canonical record and their paths, such as `user.name: $.who`. At most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::text_map")]
    #[x_kube(validation = crate::rules::json_fields())]
    pub fields: BTreeMap<String, String>,
}

/// What an outbound tag of a V2Ray or Xray configuration stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Meaning {
    /// The connection was let through.
    Allow,
    /// The connection was refused.
    Deny,
    /// Noise, such as a panel's own polling: no record, but counted.
    Drop,
}

/// A rule that leaves records out. What it drops is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DropRule {
    /// Dotted name of a field of the canonical record, such as source.ip; at most 63 characters.
    #[schemars(length(min = 1, max = crate::bounds::OTHER_NAME_LENGTH))]
    #[x_kube(validation = crate::rules::field())]
    pub field: String,
    /// The whole value that is dropped, at most 256 characters. Numbers and booleans are written as text: "22".
    #[schemars(length(max = crate::bounds::VALUE_LENGTH))]
    pub equals: String,
}
