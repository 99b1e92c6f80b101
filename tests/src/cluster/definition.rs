//! The `CustomResourceDefinition` of the repository, in the cluster.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::{Kubectl, PATIENCE, repository};
use crate::wait::await_true;

/// Its name.
pub const NAME: &str = "auditpolicies.waybill.dev";

/// Its file.
pub fn path() -> PathBuf {
    repository("crds/auditpolicies.waybill.dev.yaml")
}

/// Applies it and waits until the API server serves the type.
pub fn install(kubectl: &Kubectl) -> Result<()> {
    kubectl.apply_file(&path())?;
    await_served(kubectl)
}

/// Waits until the API server serves the type, and fails if it found anything wrong with the schema.
pub fn await_served(kubectl: &Kubectl) -> Result<()> {
    await_true("the definition is established", PATIENCE, || {
        let crd = kubectl.json(&["get", "crd", NAME])?;
        let conditions = crd["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let wrong = conditions.iter().find(|condition| condition["type"] == "NonStructuralSchema");
        ensure!(wrong.is_none(), "the schema is not structural: {wrong:?}");
        Ok(conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True"))
    })?;
    await_true("kubectl finds the type", PATIENCE, || Ok(kubectl.run(&["get", "auditpolicies"]).is_ok()))
}
