//! How a source's files are rotated: what the policy says, and where this cannot be done.

use std::path::PathBuf;

use waybill_crds as crds;
use waybill_crds::Finding;

use super::{error, skipped};
use crate::plan::{RotationMode, RotationPlan};

/// The plan, or `None` if someone else rotates.
pub(super) fn resolve(source: &crds::Source, path: &str, findings: &mut Vec<Finding>) -> Option<RotationPlan> {
    let rotation = &source.rotation;
    let mode = match rotation.mode {
        crds::RotationMode::Observe => return None,
        crds::RotationMode::Collapse => RotationMode::Collapse,
        crds::RotationMode::Rename => {
            findings.push(skipped(
                &format!("{path}.rotation.mode"),
                format!("this release does not rename files; those of {} are followed as with Observe", source.name),
                "write mode: Collapse, which needs nothing of the writer, or Observe",
            ));
            return None;
        }
    };
    if mode == RotationMode::Collapse
        && let Some((message, remedy)) = cannot_collapse(source)
    {
        findings.push(error(&format!("{path}.rotation.mode"), message, remedy));
        return None;
    }
    Some(RotationPlan {
        mode,
        max_size: rotation.max_size.0,
        cycle: rotation.cycle,
        compression: rotation.compression.into(),
        folder: (!rotation.folder.is_empty()).then(|| PathBuf::from(&rotation.folder)),
    })
}

/// Where it is known beforehand, whatever the file system, that cutting would harm the writer.
fn cannot_collapse(source: &crds::Source) -> Option<(&'static str, &'static str)> {
    if source.format.name().starts_with("SoftEther") {
        return Some((
            "SoftEther opens its logs without O_APPEND and seeks to their end: after a cut it would leave a hole",
            "write mode: Observe; SoftEther switches its logs by itself",
        ));
    }
    let wrapped = source.file.as_ref().is_some_and(|f| f.envelope != crds::Envelope::None);
    wrapped.then_some((
        "the container runtime that writes these files rotates them too",
        "write mode: Observe; how large container logs grow is the kubelet's to configure",
    ))
}
