//! Renames and creates: `app.log` becomes `app.log.1`, that `app.log.2` …; the oldest goes. With equal beginnings, and compressed.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::pack::{Packing, pack};
use super::{Actor, Live, Scribe};

/// How many rotated files stay.
const KEEP: usize = 6;

struct Chain {
    live: Live,
    alike: bool,
    packing: Packing,
    /// The newest first.
    old: Vec<Old>,
}

struct Old {
    incarnation: usize,
    packing: Packing,
}

/// Renames only.
pub fn plain(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    chain(scribe, false, Packing::None)
}

/// Every file begins with the same 2 KB.
pub fn alike(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    chain(scribe, true, Packing::None)
}

/// Rotated files are compressed, some of them late.
pub fn gzip(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    chain(scribe, true, Packing::Gzip)
}

/// The same with zstd.
pub fn zstd(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    chain(scribe, false, Packing::Zstd)
}

fn chain(scribe: &mut Scribe, alike: bool, packing: Packing) -> Result<Box<dyn Actor>> {
    let live = begin(scribe, alike)?;
    Ok(Box::new(Chain { live, alike, packing, old: Vec::new() }))
}

fn begin(scribe: &mut Scribe, alike: bool) -> Result<Live> {
    let mut live = Live::create(&scribe.book, &scribe.path("app.log"))?;
    if alike {
        scribe.header(&mut live)?;
    }
    Ok(live)
}

impl Chain {
    fn name(&self, scribe: &Scribe, at: usize) -> PathBuf {
        self.old[at].packing.name(&scribe.path(&format!("app.log.{}", at + 1)))
    }

    /// Moves every file on by one. The last must be gone.
    fn rotate(&mut self, scribe: &mut Scribe) -> Result<()> {
        for at in (0..self.old.len()).rev() {
            let to = self.old[at].packing.name(&scribe.path(&format!("app.log.{}", at + 2)));
            fs::rename(self.name(scribe, at), to)?;
        }
        fs::rename(&self.live.path, scribe.path("app.log.1"))?;
        self.old.insert(0, Old { incarnation: self.live.incarnation, packing: Packing::None });
        if scribe.rng.chance(30) {
            // The writer learns of it late: more lines for the file that is renamed already.
            let texts = scribe.texts(5);
            self.live.lines(&scribe.book, &texts)?;
        }
        self.live = begin(scribe, self.alike)?;
        Ok(())
    }

    fn drop_oldest(&mut self, scribe: &mut Scribe) -> Result<bool> {
        if self.old.len() < KEEP {
            return Ok(true);
        }
        let at = self.old.len() - 1;
        let (doomed, path) = (self.old[at].incarnation, self.name(scribe, at));
        let done = scribe.destroy(&[doomed], |_| Ok(fs::remove_file(path)?))?;
        if done {
            self.old.pop();
        }
        Ok(done)
    }

    fn compress(&mut self, scribe: &mut Scribe) -> Result<()> {
        // Only what is no longer written to; which is the second but for a coin.
        let at = usize::from(scribe.rng.chance(50));
        if self.packing != Packing::None && at < self.old.len() && self.old[at].packing == Packing::None {
            pack(&self.name(scribe, at), self.packing, &mut scribe.rng)?;
            self.old[at].packing = self.packing;
        }
        Ok(())
    }
}

impl Actor for Chain {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        scribe.burst(&mut self.live)?;
        if !scribe.rng.chance(8) {
            return Ok(());
        }
        if !self.drop_oldest(scribe)? {
            return Ok(());
        }
        let stage = Arc::clone(&scribe.stage);
        let down = if scribe.rng.chance(40) { stage.gate.while_down(Duration::from_secs(2)) } else { None };
        self.rotate(scribe)?;
        if down.is_some() && self.old.len() < KEEP {
            // Twice while the agent is dead.
            scribe.burst(&mut self.live)?;
            self.rotate(scribe)?;
        }
        drop(down);
        self.compress(scribe)
    }
}
