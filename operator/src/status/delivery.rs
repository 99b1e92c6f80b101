//! How the sinks fare, the worst of all nodes.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use waybill_crds::bounds::SINKS;
use waybill_crds::{SinkState, SinkStatus};

use super::conditions::Said;
use super::{Facts, some};
use crate::fleet::report::Lane;

/// Each sink's lanes with their nodes.
fn lanes<'a>(facts: &Facts<'a>) -> BTreeMap<String, Vec<(&'a str, Lane)>> {
    let sinks = facts.spec.map(|spec| spec.sinks.as_slice()).unwrap_or_default();
    let mut lanes: BTreeMap<String, Vec<(&str, Lane)>> = BTreeMap::new();
    for standing in facts.standings {
        let Some(report) = &standing.report else { continue };
        // A name that the policy does not have is one that an agent made up, unless the sinks are the default ones.
        let is_known = |name: &str| {
            if sinks.is_empty() {
                ["archive", "mirror"].contains(&name)
            } else {
                sinks.iter().any(|sink| sink.name == name)
            }
        };
        for lane in report.lanes.iter().filter(|lane| is_known(&lane.name)) {
            lanes.entry(lane.name.clone()).or_default().push((&standing.node, lane.clone()));
        }
        // An agent that has the policy and lacks a sink does not deliver to it, however well it is otherwise.
        let complete = standing.up_to_date && report.lanes_omitted == 0;
        for sink in sinks.iter().filter(|_| complete) {
            if !report.lanes.iter().any(|lane| lane.name == sink.name) {
                lanes.entry(sink.name.clone()).or_default().push((&standing.node, Lane::absent(&sink.name)));
            }
        }
    }
    lanes
}

pub(super) fn sinks(facts: &Facts<'_>) -> Vec<SinkStatus> {
    let one = |(name, lanes): (String, Vec<(&str, Lane)>)| {
        let state = lanes.iter().map(|(_, lane)| lane.state()).max().unwrap_or(SinkState::Delivering);
        let before = facts.policy.status.sinks.iter().find(|before| before.name == name);
        let since = before.and_then(|before| before.behind_since.clone());
        let worst =
            lanes.iter().max_by_key(|(_, lane)| (lane.state(), lane.oldest_pending_seconds, lane.pending_bytes));
        let sum = |count: fn(&Lane) -> u64| {
            let sum = lanes.iter().fold(0_u64, |sum, (_, lane)| sum.saturating_add(count(lane)));
            i64::try_from(sum).unwrap_or(i64::MAX)
        };
        let oldest = lanes.iter().map(|(_, lane)| lane.oldest_pending_seconds).max().unwrap_or_default();
        let began = || facts.now.checked_sub(SignedDuration::from_secs(oldest as i64)).unwrap_or(facts.now);
        SinkStatus {
            state,
            behind_since: (state != SinkState::Delivering).then(|| since.unwrap_or_else(|| Time(began()))),
            worst_node: worst
                .filter(|_| state != SinkState::Delivering)
                .map(|(node, _)| (*node).to_owned())
                .unwrap_or_default(),
            name,
            lost_records: sum(|lane| lane.lost),
            dead_letters: sum(|lane| lane.dead_letters),
        }
    };
    lanes(facts).into_iter().take(SINKS).map(one).collect()
}

pub(super) fn delivering(facts: &Facts<'_>) -> Said {
    if facts.standings.iter().all(|standing| standing.report.is_none()) {
        return Said::new("Unknown", "NoReports", "no agent has answered yet");
    }
    let blocked = facts.standings.iter().filter(|one| one.report.as_ref().is_some_and(|report| report.state_blocked));
    let blocked: Vec<&str> = blocked.map(|standing| standing.node.as_str()).collect();
    if !blocked.is_empty() {
        let message = format!("the state can't be written, mostly because the disk is full, on {}", some(blocked));
        return Said::new("False", "StateBlocked", message);
    }
    let is_required =
        |name: &str| facts.spec.and_then(|spec| spec.sink(name)).is_none_or(waybill_crds::Sink::is_required);
    let mut worst = SinkState::Delivering;
    let mut sentences = Vec::new();
    for (name, lanes) in lanes(facts).into_iter().filter(|(name, _)| is_required(name.as_str())) {
        let state = lanes.iter().map(|(_, lane)| lane.state()).max().unwrap_or(SinkState::Delivering);
        if state != SinkState::Delivering {
            let nodes = lanes.iter().filter(|(_, lane)| lane.state() == state).map(|(node, _)| *node);
            sentences.push(format!("{name} is {state:?} on {}", some(nodes)));
            worst = worst.max(state);
        }
    }
    if worst == SinkState::Delivering {
        return Said::new("True", "Delivering", "every required sink keeps up");
    }
    Said::new("False", format!("{worst:?}"), sentences.join("; "))
}
