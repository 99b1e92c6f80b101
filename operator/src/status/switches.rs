//! Which kill switches are engaged, and who has acknowledged them.

use waybill_crds::{KillSwitch, KillSwitchMode};

use super::conditions::{Said, Type};
use super::{Facts, count, some};

/// How many switches a sentence names.
const SHOWN: usize = 4;
/// Characters of a reason in it.
const REASON: usize = 200;

pub(super) fn engaged(facts: &Facts<'_>) -> Said {
    let engaged = list(facts);
    let desired = facts.progress.map_or(0, |progress| progress.desired);
    let acknowledged = count(facts.standings, |standing| standing.switched);
    let all = acknowledged >= desired.max(i32::try_from(facts.standings.len()).unwrap_or(i32::MAX));
    let silent = some(facts.standings.iter().filter(|one| !one.switched).map(|one| one.node.as_str()));
    let silent = if silent.is_empty() { String::new() } else { format!("; not yet by {silent}") };
    let told = format!("acknowledged by {acknowledged} of {desired} agents{silent}");
    if engaged.is_empty() {
        let before = facts.policy.status.conditions.iter().find(|one| one.type_ == Type::KillSwitchEngaged.name());
        let lifting = before.is_some_and(|before| before.status == "True" || before.reason == "Lifting");
        return if lifting && !all {
            Said::new("False", "Lifting", format!("lifted, {told}"))
        } else {
            Said::new("False", "NotEngaged", "no kill switch is engaged")
        };
    }
    let mut sentence = engaged.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if engaged.len() > SHOWN {
        sentence = format!("{sentence}; and {} more", engaged.len() - SHOWN);
    }
    Said::new("True", if all { "Engaged" } else { "Engaging" }, format!("{sentence}; {told}"))
}

fn list(facts: &Facts<'_>) -> Vec<String> {
    let switches = &facts.policy.document.switches;
    let policy = switches.policy.iter().map(|switch| ("the policy".to_owned(), switch));
    let sources = switches.sources.iter().map(|(name, switch)| (format!("source {name}"), switch));
    let sinks = switches.sinks.iter().map(|(name, switch)| (format!("sink {name}"), switch));
    policy
        .chain(sources)
        .chain(sinks)
        .filter(|(_, switch)| switch.engaged)
        .map(|(scope, one)| text(&scope, one))
        .collect()
}

fn text(scope: &str, switch: &KillSwitch) -> String {
    let mode = if switch.mode == KillSwitchMode::Discard { "Discard" } else { "Hold" };
    let reason: String = switch.reason.chars().filter(|char| !char.is_control()).take(REASON).collect();
    let by: String = switch.requested_by.chars().filter(|char| !char.is_control()).collect();
    format!("{scope} ({mode}) by {by}: {reason}")
}
