//! Puts a policy in force without disturbing what it does not change.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::json;

use crate::lane::Outlet;
use crate::lane::kill_switch::Switch;
use crate::lane::track::{Track, Tracks};
use crate::plan::{Plan, SinkKind, SinkPlan};
use crate::source::discover::{Discovery, Target};
use crate::source::stream::Place;
use crate::state::StreamId;
use crate::state::entry::{Kind, LaneGone, LaneRecord, Position};
use crate::state::ledger::Action;

use super::{Engine, Lane, Now};

/// How long the cursors of a lane that was removed are kept.
const KEEP_NS: i64 = 7 * 86_400 * 1_000_000_000;

impl Engine {
    /// A policy could not be put in force; the one before goes on. The kill switches that could be read in it count.
    pub(super) fn refuse(&mut self, reasons: &[String], switches: Vec<Switch>, generation: i64, now: Now) {
        self.counters.policies_refused += 1;
        self.counters.refused_policy = Some(reasons.to_vec());
        let message =
            format!("the policy was refused, the one before goes on: {}", reasons.first().map_or("", String::as_str));
        self.store.enter(now.wall, Action::PolicyRefused, message, &json!({"reasons": reasons}));
        let newer = generation >= self.plan.generation;
        for switch in switches.into_iter().filter(|_| newer) {
            self.plan.switches.retain(|s| s.scope != switch.scope);
            self.plan.switches.push(switch);
        }
        self.set_switches(now);
    }

    /// Puts a policy in force. `outlets` are the sinks that are new or changed, by name.
    pub(super) fn apply(&mut self, plan: Plan, outlets: Vec<(String, Outlet)>, now: Now) {
        let mut outlets: HashMap<String, Outlet> = outlets.into_iter().collect();
        let known: Vec<String> = self.store.model().streams.values().map(|r| r.source.clone()).collect();
        let before = std::mem::replace(&mut self.plan, plan);
        self.plan.heed(&self.notice);
        let told = json!({
            "policy": self.plan.policy, "digest": self.plan.digest,
            "sources": self.plan.sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
            "sinks": self.plan.sinks.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
        });
        if before.digest != self.plan.digest {
            self.store.enter(
                now.wall,
                Action::PolicyApplied,
                format!("policy {} is in force", self.plan.policy),
                &told,
            );
        }
        self.counters.refused_policy = None;
        for source in &self.plan.sources {
            if !before.sources.iter().any(|s| s.name == source.name) && !known.contains(&source.name) {
                self.fresh_sources.insert(source.name.clone());
            }
        }
        self.apply_sinks(&mut outlets, now);
        let targets = self.targets();
        let stems = self.own_stems();
        if self.discovery_differs(&before) {
            let mut own = self.setup.own.clone();
            own.sort();
            self.discovery = Discovery::new(targets.clone(), &self.setup.read_roots, own, stems);
            self.listed = true;
            self.reconciled = None;
        }
        self.remap_streams(&before, &targets, now);
        self.set_switches(now);
        self.hold_gates();
        self.forget_lanes(now);
        self.stuck = false;
    }

    fn discovery_differs(&self, before: &Plan) -> bool {
        let shape = |p: &Plan| -> Vec<_> {
            p.sources.iter().map(|s| (s.name.clone(), s.patterns.clone(), s.exclude.clone())).collect()
        };
        let files = |p: &Plan| -> Vec<String> { p.sinks.iter().map(SinkPlan::destination).collect() };
        shape(before) != shape(&self.plan) || files(before) != files(&self.plan)
    }

    fn targets(&self) -> Vec<Target> {
        let target = |(i, s): (usize, &crate::plan::SourcePlan)| Target {
            source: i,
            patterns: s.patterns.clone(),
            exclude: s.exclude.clone(),
        };
        self.plan.sources.iter().enumerate().map(target).collect()
    }

    /// The beginnings of the paths of what the File sinks write: `…/audit` for `…/audit.log`.
    fn own_stems(&self) -> Vec<PathBuf> {
        let mut stems = self.setup.own_stems.clone();
        for sink in &self.plan.sinks {
            if let SinkKind::File(file) = &sink.kind {
                stems.push(file.path.with_extension(""));
            }
        }
        stems
    }

    fn apply_sinks(&mut self, outlets: &mut HashMap<String, Outlet>, now: Now) {
        let mut kept = Vec::new();
        for mut lane in std::mem::take(&mut self.lanes) {
            let same = self.plan.sinks.iter().find(|s| key_of(s) == key_of(&lane.plan));
            let Some(plan) = same else {
                self.remove_lane(&lane, now);
                continue;
            };
            lane.plan = plan.clone();
            if let Some(outlet) = outlets.remove(&plan.name) {
                lane.replace_sink(outlet);
            }
            kept.push(lane);
        }
        self.lanes = kept;
        for sink in self.plan.sinks.clone() {
            if self.lanes.iter().any(|l| l.plan.name == sink.name) {
                continue;
            }
            let key = key_of(&sink);
            let old = self
                .store
                .model()
                .lanes
                .values()
                .find(|r| (r.name.clone(), r.kind.clone(), r.destination.clone()) == key)
                .cloned();
            let record = LaneRecord { removed: 0, ..old.clone().unwrap_or_else(|| self.new_lane_record(&sink, now)) };
            let number = record.number;
            if old.as_ref() != Some(&record) {
                self.store.put(Kind::LanePut(record));
            }
            let mut tracks = Tracks::default();
            let control = self.control_id();
            for ((lane, id), cursor) in self.store.model().cursors.iter() {
                if *lane == number && (self.streams.contains_key(id) || *id == control) {
                    tracks.insert(*id, Track::resume(cursor.position, cursor.tally));
                }
            }
            let outlet = outlets.remove(&sink.name);
            self.lanes.push(Lane {
                number,
                gate: outlet.as_ref().map(|o| o.gate.clone()).unwrap_or_default(),
                outlet,
                plan: sink,
                tracks,
                weight: 0,
                next_delivery: 0,
                by_delivery: HashMap::new(),
            });
        }
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in ids {
            self.add_tracks(id);
        }
    }

    fn new_lane_record(&self, sink: &SinkPlan, now: Now) -> LaneRecord {
        let (name, kind, destination) = key_of(sink);
        let number = self.store.model().lanes.keys().max().map_or(1, |n| n + 1);
        LaneRecord { number, name, kind, destination, added: now.wall, ..LaneRecord::default() }
    }

    /// A sink left the policy: what it still lacked is entered, its cursors are kept for a while.
    fn remove_lane(&mut self, lane: &Lane, now: Now) {
        lane.gate.shut();
        let mut pending = 0;
        for (id, track) in lane.tracks.iter() {
            if let (Some(stream), Some(record)) = (self.streams.get(id), self.store.model().streams.get(id)) {
                pending += stream.size.saturating_sub(record.begins_at).saturating_sub(track.tally.settled());
            }
        }
        let fields = json!({"lane": lane.plan.name, "destination": lane.plan.destination(), "bytes": pending});
        let message = format!(
            "sink {} left the policy with {pending} bytes pending; its cursors are kept for 7 days",
            lane.plan.name
        );
        self.store.enter(now.wall, Action::Abandoned, message, &fields);
        for (id, track) in lane.tracks.iter() {
            let discard =
                self.store.model().cursors.get(&(lane.number, *id)).map(|c| c.discard.clone()).unwrap_or_default();
            self.store.put(Kind::CursorPut(crate::state::entry::CursorRecord {
                lane: lane.number,
                stream: id.0.to_vec(),
                position: track.settled,
                tally: track.tally,
                discard,
            }));
        }
        if let Some(record) = self.store.model().lanes.get(&lane.number).cloned() {
            self.store.put(Kind::LanePut(LaneRecord { removed: now.wall, ..record }));
        }
    }

    fn forget_lanes(&mut self, now: Now) {
        let old: Vec<u32> = self
            .store
            .model()
            .lanes
            .values()
            .filter(|r| r.removed != 0 && now.wall.saturating_sub(r.removed) > KEEP_NS)
            .map(|r| r.number)
            .collect();
        for number in old {
            self.store.put(Kind::LaneGone(LaneGone { number }));
        }
    }

    /// Streams follow their source by its name; those that no source names any more are left alone, with an entry.
    fn remap_streams(&mut self, before: &Plan, targets: &[Target], now: Now) {
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in ids {
            let Some(record) = self.store.model().streams.get(&id).cloned() else { continue };
            let source = self.plan.sources.iter().position(|s| s.name == record.source);
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let unchanged = source.is_some_and(|i| {
                let old = before.sources.iter().find(|s| s.name == record.source);
                old.map(|s| &s.settings) == self.plan.sources.get(i).map(|s| &s.settings)
            });
            if !unchanged {
                stream.encoder = None;
            }
            stream.wake();
            // A file that was renamed out of the patterns is still read to its end; one that the patterns no longer reach is not.
            let old = before.sources.iter().find(|s| s.name == record.source);
            let named = match (&stream.place, source, old) {
                (Place::At(path), Some(i), Some(old)) => {
                    targets.get(i).is_some_and(|t| t.matches(path).is_some())
                        || !old.patterns.iter().any(|p| p.matches(path).is_some())
                }
                _ => source.is_some(),
            };
            let had = stream.source.is_some();
            stream.source = source.filter(|_| named);
            if had && stream.source.is_none() {
                self.abandon(id, now);
            }
        }
    }

    /// A stream that no source names any more.
    fn abandon(&mut self, id: StreamId, now: Now) {
        self.put_cursors();
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.close();
        let size = stream.size;
        let pending: u64 = self
            .lanes
            .iter()
            .filter_map(|l| l.tracks.get(&id))
            .map(|t| size.saturating_sub(record.begins_at).saturating_sub(t.tally.settled()))
            .max()
            .unwrap_or(0);
        let fields = json!({"stream": id.to_string(), "source": record.source, "from": record.frontier.offset, "to": size, "bytes": pending});
        let message = format!("stream {id} is no longer named by the policy; {pending} bytes are not delivered");
        self.store.enter(now.wall, Action::Abandoned, message, &fields);
    }

    /// Gives a stream a place in every lane that takes it.
    pub(super) fn add_tracks(&mut self, id: StreamId) {
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return };
        let start_now = self.plan.sources.iter().any(|s| s.name == record.source && s.start_now);
        let switches: Vec<_> = self.store.model().switches.values().cloned().collect();
        for lane in &mut self.lanes {
            if lane.plan.takes(&record.source) {
                let cursor = self.store.model().cursors.get(&(lane.number, id));
                let late = record.frontier.offset > record.begins_at;
                lane.tracks.get_or_insert_with(id, || match cursor {
                    Some(cursor) => Track::resume(cursor.position, cursor.tally),
                    None if start_now && late => {
                        let mut track =
                            Track::resume(Position::at(record.begins_at), crate::state::entry::Tally::default());
                        self.any_moved = true;
                        track.skip(record.frontier, record.begins_at);
                        track
                    }
                    None => Track::resume(Position::at(record.begins_at), crate::state::entry::Tally::default()),
                });
            } else if let Some(mut track) = lane.tracks.remove(&id) {
                // Answers that still come find nothing: the room is given back now.
                lane.weight = lane.weight.saturating_sub(track.forget_under_way());
                lane.by_delivery.retain(|_, stream| *stream != id);
            }
        }
        if !switches.is_empty() {
            self.set_discard(id, &switches);
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.wake();
        }
    }
}

impl Lane {
    /// The sink was made anew: everything that is not settled goes again from the cursors.
    fn replace_sink(&mut self, outlet: Outlet) {
        self.gate.shut();
        self.gate = outlet.gate.clone();
        self.outlet = Some(outlet);
        self.by_delivery.clear();
        self.tracks.values_mut().for_each(|t| {
            t.forget_under_way();
        });
        self.weight = 0;
    }
}

/// What makes a lane the same lane: name, type and destination.
fn key_of(sink: &SinkPlan) -> (String, String, String) {
    (sink.name.clone(), sink.type_name().to_owned(), sink.destination())
}
