//! What is reported about a policy. Pure.

mod agents;
mod conditions;
mod delivery;
mod switches;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use waybill_crds::bounds::LOST_NODES;
use waybill_crds::{AuditPolicySpec, AuditPolicyStatus, LostNode, Nodes};

use crate::dereference::{Progress, Secrets};
use crate::events::News;
use crate::fleet::{Gone, Standing};
use crate::policy::Policy;
use crate::validate::Verdict;
pub use conditions::Type;

/// How often numbers alone are written.
pub const NUMBERS: Duration = Duration::from_secs(60);
/// How long a node that is gone is remembered.
const REMEMBERED: Duration = Duration::from_secs(7 * 86_400);
/// Names in a sentence.
const NAMES: usize = 5;

/// What a status is made from.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The time.
    pub now: Timestamp,
    /// The policy with its former status.
    pub policy: &'a Policy,
    /// What the agents have: the policy's spec, or the one that was accepted last.
    pub spec: Option<&'a AuditPolicySpec>,
    /// Whether the policy is accepted.
    pub verdict: &'a Verdict,
    /// The Secrets that it names.
    pub secrets: &'a Secrets,
    /// How the DaemonSet is doing; `None` if there is none.
    pub progress: Option<Progress>,
    /// Why no pods can be made.
    pub cannot_create: Option<&'a str>,
    /// Why the objects could not be applied.
    pub trouble: Option<&'a str>,
    /// How the agents stand.
    pub standings: &'a [Standing],
    /// Nodes that were found to be gone since the former status.
    pub gone: &'a [Gone],
}

/// Makes the status.
pub fn compute(facts: &Facts<'_>) -> AuditPolicyStatus {
    let lost = lost(facts);
    let sinks = delivery::sinks(facts);
    AuditPolicyStatus {
        observed_generation: Some(facts.policy.generation),
        conditions: conditions::compute(facts),
        nodes: Nodes {
            desired: facts.progress.map_or(0, |progress| progress.desired),
            ready: facts.progress.map_or(0, |progress| progress.ready),
            up_to_date: count(facts.standings, |standing| standing.up_to_date),
            lost_with_pending: i32::try_from(lost.len()).unwrap_or(i32::MAX),
            lost,
        },
        behind_since: sinks.iter().filter_map(|sink| sink.behind_since.clone()).min(),
        sinks,
    }
}

/// Whether the new status is worth a write: a state changed, or numbers did and the last write is long ago.
pub fn is_worth_writing(before: &AuditPolicyStatus, after: &AuditPolicyStatus, since: Option<Duration>) -> bool {
    if states(before) != states(after) {
        return true;
    }
    before != after && since.is_none_or(|since| since >= NUMBERS)
}

/// A status without its numbers.
fn states(status: &AuditPolicyStatus) -> AuditPolicyStatus {
    let mut status = status.clone();
    status.nodes = Nodes { lost_with_pending: status.nodes.lost_with_pending, ..Nodes::default() };
    for condition in &mut status.conditions {
        if condition.type_ != Type::Accepted.name() && condition.type_ != Type::SecretsResolved.name() {
            condition.message.clear();
        }
    }
    for sink in &mut status.sinks {
        sink.worst_node.clear();
        (sink.lost_records, sink.dead_letters) = (0, 0);
    }
    status
}

/// What a person should see of the change from one status to the next.
pub fn news(before: &AuditPolicyStatus, after: &AuditPolicyStatus) -> Vec<News> {
    let mut news: Vec<News> = Vec::new();
    for kind in Type::ALL {
        let of = |status: &AuditPolicyStatus| {
            let condition = status.conditions.iter().find(|condition| condition.type_ == kind.name()).cloned();
            condition.filter(|condition| condition.status != "Unknown")
        };
        let (old, new) = (of(before), of(after));
        let Some(new) = new else { continue };
        let key = |condition: &Condition| (condition.status.clone(), condition.reason.clone());
        let said = old.as_ref().map(key) == Some(key(&new)) || (old.is_none() && kind.is_calm(&new.status));
        // What comes and goes with every start is no news.
        let starting = old.is_none() && kind == Type::AgentsReady;
        if !said && !starting {
            let reason = if kind.is_calm(&new.status) && kind != Type::Accepted {
                format!("{}{}", kind.name(), new.status)
            } else {
                new.reason.clone()
            };
            news.push(News { topic: kind.name(), reason, warning: !kind.is_calm(&new.status), note: new.message });
        }
    }
    let known: Vec<&str> = before.nodes.lost.iter().map(|lost| lost.name.as_str()).collect();
    for lost in after.nodes.lost.iter().filter(|lost| !known.contains(&lost.name.as_str())) {
        let note =
            format!("node {} is gone, and {} bytes of its logs were not delivered", lost.name, lost.pending_bytes);
        news.push(News { topic: "LostNode", reason: "NodeLostWithPending".to_owned(), note, warning: true });
    }
    news
}

/// The nodes that are gone: those known before, without those that are back or long gone, and the new ones.
fn lost(facts: &Facts<'_>) -> Vec<LostNode> {
    let mut lost = facts.policy.status.nodes.lost.clone();
    for gone in facts.gone {
        lost.retain(|lost| lost.name != gone.node);
        lost.push(LostNode {
            name: gone.node.clone(),
            since: Time(facts.now),
            pending_bytes: i64::try_from(gone.bytes).unwrap_or(i64::MAX),
        });
    }
    let is_back =
        |name: &str| facts.standings.iter().any(|standing| standing.node == name && standing.report.is_some());
    lost.retain(|lost| {
        let age = facts.now.duration_since(lost.since.0).as_secs();
        !is_back(&lost.name) && age < REMEMBERED.as_secs() as i64
    });
    let surplus = lost.len().saturating_sub(LOST_NODES);
    lost.drain(..surplus);
    lost
}

fn count(standings: &[Standing], test: impl Fn(&Standing) -> bool) -> i32 {
    i32::try_from(standings.iter().filter(|standing| test(standing)).count()).unwrap_or(i32::MAX)
}

/// A few names, and how many more there are.
fn some<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
