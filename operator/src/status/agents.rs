//! Whether every node runs a ready agent.

use super::conditions::Said;
use super::{Facts, count, some};

pub(super) fn ready(facts: &Facts<'_>) -> Said {
    if let Some(trouble) = facts.trouble {
        return Said::new("False", "ApplyFailed", trouble);
    }
    let Some(progress) = facts.progress else {
        return Said::new("False", "NoAgents", "there are no agents yet");
    };
    if let Some(why) = facts.cannot_create {
        return Said::new("False", "CannotCreatePods", why);
    }
    let ready = format!("{} of {} nodes have a ready agent", progress.ready, progress.desired);
    if !progress.observed {
        return Said::new("Unknown", "Progressing", ready);
    }
    if progress.ready < progress.desired {
        let reason = if progress.updated < progress.desired { "RollingOut" } else { "NotReady" };
        return Said::new("False", reason, ready);
    }
    if progress.updated < progress.desired {
        return Said::new("True", "RollingOut", ready);
    }
    let refused = facts.standings.iter().filter(|one| one.report.as_ref().is_some_and(|report| report.policy_refused));
    let refused: Vec<&str> = refused.map(|standing| standing.node.as_str()).collect();
    if !refused.is_empty() {
        return Said::new(
            "True",
            "PolicyRefused",
            format!("{ready}; the newest policy was refused on {}", some(refused)),
        );
    }
    if count(facts.standings, |standing| standing.up_to_date) < progress.desired {
        return Said::new("True", "Updating", format!("{ready}; not all have the newest policy yet"));
    }
    Said::new("True", "Ready", ready)
}
