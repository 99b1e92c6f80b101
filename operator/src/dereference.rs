//! Gathers what a look at a policy needs. Asks the caches alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use kube::runtime::reflector::ObjectRef;
use serde_json::Value;
use waybill_crds::{AuditPolicySpec, SecretKey, Tls, read};

use crate::build::{Kind, mounted_secrets};
use crate::caches::{Caches, policy_resource};
use crate::names;
use crate::policy::Policy;
use crate::settings::Settings;
use crate::validate::{Claims, Other, Verdict, validate};

/// Everything that a look at a policy needs.
pub struct World {
    /// The policy.
    pub policy: Policy,
    /// The paths that its agents have in force.
    pub own: Claims,
    /// The other policies, by name.
    pub others: Vec<Other>,
    /// Its objects as they are.
    pub live: BTreeMap<Kind, Arc<DynamicObject>>,
}

/// A Secret, as far as the operator may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// It is there and its label names the policy.
    Usable,
    /// It is there, and its label names another policy or none.
    NotLabelled,
    /// It is not there.
    Missing,
}

/// The Secrets that a policy names, and how they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// By name.
    pub states: BTreeMap<String, SecretState>,
    /// Those that the pods mount.
    pub mounted: BTreeSet<String>,
}

/// Reads the caches, and remembers what policies claimed.
pub struct Reader {
    caches: Caches,
    settings: Arc<Settings>,
    claims: Mutex<HashMap<String, (String, Arc<Standing>)>>,
}

/// The paths of a policy.
#[derive(Default)]
struct Standing {
    /// What its agents have in force.
    held: Claims,
    /// What it asks for beyond that, if it is accepted by itself.
    asked: Claims,
}

impl Reader {
    /// Reads these caches.
    pub fn new(caches: Caches, settings: Arc<Settings>) -> Self {
        Self { caches, settings, claims: Mutex::default() }
    }

    /// The world of a policy; `None` if there is no such policy.
    pub fn world(&self, name: &str) -> Option<World> {
        let object = self.caches.policies.get(&ObjectRef::new_with(name, policy_resource()))?;
        let policy = Policy::of(&object, self.caches.admission.is_in_force());
        let made = |object: &DynamicObject| {
            (object.metadata.creation_timestamp.as_ref().map(|time| time.0), object.name_any())
        };
        let mut others = Vec::new();
        for other in self.caches.policies.state() {
            if other.name_any() != name && other.metadata.deletion_timestamp.is_none() {
                let Standing { held, asked } = &*self.standing(&other);
                let (held, asked) = (held.clone(), asked.clone());
                others.push(Other { name: other.name_any(), older: made(&other) < made(&object), held, asked });
            }
        }
        others.sort_by(|left, right| left.name.cmp(&right.name));
        let own = self.standing(&object).held.clone();
        let live = Kind::ALL.into_iter().filter_map(|kind| Some((kind, self.object(kind, name)?))).collect();
        Some(World { policy, own, others, live })
    }

    /// The document of a policy that its agents have, from its `ConfigMap`.
    pub fn accepted(&self, policy: &str) -> Option<String> {
        let config_map = self.object(Kind::ConfigMap, policy)?;
        Some(config_map.data["data"][names::POLICY_FILE].as_str()?.to_owned())
    }

    /// How the Secrets are that a spec names.
    pub fn secrets(&self, policy: &str, spec: &AuditPolicySpec, daemon_set: Option<&DynamicObject>) -> Secrets {
        let mounted_before = daemon_set.map(|object| mounted_secrets(&object.data)).unwrap_or_default();
        let states: BTreeMap<String, SecretState> = named_secrets(spec)
            .into_iter()
            .map(|name| {
                let state = self.secret(policy, &name);
                (name, state)
            })
            .collect();
        // One that is gone for a moment stays mounted, so that its return rolls no pod.
        let is_mounted = |(name, state): &(&String, &SecretState)| match state {
            SecretState::Usable => true,
            SecretState::Missing => mounted_before.contains(*name),
            SecretState::NotLabelled => false,
        };
        let mut mounted: BTreeSet<String> = states.iter().filter(is_mounted).map(|(name, _)| name.clone()).collect();
        // What is not named any more goes with the next one that comes: by itself it is worth rolling no pod.
        if mounted.is_subset(&mounted_before) {
            mounted.extend(
                mounted_before.into_iter().filter(|name| self.secret(policy, name) != SecretState::NotLabelled),
            );
        }
        Secrets { states, mounted }
    }

    fn secret(&self, policy: &str, name: &str) -> SecretState {
        let key = ObjectRef::new(name).within(&self.settings.agents_namespace);
        match self.caches.secrets.get(&key) {
            None => SecretState::Missing,
            Some(secret) => match secret.labels().get(names::POLICY_LABEL) {
                Some(label) if label == policy => SecretState::Usable,
                _ => SecretState::NotLabelled,
            },
        }
    }

    fn object(&self, kind: Kind, policy: &str) -> Option<Arc<DynamicObject>> {
        let key = ObjectRef::new_with(&names::object(policy), kind.resource()).within(&self.settings.agents_namespace);
        self.caches.owned.get(&kind)?.get(&key)
    }

    /// The paths of a policy.
    fn standing(&self, object: &DynamicObject) -> Arc<Standing> {
        let name = object.name_any();
        let accepted = self.accepted(&name);
        let version = format!(
            "{} {} {:?}",
            object.uid().unwrap_or_default(),
            object.metadata.generation.unwrap_or_default(),
            accepted.as_deref().map(crate::policy::digest),
        );
        let mut memory = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, standing)) = memory.get(&name).filter(|(known, _)| *known == version) {
            return Arc::clone(standing);
        }
        let policy = Policy::new(object);
        let mut standing = Standing::default();
        if let Some(spec) = accepted.and_then(|text| read(&text).spec) {
            standing.held = Claims::of(&spec);
        }
        let alone = validate(&policy, &self.settings, &Claims::default(), &[]);
        if let (Verdict::Accepted(_), Some(spec)) = (alone, &policy.document.spec) {
            standing.asked = Claims::of(spec).without(&standing.held);
        }
        let standing = Arc::new(standing);
        memory.retain(|name, _| self.caches.policies.find(|policy| policy.name_any() == *name).is_some());
        memory.insert(name, (version, Arc::clone(&standing)));
        standing
    }
}

/// The names of the Secrets that a spec names.
fn named_secrets(spec: &AuditPolicySpec) -> BTreeSet<String> {
    fn tls(tls: Option<&Tls>) -> impl Iterator<Item = &SecretKey> {
        tls.into_iter().flat_map(|tls| [&tls.ca, &tls.certificate, &tls.private_key]).flatten()
    }
    let mut keys: Vec<&SecretKey> = Vec::new();
    for sink in &spec.sinks {
        if let Some(kafka) = &sink.kafka {
            keys.extend(tls(kafka.tls.as_ref()));
            keys.extend(kafka.sasl.iter().map(|sasl| &sasl.password));
        }
        if let Some(search) = &sink.elasticsearch {
            keys.extend(tls(search.tls.as_ref()));
            keys.extend(search.auth.iter().flat_map(|auth| [&auth.api_key, &auth.password]).flatten());
        }
        if let Some(syslog) = &sink.syslog {
            keys.extend(tls(syslog.tls.as_ref()));
        }
    }
    keys.into_iter().map(|key| key.secret.clone()).collect()
}

/// How a DaemonSet is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Nodes that should run a pod.
    pub desired: i32,
    /// Nodes that have one.
    pub scheduled: i32,
    /// Nodes whose pod is ready.
    pub ready: i32,
    /// Nodes whose pod is of the newest template.
    pub updated: i32,
    /// The controller has seen the newest template.
    pub observed: bool,
}

impl Progress {
    /// Reads a DaemonSet.
    pub fn of(daemon_set: &DynamicObject) -> Self {
        let status = &daemon_set.data["status"];
        let number = |field: &str| status[field].as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or(0);
        Self {
            desired: number("desiredNumberScheduled"),
            scheduled: number("currentNumberScheduled"),
            ready: number("numberReady"),
            updated: number("updatedNumberScheduled"),
            observed: status["observedGeneration"].as_i64() == daemon_set.metadata.generation
                && status["observedGeneration"] != Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_of_the_example_is_found() {
        let document = read(include_str!("../../crds/examples/gateways.yaml"));
        let names = named_secrets(&document.spec.unwrap());
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["es", "kafka-ca", "kafka-client"]);
    }
}
