//! Copies and truncates, as for a program that can't reopen its log. The copy stays among the files that are read, or does not.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::{Actor, Live, Scribe};

/// How many copies stay.
const KEEP: usize = 6;

struct CopyTruncate {
    live: Live,
    inside: bool,
    copies: VecDeque<(PathBuf, usize)>,
    made: usize,
}

/// The copies are read as well, so that nothing is destroyed until a copy goes.
pub fn inside(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    make(scribe, true)
}

/// The copies are not read: what the agent has not read is gone at the truncation.
pub fn outside(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    make(scribe, false)
}

fn make(scribe: &mut Scribe, inside: bool) -> Result<Box<dyn Actor>> {
    let live = Live::create(&scribe.book, &scribe.path("app.log"))?;
    Ok(Box::new(CopyTruncate { live, inside, copies: VecDeque::new(), made: 0 }))
}

impl CopyTruncate {
    fn drop_oldest(&mut self, scribe: &mut Scribe) -> Result<bool> {
        let Some((path, doomed)) = self.copies.front().filter(|_| self.copies.len() >= KEEP).cloned() else {
            return Ok(true);
        };
        let done = scribe.destroy(&[doomed], |_| Ok(fs::remove_file(path)?))?;
        if done {
            self.copies.pop_front();
        }
        Ok(done)
    }
}

impl Actor for CopyTruncate {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        scribe.burst(&mut self.live)?;
        if !scribe.rng.chance(8) {
            return Ok(());
        }
        self.made += 1;
        if self.inside {
            if self.drop_oldest(scribe)? {
                let copy = scribe.path(&format!("app.log.{:05}", self.made));
                fs::copy(&self.live.path, &copy)?;
                self.copies.push_back((copy, self.live.incarnation));
                self.live.truncate(&scribe.book)?;
            }
            return Ok(());
        }
        let doomed = self.live.incarnation;
        let live = &mut self.live;
        let copy = scribe.path(&format!("copy.{}", self.made % KEEP));
        scribe.destroy(&[doomed], |scribe| {
            fs::copy(&live.path, copy)?;
            live.truncate(&scribe.book)
        })?;
        Ok(())
    }
}
