//! A stream at run time: its open file, and reading that notices when the file is no longer what it was.
//!
//! Every read is followed by a look at the bytes before the frontier: if they are not what was handed out, the file started over, and
//! what was read is thrown away. Nobody can take away or put in bytes before the frontier without being seen.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::format::Encoder;
use crate::lane::set::Lanes;
use crate::state::StreamId;
use crate::state::entry::{FileKey, FrontierPut, Position, StreamRecord};

use super::archived::Archives;
use super::decompress::{Compression, Unpacked};
use super::digest::{self, BLOCK, Digest, HEAD};
use super::envelope::Envelope;
use super::frame::{Encoding, Framing};
use super::lease::{self, Writers};
use super::root::Look;

/// Bytes before the frontier that every read compares.
pub(super) const WITNESS: usize = 64;
/// Places at which a compressed file can be read at a time, without unpacking it anew.
const UNPACKED: usize = 3;
/// Record ends that are remembered, to recognise a copy that is shorter than what was read.
const ENDS: usize = 256;

/// Where a stream's file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At a path that a source names.
    At(PathBuf),
    /// Somewhere that no source names; open, or to be opened by its folder.
    Moved(PathBuf),
    /// It has no name any more, but is open.
    Unlinked,
    /// Its content is nowhere to be found.
    Gone,
}

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file holds other bytes than those that were read before.
    #[error("the file started over")]
    StartedOver,
    /// The bytes were in an archive that is gone.
    #[error("the archive that held these bytes is gone")]
    Missing {
        /// The first place from which on there are bytes again.
        to: Position,
    },
    /// A compressed file is unpacked step by step up to the place: ask again.
    #[error("the place in the compressed file is not reached yet")]
    NotReached,
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A hash of everything up to a record's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordEnd {
    /// Offset of the end.
    pub at: u64,
    /// Hash of all records up to it.
    pub hash: u64,
}

/// Extends the hash of all records by one more.
pub fn chain_record(hash: u64, record: u64, bytes: u64) -> u64 {
    (hash.rotate_left(23) ^ record).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(bytes)
}

/// A stream at run time.
pub struct Stream {
    /// Its identity.
    pub id: StreamId,
    /// The source's place in the plan; `None` if no source wants it now.
    pub source: Option<usize>,
    /// What its records depend on.
    pub framing: Framing,
    /// Where its file is.
    pub place: Place,
    /// Which file.
    pub key: FileKey,
    /// How the file is compressed.
    pub compression: Compression,
    /// Logical offset of the file's first byte.
    pub base: u64,
    /// Logical offset behind the last byte that was seen.
    pub size: u64,
    /// Modification time of the file, nanoseconds since 1970.
    pub modified: i64,
    /// Its end is confirmed: it lies aside, and no one writes to it.
    pub finished: bool,
    /// Its end was confirmed before its file was lost.
    pub whole: bool,
    /// Logical offset behind the last byte that was read while the file was certainly this stream.
    pub known: u64,
    /// The first byte that no record holds yet.
    pub framed: u64,
    /// Its first line was found to be whole, or joined: it need not wait for another stream.
    pub head_checked: bool,
    /// When it was met, in this run.
    pub met: Instant,
    /// When it was last certain, since the agent started, that the file is still the stream.
    pub sure: Option<Instant>,
    /// When it was last seen to change.
    pub changed: Instant,
    /// There may be something to read or to hand over.
    pub active: bool,
    /// The lanes that are to have more of it, and cannot take any: until one of them can, there is nothing to do.
    pub waits: Lanes,
    /// What is wrong with it, told once.
    pub trouble: Option<String>,
    /// Nothing is read from it before then, because of that.
    pub pause: Option<Instant>,
    /// Encodes its records.
    pub encoder: Option<Box<Encoder>>,
    /// Its live file may be cut at this moment: nothing is read from it.
    pub cutting: bool,
    /// Bytes worth reading at a time, while one chunk after the other is filled: about as many as it takes.
    pub appetite: Option<usize>,
    /// Where the bytes are that its live file no longer has.
    pub archives: Archives,
    file: Option<File>,
    /// Of a compressed file: one for each of some places at which lanes stand, the one used last at the end.
    unpacked: Vec<Unpacked>,
    front: Option<Box<Front>>,
    ends: VecDeque<RecordEnd>,
    end_hash: Option<u64>,
}

/// What is needed to go on at the frontier.
struct Front {
    digest: Digest,
    witness: [u8; WITNESS],
    witnessed: usize,
    head: Vec<u8>,
}

impl Stream {
    /// A stream as the state has it. Its file is not open yet.
    pub fn new(record: &StreamRecord, id: StreamId, now: Instant) -> Self {
        let extent = record.extents.last();
        let path = extent.map(|e| bytes_path(&e.path)).unwrap_or_default();
        Self {
            id,
            source: None,
            framing: framing_of(record),
            place: if record.phase == 0 { Place::At(path) } else { Place::Gone },
            key: extent.map(|e| e.file).unwrap_or_default(),
            compression: Compression::from_number(extent.map_or(0, |e| e.compression)),
            base: record.base,
            size: record.seen,
            modified: record.modified,
            // A compressed file was taken up because it was whole.
            finished: extent.is_some_and(|e| e.compression != 0),
            whole: false,
            known: record.frontier.offset,
            framed: record.frontier.read_from(),
            head_checked: record.frontier.offset > record.begins_at,
            met: now,
            sure: None,
            changed: now,
            active: true,
            waits: Lanes::default(),
            trouble: None,
            pause: None,
            encoder: None,
            // Whether it was cut before a crash is found out before anything is read.
            cutting: record.cut.is_some(),
            appetite: None,
            archives: Archives::default(),
            file: None,
            unpacked: Vec::new(),
            front: None,
            ends: VecDeque::new(),
            end_hash: (record.frontier.offset == record.begins_at).then_some(0),
        }
    }

    /// The path under which it is known at the moment.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::At(path) | Place::Moved(path) => Some(path),
            Place::Unlinked | Place::Gone => None,
        }
    }

    /// Its file is open.
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Something happened to it: it is to be read from, if there is anything.
    pub fn wake(&mut self) {
        self.active = true;
        self.waits = Lanes::default();
    }

    /// There may be something to read from it now: it is not only kept back for lanes that can't take more.
    pub fn is_busy(&self) -> bool {
        self.active && self.waits.is_empty()
    }

    /// Its bytes can be read, or could be as soon as the file is opened.
    pub fn is_readable(&self) -> bool {
        self.file.is_some() || matches!(self.place, Place::At(_) | Place::Moved(_))
    }

    /// Takes an open file over.
    pub fn open(&mut self, file: File) {
        self.file = Some(file);
        self.unpacked.clear();
        self.front = None;
    }

    /// Closes the file; everything that is needed to go on is in the state.
    pub fn close(&mut self) {
        self.file = None;
        self.unpacked.clear();
        self.front = None;
        self.encoder = None;
    }

    /// Frees what only reading needs, until there is something to read again. The file stays open.
    pub fn rest(&mut self) {
        self.forget_front();
        self.encoder = None;
        self.ends.shrink_to_fit();
    }

    /// Forgets what it knows of the frontier, which was entered anew; the file stays open, for it may have no name any more.
    pub fn forget_front(&mut self) {
        self.front = None;
        self.unpacked.clear();
    }

    /// Whether a place is the end of a compressed file that has not changed: to find that out again, all of it would have to be unpacked.
    pub fn is_used_up(&self, at: &Position) -> bool {
        self.compression != Compression::None
            && self.sure.is_some()
            && at.read_from() >= self.size
            && at.long.is_none()
            && (at.stdout, at.stderr) == (None, None)
    }

    /// Whether reading at a place means to unpack a file.
    pub fn unpacks(&self, from: u64) -> bool {
        self.compression != Compression::None || self.is_archived(from)
    }

    /// Frees what unpacking needs; the next reading begins anew.
    pub fn stop_unpacking(&mut self) {
        self.unpacked = Vec::new();
        self.archives.close();
    }

    /// Its content is gone from here.
    pub fn lose_file(&mut self) {
        self.close();
        self.place = Place::Gone;
        self.whole |= self.finished;
        self.finished = false;
    }

    /// Looks at the open file.
    pub fn look(&self) -> io::Result<Option<Look>> {
        self.file.as_ref().map(Look::at_file).transpose()
    }

    /// Whether anyone has the file open for writing.
    pub fn writers(&self) -> Writers {
        self.file.as_ref().map_or(Writers::Unknown, |f| lease::writers(f.as_fd()))
    }

    /// Reads the block at the frontier again and compares it with the digest.
    fn prepare(&mut self, record: &StreamRecord) -> Result<(), ReadError> {
        if self.front.is_some() {
            return Ok(());
        }
        let frontier = record.digest_end();
        let chain = digest::hash_from(&record.chain).unwrap_or_default();
        let start = digest::block_start(frontier);
        let mut digest = Digest::resume(chain, start);
        let mut witness = [0; WITNESS];
        let mut witnessed = 0;
        let mut head = Vec::new();
        if frontier > start {
            let mut block = vec![0; (frontier - start) as usize];
            if self.read_at(start, &mut block)? < block.len() {
                return Err(ReadError::StartedOver);
            }
            digest.update(&block);
            if digest::hash_from(&record.digest) != Some(digest.digest()) {
                return Err(ReadError::StartedOver);
            }
            witnessed = block.len().min(WITNESS);
            witness[..witnessed].copy_from_slice(&block[block.len() - witnessed..]);
            if (record.head_len as usize) < HEAD && start == 0 {
                head = block;
                head.truncate(HEAD);
            }
        }
        self.front = Some(Box::new(Front { digest, witness, witnessed, head }));
        Ok(())
    }

    /// As long as little or nothing was handed out, the first bytes tell whether the file is still the one that was met, and those at
    /// its end then tell it from files that begin alike.
    fn check_beginning(&mut self, record: &StreamRecord, frontier: u64) -> Result<(), ReadError> {
        if self.base > 0 || self.compression != Compression::None {
            return Ok(());
        }
        let head = u64::from(record.head_len).min(HEAD as u64);
        let mark = record.mark_at.saturating_sub(WITNESS as u64);
        for (from, to, hash) in [(0, head, record.head_hash), (mark, record.mark_at, record.mark_hash)] {
            if frontier >= to {
                continue;
            }
            let mut bytes = vec![0; (to - from) as usize];
            if self.read_at(from, &mut bytes)? < bytes.len() || digest::head_hash(&bytes) != hash {
                return Err(ReadError::StartedOver);
            }
        }
        Ok(())
    }

    /// Reads from a logical offset as much as there is, up to all of `buffer`.
    fn read_at(&mut self, from: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        if self.cutting {
            return Err(io::Error::from(io::ErrorKind::ResourceBusy).into());
        }
        if from < self.base && self.compression == Compression::None {
            let n = self.archives.read(from, buffer)?;
            let Some(rest) = buffer.get_mut(n..).filter(|rest| !rest.is_empty()) else { return Ok(n) };
            return Ok(n + self.read_at(from + n as u64, rest)?);
        }
        let Some(file) = &self.file else { return Err(io::Error::from(io::ErrorKind::NotFound).into()) };
        if self.compression != Compression::None {
            // The one that has the least to unpack.
            let before = self.unpacked.iter().enumerate().filter(|(_, u)| u.begins() <= from);
            let nearest = before.max_by_key(|(_, u)| u.begins()).map(|(at, _)| at);
            let mut unpacked = match nearest {
                Some(at) => self.unpacked.remove(at),
                None => Unpacked::new(file.try_clone()?, self.compression)?,
            };
            // After an error it would go on behind it: a new one begins.
            let n = unpacked.read(from, buffer)?;
            if self.unpacked.len() == UNPACKED {
                self.unpacked.remove(0);
            }
            self.unpacked.push(unpacked);
            return n.ok_or(ReadError::NotReached);
        }
        let Some(physical) = from.checked_sub(self.base) else { return Err(ReadError::StartedOver) };
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], physical + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    /// Whether the bytes at a place are to be read from an archive: the live file has them no more, or is gone itself.
    pub fn is_archived(&self, from: u64) -> bool {
        let gone = self.place == Place::Gone && self.archives.has(from);
        (from < self.base || gone) && self.compression == Compression::None
    }

    /// Reads bytes that the live file no longer has, as far as one archive goes. They need no comparing: archives have digests.
    pub fn read_archived(&mut self, from: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.archives.read(from, buffer)
    }

    /// A second descriptor of its file, and what it holds now. Used to archive and to cut.
    pub fn duplicate(&self) -> io::Result<Option<File>> {
        self.file.as_ref().map(File::try_clone).transpose()
    }

    /// Reads like [`read_at`](Self::read_at), and makes sure that the file was still the stream when the bytes were taken.
    pub fn read(&mut self, record: &StreamRecord, from: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.prepare(record)?;
        let n = self.read_at(from, buffer)?;
        if self.compression == Compression::None {
            self.verify_witness(record.digest_end(), &buffer[..n.min(WITNESS)], from)?;
            // As long as the frontier is before them, they were not among the bytes that it covers.
            self.check_beginning(record, record.digest_end())?;
        }
        self.known = self.known.max(from + n as u64);
        if self.compression == Compression::None {
            // What was seen of it before it was found to be still itself is its own.
            self.known = self.known.max(self.size);
        }
        self.sure = Some(Instant::now());
        Ok(n)
    }

    fn verify_witness(&mut self, frontier: u64, read: &[u8], from: u64) -> Result<(), ReadError> {
        let Some(front) = &self.front else { return Ok(()) };
        let (expected, at) = if front.witnessed > 0 {
            (front.witness[..front.witnessed].to_vec(), frontier - front.witnessed as u64)
        } else {
            (read.to_vec(), from)
        };
        let mut now = vec![0; expected.len()];
        let n = self.read_at(at, &mut now)?;
        if n < now.len() || now != expected { Err(ReadError::StartedOver) } else { Ok(()) }
    }

    /// Whether the file still holds what was read from it.
    pub fn verify(&mut self, record: &StreamRecord) -> Result<(), ReadError> {
        let mut nothing = [0; 0];
        self.read(record, record.digest_end(), &mut nothing).map(|_| ())
    }

    /// Moves the frontier over `bytes`, which lie right behind it, to `position`.
    pub fn advance(&mut self, record: &StreamRecord, bytes: &[u8], position: Position) -> Option<FrontierPut> {
        let front = self.front.as_mut()?;
        front.digest.update(bytes);
        if bytes.len() >= WITNESS {
            front.witness.copy_from_slice(&bytes[bytes.len() - WITNESS..]);
            front.witnessed = WITNESS;
        } else {
            let kept = front.witnessed.min(WITNESS - bytes.len());
            front.witness.copy_within(front.witnessed - kept..front.witnessed, 0);
            front.witness[kept..kept + bytes.len()].copy_from_slice(bytes);
            front.witnessed = kept + bytes.len();
        }
        let (mut head_len, mut head_hash, mut lead_hash) = (record.head_len, record.head_hash, record.lead_hash);
        if (head_len as usize) < HEAD {
            let room = HEAD - front.head.len().min(HEAD);
            front.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if front.head.len() > head_len as usize {
                head_len = front.head.len() as u32;
                head_hash = digest::head_hash(&front.head);
                lead_hash = digest::lead_hash(&front.head);
            }
        }
        Some(FrontierPut {
            stream: self.id.0.to_vec(),
            position,
            chain: front.digest.chain().to_vec(),
            digest: front.digest.digest().to_vec(),
            seen: self.size.max(position.offset),
            head_len,
            head_hash,
            lead_hash,
        })
    }

    /// Remembers the end of a record at the frontier.
    pub fn record_end(&mut self, at: u64, record: u64, bytes: u64) {
        let Some(hash) = self.end_hash.map(|h| chain_record(h, record, bytes)) else { return };
        self.end_hash = Some(hash);
        if self.ends.len() == ENDS {
            self.ends.pop_front();
        }
        self.ends.push_back(RecordEnd { at, hash });
    }

    /// The hash of all records up to one that ends at `at`, if it is remembered.
    pub fn hash_at(&self, at: u64) -> Option<u64> {
        let index = self.ends.binary_search_by_key(&at, |e| e.at).ok()?;
        self.ends.get(index).map(|e| e.hash)
    }

    /// Whether `bytes` are what the stream holds from `at` on. For comparing a copy while the original is there.
    pub fn holds(&mut self, record: &StreamRecord, at: u64, bytes: &[u8]) -> Result<bool, ReadError> {
        let mut mine = vec![0; bytes.len()];
        let n = self.read(record, at, &mut mine)?;
        Ok(n == bytes.len() && mine == bytes)
    }
}

/// What a stream's records depend on, as its record keeps it.
pub fn framing_of(record: &StreamRecord) -> Framing {
    Framing {
        bound: record.line_bound as usize,
        envelope: Envelope::from_number(record.envelope),
        encoding: Encoding::from_number(record.encoding),
    }
}

/// A path from an entry's bytes.
pub fn bytes_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// An entry's bytes from a path.
pub fn path_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().to_vec()
}

const _: () = assert!(WITNESS as u64 <= BLOCK);
