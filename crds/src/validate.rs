//! Judges a spec by what it says alone.
//!
//! These are the rules of the `CustomResourceDefinition` once more, for documents that no API server has seen, and those that
//! its language has no words for. Nothing is opened or connected to; only the names of time zones are looked up in the zone
//! data of the system, if it has any.

mod agent;
mod json_path;
mod network;
mod pattern;
mod sink;
mod size;
mod source;
mod switch;

use crate::finding::Finding;
use crate::policy::AuditPolicySpec;

/// Judges a spec. Every finding has a path, none has a line.
pub fn validate(spec: &AuditPolicySpec) -> Vec<Finding> {
    judge(spec, &Places::default())
}

/// Where the entries of a spec stand in a document of which some entries were left out.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The place of each source in the document. Empty if none was left out.
    pub(crate) sources: Vec<usize>,
    /// The place of each sink in the document.
    pub(crate) sinks: Vec<usize>,
    /// Names of sources that the document has and the spec has not.
    pub(crate) other_sources: Vec<String>,
}

impl Places {
    fn source(&self, index: usize) -> String {
        format!("spec.sources[{}]", self.sources.get(index).copied().unwrap_or(index))
    }

    fn sink(&self, index: usize) -> String {
        format!("spec.sinks[{}]", self.sinks.get(index).copied().unwrap_or(index))
    }
}

/// Judges a spec whose entries stand at other places than in the document.
pub(crate) fn judge(spec: &AuditPolicySpec, places: &Places) -> Vec<Finding> {
    let mut found = Vec::new();
    switch::judge(&mut found, &spec.kill_switch, "spec.killSwitch");
    size::limits(&mut found, &spec.limits, "spec.limits");
    source::judge(&mut found, spec, places);
    sink::judge(&mut found, spec, places);
    agent::judge(&mut found, &spec.agent, "spec.agent");
    found
}
