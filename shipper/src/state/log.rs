//! The state log on disk: two preallocated files, of which one is active.
//!
//! Each file begins with two copies of a header, in sectors of their own, and goes on with frames. A snapshot is written to the
//! file that is not active; only when it is durable do its headers name the next generation and make it the active one. So an
//! entry and a snapshot never need free space as long as both fit, and a crash at any instant leaves one whole file.
//!
//! A frame's checksum is seeded with the file's generation and its place in the sequence: what an earlier generation left behind
//! the end never passes for a frame. One commit is one frame, and the next is not written before it is durable; therefore a
//! frame that does not check with none behind it is a write that a crash tore, and is dropped; anything else is damage.

mod pick;
mod read;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pick::{Picked, pick};

const MAGIC: &[u8; 8] = b"WAYBILL\x01";
/// Version of the format of the files; entries inside are versioned by their tags.
const VERSION: u32 = 1;
const SECTOR: u64 = 4096;
const FRAMES_AT: u64 = 2 * SECTOR;
const FRAME_HEADER: usize = 24;
/// Size of each of the two files at the beginning, in bytes.
pub const MIN_SIZE: u64 = 1 << 20;
/// A frame longer than this is not ours, in bytes.
const MAX_FRAME: u64 = 1 << 30;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("failed to {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
    /// What is on disk was not written like this.
    #[error("the state is damaged: {} at byte {at}: {what}; stop the agent and run `waybill inspect repair --state-dir {}`, which keeps everything that still checks", path.display(), path.parent().unwrap_or(Path::new(".")).display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A later release wrote a format that this one cannot read.
    #[error("{} has format {found}, this release reads up to {VERSION}; run the release that wrote it", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flag {
    Entries = 0,
    Snapshot = 1,
    SnapshotEnd = 2,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    generation: u64,
}

impl Header {
    fn encode(self) -> Vec<u8> {
        let mut out = vec![0; SECTOR as usize];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..20].copy_from_slice(&self.generation.to_le_bytes());
        let crc = crc32fast::hash(&out[..20]);
        out[20..24].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<(u32, Self)> {
        let field = |at: usize, len: usize| bytes.get(at..at + len);
        if field(0, 8)? != MAGIC || u32::from_le_bytes(field(20, 4)?.try_into().ok()?) != crc32fast::hash(field(0, 20)?)
        {
            return None;
        }
        let version = u32::from_le_bytes(field(8, 4)?.try_into().ok()?);
        let generation = u64::from_le_bytes(field(12, 8)?.try_into().ok()?);
        Some((version, Self { generation }))
    }
}

fn checksum(generation: u64, head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&generation.to_le_bytes());
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

fn push_frame(out: &mut Vec<u8>, generation: u64, sequence: u64, flag: Flag, payload: &[u8]) {
    let mut head = [0; FRAME_HEADER];
    head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[4..8].copy_from_slice(&(flag as u32).to_le_bytes());
    head[8..16].copy_from_slice(&sequence.to_le_bytes());
    let crc = checksum(generation, &head[..16], payload);
    head[16..20].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
}

struct Frame<'a> {
    flag: Flag,
    payload: &'a [u8],
    next: usize,
}

/// The number that the frame at `at` has, if there is one.
fn sequence_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at.checked_add(8)?..at.checked_add(16)?)?.try_into().ok().map(u64::from_le_bytes)
}

/// Reads the frame at `at` if one checks there.
fn frame_at(bytes: &[u8], at: usize, generation: u64, sequence: Option<u64>) -> Option<Frame<'_>> {
    let head = bytes.get(at..at.checked_add(FRAME_HEADER)?)?;
    let number = |at: usize| head.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let len = number(0)? as usize;
    let flag = match number(4)? {
        0 => Flag::Entries,
        1 => Flag::Snapshot,
        2 => Flag::SnapshotEnd,
        _ => return None,
    };
    let found = sequence_at(bytes, at);
    if len as u64 > MAX_FRAME || sequence.is_some_and(|s| Some(s) != found) {
        return None;
    }
    let from = at + FRAME_HEADER;
    let payload = bytes.get(from..from.checked_add(len)?)?;
    (number(16)? == checksum(generation, &head[..16], payload)).then_some(Frame { flag, payload, next: from + len })
}

/// One of the two files.
struct Side {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Side {
    fn open(path: PathBuf, create: bool) -> Result<Self, Error> {
        let wrap = |what| {
            let path = path.clone();
            move |source| Error::Io { what, path, source }
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(wrap("open"))?;
        let size = file.metadata().map_err(wrap("look at"))?.len();
        Ok(Self { path, file, size })
    }

    fn io(&self, what: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::Io { what, path, source }
    }

    /// Writes zeros up to `size`, so that no later write needs space.
    fn preallocate(&mut self, size: u64) -> Result<(), Error> {
        let zeros = vec![0; 1 << 16];
        while self.size < size {
            let len = (size - self.size).min(zeros.len() as u64);
            self.file.write_all_at(&zeros[..len as usize], self.size).map_err(self.io("preallocate"))?;
            self.size += len;
        }
        self.file.sync_all().map_err(self.io("sync"))
    }

    fn write_headers(&self, generation: u64) -> Result<(), Error> {
        let bytes = Header { generation }.encode();
        for slot in 0..2 {
            self.file.write_all_at(&bytes, slot * SECTOR).map_err(self.io("write"))?;
            self.file.sync_data().map_err(self.io("sync"))?;
        }
        Ok(())
    }
}

/// What opening the log found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The payloads, snapshot first, in order.
    pub payloads: Vec<Vec<u8>>,
    /// Bytes of the payloads that came after the snapshot.
    pub since_snapshot: usize,
    /// A last write that a crash tore was dropped.
    pub torn: bool,
    /// There was no state here before.
    pub fresh: bool,
    /// What a repair had to leave out, for a person to read.
    pub left_out: Vec<String>,
}

/// The open log. One owner: see [`crate::state::lock`].
pub struct Log {
    sides: [Side; 2],
    active: usize,
    generation: u64,
    sequence: u64,
    end: u64,
}

/// Names of the two files in the state directory.
pub const FILES: [&str; 2] = ["state-0.log", "state-1.log"];

struct Parsed {
    payloads: Vec<Vec<u8>>,
    since_snapshot: usize,
    end: usize,
    sequence: u64,
    torn: bool,
    /// Nothing of the snapshot is missing.
    whole: bool,
    left_out: Vec<String>,
}

impl From<Parsed> for Recovered {
    fn from(parsed: Parsed) -> Self {
        let Parsed { payloads, since_snapshot, torn, left_out, .. } = parsed;
        Self { payloads, since_snapshot, torn, fresh: false, left_out }
    }
}

fn parse(path: &Path, bytes: &[u8], generation: u64, repair: bool) -> Result<Parsed, Error> {
    let damaged = |at: usize, what| Error::Damaged { path: path.to_owned(), at: at as u64, what };
    let mut out = Parsed {
        payloads: Vec::new(),
        since_snapshot: 0,
        end: FRAMES_AT as usize,
        sequence: 0,
        torn: false,
        whole: false,
        left_out: Vec::new(),
    };
    let mut snapshot_done = false;
    loop {
        if let Some(frame) = frame_at(bytes, out.end, generation, Some(out.sequence)) {
            match (frame.flag, snapshot_done) {
                (Flag::SnapshotEnd, false) => {
                    snapshot_done = true;
                    out.whole = out.left_out.is_empty();
                }
                (Flag::Snapshot, false) => out.payloads.push(frame.payload.to_vec()),
                (Flag::Entries, true) => {
                    out.since_snapshot += frame.payload.len();
                    out.payloads.push(frame.payload.to_vec());
                }
                _ => {
                    return Err(damaged(out.end, "a snapshot and its entries are out of order"));
                }
            }
            out.end = frame.next;
            out.sequence += 1;
            continue;
        }
        // Only a later number makes a place worth checking: the rest of the file is mostly zeros.
        let is_later = |at: usize| sequence_at(bytes, at).is_some_and(|number| number > out.sequence);
        let later = (out.end + 1..bytes.len().saturating_sub(FRAME_HEADER))
            .find(|at| is_later(*at) && frame_at(bytes, *at, generation, None).is_some());
        match later {
            None if snapshot_done => {
                out.torn = bytes.get(out.end..).is_some_and(|rest| {
                    rest.get(..FRAME_HEADER)
                        .is_some_and(|head| sequence_at(head, 0) == Some(out.sequence) && head[..4] != [0; 4])
                });
                return Ok(out);
            }
            None if repair => {
                out.left_out.push(format!("{}: the snapshot ends early at byte {}", path.display(), out.end));
                return Ok(out);
            }
            None => return Err(damaged(out.end, "the snapshot is not whole")),
            Some(at) if repair => {
                out.left_out.push(format!("{}: bytes {} to {at} do not check", path.display(), out.end));
                let number = sequence_at(bytes, at).unwrap_or(0);
                out.end = at;
                out.sequence = number;
                if frame_at(bytes, at, generation, None).is_some_and(|f| f.flag == Flag::Entries) {
                    snapshot_done = true;
                }
            }
            Some(_) => {
                return Err(damaged(out.end, "an entry does not check, and whole ones follow it"));
            }
        }
    }
}

impl Log {
    /// Opens the log in `dir`, or begins one there.
    ///
    /// With `repair`, takes whatever still checks instead of failing, and says what it left out; write a snapshot next, so that the
    /// damaged file is not the one in use any more.
    pub fn open(dir: &Path, repair: bool) -> Result<(Self, Recovered), Error> {
        let paths = FILES.map(|name| dir.join(name));
        let contents = [contents(&paths[0])?, contents(&paths[1])?];
        match pick(&paths, &contents, repair)? {
            Picked::Nothing { left_out } => {
                if !left_out.is_empty() {
                    // Generations begin anew: no old frame may pass for one of theirs.
                    for path in &paths {
                        std::fs::write(path, []).map_err(|source| Error::Io {
                            what: "empty",
                            path: path.clone(),
                            source,
                        })?;
                    }
                }
                let (log, recovered) = Self::begin(paths)?;
                Ok((log, Recovered { left_out, ..recovered }))
            }
            Picked::Log { active, generation, parsed, unheaded } => {
                let [first, second] = paths;
                let sides = [Side::open(first, repair)?, Side::open(second, repair)?];
                if let Some(index) = unheaded {
                    sides[index].write_headers(if index == active { generation } else { generation - 1 })?;
                }
                // What was read was written, and may not have been synced when its writer was killed: from here on it is relied on.
                let side = &sides[active];
                side.file.sync_data().map_err(side.io("sync"))?;
                Ok(Self::opened(sides, active, generation, parsed))
            }
        }
    }

    fn opened(sides: [Side; 2], active: usize, generation: u64, parsed: Parsed) -> (Self, Recovered) {
        let log = Self { sides, active, generation, sequence: parsed.sequence, end: parsed.end as u64 };
        (log, parsed.into())
    }

    fn begin(paths: [PathBuf; 2]) -> Result<(Self, Recovered), Error> {
        let [first, second] = paths;
        let mut sides = [Side::open(first, true)?, Side::open(second, true)?];
        for side in &mut sides {
            side.preallocate(MIN_SIZE)?;
        }
        if let Some(dir) = sides[0].path.parent() {
            File::open(dir).and_then(|d| d.sync_all()).map_err(|source| Error::Io {
                what: "sync",
                path: dir.to_owned(),
                source,
            })?;
        }
        let mut log = Self { sides, active: 1, generation: 0, sequence: 0, end: FRAMES_AT };
        log.snapshot(&[])?;
        Ok((log, Recovered { fresh: true, ..Recovered::default() }))
    }

    /// Appends one frame and makes it durable. If this fails, call it again with the same payload: it writes to the same place.
    pub fn append(&mut self, payload: &[u8]) -> Result<(), Error> {
        let mut frame = Vec::with_capacity(FRAME_HEADER + payload.len());
        push_frame(&mut frame, self.generation, self.sequence, Flag::Entries, payload);
        let side = &mut self.sides[self.active];
        let end = self.end + frame.len() as u64;
        if end > side.size {
            side.preallocate(end.next_multiple_of(MIN_SIZE))?;
        }
        side.file.write_all_at(&frame, self.end).map_err(side.io("append to"))?;
        side.file.sync_data().map_err(side.io("sync"))?;
        self.end = end;
        self.sequence += 1;
        Ok(())
    }

    /// Writes a snapshot to the file that is not active, and makes that one active.
    pub fn snapshot(&mut self, payloads: &[Vec<u8>]) -> Result<(), Error> {
        let generation = self.generation + 1;
        let other = 1 - self.active;
        let mut frames = Vec::new();
        let mut sequence = 0;
        for payload in payloads {
            push_frame(&mut frames, generation, sequence, Flag::Snapshot, payload);
            sequence += 1;
        }
        push_frame(&mut frames, generation, sequence, Flag::SnapshotEnd, &[]);
        sequence += 1;
        let end = FRAMES_AT + frames.len() as u64;
        // Room for as much again, so that the next snapshot comes when the entries outgrow this one, and none needs space then.
        let size = (end * 2).next_multiple_of(MIN_SIZE);
        for side in &mut self.sides {
            if side.size < size {
                match side.preallocate(size) {
                    Err(error) if side.size < end => return Err(error),
                    _ => {}
                }
            }
        }
        let side = &self.sides[other];
        side.file.write_all_at(&frames, FRAMES_AT).map_err(side.io("write"))?;
        side.file.sync_data().map_err(side.io("sync"))?;
        side.write_headers(generation)?;
        self.active = other;
        self.generation = generation;
        self.sequence = sequence;
        self.end = end;
        Ok(())
    }

    /// Bytes that can be appended before the active file is full.
    pub fn room(&self) -> u64 {
        self.sides[self.active].size.saturating_sub(self.end)
    }
}

/// The bytes of a file, if it is there.
fn contents(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { what: "read", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(recovered: &Recovered) -> Vec<String> {
        recovered.payloads.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect()
    }

    fn filled(dir: &Path) -> Log {
        let (mut log, recovered) = Log::open(dir, false).unwrap();
        assert!(recovered.fresh);
        log.append(b"one").unwrap();
        log.snapshot(&[b"one'".to_vec(), b"two'".to_vec()]).unwrap();
        log.append(b"three").unwrap();
        log.append(b"four").unwrap();
        log
    }

    #[test]
    fn replays_snapshot_and_entries_in_order() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let (mut log, recovered) = Log::open(dir.path(), false).unwrap();
        assert_eq!(texts(&recovered), ["one'", "two'", "three", "four"]);
        assert!(!recovered.torn && !recovered.fresh);
        log.snapshot(&[b"all".to_vec()]).unwrap();
        log.append(b"five").unwrap();
        let (_, recovered) = Log::open(dir.path(), false).unwrap();
        assert_eq!(texts(&recovered), ["all", "five"]);
    }

    #[test]
    fn a_torn_last_write_is_dropped_and_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let log = filled(dir.path());
        let path = log.sides[log.active].path.clone();
        let last = log.end - 2;
        drop(log);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"\0\0", last).unwrap();
        let (mut log, recovered) = Log::open(dir.path(), false).unwrap();
        assert_eq!(texts(&recovered), ["one'", "two'", "three"]);
        assert!(recovered.torn);
        log.append(b"again").unwrap();
        let (_, recovered) = Log::open(dir.path(), false).unwrap();
        assert_eq!(texts(&recovered), ["one'", "two'", "three", "again"]);
    }

    #[test]
    fn damage_before_whole_entries_is_an_error_that_names_the_file_and_the_repair() {
        let dir = tempfile::tempdir().unwrap();
        let log = filled(dir.path());
        let path = log.sides[log.active].path.clone();
        let at = log.end - (FRAME_HEADER as u64 + 4) - 1;
        drop(log);
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"X", at).unwrap();
        let error = Log::open(dir.path(), false).err().unwrap().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("waybill inspect repair"), "{error}");
        let (_, recovered) = Log::open(dir.path(), true).unwrap();
        assert_eq!(texts(&recovered), ["one'", "two'", "four"]);
        assert_eq!(recovered.left_out.len(), 1);
    }

    #[test]
    fn a_damaged_snapshot_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let log = filled(dir.path());
        let path = log.sides[log.active].path.clone();
        drop(log);
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"X", FRAMES_AT + 26).unwrap();
        assert!(matches!(Log::open(dir.path(), false), Err(Error::Damaged { .. })));
    }

    #[test]
    fn a_missing_file_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let log = filled(dir.path());
        let path = log.sides[log.active].path.clone();
        drop(log);
        std::fs::remove_file(path).unwrap();
        assert!(Log::open(dir.path(), false).is_err());
    }

    #[test]
    fn a_crash_at_any_write_of_a_snapshot_leaves_a_whole_state() {
        // Every prefix of the writes that a snapshot makes: frames, first header, second header.
        let dir = tempfile::tempdir().unwrap();
        let mut log = filled(dir.path());
        let before =
            [std::fs::read(dir.path().join(FILES[0])).unwrap(), std::fs::read(dir.path().join(FILES[1])).unwrap()];
        log.snapshot(&[b"new".to_vec()]).unwrap();
        let target = log.active;
        drop(log);
        let after = std::fs::read(dir.path().join(FILES[target])).unwrap();
        for stage in 0..4 {
            let mut bytes = before[target].clone();
            bytes.resize(after.len(), 0);
            if stage >= 1 {
                bytes[FRAMES_AT as usize..].copy_from_slice(&after[FRAMES_AT as usize..]);
            }
            for slot in 0..stage.max(1) - 1 {
                let range = slot * SECTOR as usize..(slot + 1) * SECTOR as usize;
                bytes[range.clone()].copy_from_slice(&after[range]);
            }
            std::fs::write(dir.path().join(FILES[target]), &bytes).unwrap();
            std::fs::write(dir.path().join(FILES[1 - target]), &before[1 - target]).unwrap();
            let (_, recovered) = Log::open(dir.path(), false).unwrap();
            let expected: &[&str] = if stage < 2 { &["one'", "two'", "three", "four"] } else { &["new"] };
            assert_eq!(texts(&recovered), expected, "stage {stage}");
        }
    }

    #[test]
    fn a_crash_in_the_very_first_start_leaves_a_fresh_state() {
        let dir = tempfile::tempdir().unwrap();
        drop(Log::open(dir.path(), false).unwrap());
        let whole = std::fs::read(dir.path().join(FILES[0])).unwrap();
        for stage in 0..3 {
            let mut bytes = whole.clone();
            if stage < 2 {
                bytes[..FRAMES_AT as usize].fill(0);
            }
            if stage < 1 {
                bytes.fill(0);
            }
            std::fs::write(dir.path().join(FILES[0]), &bytes).unwrap();
            std::fs::write(dir.path().join(FILES[1]), vec![0; whole.len()]).unwrap();
            let (_, recovered) = Log::open(dir.path(), false).unwrap();
            assert!(recovered.payloads.is_empty(), "stage {stage}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_the_files_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..9000), at in 0usize..20000) {
            let dir = tempfile::tempdir().unwrap();
            filled(dir.path());
            for name in FILES {
                let mut contents = std::fs::read(dir.path().join(name)).unwrap();
                contents.truncate(20000);
                let end = (at + bytes.len()).min(contents.len());
                if at < end {
                    contents[at..end].copy_from_slice(&bytes[..end - at]);
                }
                std::fs::write(dir.path().join(name), &contents).unwrap();
            }
            let _ = Log::open(dir.path(), false);
            let _ = Log::open(dir.path(), true);
        }
    }
}
