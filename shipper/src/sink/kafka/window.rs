//! What the producer holds, and what is to be handed to it next. Pure.

use crate::lane::Delivery;
use crate::sink::Parcel;

/// What a message's report comes back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    parcel: u64,
    record: u32,
    /// The message's size in bytes.
    pub(super) size: usize,
}

/// Parcels in the order in which they came, and how far they were handed over.
#[derive(Default)]
pub(super) struct Window {
    parcels: Vec<Parcel>,
    /// Each parcel's number, rising.
    numbers: Vec<u64>,
    last: u64,
    /// The next record to hand over: index of its parcel, and its index there.
    at: (usize, usize),
    flying: usize,
    bytes: usize,
}

impl Window {
    /// Takes in a delivery; gives it back if a rule left out every record of it.
    pub(super) fn push(&mut self, delivery: Delivery) -> Option<Delivery> {
        let parcel = Parcel::new(delivery);
        if parcel.is_done() {
            return Some(parcel.delivery);
        }
        self.last += 1;
        self.parcels.push(parcel);
        self.numbers.push(self.last);
        None
    }

    pub(super) fn parcels(&mut self) -> &mut [Parcel] {
        &mut self.parcels
    }

    pub(super) fn delivery(&self, parcel: usize) -> Option<&Delivery> {
        self.parcels.get(parcel).map(|p| &p.delivery)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Everything was handed over.
    pub(super) fn is_sent(&self) -> bool {
        self.at.0 >= self.parcels.len()
    }

    /// Messages without a report.
    pub(super) fn flying(&self) -> usize {
        self.flying
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The next record to hand over, as (parcel, record).
    pub(super) fn next(&mut self) -> Option<(usize, usize)> {
        while let Some(parcel) = self.parcels.get(self.at.0) {
            if let Some(record) = parcel.next_open(self.at.1) {
                self.at.1 = record;
                return Some(self.at);
            }
            self.at = (self.at.0 + 1, 0);
        }
        None
    }

    /// The next record was handed over with this tag.
    pub(super) fn sent(&mut self, tag: Tag) {
        self.flying += 1;
        self.bytes += tag.size;
        self.skip();
    }

    /// The next record is settled without the producer.
    pub(super) fn skip(&mut self) {
        self.at.1 += 1;
        let _moved_on = self.next();
    }

    /// What the report of a record is to come back with.
    pub(super) fn tag(&self, parcel: usize, record: usize, size: usize) -> Tag {
        Tag { parcel: self.numbers.get(parcel).copied().unwrap_or_default(), record: record as u32, size }
    }

    /// A report came; says which (parcel, record) it is about, if that is still here.
    pub(super) fn landed(&mut self, tag: &Tag) -> Option<(usize, u32)> {
        self.flying = self.flying.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(tag.size);
        let parcel = self.numbers.binary_search(&tag.parcel).ok()?;
        Some((parcel, tag.record))
    }

    /// The producer is gone with all that it held: every record without an answer is to be handed over again.
    pub(super) fn rewind(&mut self) {
        self.at = (0, 0);
        self.flying = 0;
        self.bytes = 0;
        let _first = self.next();
    }

    /// Whether some delivery may not pass any more.
    pub(super) fn has_stopped(&self) -> bool {
        self.parcels.iter().any(|p| !p.delivery.may_pass())
    }

    /// Takes out the deliveries that may not pass any more.
    pub(super) fn remove_stopped(&mut self) -> Vec<Delivery> {
        let stopped = self.parcels.iter().filter(|p| !p.delivery.may_pass()).map(|p| p.delivery.clone()).collect();
        self.retain(|p| p.delivery.may_pass());
        stopped
    }

    /// Takes out the parcels of which every record has its answer.
    pub(super) fn remove_done(&mut self) {
        self.retain(|p| !p.is_done());
    }

    fn retain(&mut self, keep: impl Fn(&Parcel) -> bool) {
        let kept: Vec<bool> = self.parcels.iter().map(&keep).collect();
        if kept.iter().all(|k| *k) {
            return;
        }
        let is_kept = |index: usize| kept.get(index).copied().unwrap_or(false);
        let before = (0..self.at.0).filter(|i| is_kept(*i)).count();
        self.at = (before, if is_kept(self.at.0) { self.at.1 } else { 0 });
        let mut index = 0;
        self.parcels.retain(|_| {
            index += 1;
            is_kept(index - 1)
        });
        index = 0;
        self.numbers.retain(|_| {
            index += 1;
            is_kept(index - 1)
        });
        let _next = self.next();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::lane::Gate;
    use crate::lane::chunk::Chunk;
    use crate::state::StreamId;
    use crate::state::entry::Position;

    fn delivery(id: u64, dropped: &[bool], gate: &Gate) -> Delivery {
        let mut chunk = Chunk::new(StreamId::default(), Position::default());
        for dropped in dropped {
            chunk.push(&Position::default(), 1, *dropped);
        }
        Delivery::new(1, id, Arc::new(chunk), gate, &Gate::default())
    }

    /// Hands over everything; gives back the tags.
    fn send_all(window: &mut Window) -> Vec<Tag> {
        let mut tags = Vec::new();
        while let Some((parcel, record)) = window.next() {
            let tag = window.tag(parcel, record, 10);
            window.sent(tag);
            tags.push(tag);
        }
        tags
    }

    #[test]
    fn what_a_rule_left_out_is_not_handed_over() {
        let (mut window, gate) = (Window::default(), Gate::default());
        assert!(window.push(delivery(1, &[true, true], &gate)).is_some());
        assert!(window.push(delivery(2, &[true, false, true, false], &gate)).is_none());
        assert!(window.push(delivery(3, &[false], &gate)).is_none());
        let tags = send_all(&mut window);
        let places: Vec<_> = tags.iter().map(|tag| window.landed(tag)).collect();
        assert_eq!(places, [Some((0, 1)), Some((0, 3)), Some((1, 0))]);
        assert!(window.is_sent());
        assert_eq!((window.flying(), window.bytes()), (0, 0));
    }

    #[test]
    fn after_a_rewind_only_what_has_no_answer_goes_again() {
        let (mut window, gate) = (Window::default(), Gate::default());
        window.push(delivery(1, &[false; 3], &gate));
        window.push(delivery(2, &[false; 2], &gate));
        let first = send_all(&mut window);
        for (parcel, record) in [(0, 1), (1, 0), (1, 1)] {
            assert!(window.parcels()[parcel].close(record));
        }
        window.remove_done();
        window.rewind();
        let again = send_all(&mut window);
        assert_eq!(again, [first[0], first[2]]);
        // A late report of what is gone finds nothing.
        assert_eq!(window.landed(&first[4]), None);
    }

    #[test]
    fn taking_out_a_parcel_keeps_the_place() {
        let (mut window, gate, other) = (Window::default(), Gate::default(), Gate::default());
        window.push(delivery(1, &[false; 2], &gate));
        window.push(delivery(2, &[false; 2], &other));
        window.push(delivery(3, &[false; 2], &gate));
        for _ in 0..3 {
            let (parcel, record) = window.next().unwrap();
            let tag = window.tag(parcel, record, 1);
            window.sent(tag);
        }
        other.shut();
        assert!(window.has_stopped());
        let stopped: Vec<u64> = window.remove_stopped().iter().map(|d| d.id).collect();
        assert_eq!(stopped, [2]);
        assert_eq!(window.next(), Some((1, 0)));
        gate.shut();
        assert_eq!(window.remove_stopped().len(), 2);
        assert!(window.is_empty() && window.next().is_none());
    }
}
