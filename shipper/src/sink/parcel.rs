//! A delivery on its way to a sink that answers record by record.

use crate::lane::Delivery;

/// A delivery, and which of its records still wait for an answer.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The delivery.
    pub delivery: Delivery,
    open: Vec<bool>,
    left: usize,
    excused: bool,
}

impl Parcel {
    /// Every record that no rule left out waits for an answer.
    pub fn new(delivery: Delivery) -> Self {
        let open: Vec<bool> = delivery.chunk.records.iter().map(|r| !r.dropped).collect();
        let left = open.iter().filter(|o| **o).count();
        Self { delivery, open, left, excused: false }
    }

    /// The indices of the records that wait, in order.
    pub fn open(&self) -> impl Iterator<Item = usize> {
        self.open.iter().enumerate().filter(|(_, open)| **open).map(|(index, _)| index)
    }

    /// The first record at or behind an index that waits.
    pub fn next_open(&self, from: usize) -> Option<usize> {
        self.open.get(from..)?.iter().position(|open| *open).map(|at| from + at)
    }

    /// Nothing waits any more.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// The destination took other records when it refused some of these: it is not its fault.
    pub(crate) fn excuse(&mut self) {
        self.excused = true;
    }

    /// Whether refusals of its records are known to be the records' fault.
    pub(crate) fn is_excused(&self) -> bool {
        self.excused
    }

    /// A record has its answer. `false`: it had one before.
    pub(crate) fn close(&mut self, record: u32) -> bool {
        match self.open.get_mut(record as usize) {
            Some(open) if *open => {
                *open = false;
                self.left -= 1;
                true
            }
            _ => false,
        }
    }
}
