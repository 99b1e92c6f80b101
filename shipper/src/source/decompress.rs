//! gzip and zstd files, read as the bytes that they hold.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::fs::FileExt as _;

/// How a file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// It is not.
    #[default]
    None,
    /// RFC 1952, one or more members.
    Gzip,
    /// RFC 8878, one or more frames.
    Zstd,
}

impl Compression {
    /// Recognises it by a file's first bytes.
    pub fn detect(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            // A frame, or a skippable one before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The number in [`crate::state::entry::Extent::compression`].
    pub fn number(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Zstd => 2,
        }
    }

    /// Reads that number.
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Gzip,
            2 => Self::Zstd,
            _ => Self::None,
        }
    }
}

impl From<waybill_crds::Compression> for Compression {
    fn from(compression: waybill_crds::Compression) -> Self {
        match compression {
            waybill_crds::Compression::None => Self::None,
            waybill_crds::Compression::Gzip => Self::Gzip,
            waybill_crds::Compression::Zstd => Self::Zstd,
        }
    }
}

/// A file that is read from a place of its own: descriptors that were duplicated share the kernel's.
struct Positioned {
    file: File,
    at: u64,
}

impl Read for Positioned {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// A compressed file as a sequence of plain bytes, at a place.
pub struct Decoder {
    inner: Box<dyn Read + Send>,
    at: u64,
    ended: bool,
}

/// The members of a gzip file, one after the other. Zeros behind one are padding (gzip(1)); anything else is an error.
struct Members {
    decoder: Option<flate2::bufread::GzDecoder<BufReader<Positioned>>>,
}

impl Read for Members {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            match decoder.read(buf)? {
                0 if !buf.is_empty() => {
                    let Some(done) = self.decoder.take() else {
                        break;
                    };
                    let mut rest = done.into_inner();
                    self.decoder =
                        if only_padding(&mut rest)? { None } else { Some(flate2::bufread::GzDecoder::new(rest)) };
                }
                n => return Ok(n),
            }
        }
        Ok(0)
    }
}

fn only_padding(rest: &mut BufReader<Positioned>) -> io::Result<bool> {
    let mut padded = false;
    loop {
        let bytes = rest.fill_buf()?;
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        match (bytes.len(), zeros) {
            (0, _) => return Ok(true),
            (len, zeros) if len > zeros && (padded || zeros > 0) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes follow the padding"));
            }
            (_, 0) => return Ok(false),
            _ => padded = true,
        }
        rest.consume(zeros);
    }
}

impl Decoder {
    /// Begins at the first byte, wherever the descriptor stands.
    pub fn new(file: File, compression: Compression) -> io::Result<Self> {
        let buffered = BufReader::with_capacity(64 << 10, Positioned { file, at: 0 });
        let inner: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(buffered),
            Compression::Gzip => Box::new(Members { decoder: Some(flate2::bufread::GzDecoder::new(buffered)) }),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered)?;
                // A frame may ask for any window; 128 MiB is what zstd(1) itself allows without being told.
                decoder.window_log_max(27)?;
                Box::new(decoder)
            }
        };
        Ok(Self { inner, at: 0, ended: false })
    }

    /// The place of the next byte that [`read`](Self::read) gives.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The end was reached, and what the file says about its contents is right.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Fills as much of `buffer` as there is. Less than all of it means that the end was reached and verified.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.at += filled as u64;
        Ok(filled)
    }
}

/// A compressed file that is read from places which only ever lie farther back: each reading begins where the last record ended, which
/// is before where the last reading did.
pub struct Unpacked {
    decoder: Decoder,
    held: Vec<u8>,
}

/// Plain bytes that are unpacked in one go to reach a place; a file may be as large as a disk.
const REACH: u64 = 8 << 20;

impl Unpacked {
    /// Begins at the first byte.
    pub fn new(file: File, compression: Compression) -> io::Result<Self> {
        Ok(Self { decoder: Decoder::new(file, compression)?, held: Vec::new() })
    }

    /// The first byte that can still be read.
    pub fn begins(&self) -> u64 {
        self.decoder.at() - self.held.len() as u64
    }

    /// Fills as much of `buffer` as there is. The bytes before `from` are let go of. `None`: the place is not reached yet, ask again.
    pub fn read(&mut self, from: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let passed = from.saturating_sub(self.begins()).min(self.held.len() as u64);
        self.held.drain(..passed as usize);
        let upto = from.min(self.decoder.at().saturating_add(REACH));
        if self.decoder.at() < upto {
            let mut skipped = vec![0; 64 << 10];
            while self.decoder.at() < upto && !self.decoder.ended() {
                let len = skipped.len().min((upto - self.decoder.at()) as usize);
                self.decoder.read(&mut skipped[..len])?;
            }
        }
        if self.decoder.at() < from && !self.decoder.ended() {
            return Ok(None);
        }
        let held = self.held.len();
        if held < buffer.len() && self.begins() <= from {
            self.held.resize(buffer.len(), 0);
            let n = self.decoder.read(&mut self.held[held..])?;
            self.held.truncate(held + n);
        }
        let n = self.held.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.held[..n]);
        Ok(Some(n))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn all(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        let mut decoder = Decoder::new(file, Compression::detect(bytes))?;
        let mut out = Vec::new();
        let mut buffer = [0; 7];
        while !decoder.ended() {
            let n = decoder.read(&mut buffer)?;
            out.extend_from_slice(&buffer[..n]);
        }
        Ok(out)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_frames_and_padding() {
        let two = [gzip(b"one\n"), gzip(b"two\n")].concat();
        assert_eq!(all(&two).unwrap(), b"one\ntwo\n");
        assert_eq!(all(&[two, vec![0; 40]].concat()).unwrap(), b"one\ntwo\n");
        let frames =
            [zstd::encode_all(&b"one\n"[..], 1).unwrap(), zstd::encode_all(&b"two\n"[..], 1).unwrap()].concat();
        assert_eq!(all(&frames).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn what_overlaps_is_unpacked_once() {
        let text: Vec<u8> = (0..400_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&gzip(&text)).unwrap();
        let mut unpacked = Unpacked::new(file, Compression::Gzip).unwrap();
        let mut buffer = vec![0; 10_000];
        for from in (0..text.len()).step_by(7_001) {
            let n = unpacked.read(from as u64, &mut buffer).unwrap().unwrap();
            assert_eq!(buffer[..n], text[from..(from + 10_000).min(text.len())]);
            assert_eq!(unpacked.begins(), from as u64);
        }
        assert!(unpacked.decoder.ended());
    }

    #[test]
    fn a_place_far_away_is_reached_step_by_step() {
        let text = vec![b'x'; 3 * REACH as usize];
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&zstd::encode_all(&text[..], 1).unwrap()).unwrap();
        let mut unpacked = Unpacked::new(file, Compression::Zstd).unwrap();
        let mut buffer = [0; 10];
        let place = 2 * REACH + 5;
        let asked = (1..10).find(|_| unpacked.read(place, &mut buffer).unwrap().is_some());
        assert_eq!(asked, Some(3));
        assert_eq!(buffer, [b'x'; 10]);
        assert_eq!(unpacked.read(4 * REACH, &mut buffer).unwrap(), Some(0));
    }

    #[test]
    fn a_cut_or_damaged_file_is_an_error() {
        let whole = gzip(&b"a line that is long enough to be compressed\n".repeat(20));
        assert!(all(&whole[..whole.len() - 3]).is_err());
        let mut damaged = whole;
        let at = damaged.len() - 6;
        damaged[at] ^= 1;
        assert!(all(&damaged).is_err());
        let frame = zstd::encode_all(&b"text\n"[..], 1).unwrap();
        assert!(all(&frame[..frame.len() - 2]).is_err());
    }
}
