//! What machine this is, and which files are the agent's own.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use crate::source::root::Look;
use crate::state::entry::FileKey;

/// The node's name: what Kubernetes gave (`NODE_NAME`), else the host's.
pub(super) fn host_name() -> String {
    std::env::var("NODE_NAME")
        .ok()
        .filter(|n| !n.is_empty())
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// A text that differs between machines, also between clones whose `/etc/machine-id` was made anew.
pub(super) fn identity() -> String {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = id.trim();
    if id.is_empty() { format!("host:{}", host_name()) } else { format!("machine-id:{id}") }
}

/// How the paths of the logs begin that Kubernetes writes for the agents: those of this one, and of others that might ship
/// this one's. `POD_NAMESPACE` is the agents' own namespace.
pub(super) fn own_logs() -> Option<PathBuf> {
    let namespace = std::env::var("POD_NAMESPACE").ok().filter(|name| !name.is_empty())?;
    Some(PathBuf::from(format!("/var/log/pods/{namespace}_")))
}

/// The files behind standard output and standard error, if they are files.
pub(super) fn own_outputs() -> Vec<FileKey> {
    let (out, err) = (std::io::stdout(), std::io::stderr());
    let handles = [out.as_fd().try_clone_to_owned(), err.as_fd().try_clone_to_owned()];
    handles.into_iter().flatten().filter_map(|fd| Look::at_file(&File::from(fd)).ok()).map(|look| look.key).collect()
}
