//! Writes a stretch of a stream into an archive that is whole and durable before it gets its name.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat};

use crate::source::decompress::Compression;
use crate::source::digest::Hash;
use crate::source::frame::{Framing, Scratch, frame};
use crate::source::identity::read_full;
use crate::source::root::Look;
use crate::state::StreamId;
use crate::state::entry::{FileKey, Position};

use super::cycle::{LiveName, suffix};
use super::{fault, header};

/// Bytes of the stream that one archive holds at most, so that also a nearly full disk can be relieved, piece by piece.
pub const PIECE: u64 = 16 << 20;
/// How the names of files begin that are not finished yet. Nothing so named is ever a source.
pub const TEMPORARY: &str = ".waybill-";
/// Zstandard's own default.
const ZSTD_LEVEL: i32 = 3;

/// What to archive.
#[derive(Debug)]
pub struct Piece {
    /// The live file, open for reading.
    pub live: File,
    /// Logical offset of its first byte.
    pub base: u64,
    /// Which stream it is.
    pub stream: StreamId,
    /// What its records depend on.
    pub framing: Framing,
    /// Logical offset of the first byte to archive.
    pub from: u64,
    /// The place of the first record in it.
    pub start: Position,
    /// Logical offset behind what may be archived.
    pub limit: u64,
    /// For a file that nobody writes any more: the archive's name, and the place behind its last record. It holds everything up to the
    /// limit then.
    pub whole: Option<(String, Position)>,
    /// How to write it.
    pub compression: Compression,
    /// Where.
    pub folder: Arc<OwnedFd>,
    /// The live file's name, from which the archive's is made.
    pub name: LiveName,
    /// The cycle and when its content began: the stamp in the name.
    pub cycle: waybill_crds::Cycle,
    /// In the source's time zone.
    pub began: jiff::Zoned,
    /// Names that are taken though no file has them.
    pub taken: Vec<String>,
}

/// An archive without its name yet.
#[derive(Debug, Clone)]
pub struct Written {
    /// The name under which it is written.
    pub temporary: OsString,
    /// The name that it is to have.
    pub name: String,
    /// The file.
    pub file: FileKey,
    /// Bytes on disk.
    pub size: u64,
    /// How it is compressed.
    pub compression: Compression,
    /// BLAKE3 of the file.
    pub digest: Hash,
    /// The place behind its last record.
    pub end: Position,
}

/// Writes an archive of whole records. `None`: there is no whole record up to the limit.
pub fn write(piece: &Piece) -> io::Result<Option<Written>> {
    let (to, end, hash) = match &piece.whole {
        Some((_, end)) => (piece.limit, *end, None),
        None => {
            let (end, hash) = measure(piece)?;
            (end.offset, end, Some(hash))
        }
    };
    if to <= piece.from || end.seq <= piece.start.seq {
        return Ok(None);
    }
    let name = match &piece.whole {
        Some((name, _)) => name.clone(),
        None => piece.next_name()?,
    };
    let temporary = OsString::from(format!("{TEMPORARY}{name}"));
    remove(&piece.folder, &temporary)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(openat(piece.folder.as_fd(), Path::new(&temporary), flags, Mode::RUSR | Mode::WUSR)?);
    let written = fill(piece, &file, to).and_then(|(digest, read)| {
        if hash.is_some_and(|hash| read != hash) {
            return Err(io::Error::other("the file changed while it was archived"));
        }
        own(&piece.live, &file)?;
        fault::point("archive-filled");
        file.sync_all()?;
        let look = Look::at_file(&file)?;
        Ok(Written {
            temporary: temporary.clone(),
            name,
            file: look.key,
            size: look.size,
            compression: piece.compression,
            digest,
            end,
        })
    });
    if written.is_err() {
        remove(&piece.folder, &temporary)?;
    }
    fault::point("archive-written");
    written.map(Some)
}

/// The place behind the last whole record, and a hash of the bytes up to there.
fn measure(piece: &Piece) -> io::Result<(Position, u64)> {
    let limit = piece.limit.min(piece.from + PIECE);
    if piece.start.offset >= limit {
        return Ok((piece.start, 0));
    }
    let mut scratch = Scratch::default();
    let mut position = piece.start;
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hash_range(piece, piece.from, piece.start.offset, &mut hasher)?;
    let mut buffer = Vec::new();
    let mut at = position.offset;
    loop {
        let filled = buffer.len();
        let room = (limit - at) as usize - filled;
        let want = piece.framing.window().max(256 << 10).min(room);
        buffer.resize(filled + want, 0);
        let n = read_full(&piece.live, &mut buffer[filled..], at + filled as u64 - piece.base)?;
        buffer.truncate(filled + n);
        let mut after = position;
        frame(&piece.framing, &mut scratch, position, &buffer, at, false, |r| {
            after = r.after;
            ControlFlow::Continue(())
        });
        position = after;
        let used = (position.offset - at) as usize;
        hasher.update(&buffer[..used]);
        buffer.drain(..used);
        at = position.offset;
        if want == 0 || n < want {
            break;
        }
    }
    Ok((position, hasher.digest()))
}

fn hash_range(piece: &Piece, from: u64, to: u64, hasher: &mut xxhash_rust::xxh3::Xxh3) -> io::Result<()> {
    each_block(piece, from, to, |bytes| {
        hasher.update(bytes);
        Ok(())
    })
}

fn each_block(piece: &Piece, from: u64, to: u64, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut at = from;
    while at < to {
        let want = buffer.len().min((to - at) as usize);
        if read_full(&piece.live, &mut buffer[..want], at - piece.base)? < want {
            return Err(io::Error::other("the file became shorter while it was archived"));
        }
        each(&buffer[..want])?;
        at += want as u64;
    }
    Ok(())
}

/// Writes the archive's bytes; gives back the file's digest and the hash of what was read.
fn fill(piece: &Piece, file: &File, to: u64) -> io::Result<(Hash, u64)> {
    let text = header::text(piece.stream, piece.from, to);
    let mut out = Hashing { file, hasher: blake3::Hasher::new() };
    let mut read = xxhash_rust::xxh3::Xxh3::new();
    let mut copy = |sink: &mut dyn Write| {
        each_block(piece, piece.from, to, |bytes| {
            read.update(bytes);
            sink.write_all(bytes)
        })
    };
    match piece.compression {
        Compression::None => {
            header::mark_plain(file, &text);
            copy(&mut out)?;
        }
        Compression::Gzip => {
            let builder = flate2::GzBuilder::new().comment(text);
            let mut encoder = builder.write(&mut out, flate2::Compression::default());
            copy(&mut encoder)?;
            encoder.finish()?;
        }
        Compression::Zstd => {
            out.write_all(&header::skippable_frame(&text))?;
            let mut encoder = zstd::Encoder::new(&mut out, ZSTD_LEVEL)?;
            encoder.include_checksum(true)?;
            copy(&mut encoder)?;
            encoder.finish()?;
        }
    }
    Ok((*out.hasher.finalize().as_bytes(), read.digest()))
}

/// Writes to a file and remembers the digest of all of it.
struct Hashing<'a> {
    file: &'a File,
    hasher: blake3::Hasher,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Whoever may read the live file may read its archive; nobody may write to it.
fn own(live: &File, archive: &File) -> io::Result<()> {
    let meta = live.metadata()?;
    // Without CAP_CHOWN it stays ours, and readable by us alone.
    let given = rustix::fs::fchown(
        archive,
        Some(rustix::fs::Uid::from_raw(meta.uid())),
        Some(rustix::fs::Gid::from_raw(meta.gid())),
    );
    if given.is_ok() {
        rustix::fs::fchmod(archive, Mode::from_raw_mode(meta.mode() & 0o440))?;
    }
    Ok(())
}

impl Piece {
    fn next_name(&self) -> io::Result<String> {
        let mut names = self.taken.clone();
        for entry in Dir::read_from(&self.folder)? {
            names.extend(entry?.file_name().to_str().ok().map(str::to_owned));
        }
        // What a crash left unfinished.
        let left = |name: &&String| name.strip_prefix(TEMPORARY).is_some_and(|n| self.name.is_archive(n));
        names.iter().filter(left).try_for_each(|name| remove(&self.folder, OsStr::new(name)))?;
        let name = self.name.next(self.cycle, &self.began, names.iter().map(String::as_str));
        Ok(name + suffix(self.compression))
    }
}

/// Gives a finished archive its name, durably. A name that is taken is an error of kind `AlreadyExists`.
pub fn name(folder: &OwnedFd, temporary: &OsStr, name: &OsStr) -> io::Result<()> {
    move_to(folder, temporary, name)?;
    fault::point("archive-named");
    rustix::fs::fsync(folder)?;
    fault::point("archive-renamed");
    Ok(())
}

/// Renames a file within its folder, durably. A name that is taken is an error of kind `AlreadyExists`.
pub fn rename(folder: &OwnedFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
    move_to(folder, from, to)?;
    rustix::fs::fsync(folder)?;
    Ok(())
}

fn move_to(folder: &OwnedFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
    renameat_with(folder, Path::new(from), folder, Path::new(to), RenameFlags::NOREPLACE)?;
    Ok(())
}

/// Removes a file that may not be there.
pub fn remove(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(folder, Path::new(name), AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::decompress::Decoder;
    use crate::source::envelope::Envelope;
    use crate::source::frame::Encoding;

    fn piece(dir: &Path, text: &[u8], compression: Compression) -> Piece {
        let path = dir.join("audit.log");
        std::fs::write(&path, text).unwrap();
        Piece {
            live: File::open(&path).unwrap(),
            base: 0,
            stream: StreamId([1; 16]),
            framing: Framing { bound: 1024, envelope: Envelope::None, encoding: Encoding::Bytes },
            from: 0,
            start: Position::default(),
            limit: text.len() as u64,
            whole: None,
            compression,
            folder: Arc::new(OwnedFd::from(File::open(dir).unwrap())),
            name: LiveName::of(&path),
            cycle: waybill_crds::Cycle::Day,
            began: "2026-11-22T10:00[UTC]".parse().unwrap(),
            taken: Vec::new(),
        }
    }

    #[test]
    fn holds_whole_records_and_says_what_it_is() {
        for (compression, expected) in [
            (Compression::None, "audit_20261122.log"),
            (Compression::Gzip, "audit_20261122.log.gz"),
            (Compression::Zstd, "audit_20261122.log.zst"),
        ] {
            let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
            let lines: Vec<u8> = (0..50_000).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
            let mut text = lines.clone();
            text.extend_from_slice(b"a piece");
            let piece = piece(dir.path(), &text, compression);
            let written = write(&piece).unwrap().unwrap();
            assert_eq!(written.end, Position { seq: 50_000, ..Position::at(lines.len() as u64) });
            assert_eq!(written.name, expected);
            name(&piece.folder, &written.temporary, OsStr::new(&written.name)).unwrap();
            let path = dir.path().join(expected);
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!((written.size, &written.digest), (bytes.len() as u64, blake3::hash(&bytes).as_bytes()));
            let file = File::open(&path).unwrap();
            assert!(header::is_archive(&bytes) || header::is_plain_archive(&file));
            let mut reader = Decoder::new(file, compression).unwrap();
            let mut held = vec![0; text.len()];
            let n = reader.read(&mut held).unwrap();
            assert!(held[..n] == lines);
            // The next one goes on behind it, under another name, and never takes one that is there.
            let next = Piece { limit: text.len() as u64, from: written.end.offset, start: written.end, ..piece };
            assert!(write(&next).unwrap().is_none());
            let again =
                Piece { from: 0, start: Position::default(), taken: vec!["audit_20261122~07.log".into()], ..next };
            let second = write(&again).unwrap().unwrap();
            assert!(second.name.starts_with("audit_20261122~08.log"), "{}", second.name);
            let taken = name(&again.folder, &second.temporary, OsStr::new(expected)).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        }
    }

    #[test]
    fn a_piece_ends_at_a_record_below_its_bound() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let line = [vec![b'x'; 999], b"\n".to_vec()].concat();
        let text = line.repeat(PIECE as usize / 1000 + 500);
        let piece = piece(dir.path(), &text, Compression::Zstd);
        let written = write(&piece).unwrap().unwrap();
        assert_eq!(written.end.offset, PIECE / 1000 * 1000);
        assert_eq!(written.end.seq, PIECE / 1000);
    }
}
