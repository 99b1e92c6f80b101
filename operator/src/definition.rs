//! Whether the cluster's `CustomResourceDefinition` is the one that this operator knows, or a later one.
//!
//! Helm never upgrades a definition. With an older one the API server would silently drop fields of policies: the operator
//! stays unready and says what to do.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use serde_json::Value;
use waybill_crds::crd;

/// How often a definition that is too old is looked at again.
const AGAIN: Duration = Duration::from_secs(10);
/// The definition's name.
pub const NAME: &str = "auditpolicies.waybill.dev";

/// Waits until the cluster has a definition that knows every field.
pub async fn current(client: &Client) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    loop {
        let complaint = match api.get_opt(NAME).await {
            Ok(Some(found)) => match missing(&found) {
                None => return,
                Some(field) => format!("the definition {NAME} is older than this operator: it lacks {field}"),
            },
            Ok(None) => format!("the definition {NAME} is not there"),
            Err(error) => format!("failed to read the definition {NAME}: {error}"),
        };
        tracing::error!(
            remedy = "kubectl apply --server-side --force-conflicts -f crds/",
            "{complaint}; this replica is not ready"
        );
        tokio::time::sleep(AGAIN).await;
    }
}

/// A field that the cluster's definition lacks.
pub fn missing(found: &CustomResourceDefinition) -> Option<String> {
    let versions = |definition: &CustomResourceDefinition| {
        let versions = definition.spec.versions.iter();
        let version = versions
            .filter(|version| version.name == "v1alpha1" && version.served)
            .find_map(|version| version.schema.clone());
        version.and_then(|schema| serde_json::to_value(schema.open_api_v3_schema).ok()).unwrap_or_default()
    };
    lacking(&versions(found), &versions(&crd()), "")
}

fn lacking(found: &Value, wanted: &Value, at: &str) -> Option<String> {
    for (name, wanted) in wanted["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match found["properties"].get(name) {
            Some(found) => {
                if let Some(field) = lacking(found, wanted, &at) {
                    return Some(field);
                }
            }
            None => return Some(at),
        }
    }
    ["items", "additionalProperties"].into_iter().find_map(|inner| {
        let wanted = wanted.get(inner).filter(|wanted| wanted.is_object())?;
        lacking(&found[inner], wanted, at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_that_lacks_a_field_is_older_and_one_with_more_is_not() {
        assert_eq!(missing(&crd()), None);
        let change = |pointer: &str, change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut value = serde_json::to_value(crd()).unwrap();
            let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
            change(value.pointer_mut(&format!("{spec}{pointer}")).unwrap().as_object_mut().unwrap());
            serde_json::from_value::<CustomResourceDefinition>(value).unwrap()
        };
        let older = change("/sources/items/properties", &|fields| drop(fields.remove("timeZone")));
        assert_eq!(missing(&older).as_deref(), Some(".spec.sources.timeZone"));
        let newer =
            change("", &|fields| drop(fields.insert("nextYear".to_owned(), serde_json::json!({"type": "string"}))));
        assert_eq!(missing(&newer), None);
    }
}
