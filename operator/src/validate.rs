//! Judges a policy by what the operator allows. Pure.
//!
//! What a document says by itself was judged when it was read. Here it is held against the operator's arguments, and against
//! the paths that other policies own.

pub mod claims;
mod overlap;
mod paths;

use std::fmt::Write as _;

use waybill_crds::{AuditPolicySpec, Retention, Severity};

use crate::policy::Policy;
use crate::settings::Settings;
pub use claims::{Claims, Other};
pub(crate) use paths::{folder, is_managed};

/// Characters of the sentence that says why a policy is refused.
const SENTENCE: usize = 1024;

/// What becomes of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The agents carry it out. With a sentence if parts of it are beyond this release.
    Accepted(Option<String>),
    /// The agents go on with what they have; only kill switches count.
    Refused(Refusal),
}

/// Why a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    /// In one word.
    pub reason: Reason,
    /// Where, what, and what to write instead.
    pub sentence: String,
}

/// In one word, for conditions, events and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The document is wrong by itself.
    InvalidSpec,
    /// A path lies outside of the folders that the operator allows.
    PathNotAllowed,
    /// Files may be removed earlier than the operator allows.
    RetentionBelowFloor,
    /// An annotation is not on the operator's list.
    AnnotationNotAllowed,
    /// Another policy rotates, removes or writes what this one wants to read or write, or the other way round.
    PathOwned,
}

impl Reason {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::PathNotAllowed => "PathNotAllowed",
            Self::RetentionBelowFloor => "RetentionBelowFloor",
            Self::AnnotationNotAllowed => "AnnotationNotAllowed",
            Self::PathOwned => "PathOwned",
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    reason: Reason,
    sentence: String,
}

impl Fault {
    fn new(reason: Reason, at: &str, message: &str, remedy: &str) -> Self {
        Self { reason, sentence: format!("{at}: {message}; {remedy}") }
    }
}

/// Judges a policy. `own` is what its agents have in force, `others` are the other policies.
pub fn validate(policy: &Policy, settings: &Settings, own: &Claims, others: &[Other]) -> Verdict {
    let Some(spec) = &policy.document.spec else {
        let errors = policy.document.findings.iter().filter(|finding| finding.severity == Severity::Error);
        // Lines are those of a rendering that no one has seen.
        let faults = errors.map(|found| Fault::new(Reason::InvalidSpec, &found.path, &found.message, &found.remedy));
        return refused(&faults.collect::<Vec<_>>());
    };
    let mut faults = Vec::new();
    paths::judge(&mut faults, spec, settings, &policy.name);
    retention(&mut faults, spec, settings.retention_floor_days);
    annotations(&mut faults, spec, settings);
    claims::judge(&mut faults, &Claims::of(spec), own, others);
    if !faults.is_empty() {
        return refused(&faults);
    }
    let skipped = policy.document.findings.iter().filter(|finding| finding.severity == Severity::Skipped);
    let skipped: Vec<String> = skipped.map(|found| format!("{}: {}", found.path, found.message)).collect();
    Verdict::Accepted((!skipped.is_empty()).then(|| bounded(&skipped)))
}

fn refused(faults: &[Fault]) -> Verdict {
    let reason = faults.first().map_or(Reason::InvalidSpec, |fault| fault.reason);
    let sentences: Vec<String> = faults.iter().map(|fault| fault.sentence.clone()).collect();
    Verdict::Refused(Refusal { reason, sentence: bounded(&sentences) })
}

/// As many sentences as fit, and how many more there are.
fn bounded(sentences: &[String]) -> String {
    let mut text = String::new();
    for (index, sentence) in sentences.iter().enumerate() {
        let sentence: String = sentence.chars().filter(|char| !char.is_control()).take(SENTENCE).collect();
        if !text.is_empty() && text.chars().count() + sentence.chars().count() > SENTENCE {
            // A text takes whatever is written.
            let _ = write!(text, "; and {} more", sentences.len() - index);
            break;
        }
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&sentence);
    }
    text
}

/// No bound may remove a file before the floor.
fn retention(faults: &mut Vec<Fault>, spec: &AuditPolicySpec, floor: u32) {
    if floor == 0 {
        return;
    }
    let sources = spec.sources.iter().enumerate().filter_map(|(index, source)| {
        Some((format!("spec.sources[{index}].retention"), source.effective_retention()?))
    });
    let sinks = spec.sinks.iter().enumerate().filter_map(|(index, sink)| {
        Some((format!("spec.sinks[{index}].file.retention"), sink.file.as_ref()?.retention.clone()))
    });
    for (at, retention) in sources.chain(sinks) {
        let Retention { max_age_days, max_files, max_total_size, min_free, on_pressure: _ } = retention;
        let mut below = |field: &str, message: String, remedy: &str| {
            faults.push(Fault::new(Reason::RetentionBelowFloor, &format!("{at}.{field}"), &message, remedy));
        };
        if max_age_days != 0 && max_age_days < floor {
            let message = format!("{max_age_days} days are below this cluster's floor of {floor}");
            below("maxAgeDays", message, &format!("write at least {floor}, or 0 for no bound"));
        }
        let early = |what: &str| format!("{what} could remove files before this cluster's floor of {floor} days");
        if max_files != 0 {
            below("maxFiles", early("a number of files"), "write 0 for no bound");
        }
        if max_total_size.is_some() {
            below("maxTotalSize", early("a bound on bytes"), "leave it out");
        }
        if min_free.is_some() {
            below("minFree", early("a bound on free space"), "leave it out");
        }
    }
}

fn annotations(faults: &mut Vec<Fault>, spec: &AuditPolicySpec, settings: &Settings) {
    let allowed = &settings.service_account_annotation_keys;
    // An empty argument is a list with one empty name.
    let is_allowed = |key: &String| !key.is_empty() && allowed.contains(key);
    for key in spec.agent.service_account_annotations.keys().filter(|key| !is_allowed(key)) {
        faults.push(Fault::new(
            Reason::AnnotationNotAllowed,
            "spec.agent.serviceAccountAnnotations",
            &format!("{key:?} is not on the operator's list"),
            "leave it out, or let an administrator add it to --service-account-annotation-keys",
        ));
    }
}

#[cfg(test)]
mod tests;
