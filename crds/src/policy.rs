//! The policy: the one document that configures everything.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::kill_switch::KillSwitch;
use crate::limits::Limits;
use crate::sink::Sink;
use crate::source::Source;
use crate::status::AuditPolicyStatus;

/// What is read, how it is kept, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "waybill.dev",
    version = "v1alpha1",
    kind = "AuditPolicy",
    plural = "auditpolicies",
    shortname = "ap",
    category = "waybill",
    status = "AuditPolicyStatus",
    derive = "PartialEq",
    doc = "Says which audit logs of the nodes are read, how they are kept, and where they are delivered.",
    validation = Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')")
        .message("the name is part of names of objects and folders: write at most 40 lower-case letters, digits and hyphens, \
            beginning with a letter"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.nodes.desired", description = "Nodes that should run an agent"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.nodes.ready", description = "Nodes whose agent is ready"),
    printcolumn(name = "Up-to-date", type_ = "integer", json_path = ".status.nodes.upToDate", description = "Nodes whose agent runs this generation of the policy"),
    printcolumn(name = "Delivering", type_ = "string", json_path = r#".status.conditions[?(@.type=="Delivering")].status"#, description = "Whether every required sink keeps up"),
    printcolumn(name = "Worst-lag", type_ = "date", json_path = ".status.behindSince", description = "For how long the sink that lags most has been behind"),
    printcolumn(name = "Kill-switch", type_ = "string", json_path = r#".status.conditions[?(@.type=="KillSwitchEngaged")].status"#, description = "Whether any kill switch is engaged"),
    printcolumn(name = "Lost-nodes", type_ = "integer", json_path = ".status.nodes.lostWithPending", description = "Nodes that are gone and had bytes pending", priority = "1"),
    printcolumn(name = "Accepted", type_ = "string", json_path = r#".status.conditions[?(@.type=="Accepted")].reason"#, description = "Whether the policy is accepted, and why not", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.sinks) || self.sinks.all(sink, !has(sink.sources) \
            || sink.sources.all(name, self.sources.exists(source, source.name == name)))")
        .message("a sink names a source that does not exist: write the name of one of spec.sources, or leave the sink's sources \
            out for all of them"),
    validation = Rule::new("!has(self.sinks) || self.sinks.all(sink, !has(sink.file) \
            || self.sinks.filter(other, has(other.file) && other.file.path == sink.file.path).size() == 1)")
        .message("two sinks write to the same file: give each a file of its own")
)]
pub struct AuditPolicySpec {
    /// Stops the whole policy.
    #[serde(default)]
    pub kill_switch: KillSwitch,
    /// What one agent may use.
    #[serde(default)]
    pub limits: Limits,
    /// What is read, 1 to 64. In order: a file belongs to the first source that matches it.
    #[schemars(
        length(min = 1, max = crate::bounds::SOURCES),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub sources: Vec<Source>,
    /// Where records go, at most 16. Default: a file beside the agent's state, mirrored to its standard output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = crate::bounds::SINKS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub sinks: Vec<Sink>,
    /// The DaemonSet; ignored on a bare host.
    #[serde(default)]
    pub agent: Agent,
}

impl AuditPolicySpec {
    /// The source of that name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// The sink of that name.
    pub fn sink(&self, name: &str) -> Option<&Sink> {
        self.sinks.iter().find(|sink| sink.name == name)
    }
}
