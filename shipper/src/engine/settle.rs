//! Takes in what sinks answer.

use crate::lane::set::Lanes;
use crate::lane::{Fate, RecordFate, Settlement};
use crate::state::StreamId;

use super::{CURSOR_COMMIT, Engine, Now};

impl Engine {
    pub(super) fn settle(&mut self, settlement: &Settlement, now: Now) {
        let control = self.control_id();
        let Some(index) = self.lanes.iter().position(|l| l.number == settlement.lane) else { return };
        let lane = &mut self.lanes[index];
        let Some(id) = lane.by_delivery.get(&settlement.delivery).copied() else { return };
        if !matches!(settlement.fate, Fate::Records(_)) {
            lane.by_delivery.remove(&settlement.delivery);
        }
        let Some(track) = lane.tracks.get_mut(&id) else { return };
        let effect = track.settle(settlement.delivery, &settlement.fate);
        lane.weight = lane.weight.saturating_sub(effect.freed);
        self.freed = self.freed.and(Lanes::one(index));
        if effect.moved {
            self.moved.insert((settlement.lane, id));
            self.cursors_due.get_or_insert(now.mono + CURSOR_COMMIT);
        }
        if let Fate::Records(records) = &settlement.fate {
            let refused = records.iter().filter(|(_, fate)| matches!(fate, RecordFate::Refused(_)));
            if id == control {
                // A refused ledger record makes no entry: it would be refused too.
                self.counters.control_refused += refused.count() as u64;
            } else {
                let reasons: Vec<String> = refused
                    .map(
                        |(_, fate)| if let RecordFate::Refused(reason) = fate { reason.clone() } else { String::new() },
                    )
                    .collect();
                self.note_refusals(settlement.lane, &reasons, now);
            }
        }
        if settlement.fate == Fate::Recalled
            && let Some(stream) = self.streams.get_mut(&id)
        {
            stream.wake();
        }
    }

    /// One entry a lane and minute, whatever the number of refusals.
    fn note_refusals(&mut self, lane: u32, reasons: &[String], now: Now) {
        if reasons.is_empty() {
            return;
        }
        let slot = self.counters.refusals.entry(lane).or_default();
        slot.count += reasons.len() as u64;
        slot.since.get_or_insert(now.mono);
        if let Some(reason) = reasons.first() {
            slot.example.clone_from(reason);
        }
    }

    /// Enters the refusals of the last minute.
    pub(super) fn enter_refusals(&mut self, now: Now) {
        const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);
        let due: Vec<u32> = self
            .counters
            .refusals
            .iter()
            .filter(|(_, s)| s.since.is_some_and(|since| now.mono.duration_since(since) >= MINUTE))
            .map(|(lane, _)| *lane)
            .collect();
        for number in due {
            let Some(slot) = self.counters.refusals.remove(&number) else { continue };
            let name = self.lanes.iter().find(|l| l.number == number).map_or("", |l| l.plan.name.as_str());
            let fields = serde_json::json!({"lane": name, "count": slot.count, "example": slot.example});
            let message = format!("{} refused {} records; they are among its dead letters", name, slot.count);
            self.store.enter(now.wall, crate::state::ledger::Action::Refusals, message, &fields);
        }
    }

    pub(super) fn control_id(&self) -> StreamId {
        StreamId::from_slice(&self.store.model().node.control).unwrap_or_default()
    }
}
