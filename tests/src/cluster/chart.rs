//! The Helm chart of the repository.

use anyhow::{Context, Result};

use super::{Kubectl, repository};

/// Applies one template of the chart by itself.
pub fn apply_template(kubectl: &Kubectl, name: &str) -> Result<()> {
    kubectl.apply_file(&repository("charts/waybill/templates").join(name)).with_context(|| format!("template {name}"))
}
