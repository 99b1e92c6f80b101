//! The schema of a policy, and the `CustomResourceDefinition` made of it.
//!
//! The derived schema carries a key of our own, `x-waybill`, by which the reader knows the types that JSON Schema has no word
//! for. It never leaves this crate.

mod yaml;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::core::schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter};
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::agent::Quantity;
use crate::bounds::{ENTRIES, VALUE_LENGTH};
use crate::format::Meaning;
use crate::policy::{AuditPolicy, AuditPolicySpec};

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

/// The schema of the spec with the keys of our own, for the reader.
pub(crate) fn annotated() -> Value {
    let schema = SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(OptionalIntOrString)
        .into_generator()
        .into_root_schema_for::<AuditPolicySpec>();
    schema.to_value()
}

/// The `CustomResourceDefinition` that a cluster gets.
///
/// It differs from what [`AuditPolicy::crd`] derives: nothing is nullable, so that a rule need only ask `has(…)`. The API server takes a
/// null for an absent value where the field has a default, and refuses it elsewhere.
pub fn crd() -> CustomResourceDefinition {
    let derived = AuditPolicy::crd();
    let tidied = serde_json::to_value(&derived).map(|mut value| {
        tidy(&mut value);
        value
    });
    tidied.and_then(serde_json::from_value).unwrap_or(derived)
}

/// The `CustomResourceDefinition` as YAML.
pub fn crd_yaml() -> String {
    let mut text =
        String::from("# Generated from the types of the crate waybill-crds: cargo run -p waybill-crds --example crd\n");
    if let Ok(value) = serde_json::to_value(crd()) {
        yaml::write(&mut text, &value);
    }
    text
}

fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("nullable");
            if map.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                map.remove("format");
            }
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text =
                    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
