//! Where a policy may read and write on a node.

use std::path::{Path, PathBuf};

use waybill_crds::{AuditPolicySpec, RotationMode, Source};

use super::{Fault, Reason};
use crate::settings::Settings;

/// Whether the policy changes this source's files: rotates, removes or protects them.
pub(crate) fn is_managed(source: &Source) -> bool {
    source.file.is_some()
        && (source.rotation.mode != RotationMode::Observe || source.retention.is_some() || !source.protect.is_off())
}

/// The folder that holds everything that a pattern can match: its components before the first wildcard.
pub(crate) fn folder(pattern: &str) -> PathBuf {
    let mut components: Vec<&str> = pattern.split('/').collect();
    // The last one is the file's.
    components.pop();
    let literal: Vec<&str> =
        components.into_iter().take_while(|part| !part.contains(['*', '?', '[', '{', '\\'])).collect();
    PathBuf::from(format!("/{}", literal.join("/").trim_start_matches('/')))
}

pub(super) fn judge(faults: &mut Vec<Fault>, spec: &AuditPolicySpec, settings: &Settings, policy: &str) {
    let mut paths = Paths { faults, settings, state: settings.state_dir(policy) };
    for (index, source) in spec.sources.iter().enumerate() {
        let at = format!("spec.sources[{index}]");
        for (index, pattern) in source.file.iter().flat_map(|file| &file.paths).enumerate() {
            let at = format!("{at}.file.paths[{index}]");
            paths.readable(&at, pattern);
            if is_managed(source) {
                paths.writable(&at, &folder(pattern), "its files are rotated, removed or protected, and they");
            }
        }
        if !source.rotation.folder.is_empty() && source.rotation.mode != RotationMode::Observe {
            paths.writable(&format!("{at}.rotation.folder"), Path::new(&source.rotation.folder), "it");
        }
    }
    for (index, sink) in spec.sinks.iter().enumerate() {
        if let Some(file) = &sink.file {
            let at = format!("spec.sinks[{index}].file.path");
            let folder = Path::new(&file.path).parent().unwrap_or(Path::new("/"));
            paths.writable(&at, folder, "it");
            if folder == paths.state {
                let message = format!("{} holds the agent's state", folder.display());
                paths.fault(&at, &message, &format!("write a folder in it, such as {}/archive", folder.display()));
            }
        }
    }
}

struct Paths<'a> {
    faults: &'a mut Vec<Fault>,
    settings: &'a Settings,
    state: PathBuf,
}

impl Paths<'_> {
    fn fault(&mut self, at: &str, message: &str, remedy: &str) {
        self.faults.push(Fault::new(Reason::PathNotAllowed, at, message, remedy));
    }

    fn readable(&mut self, at: &str, pattern: &str) {
        let roots = &self.settings.read_roots;
        if !roots.iter().any(|root| folder(pattern).starts_with(root)) {
            let message = format!("{pattern:?} is outside of {}, where the operator lets policies read", list(roots));
            self.fault(at, &message, "name files below it, without wildcards before that folder ends");
        } else if let Err((message, remedy)) = mountable(&folder(pattern)) {
            self.fault(at, &message, remedy);
        }
    }

    fn writable(&mut self, at: &str, folder: &Path, what: &str) {
        let (roots, state) = (&self.settings.write_roots, &self.settings.state_root);
        let foreign_state = folder.starts_with(state) && !folder.starts_with(&self.state);
        if foreign_state {
            let message = format!("{} is outside of this policy's folder {}", folder.display(), self.state.display());
            self.fault(at, &message, "name a folder below that one");
        } else if folder.starts_with(self.state.join("dead-letters")) {
            self.fault(at, "the folder dead-letters is the agent's", "name another one, such as archive");
        } else if !folder.starts_with(&self.state) && !roots.iter().any(|root| folder.starts_with(root)) {
            let message = format!("{what} must lie below {}, where the operator lets policies write", list(roots));
            self.fault(at, &message, "name such a folder, or let an administrator add this one to --write-roots");
        } else if let Err((message, remedy)) = mountable(folder) {
            self.fault(at, &message, remedy);
        }
    }
}

/// Kubernetes mounts no path with a colon.
fn mountable(folder: &Path) -> Result<(), (String, &'static str)> {
    let text = folder.to_string_lossy();
    if text.contains(':') || text.chars().any(char::is_control) {
        return Err((format!("{text:?} can't be mounted"), "name a folder without colons and control characters"));
    }
    Ok(())
}

fn list(roots: &[PathBuf]) -> String {
    roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(", ")
}
