//! Throws and lifts kill switches.

use serde_json::json;

use crate::lane::kill_switch::{self, Effect, Scope, Switch, mode_number};
use crate::plan::SinkPlan;
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

    /// The strongest that the switches do to anything that a sink gets.
    pub(super) fn effect_on(&self, sink: &SinkPlan) -> Effect {
        let switches = &self.store.model().switches;
        let sources = self.plan.sources.iter().map(|s| s.name.as_str()).filter(|name| sink.takes(name));
        let effects = sources.map(Some).chain([None]).map(|s| kill_switch::covering(switches.values(), s, &sink.name));
        effects.max().unwrap_or_default()
    }

    /// Tells the sinks whether they may send dead letters again: not while a switch stops any source that they may be of.
    pub(super) fn hold_gates(&self) {
        for lane in &self.lanes {
            let Some(outlet) = &lane.outlet else { continue };
            let held = self.effect_on(&lane.plan) != Effect::Pass;
            outlet.letters.hold(held);
            if held {
                outlet.letters.shut();
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::made_up::{delivered, engine, plan};
    use crate::lane::{Delivery, Gate};
    use crate::source::stream::path_bytes;
    use crate::state::entry::{ArchiveRecord, Extent, Position};

    #[test]
    fn every_switch_that_concerns_a_sink_stops_its_letters() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, outlet, _inbox) = engine(dir.path());
        assert!(!outlet.letters.is_held());
        for (switch, stops) in [("policy", true), ("a", true), ("out", true), ("b", false)] {
            let before = outlet.letters.epoch();
            engine.apply(plan(dir.path(), &[switch]), Vec::new(), Now::read());
            assert_eq!(outlet.letters.is_held(), stops, "{switch}");
            assert_eq!(outlet.letters.epoch() != before, stops, "{switch}");
            engine.apply(plan(dir.path(), &[]), Vec::new(), Now::read());
            assert!(!outlet.letters.is_held(), "{switch} was lifted");
        }
        engine.local = Some(Switch {
            scope: Scope::Local,
            effect: Effect::Hold,
            reason: "drill".into(),
            requested_by: "me".into(),
            verified: true,
        });
        engine.set_switches(Now::read());
        assert!(outlet.letters.is_held());
    }

    #[test]
    fn a_switch_reaches_a_sink_after_something_was_called_back_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, outlet, inbox) = engine(dir.path());
        let delivery = delivered(&mut engine, &inbox);
        engine.recall(delivery.chunk.stream, Position::at(8));
        assert!(!delivery.may_pass());
        // What the sink sends of its own accord knows the gate that it was made with.
        let own = Delivery::new(1, 1, delivery.chunk, &outlet.gate, &Gate::default());
        engine.apply(plan(dir.path(), &["out"]), Vec::new(), Now::read());
        assert!(!own.may_pass());
    }

    #[test]
    fn a_hold_on_the_policy_or_on_a_source_keeps_the_archives_of_its_sinks() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, _outlet, _inbox) = engine(dir.path());
        for number in 1..4 {
            let path = path_bytes(&dir.path().join(format!("out/out~0{number}.log.gz")));
            engine.store.put(Kind::ArchivePut(ArchiveRecord {
                number,
                live: path_bytes(&dir.path().join("out/out.log")),
                extent: Extent { path, ..Extent::default() },
                size: 10,
                made: Now::read().wall - 1_000_000_000 * (10 - number as i64),
                phase: ArchiveRecord::THERE,
                sink: "out".into(),
                ..ArchiveRecord::default()
            }));
        }
        let there = |engine: &Engine| {
            engine.store.model().archives.values().filter(|a| a.phase == ArchiveRecord::THERE).count()
        };
        for switch in ["policy", "a", "out"] {
            engine.apply(plan(dir.path(), &[switch]), Vec::new(), Now::read());
            engine.retain_sinks(Now::read());
            assert_eq!(there(&engine), 3, "{switch}");
        }
        engine.apply(plan(dir.path(), &["b"]), Vec::new(), Now::read());
        engine.retain_sinks(Now::read());
        assert_eq!(there(&engine), 1);
    }
}
