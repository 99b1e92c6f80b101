//! Who the pods are to the cloud. It has no right on the cluster, and no token of it is mounted.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{Input, metadata};

pub(super) fn build(input: &Input<'_>) -> ServiceAccount {
    let mut metadata = metadata(input);
    let annotations = &input.spec.agent.service_account_annotations;
    if !annotations.is_empty() {
        metadata.annotations = Some(annotations.clone());
    }
    ServiceAccount { metadata, automount_service_account_token: Some(false), ..ServiceAccount::default() }
}
