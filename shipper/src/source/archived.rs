//! The bytes of a stream that its live file no longer has, read from its archives.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::state::entry::{ArchiveRecord, Position};

use super::decompress::{Compression, Decoder};
use super::root::{FileKind, Look};
use super::stream::{ReadError, bytes_path};

/// The archives of one stream.
#[derive(Default)]
pub struct Archives {
    /// In the order of their bytes.
    list: Vec<ArchiveRecord>,
    /// Behind the last byte that was ever archived.
    end: Position,
    reader: Option<(u64, Decoder)>,
}

impl Archives {
    /// Takes over what the state knows: the archives of the stream, and how far it was archived.
    pub fn set(&mut self, mut list: Vec<ArchiveRecord>, end: Position) {
        list.sort_by_key(|a| a.extent.from);
        if self.list != list {
            self.reader = None;
        }
        self.list = list;
        self.end = end;
    }

    /// Closes the archive that is being read.
    pub fn close(&mut self) {
        self.reader = None;
    }

    /// Whether an archive holds the byte at a logical offset.
    pub fn has(&self, at: u64) -> bool {
        self.list.iter().any(|a| a.extent.from <= at && at < a.extent.to)
    }

    /// Reads from a logical offset on, at most as far as one archive goes; at least one byte.
    pub fn read(&mut self, from: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let Some(record) = self.list.iter().find(|a| a.extent.from <= from && from < a.extent.to) else {
            let next = self.list.iter().find(|a| a.extent.from > from).map_or(self.end, |a| a.begin);
            return Err(ReadError::Missing { to: next });
        };
        let (number, begin, end) = (record.number, record.extent.from, record.extent.to);
        let stale = self.reader.as_ref().is_none_or(|(n, d)| *n != number || d.at() > from - begin);
        if stale {
            let compression = Compression::from_number(record.extent.compression);
            match open(record) {
                Ok(file) => self.reader = Some((number, Decoder::new(file, compression)?)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.reader = None;
                    return Err(ReadError::Missing { to: record.end });
                }
                Err(error) => return Err(error.into()),
            }
        }
        let done = self.reader.as_mut().map_or(Ok(0), |(_, decoder)| read(decoder, from - begin, end - begin, buffer));
        if done.is_err() {
            self.reader = None;
        }
        Ok(done?)
    }
}

fn read(decoder: &mut Decoder, from: u64, end: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut skipped = vec![0; 64 << 10];
    while decoder.at() < from && !decoder.ended() {
        let len = skipped.len().min((from - decoder.at()) as usize);
        decoder.read(&mut skipped[..len])?;
    }
    let len = buffer.len().min((end - from) as usize);
    match decoder.read(&mut buffer[..len])? {
        n if n == len => Ok(n),
        n => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("an archive ends {} bytes early; `waybill inspect archives` names it", len - n),
        )),
    }
}

/// Opens a regular file by its path and looks at it. A link in its place is not followed, and a pipe does not block.
pub fn open_plain(path: &Path) -> io::Result<(File, Look)> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let look = Look::at_file(&file)?;
    if look.kind != FileKind::File {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is not a file", path.display())));
    }
    Ok((file, look))
}

/// Opens an archive, if it is the file that was entered: by its key, or else by its digest.
fn open(record: &ArchiveRecord) -> io::Result<File> {
    let path = bytes_path(&record.extent.path);
    let (file, look) = open_plain(&path)?;
    let known = look.key == record.extent.file && look.size == record.size;
    // A device has another number after a reboot, and a restored archive another inode.
    if known || digest(&file)? == record.extent.digest {
        return Ok(file);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{} is not the archive that was made; put it back, or remove it", path.display()),
    ))
}

/// BLAKE3 of a file.
pub fn digest(file: &File) -> io::Result<Vec<u8>> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    loop {
        let n = super::identity::read_full(file, &mut buffer, at)?;
        hasher.update(&buffer[..n]);
        at += n as u64;
        if n < buffer.len() {
            return Ok(hasher.finalize().as_bytes().to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::stream::path_bytes;
    use crate::state::entry::Extent;

    fn archive(dir: &Path, number: u64, from: u64, text: &[u8]) -> ArchiveRecord {
        let path = dir.join(format!("a{number}"));
        std::fs::write(&path, zstd::encode_all(text, 1).unwrap()).unwrap();
        let file = File::open(&path).unwrap();
        let look = Look::at_file(&file).unwrap();
        let to = from + text.len() as u64;
        ArchiveRecord {
            number,
            begin: Position { seq: from, ..Position::at(from) },
            end: Position { seq: to, ..Position::at(to) },
            size: look.size,
            extent: Extent {
                from,
                to,
                path: path_bytes(&path),
                file: look.key,
                compression: 2,
                digest: digest(&file).unwrap(),
            },
            ..ArchiveRecord::default()
        }
    }

    #[test]
    fn reads_across_archives_and_names_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let list = vec![
            archive(dir.path(), 1, 0, b"0123456789"),
            archive(dir.path(), 2, 10, b"abcdef"),
            archive(dir.path(), 3, 16, b"ghij"),
        ];
        let end = Position { seq: 20, ..Position::at(20) };
        let mut archives = Archives::default();
        archives.set(list.clone(), end);
        let mut buffer = [0; 8];
        for (from, expected) in [(0, "01234567"), (3, "3456789"), (12, "cdef"), (10, "abcdef"), (19, "j")] {
            let n = archives.read(from, &mut buffer).unwrap();
            assert_eq!(std::str::from_utf8(&buffer[..n]).unwrap(), expected);
        }
        std::fs::remove_file(dir.path().join("a2")).unwrap();
        archives.set(vec![list[1].clone(), list[2].clone()], end);
        assert!(matches!(archives.read(11, &mut buffer), Err(ReadError::Missing { to }) if to.offset == 16));
        assert!(matches!(archives.read(5, &mut buffer), Err(ReadError::Missing { to }) if to.offset == 10));
        archives.set(Vec::new(), end);
        assert!(matches!(archives.read(5, &mut buffer), Err(ReadError::Missing { to }) if to == end));
    }

    #[test]
    fn another_file_in_its_place_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let record = archive(dir.path(), 1, 0, b"0123456789");
        let path = dir.path().join("a1");
        let bytes = std::fs::read(&path).unwrap();
        let mut archives = Archives::default();
        archives.set(vec![record], Position::at(10));
        let mut buffer = [0; 4];
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, zstd::encode_all(&b"9876543210"[..], 1).unwrap()).unwrap();
        assert!(matches!(archives.read(0, &mut buffer), Err(ReadError::Io(_))));
        // The same bytes in another inode are the archive.
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(archives.read(0, &mut buffer).unwrap(), 4);
    }
}
