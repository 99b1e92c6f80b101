//! A policy as the cluster holds it, read with the agents' own reader.
//!
//! The spec is never turned into types and back on its way to the agents: what this release does not know is handed on as it
//! is, and an agent of the next release finds it.

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};
use waybill_crds::{AUTHORS_ANNOTATION, AUTHORS_VERIFIED, AuditPolicyStatus, Document, KillSwitch, Switches, read};

/// Bytes of the kill switches that an annotation carries; the API server takes 256 KiB of annotations.
const SWITCHES_BYTES: usize = 128 << 10;

/// A policy, and what its text says.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What tells it from another one of that name, before or after.
    pub uid: String,
    /// Grows with each change of the spec.
    pub generation: i64,
    /// It is being deleted.
    pub deleting: bool,
    /// The API server holds the authors of kill switches against the users who throw them.
    pub verified: bool,
    /// The document that the agents get.
    pub text: String,
    /// What the text says, and what is wrong with it.
    pub document: Document,
    /// What was last reported about it.
    pub status: AuditPolicyStatus,
}

impl Policy {
    /// Reads an object of the cluster, where nothing verifies the authors of kill switches.
    pub fn new(object: &DynamicObject) -> Self {
        Self::of(object, false)
    }

    /// Reads an object of the cluster.
    pub fn of(object: &DynamicObject, verified: bool) -> Self {
        let name = object.name_any();
        let generation = object.metadata.generation.unwrap_or_default();
        let text = document(metadata(&name, generation, verified), object.data.get("spec").unwrap_or(&Value::Null));
        let status = object.data.get("status").and_then(|status| serde_json::from_value(status.clone()).ok());
        Self {
            uid: object.uid().unwrap_or_default(),
            generation,
            deleting: object.metadata.deletion_timestamp.is_some(),
            verified,
            document: read(&text),
            text,
            status: status.unwrap_or_default(),
            name,
        }
    }

    /// The kill switches for the pods' annotation: a document of the same generation that holds nothing else.
    ///
    /// It is read by the same reader as a policy, of which it takes the switches and the generation alone.
    pub fn switches(&self) -> String {
        let text = |reasons| {
            let metadata = metadata(&self.name, self.generation, self.verified);
            switches(metadata, &self.document.switches, reasons)
        };
        let whole = text(true);
        if whole.len() <= SWITCHES_BYTES { whole } else { text(false) }
    }
}

/// What agents are told of the object beside its spec.
fn metadata(name: &str, generation: i64, verified: bool) -> Value {
    let mut metadata = json!({"name": name, "generation": generation});
    if verified {
        metadata["annotations"] = json!({AUTHORS_ANNOTATION: AUTHORS_VERIFIED});
    }
    metadata
}

/// The document of a spec.
fn document(metadata: Value, spec: &Value) -> String {
    let document = json!({
        "apiVersion": "waybill.dev/v1alpha1",
        "kind": "AuditPolicy",
        "metadata": metadata,
        "spec": spec,
    });
    // JSON is YAML, and every key is a text.
    format!("{document:#}\n")
}

fn switches(metadata: Value, switches: &Switches, reasons: bool) -> String {
    let value = |switch: &KillSwitch| {
        let reason = if reasons { switch.reason.as_str() } else { "see the policy" };
        json!({"engaged": switch.engaged, "mode": switch.mode, "reason": reason, "requestedBy": switch.requested_by})
    };
    let list = |entries: &[(String, KillSwitch)]| -> Vec<Value> {
        let said = entries.iter().filter(|(_, switch)| *switch != KillSwitch::default());
        said.map(|(name, switch)| json!({"name": name, "killSwitch": value(switch)})).collect()
    };
    let mut spec = Map::new();
    if let Some(switch) = switches.policy.as_ref().filter(|switch| **switch != KillSwitch::default()) {
        spec.insert("killSwitch".to_owned(), value(switch));
    }
    for (field, entries) in [("sources", &switches.sources), ("sinks", &switches.sinks)] {
        let entries = list(entries);
        if !entries.is_empty() {
            spec.insert(field.to_owned(), entries.into());
        }
    }
    json!({"metadata": metadata, "spec": spec}).to_string()
}

/// The document that was accepted last, with the kill switches and the generation of the one that is refused: a switch counts
/// whatever else is wrong. `None` if it is no document that the operator wrote.
pub fn with_switches(accepted: &str, refused: &Policy) -> Option<String> {
    let accepted: Value = serde_json::from_str(accepted).ok()?;
    let name = accepted["metadata"]["name"].as_str()?.to_owned();
    let mut spec = accepted.get("spec")?.clone();
    let switches = &refused.document.switches;
    if let Some(switch) = &switches.policy {
        spec.as_object_mut()?.insert("killSwitch".to_owned(), serde_json::to_value(switch).ok()?);
    }
    for (field, entries) in [("sources", &switches.sources), ("sinks", &switches.sinks)] {
        for entry in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            let named = entries.iter().find(|(name, _)| entry["name"] == name.as_str());
            if let (Some((_, switch)), Some(entry)) = (named, entry.as_object_mut()) {
                entry.insert("killSwitch".to_owned(), serde_json::to_value(switch).ok()?);
            }
        }
    }
    Some(document(metadata(&name, refused.generation, refused.verified), &spec))
}

/// What tells two documents apart, as the agents compute it.
pub fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;

    #[test]
    fn the_agents_get_what_was_written_the_unknown_included() {
        let mut object = made_up::object("gateways", made_up::QUICKSTART);
        object.data["spec"]["nextYear"] = json!({"field": true});
        let policy = Policy::new(&object);
        let back: Value = serde_json::from_str(&policy.text).unwrap();
        assert_eq!(back["spec"], object.data["spec"]);
        assert_eq!(back["metadata"], json!({"name": "gateways", "generation": 1}));
        assert!(policy.document.spec.is_some());
    }

    #[test]
    fn the_annotation_is_read_like_a_policy() {
        let mut object = made_up::object("gateways", made_up::QUICKSTART);
        let switch = json!({"engaged": true, "mode": "Discard", "reason": "le\"ak: {", "requestedBy": "me"});
        object.data["spec"]["killSwitch"] = switch.clone();
        object.data["spec"]["sinks"][0]["killSwitch"] = switch;
        object.metadata.generation = Some(7);
        let policy = Policy::new(&object);
        let document = read(&policy.switches());
        assert_eq!(document.switches.policy, policy.document.switches.policy);
        assert_eq!(document.switches.sinks, policy.document.switches.sinks);
        assert_eq!((document.generation, document.switches.sources.len()), (Some(7), 0));
    }

    #[test]
    fn agents_are_told_whether_authors_are_verified() {
        let object = made_up::object("gateways", made_up::QUICKSTART);
        for verified in [false, true] {
            let policy = Policy::of(&object, verified);
            for text in [&policy.text, &policy.switches(), &with_switches(&Policy::new(&object).text, &policy).unwrap()]
            {
                assert_eq!(read(text).authors_verified, verified, "{text}");
            }
        }
        // What the author of a policy writes there is not handed on.
        let mut forged = object;
        forged.metadata.annotations = Some([(AUTHORS_ANNOTATION.to_owned(), AUTHORS_VERIFIED.to_owned())].into());
        assert!(!Policy::new(&forged).document.authors_verified);
    }

    #[test]
    fn the_annotation_is_bounded() {
        let mut object = made_up::object("gateways", made_up::QUICKSTART);
        let source = |n: usize| {
            let reason = "\u{1F512}".repeat(512);
            json!({"name": format!("s{n}"), "killSwitch": {"engaged": true, "reason": reason, "requestedBy": "me"}})
        };
        object.data["spec"]["sources"] = (0..64).map(source).collect();
        let text = Policy::new(&object).switches();
        assert!(text.len() <= SWITCHES_BYTES, "{}", text.len());
        assert_eq!(read(&text).switches.sources.len(), 64);
    }

    #[test]
    fn a_switch_of_a_refused_policy_reaches_the_accepted_one() {
        let accepted = Policy::new(&made_up::object("gateways", made_up::QUICKSTART));
        let mut object = made_up::object("gateways", made_up::QUICKSTART);
        object.metadata.generation = Some(2);
        object.data["spec"]["sources"][0]["file"]["paths"] = json!(["../etc/shadow"]);
        object.data["spec"]["sources"][0]["killSwitch"] =
            json!({"engaged": true, "reason": "leak", "requestedBy": "me"});
        let refused = Policy::new(&object);
        assert!(refused.document.is_broken());
        let document = read(&with_switches(&accepted.text, &refused).unwrap());
        let spec = document.spec.unwrap();
        assert!(spec.sources[0].kill_switch.engaged);
        assert_eq!(spec.sources[0].file, accepted.document.spec.unwrap().sources[0].file);
        assert_eq!(document.generation, Some(2));
    }
}
