//! Which paths a policy owns, and which it reads.
//!
//! A path has at most one policy that rotates, removes, protects or writes it, and no other reads it then: what one cuts away,
//! the other would miss. The younger one is refused.

use waybill_crds::{AuditPolicySpec, RotationMode};

use super::overlap::overlap;
use super::paths::is_managed;
use super::{Fault, Reason};

/// The paths of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    owned: Vec<Claim>,
    read: Vec<Claim>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    pattern: String,
    /// Where in the policy.
    at: String,
}

impl Claims {
    /// What a spec claims.
    pub fn of(spec: &AuditPolicySpec) -> Self {
        let mut claims = Self::default();
        for (index, source) in spec.sources.iter().enumerate() {
            let at = format!("spec.sources[{index}]");
            for (index, pattern) in source.file.iter().flat_map(|file| &file.paths).enumerate() {
                let claim = Claim { pattern: pattern.clone(), at: format!("{at}.file.paths[{index}]") };
                if is_managed(source) { &mut claims.owned } else { &mut claims.read }.push(claim);
            }
            if !source.rotation.folder.is_empty() && source.rotation.mode != RotationMode::Observe {
                let pattern = format!("{}/*", escaped(source.rotation.folder.trim_end_matches('/')));
                claims.owned.push(Claim { pattern, at: format!("{at}.rotation.folder") });
            }
        }
        for (index, sink) in spec.sinks.iter().enumerate() {
            if let Some(file) = &sink.file {
                // Its archives begin as it does: audit.log, audit-2026-01-01.log.gz.
                let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
                let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
                let pattern = format!("{}/{}*", escaped(folder), escaped(stem));
                claims.owned.push(Claim { pattern, at: format!("spec.sinks[{index}].file.path") });
            }
        }
        claims
    }

    /// Adds other claims, without those that are there already.
    pub fn extend(&mut self, other: Self) {
        for (mine, others) in [(&mut self.owned, other.owned), (&mut self.read, other.read)] {
            for claim in others {
                if !mine.contains(&claim) {
                    mine.push(claim);
                }
            }
        }
    }
}

fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|char| matches!(char, '*' | '?' | '[' | '{' | '\\').then_some('\\').into_iter().chain([char]))
        .collect()
}

/// Holds what a policy wants against what older ones have.
pub(super) fn judge(faults: &mut Vec<Fault>, wanted: &Claims, older: &[(String, Claims)]) {
    for (name, held) in older {
        let owned = wanted.owned.iter().flat_map(|claim| held.owned.iter().chain(&held.read).map(move |h| (claim, h)));
        let read = wanted.read.iter().flat_map(|claim| held.owned.iter().map(move |h| (claim, h)));
        for (claim, held) in owned.chain(read).filter(|(claim, held)| overlap(&claim.pattern, &held.pattern)) {
            faults.push(Fault::new(
                Reason::PathOwned,
                &claim.at,
                &format!("it meets {} of the older policy {name}", held.at),
                "only one policy may rotate, remove or write a file, and no other may read it then: name other files",
            ));
        }
    }
}
