//! The policy's document, as `waybill run -f` takes it. The durable truth of every switch.

use k8s_openapi::api::core::v1::ConfigMap;

use super::{Input, metadata};
use crate::names;

pub(super) fn build(input: &Input<'_>) -> ConfigMap {
    ConfigMap {
        metadata: metadata(input),
        data: Some([(names::POLICY_FILE.to_owned(), input.text.to_owned())].into()),
        ..ConfigMap::default()
    }
}
