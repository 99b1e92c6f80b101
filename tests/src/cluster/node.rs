//! A node, whose disk the tests see from outside.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    name: String,
    folder: PathBuf,
}

impl Node {
    pub(super) fn new(name: &str, folder: &Path) -> Self {
        Self { name: name.to_owned(), folder: folder.to_owned() }
    }

    /// Its name in Kubernetes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a path of the node's own `/run`, `/var/log` or `/var/lib` is for the tests; what else there is, is the machine's.
    pub fn path(&self, host: &str) -> PathBuf {
        for (place, folder) in [("/run/", "run"), ("/var/log/", "log"), ("/var/lib/", "lib")] {
            if let Some(rest) = host.strip_prefix(place) {
                return self.folder.join(folder).join(rest);
            }
        }
        PathBuf::from(host)
    }

    /// Makes a folder on the node, empty whatever was there.
    pub fn fresh_folder(&self, host: &str) -> Result<PathBuf> {
        let path = self.path(host);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("failed to empty {host} of {}", self.name))?;
        }
        fs::create_dir_all(&path).with_context(|| format!("failed to make {host} on {}", self.name))?;
        Ok(path)
    }
}
