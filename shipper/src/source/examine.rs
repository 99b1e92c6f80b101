//! Reads a candidate slice by slice, to say which stream it is.
//!
//! Files that are compressed, or that begin like a stream, may be as large as a disk: what reads them stops when its allowance is
//! used up, and goes on from there when it is called again. In between the streams move on, so each call is given their records as
//! they are now, and an answer holds for those.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;

use crate::format::record_hash;
use crate::state::StreamId;
use crate::state::entry::{Position, StreamRecord};

use super::decompress::{Compression, Decoder};
use super::digest::{self, Digest};
use super::frame::{Framing, Scratch, frame};
use super::identity::Candidate;
use super::stream::{ReadError, Stream, WITNESS, chain_record, framing_of};

/// Bytes read at a time.
const PIECE: usize = 256 << 10;
/// How often reading begins again because a stream moved within what was read already; then all is read in one go.
const AGAIN: u32 = 3;

/// Plain bytes that may still be read before others have their turn.
#[derive(Debug, Clone, Copy)]
pub struct Allowance(pub u64);

impl Allowance {
    /// No bound.
    const ALL: Self = Self(u64::MAX);

    /// Nothing is left.
    pub fn is_used_up(self) -> bool {
        self.0 == 0
    }

    /// Bytes to read at a time.
    fn piece(self) -> usize {
        PIECE.min(usize::try_from(self.0).unwrap_or(PIECE))
    }

    fn spend(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes as u64);
    }
}

/// What comparing a candidate with every stream that begins like it found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// The stream with the farthest frontier up to which the candidate is that stream, and that frontier among its own bytes.
    pub equal: Option<(StreamId, u64)>,
    /// Plain bytes of the candidate.
    pub len: u64,
}

/// Whether the candidate is a stream up to some place.
#[derive(Debug, Clone, Copy)]
struct Checked {
    at: u64,
    equal: bool,
}

/// How far a candidate was read.
#[derive(Default)]
pub struct Examination {
    digests: Option<Box<Digests>>,
    again: u32,
    within: Option<Inside>,
    not_within: HashSet<StreamId>,
    ends: Option<Box<Ends>>,
}

/// The reading that compares digests.
struct Digests {
    reader: Decoder,
    digest: Digest,
    /// The last plain bytes before the reader's place, at most [`WITNESS`].
    last: Vec<u8>,
    checked: HashMap<StreamId, Checked>,
    /// The hash of the bytes before each place at which a stream was met: [`StreamRecord::mark_at`].
    marks: HashMap<u64, u64>,
}

/// The reading that compares with a stream's file.
struct Inside {
    stream: StreamId,
    reader: Decoder,
    /// What was read and is still to be compared.
    piece: Vec<u8>,
}

/// The reading that follows the records of a candidate: what comes out is the same for all streams that are framed alike.
struct Ends {
    framing: Framing,
    reader: Decoder,
    scratch: Scratch,
    position: Position,
    hash: u64,
    buffer: Vec<u8>,
    at: u64,
}

impl Examination {
    /// Compares a candidate with streams by their digests. A compressed file is read to its end, which verifies it.
    ///
    /// `None`: the allowance is used up.
    pub fn compare(
        &mut self,
        candidate: &Candidate,
        records: &[(StreamId, StreamRecord)],
        left: &mut Allowance,
    ) -> io::Result<Option<Comparison>> {
        loop {
            let digests = match &mut self.digests {
                Some(digests) => digests,
                none => none.insert(Box::new(Digests::new(candidate)?)),
            };
            if !digests.covers(candidate, records) {
                self.digests = None;
                self.again += 1;
                continue;
            }
            let mut all = Allowance::ALL;
            let left = if self.again < AGAIN { left } else { &mut all };
            let done = digests.go_on(candidate, records, left)?;
            return Ok(done.then(|| digests.comparison(candidate, records)));
        }
    }

    /// Whether the candidate, once compared, holds what the stream held at its end when it began.
    pub fn holds_mark(&self, candidate: &Candidate, record: &StreamRecord) -> io::Result<bool> {
        let mark = match candidate.compression {
            _ if record.mark_at == 0 => return Ok(true),
            Compression::None => candidate.mark(record.mark_at)?,
            Compression::Gzip | Compression::Zstd => {
                self.digests.as_ref().and_then(|d| d.marks.get(&record.mark_at).copied())
            }
        };
        Ok(mark == Some(record.mark_hash))
    }

    /// Plain bytes of a candidate that was compared, and the hash of the last (at most) 64 of them; `None` if it shrank a moment ago.
    pub fn end(&self, candidate: &Candidate) -> io::Result<Option<(u64, u64)>> {
        Ok(match (candidate.compression, &self.digests) {
            (Compression::None, _) => candidate.mark(candidate.len)?.map(|mark| (candidate.len, mark)),
            (_, Some(digests)) if digests.reader.ended() => {
                Some((digests.reader.at(), digest::head_hash(&digests.last)))
            }
            _ => None,
        })
    }

    /// Whether the candidate's first `len` bytes are what the stream's open file holds.
    pub fn is_within(
        &mut self,
        candidate: &Candidate,
        stream: &mut Stream,
        record: &StreamRecord,
        len: u64,
        left: &mut Allowance,
    ) -> io::Result<Within> {
        // Streams only grow: where one differs it always will.
        if self.not_within.contains(&stream.id) {
            return Ok(Within::No);
        }
        let mut inside = match self.within.take() {
            Some(inside) if inside.stream == stream.id => inside,
            _ => Inside { stream: stream.id, reader: candidate.reader()?, piece: Vec::new() },
        };
        let mut answer = Within::Yes;
        while inside.reader.at() < len || !inside.piece.is_empty() {
            if left.is_used_up() {
                answer = Within::NotRead;
                break;
            }
            if inside.piece.is_empty() {
                let want = left.piece().min(usize::try_from(len - inside.reader.at()).unwrap_or(PIECE));
                inside.piece.resize(want, 0);
                let n = inside.reader.read(&mut inside.piece)?;
                inside.piece.truncate(n);
                if n == 0 {
                    break;
                }
            }
            let at = inside.reader.at() - inside.piece.len() as u64;
            let held = stream.holds(record, at, &inside.piece);
            left.spend(inside.piece.len());
            match held {
                Ok(true) => inside.piece.clear(),
                Ok(false) | Err(ReadError::Missing { .. }) => {
                    self.not_within.insert(stream.id);
                    return Ok(Within::No);
                }
                Err(ReadError::NotReached) => *left = Allowance(0),
                Err(ReadError::StartedOver) => return Ok(Within::StartedOver),
                Err(ReadError::Io(error)) => return Err(error),
            }
        }
        // More may be asked for, when both have grown.
        self.within = Some(inside);
        Ok(answer)
    }

    /// Whether the candidate is a piece of the stream that ends before the frontier, told by the record ends that the stream remembers.
    pub fn ends_within(
        &mut self,
        candidate: &Candidate,
        stream: &Stream,
        record: &StreamRecord,
        left: &mut Allowance,
    ) -> io::Result<EndsWithin> {
        let framing = framing_of(record);
        let ends = match self.ends.take_if(|ends| ends.framing == framing) {
            Some(ends) => self.ends.insert(ends),
            None => self.ends.insert(Box::new(Ends::new(candidate, framing)?)),
        };
        if !ends.go_on(left)? {
            return Ok(EndsWithin::NotRead);
        }
        let end = ends.position.offset;
        if end == 0 || stream.hash_at(end) != Some(ends.hash) {
            return Ok(EndsWithin::No);
        }
        Ok(if ends.reader.at() > end { EndsWithin::Unfinished } else { EndsWithin::Yes })
    }
}

/// Whether a candidate's beginning is in a stream's open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// That file started over meanwhile.
    StartedOver,
    /// The allowance is used up.
    NotRead,
}

/// Whether a candidate ends where a record of a stream did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndsWithin {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// Bytes follow the last record end, of which nothing can be said.
    Unfinished,
    /// The allowance is used up.
    NotRead,
}

impl Digests {
    fn new(candidate: &Candidate) -> io::Result<Self> {
        Ok(Self {
            reader: candidate.reader()?,
            digest: Digest::default(),
            last: Vec::new(),
            checked: HashMap::new(),
            marks: HashMap::new(),
        })
    }

    /// What is still to be compared: places and digests. `None` if nothing is, or never can be.
    fn wanted(&self, id: StreamId, record: &StreamRecord) -> Option<(u64, digest::Hash)> {
        let at = record.digest_end();
        let expected = digest::hash_from(&record.digest).filter(|_| at > 0)?;
        match self.checked.get(&id) {
            // What differs up to one place differs up to every later one.
            Some(checked) if !checked.equal || checked.at == at => None,
            _ => Some((at, expected)),
        }
    }

    /// Nothing that is wanted lies before what was read already.
    fn covers(&self, candidate: &Candidate, records: &[(StreamId, StreamRecord)]) -> bool {
        let read = self.reader.at();
        let compressed = candidate.compression != Compression::None;
        records.iter().all(|(id, record)| {
            let mark = record.mark_at;
            let marked = !compressed || mark == 0 || mark > read || self.marks.contains_key(&mark);
            marked && self.wanted(*id, record).is_none_or(|(at, _)| at >= read)
        })
    }

    /// Reads on. Says whether everything is compared.
    fn go_on(
        &mut self,
        candidate: &Candidate,
        records: &[(StreamId, StreamRecord)],
        left: &mut Allowance,
    ) -> io::Result<bool> {
        let mut places: Vec<(u64, StreamId, digest::Hash)> = records
            .iter()
            .filter_map(|(id, r)| self.wanted(*id, r).map(|(at, expected)| (at, *id, expected)))
            .collect();
        places.sort_unstable_by_key(|(at, ..)| *at);
        let mut places = places.into_iter().peekable();
        let marks: Vec<u64> = records.iter().map(|(_, r)| r.mark_at).filter(|at| *at > 0).collect();
        let compressed = candidate.compression != Compression::None;
        let mut buffer = vec![0; PIECE];
        loop {
            // What ends right here needs no more bytes.
            self.check(&mut places, &[]);
            if if compressed { self.reader.ended() } else { places.peek().is_none() } {
                return Ok(true);
            }
            if left.is_used_up() {
                return Ok(false);
            }
            let want = left.piece();
            let n = self.reader.read(&mut buffer[..want])?;
            left.spend(n);
            let piece = &buffer[..n];
            if compressed {
                self.note_marks(&marks, piece);
            }
            self.check(&mut places, piece);
            // It may have grown when it is asked again.
            if !compressed && n < want {
                return Ok(true);
            }
        }
    }

    /// Takes in a piece, and compares where a stream's frontier lies within it.
    fn check(
        &mut self,
        places: &mut std::iter::Peekable<impl Iterator<Item = (u64, StreamId, digest::Hash)>>,
        piece: &[u8],
    ) {
        let mut rest = piece;
        while let Some((at, id, expected)) = places.next_if(|(at, ..)| *at - self.digest.len() <= rest.len() as u64) {
            let (before, after) = rest.split_at((at - self.digest.len()) as usize);
            self.digest.update(before);
            rest = after;
            self.checked.insert(id, Checked { at, equal: self.digest.digest() == expected });
        }
        self.digest.update(rest);
    }

    /// Keeps the hashes of the bytes before the places that lie in the piece which was just read, and its last bytes.
    fn note_marks(&mut self, marks: &[u64], piece: &[u8]) {
        let begins = self.digest.len();
        let known = self.last.len();
        self.last.extend_from_slice(piece);
        for at in marks {
            if *at > begins && *at <= begins + piece.len() as u64 {
                let end = known + (at - begins) as usize;
                self.marks.insert(*at, digest::head_hash(&self.last[end.saturating_sub(WITNESS)..end]));
            }
        }
        self.last.drain(..self.last.len().saturating_sub(WITNESS));
    }

    fn comparison(&self, candidate: &Candidate, records: &[(StreamId, StreamRecord)]) -> Comparison {
        let equal = records.iter().filter_map(|(id, record)| {
            let checked = self.checked.get(id)?;
            (checked.equal && checked.at == record.digest_end()).then_some((*id, checked.at))
        });
        let len = match candidate.compression {
            Compression::None => self.reader.at().max(candidate.len),
            Compression::Gzip | Compression::Zstd => self.reader.at(),
        };
        Comparison { equal: equal.max_by_key(|(_, at)| *at), len }
    }
}

impl Ends {
    fn new(candidate: &Candidate, framing: Framing) -> io::Result<Self> {
        Ok(Self {
            framing,
            reader: candidate.reader()?,
            scratch: Scratch::default(),
            position: Position::default(),
            hash: 0,
            buffer: Vec::new(),
            at: 0,
        })
    }

    /// Reads on. Says whether the end is reached.
    fn go_on(&mut self, left: &mut Allowance) -> io::Result<bool> {
        while !self.reader.ended() {
            if left.is_used_up() {
                return Ok(false);
            }
            let filled = self.buffer.len();
            self.buffer.resize(filled + left.piece(), 0);
            let n = self.reader.read(&mut self.buffer[filled..])?;
            left.spend(n);
            self.buffer.truncate(filled + n);
            let (mut position, mut hash) = (self.position, self.hash);
            frame(&self.framing, &mut self.scratch, self.position, &self.buffer, self.at, false, |r| {
                hash = chain_record(hash, record_hash(r.text), r.bytes);
                position = r.after;
                ControlFlow::Continue(())
            });
            (self.position, self.hash) = (position, hash);
            self.buffer.drain(..(position.read_from() - self.at) as usize);
            self.at = position.read_from();
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LEN: usize = 300_000;

    fn content() -> Vec<u8> {
        (0..LEN as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    fn candidate(bytes: &[u8]) -> Candidate {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Candidate::open(file, bytes.len() as u64).unwrap()
    }

    fn compressed(bytes: &[u8]) -> Candidate {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        candidate(&encoder.finish().unwrap())
    }

    /// A stream of which so much was handed out, and which had so much when it was met.
    fn record(bytes: &[u8], frontier: usize, met: usize) -> StreamRecord {
        let mut digest = Digest::default();
        digest.update(&bytes[..frontier]);
        StreamRecord {
            frontier: Position::at(frontier as u64),
            chain: digest.chain().to_vec(),
            digest: digest.digest().to_vec(),
            mark_at: met as u64,
            mark_hash: digest::head_hash(&bytes[met.saturating_sub(WITNESS)..met]),
            ..StreamRecord::default()
        }
    }

    fn id(number: u8) -> StreamId {
        StreamId([number; 16])
    }

    #[test]
    fn slices_of_any_size_find_the_same() {
        let content = content();
        let mut other = content.clone();
        other[240_000] ^= 1;
        let records = vec![
            (id(1), record(&content, 100_000, 200_001)),
            (id(2), record(&content, 200_000, 40)),
            (id(3), record(&other, 250_000, 240_010)),
        ];
        for candidate in [candidate(&content), compressed(&content)] {
            for slice in [4001, 1 << 16, 1 << 20] {
                let mut examination = Examination::default();
                let found = std::iter::repeat_with(|| {
                    examination.compare(&candidate, &records, &mut Allowance(slice)).unwrap()
                });
                let (turns, found) = found.enumerate().find_map(|(turn, found)| Some((turn, found?))).unwrap();
                assert_eq!(turns > 0, slice < 1 << 18, "slices of {slice}");
                assert_eq!(found, Comparison { equal: Some((id(2), 200_000)), len: LEN as u64 });
                assert!(examination.holds_mark(&candidate, &records[0].1).unwrap());
                assert!(examination.holds_mark(&candidate, &records[1].1).unwrap());
                assert!(!examination.holds_mark(&candidate, &records[2].1).unwrap());
                let end = Some((LEN as u64, digest::head_hash(&content[LEN - WITNESS..])));
                assert_eq!(examination.end(&candidate).unwrap(), end);
            }
        }
    }

    #[test]
    fn streams_that_move_on_meanwhile_are_followed() {
        let content = content();
        for candidate in [candidate(&content), compressed(&content)] {
            let mut examination = Examination::default();
            let before = [(id(1), record(&content, 10, 10)), (id(2), record(&content, 200_000, 10))];
            assert_eq!(examination.compare(&candidate, &before, &mut Allowance(70_000)).unwrap(), None);
            // One to a place that was passed already, the other one farther.
            let now = [(id(1), record(&content, 20_000, 10)), (id(2), record(&content, 290_000, 10))];
            let found =
                std::iter::repeat_with(|| examination.compare(&candidate, &now, &mut Allowance(70_000)).unwrap());
            assert_eq!(found.flatten().next().unwrap().equal, Some((id(2), 290_000)));
            // Another one came, which was met where there is nothing to compare with any more: it is read again.
            let later = [(id(3), record(&content, 30_000, 1000))];
            let found =
                std::iter::repeat_with(|| examination.compare(&candidate, &later, &mut Allowance(70_000)).unwrap());
            assert_eq!(found.flatten().next().unwrap().equal, Some((id(3), 30_000)));
            assert!(examination.holds_mark(&candidate, &later[0].1).unwrap());
        }
    }

    #[test]
    fn one_that_never_stands_still_is_read_in_one_go_at_last() {
        let content = content();
        let candidate = candidate(&content);
        let mut examination = Examination::default();
        let far = (id(2), record(&content, 299_000, 10));
        let mut turns = 0;
        let found = (1..).find_map(|step| {
            turns = step;
            let moving = [(id(1), record(&content, step * 100, 10)), far.clone()];
            examination.compare(&candidate, &moving, &mut Allowance(70_000)).unwrap()
        });
        assert_eq!(found.unwrap().equal, Some((id(2), 299_000)));
        assert!(turns < 10, "{turns}");
    }
}
