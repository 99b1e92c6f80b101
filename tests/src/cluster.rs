//! A real Kubernetes cluster of two nodes, as `make test-cluster` starts it, and what the tests do with it.
//!
//! The tests run inside the cluster's namespaces, so that what they start is reached by pods at [`BESIDE`], and what is on a
//! node's disk is an ordinary file to them ([`Node::path`]). Each test has a [`Site`]; where it fails, the site tells
//! everything that a person would ask for.

pub mod chart;
pub mod definition;
mod dump;
mod kubectl;
pub mod metadata;
mod node;
pub mod node_writer;
pub mod policy_scene;
pub mod process;
mod site;
pub mod traffic;
mod workload;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

pub use kubectl::Kubectl;
pub use node::Node;
pub use policy_scene::PolicyScene;
pub use site::{Site, daemon_set_pods, starts, within, within_bar};
pub use workload::{agent, config_map, config_map_text, container};

/// Where a server that a test starts is reached by pods.
pub const BESIDE: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 1);

/// How long the cluster may take for what usually takes seconds, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How soon a kill switch and every other edit must be in force on all nodes.
pub const BAR: Duration = Duration::from_secs(2);

/// The image that the cluster makes of a program.
pub fn image(program: &str) -> String {
    format!("docker.io/waybill-test/{program}:1")
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    nodes: Vec<Node>,
    kubectl: Kubectl,
    script: PathBuf,
}

impl Cluster {
    /// The cluster that this process runs inside.
    pub fn here() -> Result<Self> {
        let state = std::env::var_os("WAYBILL_CLUSTER").map(PathBuf::from);
        let state = state.context("no cluster is up: these tests run by `make test-cluster`")?;
        let kubectl = Kubectl::administrator();
        let list = kubectl.json(&["get", "nodes"])?;
        let items = list["items"].as_array().context("the nodes are not a list")?;
        let names = items.iter().filter_map(|node| node["metadata"]["name"].as_str());
        let nodes: Vec<_> = names.map(|name| Node::new(name, &state.join(name))).collect();
        ensure!(nodes.len() >= 2, "the cluster has {} nodes", nodes.len());
        let script = std::env::var_os("WAYBILL_COMPONENT").map(PathBuf::from);
        Ok(Self { nodes, kubectl, script: script.unwrap_or_else(|| repository("tests/cluster/component")) })
    }

    /// Its nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The administrator's `kubectl`.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Starts a component of the cluster.
    pub fn start(&self, component: &str) -> Result<()> {
        self.component(&["start", component])
    }

    /// Stops a component of the cluster with a signal, such as `TERM`.
    pub fn stop(&self, component: &str, signal: &str) -> Result<()> {
        self.component(&["stop", component, signal])
    }

    fn component(&self, words: &[&str]) -> Result<()> {
        let done =
            Command::new(&self.script).args(words).output().context("failed to start the script for components")?;
        ensure!(done.status.success(), "{words:?} failed: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// The API server's audit log: one JSON object a line, for every request that it answered.
    pub fn audit_log(&self) -> PathBuf {
        self.nodes[0].path("/var/log/kubernetes/audit/audit.log")
    }
}
