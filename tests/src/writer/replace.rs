//! Replaces the file atomically: by a new content, or by a longer copy of the same, as an editor or a synchroniser does.

use std::fs;

use anyhow::Result;

use super::{Actor, Live, Scribe};

struct Replace(Live);

/// A writer that replaces its file.
pub fn make(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    Ok(Box::new(Replace(Live::create(&scribe.book, &scribe.path("app.log"))?)))
}

impl Actor for Replace {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        scribe.burst(&mut self.0)?;
        if !scribe.rng.chance(10) {
            return Ok(());
        }
        let fresh = scribe.path(".fresh");
        let target = self.0.path.clone();
        if scribe.rng.chance(40) {
            fs::copy(&target, &fresh)?;
            fs::rename(&fresh, &target)?;
            return self.0.reopen();
        }
        let doomed = self.0.incarnation;
        let live = &mut self.0;
        scribe.destroy(&[doomed], |scribe| {
            let mut next = Live::create(&scribe.book, &fresh)?;
            scribe.burst(&mut next)?;
            fs::rename(&fresh, &target)?;
            next.path = target;
            *live = next;
            Ok(())
        })?;
        Ok(())
    }
}
