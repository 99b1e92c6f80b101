//! The short answer for the operator: at most [`BOUND`] bytes, no path, no host, no text of an error or a user.

use serde::Serialize;
use serde_json::Value;

use crate::engine::report::{LaneReport, Report, SwitchReport};

/// Bytes that the answer has at most.
pub const BOUND: usize = 2048;

/// What the operator reads of one agent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    version: &'a str,
    policy: &'a str,
    digest: &'a str,
    /// The generation of the kill switches in force: the acknowledgement.
    switch_generation: i64,
    ready: bool,
    /// The newest policy is not in force.
    policy_refused: bool,
    /// The state cannot be written.
    state_blocked: bool,
    /// The engaged kill switches.
    kill_switches: Vec<Switch<'a>>,
    kill_switches_omitted: usize,
    /// Those in trouble first.
    lanes: Vec<Lane<'a>>,
    lanes_omitted: usize,
}

#[derive(Debug, Serialize)]
struct Switch<'a> {
    scope: &'a str,
    mode: &'a str,
    since: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Lane<'a> {
    name: &'a str,
    state: &'a str,
    pending_bytes: u64,
    oldest_pending_seconds: u64,
    lost: u64,
    dead_letters: u64,
}

impl<'a> From<&'a LaneReport> for Lane<'a> {
    fn from(lane: &'a LaneReport) -> Self {
        Self {
            name: &lane.name,
            state: &lane.state,
            pending_bytes: lane.pending.bytes,
            oldest_pending_seconds: lane.oldest_pending_seconds.max(0.0) as u64,
            lost: lane.lost.records,
            dead_letters: lane.refused.records,
        }
    }
}

impl<'a> From<&'a SwitchReport> for Switch<'a> {
    fn from(switch: &'a SwitchReport) -> Self {
        Self { scope: &switch.scope, mode: &switch.mode, since: switch.since }
    }
}

/// The summary as JSON. What does not fit is left out and counted: healthy lanes first, then other lanes, then kill switches.
pub fn render(report: &Report) -> String {
    let mut lanes: Vec<Lane<'_>> = report.lanes.iter().map(Lane::from).collect();
    lanes.sort_by_key(|lane| lane.state == "Delivering");
    let mut summary = Summary {
        version: env!("CARGO_PKG_VERSION"),
        policy: &report.policy,
        digest: &report.digest,
        switch_generation: report.switch_generation,
        ready: report.ready,
        policy_refused: report.refused_policy.is_some(),
        state_blocked: report.state_trouble.is_some(),
        kill_switches: report.switches.iter().map(Switch::from).collect(),
        kill_switches_omitted: 0,
        lanes,
        lanes_omitted: 0,
    };
    loop {
        // Names and numbers always have a form as JSON.
        let text = serde_json::to_string(&summary).unwrap_or_default();
        if text.len() <= BOUND {
            return text;
        }
        if summary.lanes.pop().is_some() {
            summary.lanes_omitted += 1;
        } else if summary.kill_switches.pop().is_some() {
            summary.kill_switches_omitted += 1;
        } else {
            // A policy's name of two thousand bytes is none.
            return Value::from(report.ready).to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::made_up;

    #[test]
    fn says_how_each_lane_is_and_which_switches_are_engaged_and_no_more() {
        let text = render(&made_up::report());
        let json: Value = serde_json::from_str(&text).unwrap();
        let lane = serde_json::json!({"name": "archive", "state": "Misconfigured", "pendingBytes": 100,
            "oldestPendingSeconds": 61, "lost": 4, "deadLetters": 6});
        assert_eq!(json["lanes"][0], lane);
        assert_eq!(json["killSwitches"][0]["scope"], "source/qurl");
        assert_eq!((&json["ready"], &json["policyRefused"]), (&Value::from(true), &Value::from(true)));
        for secret in [made_up::PATH, made_up::TROUBLE, made_up::REASON, made_up::PERSON] {
            assert!(!text.contains(secret), "{secret}");
        }
    }

    #[test]
    fn stays_within_its_bound_and_keeps_what_is_in_trouble() {
        let mut report = made_up::report();
        let sound = report.lanes[1].clone();
        report.lanes = (0..60).map(|n| LaneReport { name: format!("lane-{n}"), ..sound.clone() }).collect();
        report.lanes[59].state = "Held".into();
        let text = render(&report);
        let json: Value = serde_json::from_str(&text).unwrap();
        assert!(text.len() <= BOUND);
        assert_eq!(json["lanes"][0]["name"], "lane-59");
        let shown = json["lanes"].as_array().unwrap().len() as u64;
        assert_eq!(json["lanesOmitted"], 60 - shown);
    }
}
