//! The Helm chart of the repository, installed as a person would.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use super::{Cluster, PATIENCE, definition, repository};

/// The operator's namespace.
pub const OPERATOR: &str = "waybill-system";
/// The agents' namespace.
pub const AGENTS: &str = "waybill-agents";
/// What selects the operator's pods.
pub const OPERATOR_PODS: &str = "app.kubernetes.io/name=waybill-operator";

/// The release of both images that is tested: the tag that the cluster gives them.
pub const THIS: &str = "1";
/// The tag of the next release's images.
pub const NEXT: &str = "2";

/// Whether this process has installed the chart already.
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// Installs the chart with the images of the test cluster, once a process, and waits until both replicas of the operator are ready.
pub fn install(cluster: &Cluster) -> Result<()> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*installed {
        // Helm installs a definition that is missing and leaves one that is there; here it is always the repository's.
        definition::install(cluster.kubectl())?;
        release(THIS, THIS, true)?;
        *installed = true;
    }
    Ok(())
}

/// Puts back what a test took away.
pub fn install_again(cluster: &Cluster) -> Result<()> {
    *INSTALLED.lock().unwrap_or_else(PoisonError::into_inner) = false;
    install(cluster)
}

/// Installs the chart, or upgrades it, with images of these tags; waits until all of it is ready if asked to.
pub fn release(operator: &str, agents: &str, wait: bool) -> Result<()> {
    let image = |part: &str, program: &str, tag: &str| {
        let repository = format!("{part}.image.repository=docker.io/waybill-test/{program}");
        format!("{repository},{part}.image.tag={tag},{part}.image.pullPolicy=Never")
    };
    let images = format!("{},{}", image("operator", "waybill-operator", operator), image("agents", "waybill", agents));
    let (chart, timeout) = (path(), format!("{}s", PATIENCE.as_secs()));
    let release = ["upgrade", "--install", "waybill", &chart, "--namespace", OPERATOR, "--create-namespace"];
    let until = ["--wait", "--timeout", &timeout];
    helm(&[&release[..], &["--set-string", &images], if wait { &until[..] } else { &[] }].concat())?;
    Ok(())
}

/// Sets values of the release and waits until all of it is ready; [`install_again`] takes them back.
pub fn set(values: &str) -> Result<()> {
    let (chart, timeout) = (path(), format!("{}s", PATIENCE.as_secs()));
    let release = ["upgrade", "waybill", &chart, "--namespace", OPERATOR, "--reuse-values", "--set", values];
    helm(&[&release[..], &["--wait", "--timeout", &timeout]].concat())?;
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
