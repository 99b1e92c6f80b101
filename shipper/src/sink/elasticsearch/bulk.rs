//! The request: which records it holds, and its body.

use std::collections::HashSet;
use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::{Answer, Parcel, View};

/// Most records of a request: bounds what an answer takes in memory.
const RECORDS: usize = 10_000;

/// How many bytes a request may hold, learned from what the server refuses as too large.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    now: usize,
    ceiling: usize,
}

impl Limit {
    pub(super) fn new(bytes: usize) -> Self {
        Self { now: bytes, ceiling: bytes }
    }

    /// Bytes of records that the next request may hold; one record goes whatever its size.
    pub(super) fn bytes(self) -> usize {
        self.now
    }

    /// A request of so many bytes was too large.
    pub(super) fn refused(&mut self, size: usize) {
        self.ceiling = self.ceiling.min(size / 8 * 7).max(1);
        self.now = (size / 2).clamp(1, self.ceiling);
    }

    /// A request was not.
    pub(super) fn passed(&mut self) {
        self.now = self.now.saturating_mul(2).min(self.ceiling);
    }
}

/// A record in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) parcel: usize,
    pub(super) record: u32,
    pub(super) id: String,
}

/// The records of a request, in order.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) items: Vec<Item>,
    /// Records that no server would take, because they have no id: only damage can bring that about.
    pub(super) refused: Vec<(usize, u32, Answer)>,
    /// Bytes of the records.
    pub(super) size: usize,
}

impl Part {
    /// The first open records that fit into `bytes`, and at least one.
    pub(super) fn of(parcels: &[Parcel], bytes: usize) -> Self {
        let mut part = Self::default();
        for (parcel, it) in parcels.iter().enumerate() {
            for index in it.open() {
                let encoded = it.delivery.chunk.encoded(index);
                let full = part.size + encoded.len() > bytes || part.items.len() == RECORDS;
                if full && !part.items.is_empty() {
                    return part;
                }
                let record = index as u32;
                match View::of(encoded).map(|view| view.id) {
                    Some(id) if id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') => {
                        part.size += encoded.len();
                        part.items.push(Item { parcel, record, id: id.to_owned() });
                    }
                    _ => part.refused.push((parcel, record, Answer::Refused("it is no canonical record".to_owned()))),
                }
            }
        }
        part
    }

    /// Takes out the records with these ids.
    pub(super) fn take(&mut self, ids: &HashSet<String>) -> impl Iterator<Item = (usize, u32)> + use<> {
        let (found, items) = std::mem::take(&mut self.items).into_iter().partition(|item| ids.contains(&item.id));
        self.items = items;
        let found: Vec<Item> = found;
        found.into_iter().map(|item| (item.parcel, item.record))
    }

    /// The body, compressed: an action and the record for each item.
    pub(super) fn body(&self, parcels: &[Parcel]) -> io::Result<Vec<u8>> {
        let mut out = GzEncoder::new(Vec::with_capacity(self.size / 6), Compression::fast());
        for item in &self.items {
            let Some(parcel) = parcels.get(item.parcel) else { continue };
            writeln!(out, "{{\"create\":{{\"_id\":\"{}\"}}}}", item.id)?;
            out.write_all(parcel.delivery.chunk.encoded(item.record as usize))?;
        }
        out.finish()
    }
}

/// Compresses a body that is there already.
pub(super) fn compress(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(body)?;
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_comes_to_rest_below_what_the_server_takes() {
        let mut limit = Limit::new(4 << 20);
        let server = 1_000_000;
        let mut refused = 0;
        for _ in 0..100 {
            if limit.bytes() > server {
                limit.refused(limit.bytes());
                refused += 1;
            } else {
                limit.passed();
            }
        }
        assert!(refused < 15 && limit.bytes() > server / 2 && limit.bytes() <= server, "{refused} {limit:?}");
        // A single record that is too large does not slow the others down for good.
        limit.refused(3 << 20);
        for _ in 0..30 {
            limit.passed();
        }
        assert!(limit.bytes() > server / 2);
    }
}
