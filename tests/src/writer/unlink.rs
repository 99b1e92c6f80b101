//! Deletes the file while it is open and goes on writing to it; or deletes and creates until the inode is used again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;

use super::{Actor, Live, Scribe};
use crate::book::How;

struct Unlink(Live);
struct Reuse(Live);

/// Deletes while open.
pub fn make(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    Ok(Box::new(Unlink(Live::create(&scribe.book, &scribe.path("app.log"))?)))
}

/// Deletes and creates at once, with equal beginnings.
pub fn reuse(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    let mut live = Live::create(&scribe.book, &scribe.path("app.log"))?;
    scribe.header(&mut live)?;
    Ok(Box::new(Reuse(live)))
}

impl Actor for Unlink {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        scribe.burst(&mut self.0)?;
        if !scribe.rng.chance(6) {
            return Ok(());
        }
        fs::remove_file(&self.0.path)?;
        scribe.gone(&[self.0.incarnation], How::Unlinked);
        for _ in 0..scribe.rng.within(0..4) {
            scribe.burst(&mut self.0)?;
        }
        self.0 = Live::create(&scribe.book, &scribe.path("app.log"))?;
        Ok(())
    }
}

impl Actor for Reuse {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        scribe.burst(&mut self.0)?;
        if !scribe.rng.chance(8) {
            return Ok(());
        }
        let doomed = self.0.incarnation;
        let live = &mut self.0;
        scribe.destroy(&[doomed], |scribe| {
            let path = live.path.clone();
            let inode = fs::metadata(&path)?.ino();
            // The file must be closed for its inode to be free.
            live.close()?;
            fs::remove_file(&path)?;
            recreate(&path, inode)?;
            *live = Live::adopt(&scribe.book, &path)?;
            scribe.header(live)
        })?;
        Ok(())
    }
}

/// Creates an empty file again and again until it has the wanted inode; true if it got it.
pub fn recreate(path: &Path, inode: u64) -> Result<bool> {
    for _ in 0..50 {
        if fs::File::create_new(path)?.metadata()?.ino() == inode {
            return Ok(true);
        }
        fs::remove_file(path)?;
    }
    fs::File::create_new(path)?;
    Ok(false)
}
