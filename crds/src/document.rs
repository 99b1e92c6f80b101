//! From text to a policy.
use crate::{AuditPolicySpec, Finding, KillSwitch};
/// A document.
#[derive(Debug)]
pub struct Document { 
    /// n
    pub name: String, 
    /// s
    pub spec: Option<AuditPolicySpec>, 
    /// f
    pub findings: Vec<Finding>, 
    /// s
    pub switches: Switches }
/// Switches.
#[derive(Debug, Default)]
pub struct Switches { 
    /// p
    pub policy: Option<KillSwitch>, 
    /// s
    pub sources: Vec<(String, KillSwitch)>, 
    /// s
    pub sinks: Vec<(String, KillSwitch)> }
/// Reads.
pub fn read(_text: &str) -> Document { Document { name: String::new(), spec: None, findings: vec![], switches: Switches::default() } }
