//! From an accepted policy to the objects that carry it out. Pure; one file a kind.

mod config_map;
mod daemon_set;
mod mounts;
mod network_policy;
mod privileges;
mod service_account;

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use kube::api::ApiResource;
use serde::Serialize;
use serde_json::Value;
use waybill_crds::{AuditPolicy, AuditPolicySpec};

use crate::names;
use crate::settings::Settings;

/// What the objects are made from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The operator's arguments.
    pub settings: &'a Settings,
    /// The policy's name.
    pub policy: &'a str,
    /// What tells it from another one of that name.
    pub uid: &'a str,
    /// The document that the agents get.
    pub text: &'a str,
    /// What it says.
    pub spec: &'a AuditPolicySpec,
    /// The Secrets that may be mounted.
    pub secrets: &'a BTreeSet<String>,
}

/// A kind of object that the operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Who the pods are to the cloud; to the cluster they are no one.
    ServiceAccount,
    /// The policy's document.
    ConfigMap,
    /// Who may connect to the pods.
    NetworkPolicy,
    /// The pods.
    DaemonSet,
}

impl Kind {
    /// Every kind, in the order in which objects are applied.
    pub const ALL: [Self; 4] = [Self::ServiceAccount, Self::ConfigMap, Self::NetworkPolicy, Self::DaemonSet];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::DaemonSet => "DaemonSet",
        }
    }

    /// Where the API server has it.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
        }
    }
}

/// An object as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Its kind.
    pub kind: Kind,
    /// Its name; the namespace is the agents'.
    pub name: String,
    /// All that the operator says of it.
    pub object: Value,
}

/// Builds the objects of a policy, in the order in which they are to be applied.
pub fn build(input: &Input<'_>) -> Result<Vec<Desired>, serde_json::Error> {
    let desired = |kind, object| Desired { kind, name: names::object(input.policy), object };
    Ok(vec![
        desired(Kind::ServiceAccount, value(Kind::ServiceAccount, &service_account::build(input))?),
        desired(Kind::ConfigMap, value(Kind::ConfigMap, &config_map::build(input))?),
        desired(Kind::NetworkPolicy, value(Kind::NetworkPolicy, &network_policy::build(input))?),
        desired(Kind::DaemonSet, value(Kind::DaemonSet, &daemon_set::build(input))?),
    ])
}

/// Secrets that a DaemonSet mounts.
pub fn mounted_secrets(daemon_set: &Value) -> BTreeSet<String> {
    let volumes = daemon_set["spec"]["template"]["spec"]["volumes"].as_array();
    let names = volumes.into_iter().flatten().filter_map(|volume| volume["secret"]["secretName"].as_str());
    names.map(str::to_owned).collect()
}

fn value(kind: Kind, object: &impl Serialize) -> Result<Value, serde_json::Error> {
    let mut object = serde_json::to_value(object)?;
    let resource = kind.resource();
    object["apiVersion"] = resource.api_version.into();
    object["kind"] = resource.kind.into();
    Ok(object)
}

fn metadata(input: &Input<'_>) -> ObjectMeta {
    ObjectMeta {
        name: Some(names::object(input.policy)),
        namespace: Some(input.settings.agents_namespace.clone()),
        labels: Some(names::labels(input.policy)),
        owner_references: Some(vec![OwnerReference {
            api_version: AuditPolicy::api_version(&()).into_owned(),
            kind: AuditPolicy::kind(&()).into_owned(),
            name: input.policy.to_owned(),
            uid: input.uid.to_owned(),
            controller: Some(true),
            // To block it would ask for the right to set finalizers.
            block_owner_deletion: Some(false),
        }]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
