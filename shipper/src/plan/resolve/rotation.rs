//! How a source's files are rotated: what the policy says, and where this cannot be done.

use std::path::PathBuf;

use rustix::process::Signal;
use waybill_crds as crds;
use waybill_crds::Finding;

use super::error;
use crate::plan::{RotationMode, RotationPlan};
use crate::rotate::reopen::Reopen;

/// The plan, or `None` if someone else rotates.
pub(super) fn resolve(source: &crds::Source, path: &str, findings: &mut Vec<Finding>) -> Option<RotationPlan> {
    let rotation = &source.rotation;
    let mode = match rotation.mode {
        crds::RotationMode::Observe => return None,
        crds::RotationMode::Collapse => RotationMode::Collapse,
        crds::RotationMode::Rename => match reopen(source) {
            Ok(reopen) => RotationMode::Rename(reopen),
            Err((message, remedy)) => {
                findings.push(error(&format!("{path}.rotation.reopen"), message, remedy));
                return None;
            }
        },
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

/// How the writer is made to reopen; the contract has checked that what belongs together is there.
fn reopen(source: &crds::Source) -> Result<Reopen, (&'static str, &'static str)> {
    let proxy = source.format.name().starts_with("V2Ray");
    match &source.rotation.reopen {
        Some(crds::Reopen { kind: crds::ReopenType::V2RayApi, address: Some(address), .. }) => {
            Ok(Reopen::V2RayApi { address: address.clone() })
        }
        Some(crds::Reopen { kind: crds::ReopenType::Signal, .. }) if proxy => Err((
            "V2Ray and Xray do not reopen their files at any signal, and SIGHUP ends them",
            "write mode: Collapse, or reopen: {type: V2RayApi, address: \"127.0.0.1:10085\"}",
        )),
        Some(crds::Reopen { signal: Some(signal), process: Some(process), .. }) => Ok(Reopen::Signal {
            signal: match signal {
                crds::Signal::Hup => Signal::HUP,
                crds::Signal::Usr1 => Signal::USR1,
                crds::Signal::Usr2 => Signal::USR2,
            },
            executable: PathBuf::from(&process.executable),
        }),
        _ => Err(("it does not say how the writer is made to reopen", "write a signal and a process, or an address")),
    }
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
