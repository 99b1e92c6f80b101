//! The agents as processes of the machine: all of a cluster's are in the tests' own pid namespace.

use std::fs;

use anyhow::{Context, Result};

/// What `/proc` says of one agent.
#[derive(Debug)]
pub struct Process {
    status: String,
    mounts: String,
}

/// The running agents of a policy.
pub fn agents(policy: &str) -> Result<Vec<Process>> {
    let argument = format!("--state-dir=/var/lib/waybill/{policy}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Ok(line) = fs::read_to_string(path.join("cmdline")) else { continue };
        let mut words = line.split('\0');
        if words.next() == Some("/waybill") && words.any(|word| word == argument) {
            let read = |name| fs::read_to_string(path.join(name));
            found.push(Process { status: read("status")?, mounts: read("mountinfo")? });
        }
    }
    Ok(found)
}

impl Process {
    /// A field of `status`, such as `Seccomp:`.
    pub fn field(&self, name: &str) -> Result<&str> {
        let line = self.status.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.with_context(|| format!("no {name}"))?.trim())
    }

    /// A set of capabilities, such as `CapEff:`, as its bits.
    pub fn capabilities(&self, set: &str) -> Result<u64> {
        u64::from_str_radix(self.field(set)?, 16).with_context(|| format!("{set} is no number"))
    }

    /// The options of what is mounted at a path, if anything is.
    pub fn mounted(&self, path: &str) -> Option<&str> {
        self.mounts.lines().rev().find(|line| line.split(' ').nth(4) == Some(path))?.split(' ').nth(5)
    }

    /// Everything that is mounted.
    pub fn mounts(&self) -> &str {
        &self.mounts
    }
}
