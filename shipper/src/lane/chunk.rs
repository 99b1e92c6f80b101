//! A run of encoded records of one stream, shared by all lanes that stand at the same place.

use crate::plan::Encoding;
use crate::state::StreamId;
use crate::state::entry::{Count, Position};

/// A run of records.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Whose records.
    pub stream: StreamId,
    /// The place before the first.
    pub start: Position,
    /// The records in order.
    pub records: Vec<Record>,
    /// Places at which a line is open, by index of the record before; at all others nothing is.
    open: Vec<(u32, Position)>,
    /// The encoded records, each with its newline.
    pub data: Vec<u8>,
    /// The lines as they were, one behind the other, if a lane of the group wants them.
    pub originals: Vec<u8>,
}

/// One record of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Offset behind what was framed when it was complete.
    pub after: u64,
    /// Bytes of the stream that it takes.
    pub bytes: u64,
    /// Where its encoding ends in the chunk's data; where the one before ends, if it was dropped.
    pub end: u32,
    /// Where its line ends in the chunk's originals.
    pub original_end: u32,
    /// Left out by a rule.
    pub dropped: bool,
}

/// What a chunk takes in memory beside its data, in bytes.
const OVERHEAD: usize = 512;

impl Chunk {
    /// Nothing yet.
    pub fn new(stream: StreamId, start: Position) -> Self {
        Self { stream, start, ..Self::default() }
    }

    /// Takes in a record whose encoding was just appended to [`data`](Self::data).
    pub fn push(&mut self, after: &Position, bytes: u64, dropped: bool) {
        if after.long.is_some() || after.stdout.is_some() || after.stderr.is_some() {
            self.open.push((self.records.len() as u32, *after));
        }
        self.records.push(Record {
            after: after.offset,
            bytes,
            end: self.data.len() as u32,
            original_end: self.originals.len() as u32,
            dropped,
        });
    }

    /// The place behind the first `count` records.
    pub fn position(&self, count: usize) -> Position {
        let Some(last) = count.checked_sub(1).and_then(|i| Some((i, self.records.get(i)?))) else {
            return self.start;
        };
        match self.open.binary_search_by_key(&(last.0 as u32), |(i, _)| *i) {
            Ok(at) => self.open[at].1,
            Err(_) => Position { offset: last.1.after, seq: self.start.seq + count as u64, ..Position::default() },
        }
    }

    /// The place behind the last record.
    pub fn end(&self) -> Position {
        self.position(self.records.len())
    }

    /// The encoding of one record.
    pub fn encoded(&self, index: usize) -> &[u8] {
        let from = index.checked_sub(1).and_then(|i| self.records.get(i)).map_or(0, |r| r.end);
        let to = self.records.get(index).map_or(from, |r| r.end);
        self.data.get(from as usize..to as usize).unwrap_or_default()
    }

    /// The line as it was, without its terminator; the encoded record where there is no line, as with entries of the ledger.
    pub fn original(&self, index: usize) -> &[u8] {
        let from = index.checked_sub(1).and_then(|i| self.records.get(i)).map_or(0, |r| r.original_end);
        let to = self.records.get(index).map_or(from, |r| r.original_end);
        match self.originals.get(from as usize..to as usize) {
            Some(line) if !line.is_empty() => line,
            _ => self.encoded(index).strip_suffix(b"\n").unwrap_or_default(),
        }
    }

    /// What is delivered of each record that no rule left out, in order, without its newline.
    pub fn payloads(&self, encoding: Encoding) -> impl Iterator<Item = &[u8]> {
        let kept = self.records.iter().enumerate().filter(|(_, r)| !r.dropped);
        kept.map(move |(index, _)| self.payload(index, encoding))
    }

    /// What is delivered of a record, without its newline.
    pub fn payload(&self, index: usize, encoding: Encoding) -> &[u8] {
        match encoding {
            Encoding::Ecs => self.encoded(index).strip_suffix(b"\n").unwrap_or_default(),
            Encoding::Original => self.original(index),
        }
    }

    /// What it takes in memory, in bytes.
    pub fn weight(&self) -> usize {
        self.data.capacity() + self.originals.capacity() + self.records.capacity() * size_of::<Record>() + OVERHEAD
    }

    /// Bytes and records, those left out by a rule apart.
    pub fn counts(&self, range: std::ops::Range<usize>) -> (Count, Count) {
        let (mut kept, mut dropped) = (Count::default(), Count::default());
        for record in self.records.get(range).unwrap_or_default() {
            let count = if record.dropped { &mut dropped } else { &mut kept };
            count.bytes += record.bytes;
            count.records += 1;
        }
        (kept, dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::state::entry::Open;
    use super::*;

    #[test]
    fn places_and_encodings() {
        let mut chunk = Chunk::new(StreamId::default(), Position { offset: 10, seq: 4, ..Position::default() });
        chunk.data.extend_from_slice(b"{a}\n");
        chunk.push(&Position { offset: 15, seq: 5, ..Position::default() }, 5, false);
        let open =
            Position { offset: 20, seq: 6, long: Some(Open { from: 20, line: 15, index: 1 }), ..Position::default() };
        chunk.push(&open, 5, true);
        assert_eq!(chunk.position(0), chunk.start);
        assert_eq!(chunk.position(1), Position { offset: 15, seq: 5, ..Position::default() });
        assert_eq!(chunk.end(), open);
        assert_eq!((chunk.encoded(0), chunk.encoded(1)), (&b"{a}\n"[..], &b""[..]));
        let (kept, dropped) = chunk.counts(0..2);
        assert_eq!((kept.records, dropped.bytes), (1, 5));
        assert_eq!(chunk.payloads(Encoding::Original).collect::<Vec<_>>(), [b"{a}"]);
    }

    #[test]
    fn lines_as_they_were() {
        let mut chunk = Chunk::new(StreamId::default(), Position::default());
        for (encoded, line) in [("{1}\n", "one"), ("{2}\n", "two")] {
            chunk.data.extend_from_slice(encoded.as_bytes());
            chunk.originals.extend_from_slice(line.as_bytes());
            chunk.push(&Position::default(), 4, false);
        }
        assert_eq!(chunk.payloads(Encoding::Original).collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!(chunk.payloads(Encoding::Ecs).collect::<Vec<_>>(), [b"{1}", b"{2}"]);
    }
}
