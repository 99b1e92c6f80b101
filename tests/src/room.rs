//! A folder of a test's own, removed when the test is content and left for the reader when it is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::agent::Agent;
use crate::history::History;
use crate::output::Output;
use crate::policy::Policy;

/// The folder, with the places that most tests use.
#[derive(Debug)]
pub struct Room {
    dir: Option<TempDir>,
    path: PathBuf,
}

/// Runs a test in a room of its own; where it fails, the error says where its files are.
pub fn within(name: &str, test: impl FnOnce(&Room) -> Result<()>) -> Result<()> {
    let mut room = Room::new(name)?;
    let verdict = test(&room).with_context(|| format!("{name}: its files are in {}", room.path.display()));
    if verdict.is_err() {
        room.keep();
    }
    verdict
}

impl Room {
    fn new(name: &str) -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix(&format!("waybill-{name}-")).tempdir().context("failed to make a room")?;
        let path = dir.path().canonicalize()?;
        for part in ["logs", "archive", "elsewhere"] {
            fs::create_dir(path.join(part))?;
        }
        Ok(Self { dir: Some(dir), path })
    }

    fn keep(&mut self) {
        if let Some(dir) = self.dir.take() {
            println!("kept: {}", dir.keep().display());
        }
    }

    /// The room itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that the default source reads.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// A folder that no source reads, on the same file system.
    pub fn elsewhere(&self) -> PathBuf {
        self.path.join("elsewhere")
    }

    /// The File sink's live file.
    pub fn archive(&self) -> PathBuf {
        self.path.join("archive/audit.log")
    }

    /// The agent's state directory; the agent makes it.
    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// Where the policy is.
    pub fn policy(&self) -> PathBuf {
        self.path.join("policy.yaml")
    }

    /// An agent of this room with this policy, not yet started.
    pub fn agent(&self, policy: &Policy) -> Result<Agent> {
        policy.write(&self.policy())?;
        Agent::new(&self.policy(), &self.state(), &self.path.join("agent.log"), Arc::new(History::default()))
    }

    /// All that the File sink holds now.
    pub fn output(&self) -> Result<Output> {
        Output::read(&self.archive())
    }

    /// The records in the File sink's live file as they were delivered, without one that is still being written.
    pub fn records(&self) -> Result<Vec<Value>> {
        let Ok(text) = fs::read_to_string(self.archive()) else { return Ok(Vec::new()) };
        let whole = text.lines().filter(|line| line.ends_with('}'));
        whole.map(|line| serde_json::from_str(line).with_context(|| format!("no record: {line}"))).collect()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("WAYBILL_KEEP").is_some() {
            self.keep();
        }
    }
}
