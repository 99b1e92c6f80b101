//! Policies for tests.

use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::policy::Policy;
use crate::settings::Settings;

/// The pod logs of a namespace into a file.
pub(crate) const QUICKSTART: &str = r#"{
    "sources": [{"name": "pods", "format": "Text",
        "file": {"paths": ["/var/log/pods/kube-system_*/*/*.log"], "envelope": "Cri"}}],
    "sinks": [{"name": "archive", "type": "File", "file": {"path": "/var/lib/waybill/quickstart/archive/audit.log"}}]
}"#;

/// A policy as the API server has it.
pub(crate) fn object(name: &str, spec: &str) -> DynamicObject {
    let spec: Value = serde_json::from_str(spec).unwrap();
    serde_json::from_value(json!({
        "apiVersion": "waybill.dev/v1alpha1",
        "kind": "AuditPolicy",
        "metadata": {"name": name, "uid": format!("uid-of-{name}"), "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
    }))
    .unwrap()
}

/// A policy.
pub(crate) fn policy(name: &str, spec: &str) -> Policy {
    Policy::new(&object(name, spec))
}

/// The defaults, with more arguments.
pub(crate) fn settings(arguments: &[&str]) -> Settings {
    use clap::Parser as _;
    let mut settings = Settings::try_parse_from(["waybill-operator"].iter().chain(arguments)).unwrap();
    if settings.image.ends_with(env!("CARGO_PKG_VERSION")) {
        settings.image = "waybill:test".to_owned();
    }
    settings
}
