//! Lines that grow in pieces while they are read, lines beyond the bound, and a rename now and then.

use std::fs;

use anyhow::Result;

use super::{Actor, Live, Scribe};

struct Pieces {
    live: Live,
    rotated: usize,
}

/// A writer of slow and of long lines.
pub fn make(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    Ok(Box::new(Pieces { live: Live::create(&scribe.book, &scribe.path("app.log"))?, rotated: 0 }))
}

impl Actor for Pieces {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        let mut text = scribe.text();
        if scribe.rng.chance(4) {
            let more = scribe.rng.within(1000..300_000) as usize;
            text += &scribe.rng.text(more);
        }
        scribe.book.open().line(self.live.incarnation, text.as_bytes(), text.len() as u64 + 1, false);
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(scribe.rng.within(1..rest.len() as u64 + 1) as usize);
            self.live.raw(piece)?;
            rest = left;
        }
        self.live.raw(b"\n")?;
        if scribe.rng.chance(3) {
            self.rotated += 1;
            fs::rename(&self.live.path, scribe.path(&format!("app.log.{}", self.rotated)))?;
            self.live = Live::create(&scribe.book, &scribe.path("app.log"))?;
        }
        Ok(())
    }
}
