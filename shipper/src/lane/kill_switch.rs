//! What the kill switches let pass. Pure.
//!
//! Any engaged switch counts; where switches overlap, Hold wins.

use crate::state::entry::SwitchRecord;

/// What a switch does to what it covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Default)]
pub enum Effect {
    /// No switch is engaged.
    #[default]
    Pass,
    /// New bytes are left out for good, with an entry.
    Discard,
    /// Nothing is delivered, nothing is lost.
    Hold,
}

/// Who a switch belongs to; its text is [`SwitchRecord::scope`].
#[derive(Clone, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The whole policy.
    Policy,
    /// One source.
    Source(String),
    /// One sink.
    Sink(String),
    /// This machine: `WAYBILL_ENABLED=false` or the file `KILL`.
    Local,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Policy => f.write_str("policy"),
            Self::Source(name) => write!(f, "source/{name}"),
            Self::Sink(name) => write!(f, "sink/{name}"),
            Self::Local => f.write_str("local"),
        }
    }
}

/// A switch as the policy or the machine has it at this moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Switch {
    /// Whose.
    pub scope: Scope,
    /// Hold or Discard; never Pass.
    pub effect: Effect,
    /// Why.
    pub reason: String,
    /// Who asked for it.
    pub requested_by: String,
    /// Someone held that name against the user who asked.
    pub verified: bool,
}

/// The number in [`SwitchRecord::mode`].
pub fn mode_number(effect: Effect) -> u32 {
    u32::from(effect == Effect::Discard)
}

/// What an engaged switch does.
pub fn effect_of(record: &SwitchRecord) -> Effect {
    match (record.engaged, record.mode) {
        (false, _) => Effect::Pass,
        (true, 1) => Effect::Discard,
        // A mode of a later release: the careful one.
        (true, _) => Effect::Hold,
    }
}

/// What covers one source's records on one sink. `source` is `None` for the control stream, which policy and source switches
/// let pass, or their entry could not leave.
pub fn covering<'a>(switches: impl IntoIterator<Item = &'a SwitchRecord>, source: Option<&str>, sink: &str) -> Effect {
    let covers = |scope: &str| match scope.split_once('/') {
        _ if scope == "local" => true,
        _ if scope == "policy" => source.is_some(),
        Some(("source", name)) => source == Some(name),
        Some(("sink", name)) => name == sink,
        _ => false,
    };
    switches.into_iter().filter(|r| covers(&r.scope)).map(effect_of).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thrown(scope: &str, mode: u32) -> SwitchRecord {
        SwitchRecord { scope: scope.into(), engaged: true, mode, ..SwitchRecord::default() }
    }

    #[test]
    fn hold_wins_and_the_control_stream_is_exempt_from_policy_and_source() {
        let switches = [thrown("policy", 1), thrown("source/a", 0)];
        assert_eq!(covering(&switches, Some("a"), "x"), Effect::Hold);
        assert_eq!(covering(&switches, Some("b"), "x"), Effect::Discard);
        assert_eq!(covering(&switches, None, "x"), Effect::Pass);
        let switches = [thrown("sink/x", 0)];
        assert_eq!(covering(&switches, None, "x"), Effect::Hold);
        assert_eq!(covering(&switches, None, "y"), Effect::Pass);
        assert_eq!(covering(&[thrown("local", 0)], None, "y"), Effect::Hold);
        assert_eq!(covering(&[thrown("policy", 7)], Some("a"), "y"), Effect::Hold);
        // A source and a sink may bear the same name.
        assert_eq!(covering(&[thrown("source/x", 0)], Some("a"), "x"), Effect::Pass);
    }
}
