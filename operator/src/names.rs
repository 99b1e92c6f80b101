//! The names, labels and annotations that the operator gives, in one place.

use std::collections::BTreeMap;

/// The manager of the fields that the operator applies, and the reporter of its events.
pub const MANAGER: &str = "waybill-operator";
/// The label that says whose an object is. On a Secret it is the permission to use it, and its author sets it.
pub const POLICY_LABEL: &str = "waybill.dev/policy";
/// The label of everything that the operator made.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The label by which a DaemonSet knows its pods, beside the policy's.
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
/// The value of [`NAME_LABEL`] on the pods of agents.
pub const AGENT: &str = "waybill-agent";
/// The annotation of a pod that carries the kill switches; see [`crate::policy::Policy::switches`].
pub const SWITCHES_ANNOTATION: &str = "waybill.dev/switches";
/// The annotation of a pod that is told the same again: when.
pub const REPEATED_ANNOTATION: &str = "waybill.dev/switches-repeated";
/// The label of a namespace whose pods may read the agents' metrics.
pub const METRICS_LABEL: &str = "waybill.dev/metrics";
/// The chart's admission policy and its binding, which hold `requestedBy` against the user of a request.
pub const ADMISSION: &str = "waybill-killswitch";
/// The file of a policy's `ConfigMap`.
pub const POLICY_FILE: &str = "policy.yaml";
/// The container of an agent's pod.
pub const CONTAINER: &str = "waybill";

/// The name of each object of a policy.
pub fn object(policy: &str) -> String {
    format!("waybill-{policy}")
}

/// What a DaemonSet selects its pods by: the policy's name and nothing that could ever change.
pub fn selector(policy: &str) -> BTreeMap<String, String> {
    [(NAME_LABEL, AGENT), (POLICY_LABEL, policy)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The labels of each object of a policy.
pub fn labels(policy: &str) -> BTreeMap<String, String> {
    let mut labels = selector(policy);
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned());
    labels
}
