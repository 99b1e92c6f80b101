//! Which stream a file is, told by its content.
//!
//! Device and inode only say where to look first. A file of another inode whose first bytes have a stream's digest is this stream
//! so far. [`examine`](super::examine) reads a candidate once and compares it with every stream that begins like it.

use std::fs::File;
use std::io;

use crate::rotate::header;
use crate::state::entry::StreamRecord;

use super::decompress::{Compression, Decoder};
use super::digest::{self, HEAD, lead_hash};
use super::stream::WITNESS;

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

    /// The hash of the last bytes before an offset of a file that is not compressed; `None` if it is shorter.
    pub fn mark(&self, at: u64) -> io::Result<Option<u64>> {
        let mut bytes = vec![0; at.min(WITNESS as u64) as usize];
        let from = at - bytes.len() as u64;
        let n = read_full(&self.file, &mut bytes, from)?;
        Ok((n == bytes.len()).then(|| digest::head_hash(&bytes)))
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
