//! What the entries add up to. Pure: the same entries give the same model, however often they are applied.

use std::collections::{BTreeMap, HashMap, VecDeque};

use prost::Message as _;

use crate::table::Table;

use super::StreamId;
use super::entry::{
    ArchiveRecord, Batch, CopyRecord, CursorRecord, Entry, FileKey, Kind, LaneRecord, LedgerRecord, NodeRecord,
    StreamRecord, SwitchRecord, Tally,
};
use super::ledger;

/// Size that a payload of a snapshot aims at, in bytes.
const PAYLOAD: usize = 1 << 16;

/// Everything that the state knows.
#[derive(Debug, Default, PartialEq, Clone)]
pub struct Model {
    /// Whose state this is.
    pub node: NodeRecord,
    /// The streams, those that ended lately included.
    pub streams: Table<StreamId, StreamRecord>,
    /// The lanes by number.
    pub lanes: BTreeMap<u32, LaneRecord>,
    /// The cursors by lane and stream.
    pub cursors: Table<(u32, StreamId), CursorRecord>,
    /// The ledger, oldest first.
    pub ledger: VecDeque<LedgerRecord>,
    /// Number of the last ledger entry that was ever made.
    pub ledger_last: u64,
    /// Bytes of the control stream so far.
    pub ledger_offset: u64,
    /// The kill switches by scope.
    pub switches: BTreeMap<String, SwitchRecord>,
    /// Files that are copies.
    pub copies: HashMap<FileKey, CopyRecord>,
    /// The archives by number.
    pub archives: BTreeMap<u64, ArchiveRecord>,
    /// Number of the last archive that was ever entered, as far as entries of it are left.
    pub archives_last: u64,
    /// Entries of kinds that this release does not know.
    pub unknown: u64,
}

impl Model {
    /// Takes one entry in.
    pub fn apply(&mut self, kind: Kind) {
        match kind {
            Kind::StreamPut(record) => {
                if let Some(id) = StreamId::from_slice(&record.id) {
                    self.streams.insert(id, record);
                }
            }
            Kind::FrontierPut(put) => {
                if let Some(stream) = StreamId::from_slice(&put.stream).and_then(|id| self.streams.get_mut(&id)) {
                    stream.frontier = put.position;
                    stream.chain = put.chain;
                    stream.digest = put.digest;
                    stream.seen = put.seen;
                    stream.head_len = put.head_len;
                    stream.head_hash = put.head_hash;
                    stream.lead_hash = put.lead_hash;
                }
            }
            Kind::StreamGone(gone) => {
                if let Some(id) = StreamId::from_slice(&gone.id) {
                    self.streams.remove(&id);
                    for (number, lane) in &mut self.lanes {
                        if let Some(cursor) = self.cursors.remove(&(*number, id)) {
                            lane.closed.add(cursor.tally);
                        }
                    }
                }
            }
            Kind::LanePut(mut record) => {
                // The totals of forgotten streams are kept by StreamGone alone, in the order of the entries.
                if let Some(old) = self.lanes.get(&record.number) {
                    record.closed = old.closed;
                }
                self.lanes.insert(record.number, record);
            }
            Kind::LaneGone(gone) => {
                self.lanes.remove(&gone.number);
                self.cursors.retain(|(lane, _), _| *lane != gone.number);
            }
            Kind::CursorPut(record) => {
                if let Some(id) = StreamId::from_slice(&record.stream) {
                    self.cursors.insert((record.lane, id), record);
                }
            }
            Kind::Ledger(record) => {
                if record.number > self.ledger_last {
                    self.ledger_last = record.number;
                    self.ledger_offset = record.offset + ledger::bytes(&record).len() as u64;
                    self.ledger.push_back(record);
                }
            }
            Kind::LedgerTrim(trim) => self.ledger.retain(|r| r.number > trim.through),
            Kind::SwitchPut(record) => {
                if record.engaged {
                    self.switches.insert(record.scope.clone(), record);
                } else {
                    self.switches.remove(&record.scope);
                }
            }
            Kind::CopyPut(record) => {
                self.copies.insert(record.file, record);
            }
            Kind::CopyGone(key) => {
                self.copies.remove(&key);
            }
            Kind::NodePut(record) => self.node = record,
            Kind::ArchivePut(record) => {
                self.archives_last = self.archives_last.max(record.number);
                self.archives.insert(record.number, record);
            }
            Kind::ArchiveGone(gone) => {
                self.archives.remove(&gone.number);
            }
        }
    }

    /// Takes in what a frame of the log holds.
    pub fn replay(&mut self, payload: &[u8]) -> Result<(), prost::DecodeError> {
        for entry in Batch::decode(payload)?.entries {
            match entry.kind {
                Some(kind) => self.apply(kind),
                None => self.unknown += 1,
            }
        }
        Ok(())
    }

    /// The entries that make this model out of nothing, as payloads of frames.
    pub fn snapshot(&self) -> Vec<Vec<u8>> {
        let mut out = Payloads::default();
        out.push(Kind::NodePut(self.node.clone()));
        // Closed totals ride on the lane itself here: nothing is there yet to keep them.
        self.lanes.values().for_each(|r| out.push(Kind::LanePut(r.clone())));
        self.streams.values().for_each(|r| out.push(Kind::StreamPut(r.clone())));
        self.cursors.values().for_each(|r| out.push(Kind::CursorPut(r.clone())));
        self.switches.values().for_each(|r| out.push(Kind::SwitchPut(r.clone())));
        self.copies.values().for_each(|r| out.push(Kind::CopyPut(r.clone())));
        self.archives.values().for_each(|r| out.push(Kind::ArchivePut(r.clone())));
        self.ledger.iter().for_each(|r| out.push(Kind::Ledger(r.clone())));
        out.finish()
    }

    /// What became of everything that a lane was ever owed.
    pub fn tally(&self, lane: u32) -> Tally {
        let mut sum = self.lanes.get(&lane).map(|l| l.closed).unwrap_or_default();
        self.cursors.iter().filter(|((number, _), _)| *number == lane).for_each(|(_, c)| sum.add(c.tally));
        sum
    }
}

#[derive(Default)]
struct Payloads {
    done: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl Payloads {
    fn push(&mut self, kind: Kind) {
        encode_entry(kind, &mut self.open);
        if self.open.len() >= PAYLOAD {
            self.done.push(std::mem::take(&mut self.open));
        }
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.open.is_empty() {
            self.done.push(self.open);
        }
        self.done
    }
}

/// Appends an entry to a batch's bytes: the concatenation of two batches is a batch.
pub fn encode_entry(kind: Kind, out: &mut Vec<u8>) {
    prost::encoding::message::encode(1, &Entry { kind: Some(kind) }, out);
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Count, FrontierPut, LaneGone, Position, StreamGone};
    use super::*;

    fn stream(n: u8) -> StreamRecord {
        StreamRecord { id: vec![n; 16], source: "s".into(), ..StreamRecord::default() }
    }

    fn acknowledged(bytes: u64) -> Tally {
        Tally { acknowledged: Count { bytes, records: 1 }, ..Tally::default() }
    }

    fn entries() -> Vec<Kind> {
        vec![
            Kind::LanePut(LaneRecord { number: 1, name: "a".into(), ..LaneRecord::default() }),
            Kind::StreamPut(stream(1)),
            Kind::StreamPut(stream(2)),
            Kind::FrontierPut(FrontierPut {
                stream: vec![1; 16],
                position: Position::at(9),
                seen: 12,
                ..FrontierPut::default()
            }),
            Kind::CursorPut(CursorRecord {
                lane: 1,
                stream: vec![1; 16],
                tally: acknowledged(9),
                ..CursorRecord::default()
            }),
            Kind::CursorPut(CursorRecord {
                lane: 1,
                stream: vec![2; 16],
                tally: acknowledged(5),
                ..CursorRecord::default()
            }),
            Kind::Ledger(LedgerRecord { number: 1, action: "started".into(), ..LedgerRecord::default() }),
            Kind::StreamGone(StreamGone { id: vec![2; 16] }),
            Kind::SwitchPut(SwitchRecord { scope: "policy".into(), engaged: true, ..SwitchRecord::default() }),
        ]
    }

    #[test]
    fn replaying_twice_moves_once() {
        let mut once = Model::default();
        entries().into_iter().for_each(|e| once.apply(e));
        let mut twice = once.clone();
        // Everything after the stream is forgotten again: a replay of the tail changes nothing.
        entries().into_iter().skip(6).for_each(|e| twice.apply(e));
        assert_eq!(once, twice);
        assert_eq!(once.tally(1).acknowledged.bytes, 14);
    }

    #[test]
    fn a_snapshot_makes_the_same_model() {
        let mut model = Model::default();
        entries().into_iter().for_each(|e| model.apply(e));
        let mut again = Model::default();
        for payload in model.snapshot() {
            again.replay(&payload).unwrap();
        }
        assert_eq!(model, again);
    }

    #[test]
    fn a_lane_that_is_forgotten_takes_its_cursors_along() {
        let mut model = Model::default();
        entries().into_iter().for_each(|e| model.apply(e));
        model.apply(Kind::LaneGone(LaneGone { number: 1 }));
        assert!(model.cursors.is_empty() && model.lanes.is_empty());
    }

    #[test]
    fn kinds_and_fields_of_a_later_release_are_skipped() {
        let mut payload = Vec::new();
        // Entry { kind: tag 99 = bytes } and a NodePut with an unknown field 77.
        prost::encoding::bytes::encode(1, &vec![0x9a, 0x06, 0x01, 0x00], &mut payload);
        prost::encoding::bytes::encode(1, &vec![0x6a, 0x05, 0x0a, 0x00, 0xe8, 0x04, 0x01], &mut payload);
        let mut model = Model::default();
        model.replay(&payload).unwrap();
        assert_eq!(model.unknown, 1);
    }

    proptest::proptest! {
        #[test]
        fn any_payload_is_an_error_or_a_model(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = Model::default().replay(&bytes);
        }
    }
}
