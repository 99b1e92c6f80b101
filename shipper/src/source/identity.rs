//! Which stream a file is, told by its content.
//!
//! Device and inode only say where to look first. A file of another inode whose first bytes have a stream's digest is this stream
//! so far. [`Comparison`] reads a candidate once and compares it with every stream that begins like it.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use crate::format::record_hash;
use crate::rotate::header;
use crate::state::StreamId;
use crate::state::entry::{Position, StreamRecord};

use super::decompress::{Compression, Decoder};
use super::digest::{self, Digest, HEAD, lead_hash};
use super::frame::{Scratch, frame};
use super::stream::{ReadError, Stream, WITNESS, chain_record, framing_of};

/// A file about which nothing is known yet.
pub struct Candidate {
    /// Open for reading.
    pub file: File,
    /// How it is compressed.
    pub compression: Compression,
    /// Its first plain bytes, at most [`HEAD`].
    pub head: Vec<u8>,
    /// Its plain length; for a compressed file only after it was read to its end.
    pub len: u64,
    /// It says of itself that it is an archive that an agent made.
    pub is_archive: bool,
}

/// What reading a candidate found.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The stream with the farthest frontier up to which the candidate is that stream, and that frontier among its own bytes.
    pub equal: Option<(StreamId, u64)>,
    /// Plain bytes of the candidate.
    pub len: u64,
}

/// What reading a candidate to its end told.
pub struct Measured {
    /// Plain bytes that were read.
    pub len: u64,
    /// The digest of the bytes that were asked for.
    pub digest: Digest,
    /// The hash of the last (at most) 64 bytes that were read.
    pub mark: u64,
}

impl Candidate {
    /// Reads the first bytes.
    pub fn open(file: File, size: u64) -> io::Result<Self> {
        let mut head = vec![0; HEAD];
        let n = read_full(&file, &mut head, 0)?;
        head.truncate(n);
        let compression = Compression::detect(&head);
        let is_archive = header::is_archive(&head) || header::is_plain_archive(&file);
        let mut candidate = Self { file, compression, head, len: size, is_archive };
        if is_archive {
            return Ok(candidate);
        }
        if compression != Compression::None {
            let mut decoder = candidate.reader()?;
            let mut head = vec![0; HEAD];
            let n = decoder.read(&mut head)?;
            head.truncate(n);
            candidate.head = head;
        }
        Ok(candidate)
    }

    /// Its plain bytes from the first on.
    pub fn reader(&self) -> io::Result<Decoder> {
        Decoder::new(self.file.try_clone()?, self.compression)
    }

    /// The hash by which streams that begin like it are looked up.
    pub fn lead(&self) -> u64 {
        lead_hash(&self.head)
    }

    /// Whether a stream can begin like this, as far as the first bytes tell.
    pub fn begins_like(&self, record: &StreamRecord) -> bool {
        let len = (record.head_len as usize).min(HEAD);
        match self.head.get(..len) {
            Some(head) => len > 0 && digest::head_hash(head) == record.head_hash,
            // Shorter than what is known of the stream: its lead was equal.
            None => true,
        }
    }

    /// Whether it holds what the stream held at its end when it began.
    pub fn holds_mark(&self, record: &StreamRecord) -> io::Result<bool> {
        Ok(record.mark_at == 0 || self.mark(record.mark_at)? == Some(record.mark_hash))
    }

    /// The hash of the last bytes before a plain offset; `None` if it is shorter.
    pub fn mark(&self, at: u64) -> io::Result<Option<u64>> {
        let mut bytes = vec![0; at.min(WITNESS as u64) as usize];
        let from = at - bytes.len() as u64;
        let n = if self.compression == Compression::None {
            read_full(&self.file, &mut bytes, from)?
        } else {
            let mut reader = self.reader()?;
            let mut skipped = vec![0; 64 << 10];
            while reader.at() < from && !reader.ended() {
                let want = skipped.len().min((from - reader.at()) as usize);
                reader.read(&mut skipped[..want])?;
            }
            reader.read(&mut bytes)?
        };
        Ok((n == bytes.len()).then(|| digest::head_hash(&bytes)))
    }

    /// Reads a compressed file to its end, any other one up to `upto`: its plain length, the digest of its first `upto` bytes, and
    /// its mark.
    pub fn measure(&self, upto: u64) -> io::Result<Measured> {
        let mut reader = self.reader()?;
        let mut digest = Digest::default();
        let mut buffer = vec![0; 256 << 10];
        let mut end = Vec::new();
        while !reader.ended() {
            if self.compression == Compression::None && digest.len() >= upto {
                break;
            }
            let n = reader.read(&mut buffer)?;
            let want = (upto - digest.len()).min(n as u64) as usize;
            digest.update(&buffer[..want]);
            end.extend_from_slice(&buffer[n.saturating_sub(WITNESS)..n]);
            end.drain(..end.len().saturating_sub(WITNESS));
        }
        Ok(Measured { len: reader.at(), digest, mark: digest::head_hash(&end) })
    }

    /// Compares it with streams by their digests. A compressed file is read to its end, which verifies it.
    pub fn compare(&self, records: &[(StreamId, &StreamRecord)]) -> io::Result<Comparison> {
        let mut marks: Vec<(u64, StreamId, digest::Hash)> = records
            .iter()
            .filter_map(|(id, r)| Some((r.digest_end(), *id, digest::hash_from(&r.digest)?)))
            .filter(|(at, ..)| *at > 0)
            .collect();
        marks.sort_unstable_by_key(|(at, ..)| *at);
        let mut comparison = Comparison::default();
        let mut digest = Digest::default();
        let mut reader = self.reader()?;
        let mut buffer = vec![0; 256 << 10];
        let mut marks = marks.into_iter().peekable();
        loop {
            if marks.peek().is_none() && self.compression == Compression::None {
                break;
            }
            let n = reader.read(&mut buffer)?;
            let mut rest = &buffer[..n];
            while let Some((at, id, expected)) = marks.peek() {
                let until = (at - digest.len()) as usize;
                if until > rest.len() {
                    break;
                }
                digest.update(&rest[..until]);
                rest = &rest[until..];
                if digest.digest() == *expected {
                    comparison.equal = Some((*id, *at));
                }
                marks.next();
            }
            digest.update(rest);
            comparison.len = reader.at();
            if reader.ended() {
                break;
            }
        }
        if self.compression == Compression::None {
            comparison.len = comparison.len.max(self.len);
        }
        Ok(comparison)
    }

    /// Whether its first `len` bytes are what the stream's open file holds; `None` if that file started over meanwhile.
    pub fn is_within(&self, stream: &mut Stream, record: &StreamRecord, len: u64) -> io::Result<Option<bool>> {
        let mut reader = self.reader()?;
        let mut buffer = vec![0; 64 << 10];
        while reader.at() < len {
            let at = reader.at();
            let want = buffer.len().min((len - at) as usize);
            let n = reader.read(&mut buffer[..want])?;
            if n == 0 {
                break;
            }
            match stream.holds(record, at, &buffer[..n]) {
                Ok(true) => {}
                Ok(false) | Err(ReadError::Missing { .. }) => return Ok(Some(false)),
                Err(ReadError::StartedOver) => return Ok(None),
                Err(ReadError::Io(error)) => return Err(error),
            }
        }
        Ok(Some(true))
    }

    /// Whether it is a piece of the stream that ends before the frontier, told by the record ends that the stream remembers; `None` if
    /// bytes follow the last record end, of which nothing can be said.
    pub fn ends_within(&self, stream: &Stream, record: &StreamRecord) -> io::Result<Option<bool>> {
        let framing = framing_of(record);
        let mut scratch = Scratch::default();
        let mut position = Position::default();
        let mut hash = 0;
        let mut reader = self.reader()?;
        let mut buffer = Vec::new();
        let mut at = 0;
        loop {
            let filled = buffer.len();
            buffer.resize(filled + framing.window().max(256 << 10), 0);
            let n = reader.read(&mut buffer[filled..])?;
            buffer.truncate(filled + n);
            let mut after = position;
            frame(&framing, &mut scratch, position, &buffer, at, false, |r| {
                hash = chain_record(hash, record_hash(r.text), r.bytes);
                after = r.after;
                ControlFlow::Continue(())
            });
            position = after;
            buffer.drain(..(position.read_from() - at) as usize);
            at = position.read_from();
            if reader.ended() {
                break;
            }
        }
        let begins = position.offset > 0 && stream.hash_at(position.offset) == Some(hash);
        Ok(if begins && reader.at() > position.offset { None } else { Some(begins) })
    }
}

/// Reads as much as there is, up to all of `buffer`.
pub fn read_full(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
