//! From a sink's answers, in whatever order, to one cursor per stream. Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::state::StreamId;
use crate::state::entry::{Count, Position, Tally};
use crate::table::Table;

use super::chunk::Chunk;
use super::{Fate, RecordFate};

/// One stream of one lane.
#[derive(Debug, Clone, Default)]
pub struct Track {
    /// How far it was handed to the sink.
    pub sent: Position,
    /// The cursor: everything before it is settled.
    pub settled: Position,
    /// What became of it.
    pub tally: Tally,
    outstanding: VecDeque<Outstanding>,
    /// Changed since it was last put into the state.
    pub dirty: bool,
}

#[derive(Debug, Clone)]
struct Outstanding {
    delivery: u64,
    chunk: Arc<Chunk>,
    /// Records at the front that are settled and counted.
    passed: usize,
    /// Every record that has no answer of its own is acknowledged.
    acknowledged: bool,
    /// Answered records behind `passed`, by index: refused or not.
    answered: HashMap<u32, bool>,
    recalled: bool,
}

/// What a settlement changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Memory that is free again, in bytes.
    pub freed: usize,
    /// The cursor moved.
    pub moved: bool,
}

impl Track {
    /// Goes on from a cursor.
    pub fn resume(settled: Position, tally: Tally) -> Self {
        Self { sent: settled, settled, tally, ..Self::default() }
    }

    /// A chunk that starts at [`sent`](Self::sent) was handed over.
    pub fn sent(&mut self, delivery: u64, chunk: &Arc<Chunk>) {
        self.sent = chunk.end();
        self.outstanding.push_back(Outstanding {
            delivery,
            chunk: Arc::clone(chunk),
            passed: 0,
            acknowledged: false,
            answered: HashMap::new(),
            recalled: false,
        });
    }

    /// Records that need no sink: all of the chunk was left out by a rule.
    pub fn passed_over(&mut self, chunk: &Arc<Chunk>) -> Effect {
        // No sink answers for it, so the number of a delivery is not used.
        self.sent(u64::MAX, chunk);
        if let Some(last) = self.outstanding.back_mut() {
            last.acknowledged = true;
        }
        self.advance()
    }

    /// Deliveries under way.
    pub fn under_way(&self) -> usize {
        self.outstanding.len()
    }

    /// Takes in what the sink says of a delivery.
    pub fn settle(&mut self, delivery: u64, fate: &Fate) -> Effect {
        let Some(at) = self.outstanding.iter().position(|o| o.delivery == delivery) else {
            return Effect::default();
        };
        let Some(out) = self.outstanding.get_mut(at) else {
            return Effect::default();
        };
        match fate {
            Fate::Acknowledged => out.acknowledged = true,
            Fate::Records(records) => {
                for (index, fate) in records {
                    if *index as usize >= out.passed {
                        out.answered.entry(*index).or_insert(matches!(fate, RecordFate::Refused(_)));
                    }
                }
            }
            Fate::Recalled => out.recalled = true,
        }
        self.advance()
    }

    fn advance(&mut self) -> Effect {
        let mut effect = Effect::default();
        while let Some(front) = self.outstanding.front_mut() {
            let from = front.passed;
            if front.acknowledged && front.answered.values().all(|refused| !refused) {
                front.passed = front.chunk.records.len();
                let (kept, dropped) = front.chunk.counts(from..front.passed);
                self.tally.acknowledged.add(kept);
                self.tally.dropped.add(dropped);
            } else {
                while let Some(record) = front.chunk.records.get(front.passed) {
                    let answer = front.answered.remove(&(front.passed as u32)).or(front.acknowledged.then_some(false));
                    let count = Count { bytes: record.bytes, records: 1 };
                    match answer {
                        _ if record.dropped => self.tally.dropped.add(count),
                        Some(false) => self.tally.acknowledged.add(count),
                        Some(true) => self.tally.refused.add(count),
                        None => break,
                    }
                    front.passed += 1;
                }
            }
            if front.passed > from {
                self.settled = front.chunk.position(front.passed);
                effect.moved = true;
                self.dirty = true;
            }
            let done = front.passed == front.chunk.records.len();
            if !done && !front.recalled {
                break;
            }
            if !done {
                // What follows was recalled too, or will be answered: it goes again from the cursor, under the same ids.
                let rest = self.outstanding.drain(..);
                effect.freed += rest.map(|o| o.chunk.weight()).sum::<usize>();
                self.sent = self.settled;
                break;
            }
            effect.freed += front.chunk.weight();
            self.outstanding.pop_front();
        }
        if self.outstanding.is_empty() {
            // Of thousands of streams most have nothing under way.
            self.outstanding = VecDeque::new();
        }
        effect
    }

    /// Forgets what is under way: its sink is gone. Answers that still come change nothing.
    pub fn forget_under_way(&mut self) -> usize {
        self.sent = self.settled;
        self.outstanding.drain(..).map(|o| o.chunk.weight()).sum()
    }

    /// Counts everything up to `to` that is not settled as lost, and goes on there. `origin` is where the stream begins. Only when
    /// nothing is under way.
    pub fn lose(&mut self, to: Position, origin: u64) -> Count {
        let count = self.unsettled(to, origin);
        self.tally.lost.add(count);
        self.go_to(to);
        count
    }

    /// Counts everything up to `to` that is not settled as left out by a rule, and goes on there. Only when nothing is under way.
    pub fn skip(&mut self, to: Position, origin: u64) -> Count {
        let count = self.unsettled(to, origin);
        self.tally.dropped.add(count);
        self.go_to(to);
        count
    }

    fn unsettled(&self, to: Position, origin: u64) -> Count {
        // Not the distance of two offsets: pieces of open lines lie before the cursor and are not settled.
        let bytes = to.offset.saturating_sub(origin).saturating_sub(self.tally.settled());
        Count { bytes, records: to.seq.saturating_sub(self.settled.seq) }
    }

    fn go_to(&mut self, to: Position) {
        self.settled = to;
        self.sent = to;
        self.dirty = true;
    }
}

/// The tracks of a lane.
pub type Tracks = Table<StreamId, Track>;

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(start: u64, records: u64) -> Arc<Chunk> {
        let mut chunk =
            Chunk::new(StreamId::default(), Position { offset: start * 10, seq: start, ..Position::default() });
        for i in 1..=records {
            chunk.push(&Position { offset: (start + i) * 10, seq: start + i, ..Position::default() }, 10, false);
        }
        Arc::new(chunk)
    }

    #[test]
    fn answers_out_of_order_move_the_cursor_only_over_what_is_settled() {
        let mut track = Track::default();
        track.sent(1, &chunk(0, 2));
        track.sent(2, &chunk(2, 3));
        assert!(!track.settle(2, &Fate::Acknowledged).moved);
        let fate = Fate::Records(vec![(1, RecordFate::Acknowledged)]);
        assert!(!track.settle(1, &fate).moved);
        let fate = Fate::Records(vec![(0, RecordFate::Refused("too large".into()))]);
        assert!(track.settle(1, &fate).moved);
        assert_eq!((track.settled.offset, track.settled.seq), (50, 5));
        assert_eq!((track.tally.acknowledged.records, track.tally.refused.bytes), (4, 10));
    }

    #[test]
    fn a_recall_goes_back_to_the_cursor() {
        let mut track = Track::default();
        track.sent(1, &chunk(0, 2));
        track.sent(2, &chunk(2, 2));
        track.settle(1, &Fate::Records(vec![(0, RecordFate::Acknowledged)]));
        track.settle(1, &Fate::Recalled);
        assert_eq!((track.sent.offset, track.settled.offset, track.under_way()), (10, 10, 0));
        assert_eq!(track.settle(2, &Fate::Acknowledged), Effect::default());
    }

    proptest::proptest! {
        /// Whatever the order and the kind of the answers, the tally and the cursor agree, and an answer counts once.
        #[test]
        fn conservation(answers in proptest::collection::vec((1u64..5, 0u32..4, 0u8..4), 0..60)) {
            let mut track = Track::default();
            for i in 0..4 {
                track.sent(i + 1, &chunk(i * 3, 3));
            }
            for (delivery, record, kind) in answers {
                let fate = match kind {
                    0 => Fate::Acknowledged,
                    1 => Fate::Records(vec![(record, RecordFate::Acknowledged)]),
                    2 => Fate::Records(vec![(record, RecordFate::Refused(String::new()))]),
                    _ => Fate::Recalled,
                };
                track.settle(delivery, &fate);
                proptest::prop_assert_eq!(track.tally.settled(), track.settled.offset);
                proptest::prop_assert!(track.sent.offset >= track.settled.offset);
            }
        }
    }
}
