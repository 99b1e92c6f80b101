//! What an agent says of itself. It comes from a node, so it is bounded and nothing in it is believed beyond its range.

use serde::Deserialize;
use waybill_crds::SinkState;
use waybill_crds::bounds::{NAME_LENGTH, SINKS};

use super::Order;

/// Bytes of an answer that are read.
pub const BYTES: usize = 16 << 10;
/// The largest count that is believed: what a status can hold.
const COUNT: u64 = i64::MAX as u64 >> 16;

/// The answer of `/report`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// The policy's name.
    pub policy: String,
    /// What tells apart the document in force.
    pub digest: String,
    /// The generation of the kill switches in force; 0 from an agent that does not say.
    pub switch_generation: i64,
    /// The newest document is not in force.
    pub policy_refused: bool,
    /// The state can't be written.
    pub state_blocked: bool,
    /// Its lanes, those in trouble first.
    pub lanes: Vec<Lane>,
    /// Lanes that had no room in the answer.
    pub lanes_omitted: u64,
}

/// One lane of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lane {
    /// The sink's name.
    pub name: String,
    /// The sink's state, in the agent's words.
    state: String,
    /// Bytes that are still to be settled.
    pub pending_bytes: u64,
    /// Age of the oldest of them.
    pub oldest_pending_seconds: u64,
    /// Records that are lost.
    pub lost: u64,
    /// Records that the sink refused.
    pub dead_letters: u64,
}

impl Lane {
    /// The lane of a sink that an agent does not run.
    pub fn absent(sink: &str) -> Self {
        Self { name: sink.to_owned(), state: "Misconfigured".to_owned(), ..Self::default() }
    }

    /// How the sink fares. A word that this release does not know is trouble of some kind.
    pub fn state(&self) -> SinkState {
        match self.state.as_str() {
            "Delivering" => SinkState::Delivering,
            "Behind" => SinkState::Behind,
            "Held" => SinkState::Held,
            "AwaitingRestart" => SinkState::AwaitingRestart,
            _ => SinkState::Misconfigured,
        }
    }
}

impl Report {
    /// Reads an answer.
    pub fn parse(bytes: &[u8], policy: &str) -> Result<Self, String> {
        let mut report: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if report.policy != policy {
            return Err("it speaks of another policy".to_owned());
        }
        report.lanes.retain(|lane| !lane.name.is_empty() && lane.name.len() <= NAME_LENGTH);
        report.lanes.truncate(2 * SINKS);
        for lane in &mut report.lanes {
            for count in
                [&mut lane.pending_bytes, &mut lane.oldest_pending_seconds, &mut lane.lost, &mut lane.dead_letters]
            {
                *count = (*count).min(COUNT);
            }
        }
        Ok(report)
    }

    /// Whether the order's document is in force.
    pub fn has_policy(&self, order: &Order) -> bool {
        self.digest == order.digest && !self.policy_refused
    }

    /// Whether the order's kill switches are in force. An agent of a release that does not say has them with the document.
    pub fn has_switches(&self, order: &Order) -> bool {
        self.switch_generation >= order.generation || self.has_policy(order)
    }

    /// Bytes that some lane still has to settle.
    pub fn pending_bytes(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.pending_bytes).max().unwrap_or_default()
    }

    /// What of it is worth a look at the policy at once: everything but the amounts.
    pub fn signature(&self) -> (String, i64, bool, bool, Vec<(String, SinkState)>) {
        let mut lanes: Vec<_> = self.lanes.iter().map(|lane| (lane.name.clone(), lane.state())).collect();
        lanes.sort();
        (self.digest.clone(), self.switch_generation, self.policy_refused, self.state_blocked, lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_agents_of_other_releases_say() {
        let text =
            br#"{"policy": "a", "digest": "d", "nextYear": {}, "lanes": [{"name": "x", "state": "Delivering"}]}"#;
        let report = Report::parse(text, "a").unwrap();
        let order = Order { generation: 4, digest: "d".to_owned(), switches: String::new() };
        assert!(report.has_policy(&order) && report.has_switches(&order));
        let refused = Report { policy_refused: true, switch_generation: 4, ..report.clone() };
        assert!(!refused.has_policy(&order) && refused.has_switches(&order));
        let late = Report { digest: "old".to_owned(), switch_generation: 3, ..report };
        assert!(!late.has_policy(&order) && !late.has_switches(&order));
    }

    #[test]
    fn believes_nothing_beyond_its_range() {
        let lanes: Vec<String> = (0..100)
            .map(|n| format!(r#"{{"name": "l{n}", "state": "\u001b[31m", "lost": 18446744073709551615}}"#))
            .collect();
        let long = format!(r#"{{"name": "{}"}}"#, "x".repeat(41));
        let text = format!(r#"{{"policy": "a", "lanes": [{long}, {}]}}"#, lanes.join(","));
        let report = Report::parse(text.as_bytes(), "a").unwrap();
        assert_eq!((report.lanes.len(), report.lanes[0].state()), (2 * SINKS, SinkState::Misconfigured));
        assert!(report.lanes.iter().map(|lane| lane.lost).sum::<u64>() < i64::MAX as u64);
        assert!(Report::parse(text.as_bytes(), "b").is_err());
        assert!(Report::parse(b"[1]", "a").is_err() && Report::parse(b"", "a").is_err());
    }
}
