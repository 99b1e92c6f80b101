//! Which paths a policy owns, and which it reads.
//!
//! A path has at most one policy that rotates, removes, protects or writes it, and no other reads it then: what one cuts away,
//! the other would miss. Whose agents have it in force keeps it; of two that merely ask for it, or that both have it, the younger one
//! is refused.

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

    /// These claims without what others comprise.
    #[must_use]
    pub fn without(mut self, others: &Self) -> Self {
        self.owned.retain(|claim| !others.comprise(claim, true));
        self.read.retain(|claim| !others.comprise(claim, false));
        self
    }

    /// Each claim, and whether it is one to own the path.
    fn each(&self) -> impl Iterator<Item = (&Claim, bool)> {
        let owned = self.owned.iter().map(|claim| (claim, true));
        owned.chain(self.read.iter().map(|claim| (claim, false)))
    }

    /// Whether the same pattern is among them, wherever it stands; who owns may also read.
    fn comprise(&self, claim: &Claim, owned: bool) -> bool {
        self.each().any(|(mine, owns)| mine.pattern == claim.pattern && owns >= owned)
    }
}

/// Another policy, as far as paths go.
#[derive(Clone, Debug)]
pub struct Other {
    /// Its name.
    pub name: String,
    /// It is older than the one that is judged.
    pub older: bool,
    /// What its agents have in force.
    pub held: Claims,
    /// What it asks for beyond that.
    pub asked: Claims,
}

fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|char| matches!(char, '*' | '?' | '[' | '{' | '\\').then_some('\\').into_iter().chain([char]))
        .collect()
}

/// Holds what a policy wants, of which its own agents have some in force, against what others have and want.
pub(super) fn judge(faults: &mut Vec<Fault>, wanted: &Claims, own: &Claims, others: &[Other]) {
    for other in others {
        let owner = if other.older {
            format!("the older policy {}", other.name)
        } else {
            format!("the policy {}, whose agents have it in force", other.name)
        };
        for (claim, owned) in wanted.each() {
            let kept = own.comprise(claim, owned);
            let yields = |held: bool| if kept == held { other.older } else { held };
            let theirs = [(&other.held, true), (&other.asked, false)].into_iter().filter(|(_, held)| yields(*held));
            let theirs = theirs.flat_map(|(claims, _)| claims.each()).filter(|(_, owns)| owned || *owns);
            for (their, _) in theirs.filter(|(their, _)| overlap(&claim.pattern, &their.pattern)) {
                faults.push(Fault::new(
                    Reason::PathOwned,
                    &claim.at,
                    &format!("it meets {} of {owner}", their.at),
                    "only one policy may rotate, remove or write a file, and no other may read it then: name other files",
                ));
            }
        }
    }
}
