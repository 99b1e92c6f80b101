//! The committed `CustomResourceDefinition`.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use serde_json::Value;
use waybill_crds::{crd, crd_yaml};

const COMMITTED: &str = include_str!("../auditpolicies.waybill.dev.yaml");

fn walk(value: &Value, path: &str, visit: &mut dyn FnMut(&str, &serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            visit(path, map);
            for (key, value) in map {
                walk(value, &format!("{path}.{key}"), visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, path, visit)),
        _ => {}
    }
}

fn schema() -> Value {
    let crd = serde_json::to_value(crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn the_committed_definition_is_current() {
    assert!(
        COMMITTED == crd_yaml(),
        "auditpolicies.waybill.dev.yaml is stale: cargo run -p waybill-crds --example crd"
    );
    assert!(COMMITTED.len() < 200 * 1024, "{} bytes", COMMITTED.len());
}

#[test]
fn it_is_named_as_the_contract_says() {
    let crd = crd();
    assert_eq!(crd.metadata.name.as_deref(), Some("auditpolicies.waybill.dev"));
    assert_eq!(crd.spec.scope, "Cluster");
    assert_eq!(crd.spec.names.short_names, Some(vec!["ap".to_owned()]));
    assert_eq!(crd.spec.names.categories, Some(vec!["waybill".to_owned()]));
    assert!(crd.spec.versions[0].subresources.as_ref().is_some_and(|subresources| subresources.status.is_some()));
}

#[test]
fn nothing_is_left_of_what_the_api_server_does_not_know() {
    walk(&schema(), "", &mut |path, map| {
        assert!(!map.contains_key("nullable") && !map.contains_key("x-waybill"), "{path}");
        assert!(!map.contains_key("oneOf") && !map.contains_key("anyOf") && !map.contains_key("$ref"), "{path}");
    });
}

#[test]
fn every_field_is_explained() {
    walk(&schema()["properties"]["spec"], "spec", &mut |path, map| {
        let Some(properties) = map.get("properties").and_then(Value::as_object) else {
            return;
        };
        for (name, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| !text.is_empty()), "{path}.{name}");
        }
    });
}

#[test]
fn everything_that_a_person_writes_is_bounded() {
    walk(&schema()["properties"]["spec"], "spec", &mut |path, map| match map.get("type").and_then(Value::as_str) {
        Some("string") => {
            let format = map.contains_key("format");
            assert!(map.contains_key("maxLength") || map.contains_key("enum") || format, "{path}");
        }
        Some("array") => assert!(map.contains_key("maxItems"), "{path}"),
        Some("object") => assert!(map.contains_key("properties") || map.contains_key("maxProperties"), "{path}"),
        _ => {}
    });
}

#[test]
fn lists_of_named_things_are_maps() {
    let spec = &schema()["properties"]["spec"]["properties"];
    for list in ["sources", "sinks"] {
        assert_eq!(spec[list]["x-kubernetes-list-type"], "map");
        assert_eq!(spec[list]["x-kubernetes-list-map-keys"][0], "name");
    }
}
