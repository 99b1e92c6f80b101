//! Reads letters one by one, past damage, and tells what of the file does not check.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;
use prost::Message as _;

use super::{Error, FRAME, FRAME_HEADER, HEADER, Letter, MAGIC, MAX_LETTER, checksum, io};

/// Bytes that are searched at a time for the next frame.
const WINDOW: usize = 64 << 10;

/// The letters of a file, oldest first. It may grow meanwhile.
#[derive(Debug)]
pub struct Letters {
    path: PathBuf,
    file: File,
    size: u64,
    salt: u64,
    at: u64,
    end: u64,
    damaged: u64,
}

impl Letters {
    /// Opens a file of letters for reading alone.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(io("open", path))?;
        let size = file.metadata().map_err(io("look at", path))?.len();
        let salt = match salt(&file) {
            Some(salt) => salt,
            // It was being made when the machine stopped.
            None if size <= HEADER => 0,
            None => return Err(Error::Damaged { path: path.to_owned() }),
        };
        let at = HEADER.min(size);
        Ok(Self { path: path.to_owned(), file, size, salt, at, end: at, damaged: 0 })
    }

    /// Bytes between whole letters that do not check. What a crash tore at the end is not among them.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    pub(super) fn salt(&self) -> u64 {
        self.salt
    }

    /// Behind the last whole letter so far.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The letter whose frame is at `at`, and where the next one is.
    fn letter_at(&self, at: u64) -> Result<Option<(Letter, u64)>, Error> {
        let mut head = [0; FRAME_HEADER];
        let from = at + FRAME_HEADER as u64;
        if from > self.size {
            return Ok(None);
        }
        self.file.read_exact_at(&mut head, at).map_err(io("read", &self.path))?;
        let number = |at: usize| head.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        let len = number(4) as usize;
        if head[..4] != *FRAME || len > MAX_LETTER || from + len as u64 > self.size {
            return Ok(None);
        }
        let mut payload = vec![0; len];
        self.file.read_exact_at(&mut payload, from).map_err(io("read", &self.path))?;
        if number(8) != checksum(self.salt, at, &payload) {
            return Ok(None);
        }
        Ok(Letter::decode(payload.as_slice()).ok().map(|letter| (letter, from + len as u64)))
    }

    /// The next frame that checks behind `at`.
    fn search(&self, mut at: u64) -> Result<Option<(u64, Letter, u64)>, Error> {
        let finder = Finder::new(FRAME);
        let mut window = vec![0; WINDOW];
        while at + (FRAME_HEADER as u64) <= self.size {
            let len = (self.size - at).min(WINDOW as u64) as usize;
            self.file.read_exact_at(&mut window[..len], at).map_err(io("read", &self.path))?;
            for found in finder.find_iter(&window[..len]) {
                let candidate = at + found as u64;
                if let Some((letter, next)) = self.letter_at(candidate)? {
                    return Ok(Some((candidate, letter, next)));
                }
            }
            // One frame's mark may lie across two windows.
            at += (len - (FRAME.len() - 1)) as u64;
        }
        Ok(None)
    }

    fn advance(&mut self) -> Result<Option<Letter>, Error> {
        let found = match self.letter_at(self.at)? {
            Some((letter, next)) => Some((self.at, letter, next)),
            None => self.search(self.at + 1)?,
        };
        let Some((begins, letter, next)) = found else {
            self.at = self.size;
            return Ok(None);
        };
        self.damaged += begins - self.at;
        self.at = next;
        self.end = next;
        Ok(Some(letter))
    }
}

impl Iterator for Letters {
    type Item = Result<Letter, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.size {
            return None;
        }
        let next = self.advance().transpose();
        if matches!(next, Some(Err(_))) {
            // A file that cannot be read does not get better by the next call.
            self.at = self.size;
        }
        next
    }
}

/// The salt, if the file begins as it should.
pub(super) fn salt(file: &File) -> Option<u64> {
    let mut header = [0; HEADER as usize];
    file.read_exact_at(&mut header, 0).ok()?;
    let salt = header.get(8..)?.try_into().ok().map(u64::from_le_bytes)?;
    (header[..8] == *MAGIC).then_some(salt)
}
