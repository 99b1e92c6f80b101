//! Hands the ledger to the lanes as control records.

use std::sync::Arc;

use crate::format::{Outcome, StreamInfo, encode_control};
use crate::lane::Gate;
use crate::lane::chunk::Chunk;
use crate::lane::kill_switch::{self, Effect};
use crate::lane::track::Track;
use crate::state::entry::{LedgerRecord, Position};
use crate::state::ledger;

use super::{Engine, Now};

/// Entries in one chunk.
const ENTRIES: usize = 256;

impl Engine {
    pub(super) fn pass_control(&mut self, now: Now) {
        let id = self.control_id();
        let last = self.store.model().ledger_last;
        let behind: Vec<u32> = self
            .lanes
            .iter()
            .filter(|l| l.outlet.is_some() && l.tracks.get(&id).is_none_or(|t| t.sent.seq < last))
            .filter(|l| kill_switch::covering(self.store.model().switches.values(), None, &l.plan.name) == Effect::Pass)
            .map(|l| l.number)
            .collect();
        let info = StreamInfo {
            stream: id.0,
            policy: self.plan.policy.clone(),
            source: "waybill".to_owned(),
            host: self.setup.host.clone(),
            ..StreamInfo::default()
        };
        for number in behind {
            let Some(start) = self.control_start(number) else { continue };
            let entries: Vec<LedgerRecord> =
                self.store.model().ledger.iter().filter(|r| r.number > start.seq).take(ENTRIES).cloned().collect();
            let mut chunk = Chunk::new(id, start);
            for entry in &entries {
                let outcome =
                    if entry.action == ledger::Action::Loss.name() { Outcome::Error } else { Outcome::Success };
                encode_control(
                    &info,
                    entry.number,
                    entry.offset,
                    entry.time,
                    &entry.action,
                    outcome,
                    &entry.message,
                    entry.fields.as_bytes(),
                    &mut chunk.data,
                );
                let bytes = ledger::bytes(entry).len() as u64;
                chunk.push(
                    &Position { offset: entry.offset + bytes, seq: entry.number, ..Position::default() },
                    bytes,
                    false,
                );
            }
            if chunk.records.is_empty() {
                continue;
            }
            let chunk = Arc::new(chunk);
            let Some(lane) = self.lane_mut(number) else { continue };
            let delivery = lane.deliver(id, &chunk, &Gate::default());
            self.undelivered.push((number, delivery));
            self.cursors_due.get_or_insert(now.mono + super::CURSOR_COMMIT);
        }
        if last > 0 {
            let delivered =
                self.lanes.iter().filter_map(|l| l.tracks.get(&id)).map(|t| t.settled.seq).min().unwrap_or(last);
            self.store.trim_ledger(now.wall, delivered);
        }
    }

    /// Where a lane goes on in the ledger. Entries that were forgotten before the lane had them are counted.
    fn control_start(&mut self, number: u32) -> Option<Position> {
        let id = self.control_id();
        let first = self.store.model().ledger.front().map(|r| Position {
            offset: r.offset,
            seq: r.number - 1,
            ..Position::default()
        })?;
        let known = self.store.model().cursors.contains_key(&(number, id));
        self.any_moved = true;
        let lane = self.lane_mut(number)?;
        let track = lane.tracks.get_or_insert_with(id, Track::default);
        if track.sent.seq < first.seq && track.under_way() == 0 {
            if known {
                track.lose(first, 0);
            } else {
                track.skip(first, 0);
            }
        }
        (track.sent.seq >= first.seq).then_some(track.sent)
    }
}
