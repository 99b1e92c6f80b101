//! Throws and lifts kill switches.

use serde_json::json;

use crate::lane::kill_switch::{self, Effect, Scope, Switch, mode_number};
use crate::state::StreamId;
use crate::state::entry::{CursorRecord, Kind, Range, SwitchRecord};
use crate::state::ledger::Action;

use super::{Engine, Now};

/// What is said when a switch is thrown, changed or lifted.
struct Said<'a> {
    effect: Effect,
    reason: &'a str,
    by: &'a str,
    verified: bool,
}

impl Engine {
    /// Makes the switches of the state agree with those of the plan and of the machine.
    pub(super) fn set_switches(&mut self, now: Now) {
        let wanted: Vec<Switch> = self.plan.switches.iter().chain(&self.local).cloned().collect();
        let before = self.store.model().switches.clone();
        let mut changed = false;
        for switch in &wanted {
            let scope = switch.scope.to_string();
            let old = before.get(&scope);
            let mode = mode_number(switch.effect);
            if old.is_some_and(|o| o.mode == mode && o.reason == switch.reason && o.requested_by == switch.requested_by)
            {
                continue;
            }
            changed = true;
            let what = if old.is_some() { "changed" } else { "thrown" };
            let Switch { scope: _, effect, reason, requested_by, verified } = switch;
            self.say(&scope, what, &Said { effect: *effect, reason, by: requested_by, verified: *verified }, now);
            self.store.put(Kind::SwitchPut(SwitchRecord {
                scope,
                engaged: true,
                mode,
                reason: switch.reason.clone(),
                requested_by: switch.requested_by.clone(),
                since: old.map_or(now.wall, |o| o.since),
            }));
        }
        for (scope, old) in &before {
            if wanted.iter().any(|s| s.scope.to_string() == *scope) {
                continue;
            }
            changed = true;
            let said = self.plan.lifted.iter().find(|s| s.scope.to_string() == *scope);
            let said = said.filter(|s| !s.reason.is_empty() || !s.requested_by.is_empty());
            let said = said.cloned();
            let (reason, by, verified) = match &said {
                Some(lifted) => (&lifted.reason, &lifted.requested_by, lifted.verified),
                // The machine's own switch is lifted by the machine, any other by someone who did not say so.
                None => (&old.reason, &old.requested_by, *scope == Scope::Local.to_string()),
            };
            self.say(scope, "lifted", &Said { effect: kill_switch::effect_of(old), reason, by, verified }, now);
            self.store.put(Kind::SwitchPut(SwitchRecord { engaged: false, ..old.clone() }));
        }
        if changed {
            self.after_switch(now);
        }
    }

    /// Enters what became of a switch; a name that no one held against a user is *unverified*.
    fn say(&mut self, scope: &str, what: &str, said: &Said<'_>, now: Now) {
        let Said { effect, reason, by, verified } = *said;
        let mode = if effect == Effect::Discard { "Discard" } else { "Hold" };
        let fields = json!({"scope": scope, "change": what, "mode": mode, "reason": reason, "requestedBy": by,
            "verified": verified});
        let by = match (by, verified) {
            ("", _) => "unknown".to_owned(),
            (by, true) => by.to_owned(),
            (by, false) => format!("{by} (unverified)"),
        };
        let message = format!("kill switch {scope} {what} ({mode}) by {by}: {reason}");
        self.store.enter(now.wall, Action::KillSwitch, message, &fields);
    }

    /// Tells the sinks whether they may send anything.
    pub(super) fn hold_gates(&self) {
        for lane in &self.lanes {
            let effect = kill_switch::covering(self.store.model().switches.values(), None, &lane.plan.name);
            lane.gate.hold(effect != Effect::Pass);
        }
    }

    /// Stops what is queued where a switch is engaged, opens and closes what Discard leaves out, and wakes what may pass again.
    fn after_switch(&mut self, now: Now) {
        self.put_cursors();
        let switches: Vec<SwitchRecord> = self.store.model().switches.values().cloned().collect();
        let sources: Vec<String> = self.plan.sources.iter().map(|s| s.name.clone()).collect();
        for name in &sources {
            // A source's own gate stops it in every lane, so it is shut only if no lane may have it.
            let stopped =
                self.lanes.iter().all(|l| kill_switch::covering(&switches, Some(name), &l.plan.name) != Effect::Pass);
            if stopped {
                self.source_gates.entry(name.clone()).or_default().shut();
            }
        }
        for lane in &self.lanes {
            if kill_switch::covering(&switches, None, &lane.plan.name) != Effect::Pass {
                lane.gate.shut();
            }
        }
        self.hold_gates();
        // What lies behind the frontier now is no longer owed while Discard lasts; looked at once more before a range is closed.
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in &ids {
            if let Some(Ok(Some(look))) = self.streams.get_mut(id).filter(|s| s.is_open()).map(|s| s.look()) {
                self.grown(*id, &look, now);
            }
        }
        for id in ids {
            self.set_discard(id, &switches);
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.wake();
            }
        }
        self.stuck = false;
    }

    /// Opens or closes the range that Discard leaves out of a stream, in each lane.
    pub(super) fn set_discard(&mut self, id: StreamId, switches: &[SwitchRecord]) {
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return };
        let Some(size) = self.streams.get(&id).map(|s| s.size.max(record.frontier.offset)) else { return };
        let lanes: Vec<(u32, Effect)> = self
            .lanes
            .iter()
            .filter(|l| l.tracks.contains_key(&id))
            .map(|l| (l.number, kill_switch::covering(switches, Some(&record.source), &l.plan.name)))
            .collect();
        for (lane, effect) in lanes {
            let cursor = self.store.model().cursors.get(&(lane, id)).cloned();
            let mut cursor = cursor.unwrap_or_else(|| {
                let track = self.lanes.iter().find(|l| l.number == lane).and_then(|l| l.tracks.get(&id));
                CursorRecord {
                    lane,
                    stream: id.0.to_vec(),
                    position: track.map(|t| t.settled).unwrap_or_default(),
                    tally: track.map(|t| t.tally).unwrap_or_default(),
                    discard: Vec::new(),
                }
            });
            let open = cursor.discard.iter_mut().find(|r| r.to == u64::MAX);
            match (effect, open) {
                (Effect::Discard, None) => cursor.discard.push(Range { from: record.frontier.offset, to: u64::MAX }),
                // Hold ends what Discard began; so does lifting it.
                (Effect::Hold | Effect::Pass, Some(range)) => range.to = size,
                _ => continue,
            }
            cursor.discard.retain(|r| r.from < r.to);
            self.store.put(Kind::CursorPut(cursor));
        }
    }
}
