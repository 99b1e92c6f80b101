//! What a policy's agents may do on the node: no more than its sources ask for.

use waybill_crds::{AuditPolicySpec, ReopenType, RotationMode};

use crate::validate::is_managed;

/// The rights of the agents of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Privileges {
    /// The capabilities that are kept when all are dropped.
    pub(super) capabilities: Vec<&'static str>,
    /// A process of the node is signalled: its pid is looked for among the node's.
    pub(super) signals: bool,
}

impl Privileges {
    pub(super) fn of(spec: &AuditPolicySpec) -> Self {
        // To read what root reads, and to see whether a file still has a writer.
        let mut capabilities = vec!["DAC_READ_SEARCH", "LEASE"];
        if spec.sources.iter().any(is_managed) {
            capabilities.extend(["DAC_OVERRIDE", "FOWNER", "CHOWN"]);
        }
        let sinks = spec.sinks.iter().filter_map(|sink| Some(&sink.file.as_ref()?.protect));
        if spec.sources.iter().map(|source| &source.protect).chain(sinks).any(|protect| !protect.is_off()) {
            capabilities.push("LINUX_IMMUTABLE");
        }
        let signals = spec.sources.iter().any(|source| {
            let reopen = source.rotation.reopen.as_ref();
            source.rotation.mode == RotationMode::Rename && reopen.is_some_and(|by| by.kind == ReopenType::Signal)
        });
        if signals {
            capabilities.push("KILL");
        }
        Self { capabilities, signals }
    }
}
