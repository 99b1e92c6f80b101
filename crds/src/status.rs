//! What the operator reports. Written by the operator alone, when a state changes; numbers live in metrics.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator reports about a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditPolicyStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, SecretsResolved, AgentsReady, Delivering and KillSwitchEngaged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// How many nodes run an agent.
    #[serde(default)]
    pub nodes: Nodes,
    /// Since when the sink that lags most has been behind, on whichever node; absent while every sink keeps up. An instant rather than
    /// an age, so that time alone changes nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_since: Option<Time>,
    /// The state of each sink, the worst of all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = crate::bounds::SINKS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub sinks: Vec<SinkStatus>,
}

/// How many nodes run an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nodes {
    /// Nodes that should run one.
    #[serde(default)]
    pub desired: i32,
    /// Nodes whose agent is ready.
    #[serde(default)]
    pub ready: i32,
    /// Nodes whose agent runs this generation of the policy.
    #[serde(default)]
    pub up_to_date: i32,
    /// Nodes that are gone and had bytes pending.
    #[serde(default)]
    pub lost_with_pending: i32,
    /// Which nodes these are, at most 64. One that comes back, or that has been gone for 7 days, leaves the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = crate::bounds::LOST_NODES),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub lost: Vec<LostNode>,
}

/// A node that is gone and had bytes pending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LostNode {
    /// The node's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// When it was found to be gone.
    pub since: Time,
    /// Bytes that were pending when its agent was last heard, in the lane that lacked most.
    pub pending_bytes: i64,
}

/// The state of one sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SinkStatus {
    /// The sink's name.
    #[schemars(length(min = 1, max = crate::bounds::NAME_LENGTH))]
    pub name: String,
    /// Delivering, Behind, Held, Misconfigured or AwaitingRestart: the worst of all nodes.
    pub state: SinkState,
    /// Since when it has been behind: the age of the oldest record that was pending when that began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_since: Option<Time>,
    /// The node that is furthest behind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub worst_node: String,
    /// Records that this sink will never get, all nodes together.
    #[serde(default)]
    pub lost_records: i64,
    /// Records that the sink refused and that are set aside, all nodes together.
    #[serde(default)]
    pub dead_letters: i64,
}

/// How a sink fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum SinkState {
    /// Records arrive.
    Delivering,
    /// Records arrive late.
    Behind,
    /// A kill switch or an error that needs a person holds it.
    Held,
    /// What the policy says of it can't work.
    Misconfigured,
    /// It starts with the agent's next restart.
    AwaitingRestart,
}
