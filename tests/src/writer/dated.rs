//! Switches by date: a new name for every day, as SoftEther does; the oldest goes.

use std::collections::VecDeque;
use std::fs;

use anyhow::Result;

use super::{Actor, Live, Scribe};

/// How many days stay.
const KEEP: usize = 8;

struct Dated {
    live: Live,
    day: u64,
    old: VecDeque<Live>,
}

/// A writer whose files are named by their day.
pub fn make(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    let live = Live::create(&scribe.book, &scribe.path(&name(0)))?;
    Ok(Box::new(Dated { live, day: 0, old: VecDeque::new() }))
}

fn name(day: u64) -> String {
    format!("app_{:04}{:02}{:02}.log", 2026 + day / 336, day / 28 % 12 + 1, day % 28 + 1)
}

impl Actor for Dated {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        scribe.burst(&mut self.live)?;
        if !scribe.rng.chance(8) {
            return Ok(());
        }
        if self.old.len() >= KEEP {
            let (path, doomed) = (self.old[0].path.clone(), self.old[0].incarnation);
            if !scribe.destroy(&[doomed], |_| Ok(fs::remove_file(path)?))? {
                return Ok(());
            }
            self.old.pop_front();
        }
        self.day += 1;
        let next = Live::create(&scribe.book, &scribe.path(&name(self.day)))?;
        self.old.push_back(std::mem::replace(&mut self.live, next));
        Ok(())
    }
}
