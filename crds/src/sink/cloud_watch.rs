//! Amazon CloudWatch Logs.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const LOG_STREAM: &str = "{node}/{source}";

/// The retentions in days that the service takes.
pub const RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// A log group of Amazon CloudWatch Logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudWatch {
    /// The region, such as eu-central-1.
    #[schemars(length(min = 1, max = crate::bounds::OTHER_NAME_LENGTH))]
    #[x_kube(validation = crate::rules::text("^[a-z0-9-]+$", "write a region such as eu-central-1"))]
    pub region: String,
    /// A URL in place of the service's own, for tests and VPC endpoints. Default: the service's.
    #[serde(default)]
    #[schemars(length(max = crate::bounds::URL_LENGTH))]
    #[x_kube(validation = crate::rules::url())]
    pub endpoint: String,
    /// The log group, at most 512 characters.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = crate::rules::text("^[A-Za-z0-9._/#-]+$", "write letters, digits, and any of . - _ / #"))]
    pub log_group: String,
    /// The log stream, at most 512 characters; `{node}`, `{source}` and `{hub}` are filled in. Default `{node}/{source}`.
    #[serde(default = "log_stream")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("!self.replace('{node}', '').replace('{source}', '').replace('{hub}', '').matches('[:*{}]')")
            .message("write it without : and *, and with no other braces than {node}, {source} and {hub}")
    )]
    pub log_stream: String,
    /// Days that the service keeps the group, set when the agent makes it: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400,
    /// 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653. Default: what the group has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3653))]
    #[x_kube(
        validation = Rule::new(
            "self in [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]"
        )
        .message("CloudWatch keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, \
            2557, 2922, 3288 or 3653 days: write one of these")
    )]
    pub retention_days: Option<u32>,
    /// What becomes of events whose time the service does not accept. Clamp (default): the event's time is moved into what
    /// it accepts, the record's own stays in the body. DeadLetter: they are set aside.
    #[serde(default)]
    pub out_of_range: OutOfRange,
}

fn log_stream() -> String {
    LOG_STREAM.to_owned()
}

/// What becomes of events whose time the service does not accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OutOfRange {
    /// The event's time is moved into what the service accepts.
    #[default]
    Clamp,
    /// The record is set aside.
    DeadLetter,
}
