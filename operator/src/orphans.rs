//! Removes what the operator made and no policy wants any more.
//!
//! The garbage collector does so for a policy that is deleted; this is for what it can't know: objects that a former release
//! named otherwise, or whose owner was taken away.

use std::collections::BTreeSet;

use kube::api::{DeleteParams, DynamicObject, Preconditions};
use kube::{Api, Client, ResourceExt as _};

use crate::apply::Applier;
use crate::build::{Desired, Kind};
use crate::caches::{Caches, policy_resource};
use crate::names;

/// Removes what is labelled with the policy's name and is not among `desired`. Returns how much that was.
pub async fn remove(
    client: &Client,
    caches: &Caches,
    applier: &Applier,
    namespace: &str,
    policy: &str,
    desired: &[Desired],
) -> kube::Result<usize> {
    let wanted: BTreeSet<(Kind, &str)> = desired.iter().map(|desired| (desired.kind, desired.name.as_str())).collect();
    let mut removed = 0;
    for (kind, store) in &caches.owned {
        let mine = |object: &DynamicObject| object.labels().get(names::POLICY_LABEL).is_some_and(|name| name == policy);
        for object in store.state_filter(mine) {
            let name = object.name_any();
            if wanted.contains(&(*kind, name.as_str())) || object.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind.resource());
            let preconditions = Preconditions { uid: object.uid(), resource_version: None };
            let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
            match api.delete(&name, &parameters).await {
                Ok(_) => {
                    tracing::info!(kind = kind.name(), name, policy, "removed what no policy wants");
                    applier.forget(*kind, &name);
                    removed += 1;
                }
                // Gone already, or another one by now.
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(removed)
}

/// Whether anything is labelled with a policy's name.
pub fn any(caches: &Caches, policy: &str) -> bool {
    caches.owned.values().any(|store| {
        let mine = |object: &DynamicObject| object.labels().get(names::POLICY_LABEL).is_some_and(|name| name == policy);
        store.find(mine).is_some()
    })
}

/// Whether a policy is gone, by the API server itself: a cache may be late.
pub async fn is_gone(client: &Client, policy: &str) -> kube::Result<bool> {
    let api = Api::<DynamicObject>::all_with(client.clone(), &policy_resource());
    Ok(api.get_opt(policy).await?.is_none())
}
