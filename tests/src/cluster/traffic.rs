//! What the API server was asked, from its own audit log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Cluster;

/// A place in the audit log, from which on requests are counted.
#[derive(Debug)]
pub struct Traffic {
    path: PathBuf,
    from: u64,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Who asked: the user's name.
    pub user: String,
    /// The pod that the user's token is bound to, or nothing.
    pub pod: String,
    /// What was asked: get, list, watch, create, update, patch, delete …
    pub verb: String,
    /// Of what: `resource` or `resource/subresource`.
    pub resource: String,
}

impl Request {
    /// Whether it was meant to change something.
    pub fn writes(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

impl Traffic {
    /// From now on.
    pub fn mark(cluster: &Cluster) -> Result<Self> {
        let path = cluster.audit_log();
        let from = path.metadata().context("the API server keeps no audit log")?.len();
        Ok(Self { path, from })
    }

    /// The requests since the mark, each with its count. A line that is not complete yet is left for later.
    pub fn requests(&self) -> Result<BTreeMap<Request, usize>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.from))?;
        let mut counts = BTreeMap::new();
        let mut reader = BufReader::new(file);
        let mut line = String::new();
        while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
            let event: Value = serde_json::from_str(&line).context("the audit log has a line that is not JSON")?;
            *counts.entry(request(&event)).or_default() += 1;
            line.clear();
        }
        Ok(counts)
    }
}

fn request(event: &Value) -> Request {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let mut resource = text(&object["resource"]);
    if let Some(part) = object["subresource"].as_str() {
        resource = format!("{resource}/{part}");
    }
    Request {
        user: text(&event["user"]["username"]),
        pod: text(&event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0]),
        verb: text(&event["verb"]),
        resource,
    }
}
