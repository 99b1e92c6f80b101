//! Kill switches, read from as much of a document as there is.

use serde_json::Value;

use super::tree::{Kind, Node};
use crate::bounds::{REASON_LENGTH, USER_LENGTH};
use crate::kill_switch::{KillSwitch, KillSwitchMode};

/// The kill switches that a document names, engaged or not, whatever else is wrong with it.
///
/// A switch that can't be read is not here: whoever holds an older one keeps it. A switch on a source or sink without a name
/// is not here either.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// The policy's own.
    pub policy: Option<KillSwitch>,
    /// Those of sources, by name.
    pub sources: Vec<(String, KillSwitch)>,
    /// Those of sinks, by name.
    pub sinks: Vec<(String, KillSwitch)>,
}

impl Switches {
    /// Whether any switch is engaged.
    pub fn any_engaged(&self) -> bool {
        let entries = self.sources.iter().chain(&self.sinks).map(|(_, switch)| switch);
        self.policy.iter().chain(entries).any(|switch| switch.engaged)
    }
}

/// Reads the switches of a document.
pub(super) fn switches(root: &Node) -> Switches {
    let Some(spec) = root.get("spec") else {
        return Switches::default();
    };
    Switches { policy: of(spec), sources: of_each(spec.get("sources")), sinks: of_each(spec.get("sinks")) }
}

fn of_each(list: Option<&Node>) -> Vec<(String, KillSwitch)> {
    let items = list.map(Node::items).unwrap_or_default();
    items.iter().filter_map(|item| Some((item.get("name")?.as_str()?.to_owned(), of(item)?))).collect()
}

/// The switch of whatever holds one. Of several, an engaged one counts.
fn of(holder: &Node) -> Option<KillSwitch> {
    let named = holder.entries().iter().filter(|entry| entry.key == "killSwitch");
    named.filter_map(|entry| one(&entry.value)).max_by_key(|switch| switch.engaged)
}

fn one(node: &Node) -> Option<KillSwitch> {
    let values =
        |key: &'static str| node.entries().iter().filter(move |entry| entry.key == key).map(|entry| &*entry.value);
    let engaged = match &node.kind {
        Kind::Scalar(value) => truth(value)?,
        Kind::Sequence(_) => return None,
        Kind::Mapping(_) => {
            let mut said = values("engaged").filter(|value| !value.is_null()).peekable();
            if said.peek().is_none() && !node.complete {
                return None;
            }
            let mut engaged = false;
            for value in said {
                let Kind::Scalar(value) = &value.kind else {
                    return None;
                };
                engaged |= truth(value)?;
            }
            engaged
        }
    };
    let text = |key: &'static str, length: usize| -> String {
        values(key).find_map(Node::as_str).unwrap_or_default().chars().take(length).collect()
    };
    let mut modes = values("mode").peekable();
    let discard = modes.peek().is_some() && modes.all(|mode| mode.as_str() == Some("Discard"));
    Some(KillSwitch {
        engaged,
        mode: if discard { KillSwitchMode::Discard } else { KillSwitchMode::Hold },
        reason: text("reason", REASON_LENGTH),
        requested_by: text("requestedBy", USER_LENGTH),
    })
}

/// What a value says, also where it is a text that other YAML takes for a boolean: a switch is better thrown than missed.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(bool) => Some(*bool),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => None,
        },
        _ => None,
    }
}
