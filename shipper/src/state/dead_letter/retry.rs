//! Sends letters again, so that a crash at any instant loses none: set aside, sent, and removed only when each has its answer.

use std::fs::OpenOptions;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::name::{ASIDE, LOG, REQUEST, file_of};
use super::{DeadLetters, Error, FOLDER, HEADER, Letters, io, open_file, sync_folder};

/// Asks the agent, running or not, to send a lane's letters again.
pub fn request(state_dir: &Path, lane: &str) -> Result<(), Error> {
    let folder = state_dir.join(FOLDER);
    let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&folder);
    made.map_err(io("make", &folder))?;
    let path = folder.join(file_of(lane, REQUEST));
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    made.map_err(io("write", &path))?;
    sync_folder(&folder)
}

/// Bytes of a lane that are set aside.
pub(super) fn bytes_aside(folder: &Path, lane: &str) -> u64 {
    folder.join(file_of(lane, ASIDE)).metadata().map_or(0, |m| m.len())
}

/// Letters on their way again. Until [`finish`](Self::finish) they are kept, and taken up anew after a crash.
#[derive(Debug)]
#[must_use = "the letters are kept aside until finish is called"]
pub struct Retry {
    path: PathBuf,
}

impl Retry {
    /// The letters, oldest first.
    pub fn letters(&self) -> Result<Letters, Error> {
        Letters::open(&self.path)
    }

    /// Every letter has its answer: acknowledged, or refused again and appended again.
    pub fn finish(self) -> Result<(), Error> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", &self.path)(error)),
            _ => {}
        }
        sync_folder(self.path.parent().unwrap_or(Path::new(".")))
    }
}

impl DeadLetters {
    /// Takes a request, or takes up what an earlier run did not finish. Not while another [`Retry`] of the lane is under way.
    pub fn take_retry(&mut self) -> Result<Option<Retry>, Error> {
        let aside = self.folder.join(file_of(&self.lane, ASIDE));
        if exists(&aside)? {
            return Ok(Some(Retry { path: aside }));
        }
        let request = self.folder.join(file_of(&self.lane, REQUEST));
        if !exists(&request)? {
            return Ok(None);
        }
        let any = self.end > HEADER;
        if any {
            std::fs::rename(&self.path, &aside).map_err(io("set aside", &self.path))?;
            let path = self.folder.join(file_of(&self.lane, LOG));
            (self.file, self.salt, self.end) = open_file(&path)?;
            self.dirty = false;
        }
        std::fs::remove_file(&request).map_err(io("remove", &request))?;
        sync_folder(&self.folder)?;
        Ok(any.then_some(Retry { path: aside }))
    }
}

fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(io("look at", path))
}
