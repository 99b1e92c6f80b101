//! Dead letters: records that a sink refused, each with the reason, until someone decides about them.
//!
//! A file a lane, `dead-letters/<lane>.log` in the state directory, append-only and bounded. It begins with a salt, and each frame's
//! checksum covers the salt and the frame's place: bytes inside a hostile record never pass for a frame. Letters count only once they
//! are durable; a write that a crash tore is dropped.
//!
//! To send letters again, `waybill inspect dead-letters --retry` leaves a request; the agent takes it with
//! [`DeadLetters::take_retry`], which sets the file aside, so that letters that are refused again go to a new one.

mod name;
mod read;
mod retry;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use prost::Message as _;

pub use name::{Kept, kept};
pub use read::Letters;
pub use retry::{Retry, request};

/// What a lane's letters may take, in bytes, if nothing else is said.
pub const BOUND: u64 = 256 << 20;
/// Name of the folder in the state directory.
pub const FOLDER: &str = "dead-letters";

const MAGIC: &[u8; 8] = b"WAYBDL\x00\x01";
const HEADER: u64 = 16;
const FRAME: &[u8; 4] = b"WBDL";
const FRAME_HEADER: usize = 12;
/// A letter longer than this is not ours, in bytes.
const MAX_LETTER: usize = 256 << 20;

/// A record that a sink refused.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Letter {
    /// The record's id: it goes out again under the same.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Why the sink refused it.
    #[prost(string, tag = "2")]
    pub reason: String,
    /// When, nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "3")]
    pub time: i64,
    /// The record as it was encoded.
    #[prost(bytes = "vec", tag = "4")]
    pub record: Vec<u8>,
    /// The line as it was, if the lane delivers lines.
    #[prost(bytes = "vec", tag = "5")]
    pub original: Vec<u8>,
}

/// Whether any lane has, or had, letters. Cheap: most never have.
pub fn has_any(state_dir: &Path) -> bool {
    state_dir.join(FOLDER).exists()
}

/// Why letters could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No room is left: the lane must hold.
    #[error("the dead letters in {} are full ({bound} bytes); look at them with waybill inspect dead-letters, and send them again with --retry or remove the file", path.display())]
    Full {
        /// The lane's file.
        path: PathBuf,
        /// Its bound in bytes.
        bound: u64,
    },
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
    /// The beginning of the file is not what was written.
    #[error("{} is damaged at its beginning and cannot be read; move it away to go on", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { what, path, source }
}

/// The dead letters of one lane, open for writing. One owner: see [`crate::state::lock`].
#[derive(Debug)]
pub struct DeadLetters {
    folder: PathBuf,
    lane: String,
    path: PathBuf,
    file: File,
    salt: u64,
    end: u64,
    bound: u64,
    /// A write failed and may have left something behind `end`.
    dirty: bool,
}

impl DeadLetters {
    /// Opens a lane's letters, or begins them. `bound` is in bytes, letters that are set aside for a retry included.
    pub fn open(state_dir: &Path, lane: &str, bound: u64) -> Result<Self, Error> {
        let folder = state_dir.join(FOLDER);
        let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&folder);
        made.map_err(io("make", &folder))?;
        sync_folder(state_dir)?;
        let path = folder.join(name::file_of(lane, name::LOG));
        let (file, salt, end) = open_file(&path)?;
        Ok(Self { folder, lane: lane.to_owned(), path, file, salt, end, bound, dirty: false })
    }

    /// Keeps letters: all of them, durably, or none.
    pub fn append(&mut self, letters: &[Letter]) -> Result<(), Error> {
        let mut bytes = Vec::new();
        for letter in letters {
            push_frame(&mut bytes, self.salt, self.end, letter);
        }
        let end = self.end + bytes.len() as u64;
        if end + retry::bytes_aside(&self.folder, &self.lane) > self.bound {
            return Err(Error::Full { path: self.path.clone(), bound: self.bound });
        }
        if self.dirty {
            self.file.set_len(self.end).map_err(io("truncate", &self.path))?;
        }
        // Until it is durable it may be there in part.
        self.dirty = true;
        self.file.write_all_at(&bytes, self.end).map_err(io("append to", &self.path))?;
        self.file.sync_data().map_err(io("sync", &self.path))?;
        self.dirty = false;
        self.end = end;
        Ok(())
    }

    /// There is room for a letter of this many encoded bytes.
    pub fn has_room(&self, record: usize) -> bool {
        // Id, reason and framing come on top.
        self.end + retry::bytes_aside(&self.folder, &self.lane) + record as u64 + 4096 <= self.bound
    }
}

/// Opens a file of letters, or begins it, without what a crash tore at its end.
fn open_file(path: &Path) -> Result<(File, u64, u64), Error> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = opened.map_err(io("open", path))?;
    let size = file.metadata().map_err(io("look at", path))?.len();
    if size <= HEADER && read::salt(&file).is_none() {
        let mut header = [0; HEADER as usize];
        header[..8].copy_from_slice(MAGIC);
        getrandom::fill(&mut header[8..]).map_err(|error| Error::Io {
            what: "salt",
            path: path.to_owned(),
            source: io::Error::other(error.to_string()),
        })?;
        file.write_all_at(&header, 0).map_err(io("write", path))?;
        file.sync_all().map_err(io("sync", path))?;
        sync_folder(path.parent().unwrap_or(Path::new(".")))?;
        return Ok((file, u64::from_le_bytes(header[8..].try_into().unwrap_or_default()), HEADER));
    }
    let mut letters = Letters::open(path)?;
    while letters.next().transpose()?.is_some() {}
    let (salt, end) = (letters.salt(), letters.end());
    if end < size {
        file.set_len(end).map_err(io("truncate", path))?;
        file.sync_all().map_err(io("sync", path))?;
    }
    Ok((file, salt, end))
}

fn push_frame(out: &mut Vec<u8>, salt: u64, base: u64, letter: &Letter) {
    let at = base + out.len() as u64;
    let payload = letter.encode_to_vec();
    out.extend_from_slice(FRAME);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&checksum(salt, at, &payload).to_le_bytes());
    out.extend_from_slice(&payload);
}

fn checksum(salt: u64, at: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&at.to_le_bytes());
    hasher.update(&(payload.len() as u64).to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(io("sync", folder))
}

#[cfg(test)]
mod tests;
