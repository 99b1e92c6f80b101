//! An agent, as its pod shows it.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use crate::names;

/// A pod that has an address and is not ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Whose agent it is.
    pub policy: String,
    /// The pod.
    pub pod: String,
    /// What tells it from another pod of that name.
    pub uid: String,
    /// Where it runs.
    pub node: String,
    /// Its address.
    pub address: String,
    /// The kill switches that its annotation carries.
    pub switches: Option<String>,
    /// The kubelet found it ready.
    pub ready: bool,
}

impl Agent {
    /// Reads a pod; `None` if it can't be asked anything.
    pub fn new(pod: &Pod) -> Option<Self> {
        if pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let status = pod.status.as_ref()?;
        let conditions = status.conditions.as_deref().unwrap_or_default();
        Some(Self {
            policy: pod.labels().get(names::POLICY_LABEL)?.clone(),
            pod: pod.name_any(),
            uid: pod.uid()?,
            node: pod.spec.as_ref()?.node_name.clone()?,
            address: status.pod_ip.clone().filter(|address| !address.is_empty())?,
            switches: pod.annotations().get(names::SWITCHES_ANNOTATION).cloned(),
            ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        })
    }
}
