//! The conditions of a policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{Facts, agents, delivery, some, switches};
use crate::dereference::SecretState;
use crate::validate::Verdict;

/// Characters that the API server takes as a condition's message; the schema has the same bound.
const MESSAGE: usize = 4096;

/// The conditions that a policy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// The newest spec is in force, or on its way.
    Accepted,
    /// Every Secret that it names can be used.
    SecretsResolved,
    /// Every node runs a ready agent.
    AgentsReady,
    /// Every required sink keeps up on every node.
    Delivering,
    /// Some kill switch is engaged.
    KillSwitchEngaged,
}

impl Type {
    /// Every condition, in the order of the status.
    pub const ALL: [Self; 5] =
        [Self::Accepted, Self::SecretsResolved, Self::AgentsReady, Self::Delivering, Self::KillSwitchEngaged];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::SecretsResolved => "SecretsResolved",
            Self::AgentsReady => "AgentsReady",
            Self::Delivering => "Delivering",
            Self::KillSwitchEngaged => "KillSwitchEngaged",
        }
    }

    /// Whether no one has to do anything.
    pub fn is_calm(self, status: &str) -> bool {
        (status == "True") != (self == Self::KillSwitchEngaged)
    }
}

/// What a condition says.
pub(super) struct Said {
    pub(super) status: &'static str,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Said {
    pub(super) fn new(status: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), message: message.into() }
    }
}

pub(super) fn compute(facts: &Facts<'_>) -> Vec<Condition> {
    Type::ALL
        .into_iter()
        .map(|kind| {
            let said = match kind {
                Type::Accepted => accepted(facts),
                Type::SecretsResolved => secrets(facts),
                Type::AgentsReady => agents::ready(facts),
                Type::Delivering => delivery::delivering(facts),
                Type::KillSwitchEngaged => switches::engaged(facts),
            };
            let before = facts.policy.status.conditions.iter().find(|before| before.type_ == kind.name());
            let since =
                before.filter(|before| before.status == said.status).map(|before| before.last_transition_time.clone());
            Condition {
                type_: kind.name().to_owned(),
                status: said.status.to_owned(),
                reason: said.reason,
                message: said.message.chars().take(MESSAGE).collect(),
                observed_generation: Some(facts.policy.generation),
                last_transition_time: since.unwrap_or(Time(facts.now)),
            }
        })
        .collect()
}

fn accepted(facts: &Facts<'_>) -> Said {
    match facts.verdict {
        Verdict::Accepted(None) => Said::new("True", "Accepted", "the policy is accepted"),
        Verdict::Accepted(Some(skipped)) => Said::new("True", "AcceptedInPart", skipped.as_str()),
        Verdict::Refused(refusal) => {
            let goes_on = if facts.spec.is_some() {
                "; the agents go on with what was accepted last, and obey the kill switches of this one"
            } else {
                ""
            };
            Said::new("False", refusal.reason.word(), format!("{}{goes_on}", refusal.sentence))
        }
    }
}

fn secrets(facts: &Facts<'_>) -> Said {
    let in_state = |wanted: SecretState| {
        let states = &facts.secrets.states;
        let named: Vec<&str> =
            states.iter().filter(|(_, state)| **state == wanted).map(|(name, _)| name.as_str()).collect();
        (!named.is_empty()).then(|| some(named))
    };
    let label = format!("{}={}", crate::names::POLICY_LABEL, facts.policy.name);
    if let Some(names) = in_state(SecretState::NotLabelled) {
        let message =
            format!("not labelled for this policy: {names}; allow its use with kubectl label secret NAME {label}");
        return Said::new("False", "SecretNotLabelled", message);
    }
    if let Some(names) = in_state(SecretState::Missing) {
        let message = format!("missing: {names}; make it in the agents' namespace, with the label {label}");
        return Said::new("False", "SecretMissing", message);
    }
    match facts.secrets.states.len() {
        0 => Said::new("True", "NoSecrets", "the policy names no Secret"),
        count => Said::new("True", "Resolved", format!("{count} found")),
    }
}
