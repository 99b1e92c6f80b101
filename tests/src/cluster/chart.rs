//! The Helm chart of the repository, installed as a person would.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Cluster, PATIENCE, definition, repository};

/// The operator's namespace.
pub const OPERATOR: &str = "waybill-system";
/// The agents' namespace.
pub const AGENTS: &str = "waybill-agents";
/// What selects the operator's pods.
pub const OPERATOR_PODS: &str = "app.kubernetes.io/name=waybill-operator";

/// Installs the chart with the images of the test cluster, and waits until both replicas of the operator are ready.
pub fn install(cluster: &Cluster) -> Result<()> {
    let images = ["operator", "agents"].map(|part| {
        let program = if part == "operator" { "waybill-operator" } else { "waybill" };
        let repository = format!("{part}.image.repository=docker.io/waybill-test/{program}");
        format!("{repository},{part}.image.tag=1,{part}.image.pullPolicy=Never")
    });
    // Helm installs a definition that is missing and leaves one that is there; here it is always the repository's.
    definition::install(cluster.kubectl())?;
    let (chart, images, timeout) = (path(), images.join(","), format!("{}s", PATIENCE.as_secs()));
    let release = ["upgrade", "--install", "waybill", &chart, "--namespace", OPERATOR, "--create-namespace"];
    helm(&[&release[..], &["--set-string", &images, "--wait", "--timeout", &timeout]].concat())?;
    Ok(())
}

/// Where the chart is.
pub fn path() -> String {
    repository("charts/waybill").to_string_lossy().into_owned()
}

/// Runs `helm` and gives back what it printed.
pub fn helm(words: &[&str]) -> Result<String> {
    let done = Command::new("helm").args(words).output().context("failed to start helm")?;
    ensure!(done.status.success(), "helm {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
