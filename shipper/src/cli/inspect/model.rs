//! From the state's model to what is shown, in the words of the running agent's report. Pure.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::engine::report::{Amount, LaneReport, LedgerReport, StreamReport, SwitchReport};
use crate::state::StreamId;
use crate::state::entry::{CursorRecord, LaneRecord, StreamRecord, Tally};
use crate::state::model::Model;

/// What a state says. Names are those of the running agent's report, where there is the same thing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inspection {
    /// The machine that the state belongs to.
    pub(super) machine: String,
    /// When the state was made, nanoseconds since 1970 UTC.
    pub(super) created: i64,
    /// A last write that a crash, or an agent in the middle of one, left unfinished was passed over.
    pub(super) torn: bool,
    /// Entries of a later release that this one does not know.
    pub(super) unknown: u64,
    /// The lanes; those whose sink left the policy are `Removed`, the others `Present`: how a sink is
    /// doing is not in the state.
    pub(super) lanes: Vec<LaneReport>,
    /// The streams that are not ended.
    pub(super) streams: Vec<StreamReport>,
    /// Streams that ended and are remembered.
    pub(super) ended: u64,
    /// Files that are copies of streams.
    pub(super) copies: u64,
    /// Engaged kill switches.
    pub(super) switches: Vec<SwitchReport>,
    /// The newest entries of the ledger, oldest first.
    pub(super) ledger: Vec<LedgerReport>,
    /// Number of the last ledger entry.
    pub(super) ledger_last: u64,
}

/// Shows a model with its `entries` newest ledger entries. `now` is in nanoseconds since 1970 UTC.
pub(super) fn inspect(model: &Model, torn: bool, entries: usize, now: i64) -> Inspection {
    let control = StreamId::from_slice(&model.node.control);
    let live = |id: &StreamId, record: &StreamRecord| record.phase == 0 && Some(*id) != control;
    let mut streams: Vec<StreamReport> =
        model.streams.iter().filter(|(id, r)| live(id, r)).map(|(id, r)| stream(model, *id, r)).collect();
    streams.sort_by(|a, b| a.path.cmp(&b.path));
    let switches = model.switches.values().map(|record| SwitchReport {
        scope: record.scope.clone(),
        mode: if record.mode == 1 { "Discard" } else { "Hold" }.into(),
        reason: record.reason.clone(),
        requested_by: record.requested_by.clone(),
        since: record.since,
    });
    Inspection {
        machine: model.node.machine.clone(),
        created: model.node.created,
        torn,
        unknown: model.unknown,
        lanes: model.lanes.values().map(|record| lane(model, record, now)).collect(),
        streams,
        ended: model.streams.values().filter(|record| record.phase != 0).count() as u64,
        copies: model.copies.len() as u64,
        switches: switches.collect(),
        ledger: model.ledger.iter().skip(model.ledger.len().saturating_sub(entries)).map(LedgerReport::from).collect(),
        ledger_last: model.ledger_last,
    }
}

fn stream(model: &Model, id: StreamId, record: &StreamRecord) -> StreamReport {
    let cursor = |lane: &LaneRecord| Some((lane.name.clone(), model.cursors.get(&(lane.number, id))?.position.offset));
    let cursors: BTreeMap<String, u64> =
        model.lanes.values().filter(|lane| lane.removed == 0).filter_map(cursor).collect();
    StreamReport {
        id: id.to_string(),
        source: record.source.clone(),
        path: String::from_utf8_lossy(record.extents.last().map_or(&record.first_path[..], |e| &e.path)).into_owned(),
        state: "live".into(),
        size: end_of(record),
        frontier: record.frontier.offset,
        records: record.frontier.seq,
        modified: record.modified,
        cursors,
        ..StreamReport::default()
    }
}

/// Logical end as far as it is known.
fn end_of(record: &StreamRecord) -> u64 {
    record.seen.max(record.frontier.offset)
}

fn lane(model: &Model, record: &LaneRecord, now: i64) -> LaneReport {
    let control = StreamId::from_slice(&model.node.control);
    let mut settled = record.closed;
    let mut seen = whole(&record.closed);
    let mut oldest = None;
    let cursors = || model.cursors.iter().filter(|((number, _), _)| *number == record.number);
    let mut owe = |seen: &mut Amount, stream: &StreamRecord, cursor: Option<&CursorRecord>| {
        let position = cursor.map(|c| c.position).unwrap_or_default();
        seen.bytes += end_of(stream).max(position.offset).saturating_sub(stream.begins_at);
        seen.records += stream.frontier.seq.max(position.seq);
        if end_of(stream) > position.offset.max(stream.begins_at) {
            oldest = Some(oldest.unwrap_or(i64::MAX).min(stream.modified));
        }
    };
    for ((_, id), cursor) in cursors() {
        settled.add(cursor.tally);
        match model.streams.get(id) {
            _ if Some(*id) == control => {
                seen.bytes += model.ledger_offset.max(cursor.position.offset);
                seen.records += model.ledger_last.max(cursor.position.seq);
            }
            Some(stream) if stream.phase == 0 && record.removed == 0 => owe(&mut seen, stream, Some(cursor)),
            // All of it is settled, or was abandoned.
            _ => {
                let all = whole(&cursor.tally);
                seen.bytes += all.bytes;
                seen.records += all.records;
            }
        }
    }
    if record.removed == 0 {
        for stream in unmet(model, record) {
            owe(&mut seen, stream, None);
        }
        if control.is_some_and(|id| !model.cursors.contains_key(&(record.number, id))) {
            seen.bytes += model.ledger_offset;
            seen.records += model.ledger_last;
        }
    }
    let done = whole(&settled);
    let pending =
        Amount { bytes: seen.bytes.saturating_sub(done.bytes), records: seen.records.saturating_sub(done.records) };
    LaneReport {
        name: record.name.clone(),
        kind: record.kind.clone(),
        state: if record.removed == 0 { "Present" } else { "Removed" }.into(),
        seen,
        acknowledged: settled.acknowledged.into(),
        dropped: settled.dropped.into(),
        refused: settled.refused.into(),
        lost: settled.lost.into(),
        pending,
        oldest_pending_seconds: oldest.map_or(0.0, |at| now.saturating_sub(at).max(0) as f64 / 1e9),
        ..LaneReport::default()
    }
}

/// Live streams of which the lane has settled nothing yet. Whether it takes them at all is in the policy, not in the state: it does
/// if it takes others of the same source, or if no lane has any of that source yet.
fn unmet<'a>(model: &'a Model, lane: &LaneRecord) -> Vec<&'a StreamRecord> {
    let source_of = |id: &StreamId| model.streams.get(id).map(|stream| stream.source.as_str());
    let (mut taken, mut met) = (HashSet::new(), HashSet::new());
    for (number, id) in model.cursors.keys() {
        if let Some(source) = source_of(id) {
            met.insert(source);
            if *number == lane.number {
                taken.insert(source);
            }
        }
    }
    let control = StreamId::from_slice(&model.node.control);
    let unmet = model.streams.iter().filter(|(id, stream)| {
        stream.phase == 0
            && Some(**id) != control
            && !model.cursors.contains_key(&(lane.number, **id))
            && (taken.contains(stream.source.as_str()) || !met.contains(stream.source.as_str()))
    });
    unmet.map(|(_, stream)| stream).collect()
}

fn whole(tally: &Tally) -> Amount {
    let records = tally.acknowledged.records + tally.dropped.records + tally.refused.records + tally.lost.records;
    Amount { bytes: tally.settled(), records }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::entry::{Count, Kind, LedgerRecord, NodeRecord, Position, SwitchRecord};

    fn record(n: u8, source: &str, seen: u64, records: u64) -> Kind {
        let frontier = Position { offset: seen, seq: records, ..Position::default() };
        let id = vec![n; 16];
        let first_path = format!("/var/log/{n}.log").into_bytes();
        Kind::StreamPut(StreamRecord {
            id,
            source: source.into(),
            first_path,
            seen,
            frontier,
            modified: 5,
            ..StreamRecord::default()
        })
    }

    fn cursor(lane: u32, n: u8, offset: u64, seq: u64) -> Kind {
        let position = Position { offset, seq, ..Position::default() };
        let tally = Tally { acknowledged: Count { bytes: offset, records: seq }, ..Tally::default() };
        Kind::CursorPut(CursorRecord { lane, stream: vec![n; 16], position, tally, ..CursorRecord::default() })
    }

    fn model() -> Model {
        let mut model = Model::default();
        let lane = |number, name: &str, removed| {
            Kind::LanePut(LaneRecord {
                number,
                name: name.into(),
                kind: "File".into(),
                removed,
                ..LaneRecord::default()
            })
        };
        for entry in [
            Kind::NodePut(NodeRecord { control: vec![9; 16], machine: "m".into(), ..NodeRecord::default() }),
            lane(1, "archive", 0),
            lane(2, "search", 0),
            lane(3, "old", 7),
            record(1, "v2ray", 100, 10),
            record(2, "v2ray", 50, 5),
            record(3, "qurl", 30, 3),
            cursor(1, 1, 80, 8),
            cursor(2, 3, 30, 3),
            cursor(3, 1, 40, 4),
            Kind::Ledger(LedgerRecord {
                number: 1,
                action: "started".into(),
                fields: "{}".into(),
                ..LedgerRecord::default()
            }),
            Kind::SwitchPut(SwitchRecord { scope: "policy".into(), engaged: true, mode: 1, ..SwitchRecord::default() }),
        ] {
            model.apply(entry);
        }
        model
    }

    fn balanced(lane: &LaneReport) {
        let terms = [lane.acknowledged, lane.dropped, lane.refused, lane.lost, lane.pending];
        assert_eq!(lane.seen.bytes, terms.iter().map(|t| t.bytes).sum::<u64>(), "{}", lane.name);
        assert_eq!(lane.seen.records, terms.iter().map(|t| t.records).sum::<u64>(), "{}", lane.name);
    }

    #[test]
    fn lanes_add_up_and_count_streams_that_they_have_not_met() {
        let model = model();
        let ledger = model.ledger_offset;
        let shown = inspect(&model, false, 10, 2_000_000_005);
        shown.lanes.iter().for_each(balanced);
        let [archive, search, old] = shown.lanes.as_slice() else { panic!() };
        // 20 of the first stream, all of the second, none of the third, whose source another lane takes; and the ledger.
        assert_eq!(archive.pending, Amount { bytes: 20 + 50 + ledger, records: 2 + 5 + 1 });
        assert_eq!(archive.oldest_pending_seconds.to_bits(), 2.0_f64.to_bits());
        assert_eq!(search.pending, Amount { bytes: ledger, records: 1 });
        assert_eq!((old.pending, old.state.as_ref()), (Amount::default(), "Removed"));
        assert_eq!(shown.streams.len(), 3);
        assert_eq!(shown.streams[0].cursors, [("archive".to_owned(), 80)].into());
        assert_eq!((shown.switches[0].mode.as_ref(), shown.ledger.len()), ("Discard", 1));
    }

    #[test]
    fn an_ended_stream_counts_with_what_became_of_it() {
        let mut model = model();
        let id = StreamId([1; 16]);
        let mut ended = model.streams.get(&id).unwrap().clone();
        ended.phase = 1;
        model.apply(Kind::StreamPut(ended));
        model.apply(cursor(1, 1, 100, 10));
        let shown = inspect(&model, false, 0, 0);
        shown.lanes.iter().for_each(balanced);
        assert_eq!((shown.lanes[0].acknowledged.bytes, shown.ended, shown.ledger.len()), (100, 1, 0));
    }
}
