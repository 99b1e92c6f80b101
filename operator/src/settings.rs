//! What the operator is told by its arguments.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use clap::Parser;

/// Turns each `AuditPolicy` of the cluster into the agents that carry it out
#[derive(Clone, Debug, Parser)]
#[command(name = "waybill-operator", version)]
pub struct Settings {
    /// The namespace of the agents and of the policies' Secrets
    #[arg(long, env = "WAYBILL_AGENTS_NAMESPACE", value_name = "NAMESPACE", default_value = "waybill-agents")]
    pub agents_namespace: String,
    /// The operator's own namespace, which holds its Lease
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "waybill-system")]
    pub namespace: String,
    /// The name under which this replica holds the Lease [default: the host's name, on a cluster the pod's]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub identity: Option<String>,
    /// The image of the agents
    #[arg(long, value_name = "IMAGE", default_value = concat!("waybill:", env!("CARGO_PKG_VERSION")))]
    pub image: String,
    /// When the kubelet fetches the image: Always, IfNotPresent or Never
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    pub image_pull_policy: String,
    /// Secrets of the agents' namespace with which the image is fetched
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub image_pull_secrets: Vec<String>,
    /// Folders of the nodes below which sources may read; agents see them read-only
    #[arg(long, value_name = "DIRS", value_delimiter = ',', default_value = "/var/log", value_parser = folder)]
    pub read_roots: Vec<PathBuf>,
    /// Folders of the nodes below which policies may rotate, remove, protect and write files
    #[arg(long, value_name = "DIRS", value_delimiter = ',', default_value = "/var/lib/waybill", value_parser = folder)]
    pub write_roots: Vec<PathBuf>,
    /// The folder of the nodes that holds the agents' state, a folder for each policy
    #[arg(long, value_name = "DIR", default_value = "/var/lib/waybill", value_parser = folder)]
    pub state_root: PathBuf,
    /// The agents' priority class
    #[arg(long, value_name = "NAME", default_value = "system-node-critical")]
    pub priority_class: String,
    /// Days that no policy may let files be removed before; 0 for no floor
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    pub retention_floor_days: u32,
    /// Annotations that a policy may give its agents' service account; none if this is empty
    #[arg(
        long,
        value_name = "KEYS",
        value_delimiter = ',',
        default_value = "eks.amazonaws.com/role-arn,iam.gke.io/gcp-service-account"
    )]
    pub service_account_annotation_keys: Vec<String>,
    /// The SELinux type of the agents, such as `spc_t` [default: the node's]
    #[arg(long, value_name = "TYPE")]
    pub selinux_type: Option<String>,
    /// Where agents serve metrics, health and reports in their pods
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:9464")]
    pub agents_listen: SocketAddr,
    /// Where the operator serves /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Say whether an operator is at work in this cluster, and end
    #[arg(long)]
    pub check: bool,
}

impl Settings {
    /// The folder of a policy's state on each node.
    pub fn state_dir(&self, policy: &str) -> PathBuf {
        self.state_root.join(policy)
    }
}

/// A folder that can be mounted: absolute, plain, and not the whole node.
fn folder(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let plain = path.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    if !path.is_absolute() || !plain || text.contains([':', '\0', '\n', '*', '?', '[', '{', '\\']) {
        return Err("write an absolute path without . or .. and without wildcards, such as /var/log".to_owned());
    }
    if path.parent().is_none() {
        return Err("the whole node is no root: name the folders that hold logs".to_owned());
    }
    Ok(path.components().collect())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_sound_and_each_is_explained() {
        let command = Settings::command();
        command.clone().debug_assert();
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{}", argument.get_id());
        }
    }

    #[test]
    fn roots_are_plain_folders() {
        for text in ["/", "var/log", "/var/../etc", "/var/log:ro", "/var/*", ""] {
            assert!(folder(text).is_err(), "{text:?}");
        }
        assert_eq!(folder("/var/log/"), Ok(PathBuf::from("/var/log")));
    }
}
