//! The DaemonSet.

use crate::agent::Agent;
use crate::finding::Finding;

const OPERATORS: [&str; 4] = ["Equal", "Exists", "Lt", "Gt"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(super) fn judge(found: &mut Vec<Finding>, agent: &Agent, at: &str) {
    for (index, toleration) in agent.tolerations.iter().enumerate() {
        let at = format!("{at}.tolerations[{index}]");
        let mut one_of = |field: &str, value: &Option<String>, known: &[&str]| {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty() && !known.contains(value)) {
                let remedy = format!("write one of {}", known.join(", "));
                found.push(Finding::error(format!("{at}.{field}"), format!("{value:?} is not known here"), remedy));
            }
        };
        one_of("operator", &toleration.operator, &OPERATORS);
        one_of("effect", &toleration.effect, &EFFECTS);
        let exists = toleration.operator.as_deref() == Some("Exists");
        if toleration.key.as_deref().is_none_or(str::is_empty) && !exists {
            found.push(Finding::error(
                format!("{at}.key"),
                "this is missing",
                "write the taint's key, or operator: Exists for every taint",
            ));
        }
        if exists && toleration.value.as_deref().is_some_and(|value| !value.is_empty()) {
            found.push(Finding::error(
                format!("{at}.value"),
                "operator Exists takes no value",
                "leave it out, or write operator: Equal",
            ));
        }
    }
}
