//! Truncates in place and goes on at once, often beyond the old size before anyone can look.

use anyhow::Result;

use super::{Actor, Live, Scribe};

struct Truncate {
    live: Live,
    alike: bool,
}

/// Unique from the first byte.
pub fn make(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    Ok(Box::new(Truncate { live: Live::create(&scribe.book, &scribe.path("app.log"))?, alike: false }))
}

/// Every content begins with the same 2 KB.
pub fn alike(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    let mut live = Live::create(&scribe.book, &scribe.path("app.log"))?;
    scribe.header(&mut live)?;
    Ok(Box::new(Truncate { live, alike: true }))
}

impl Actor for Truncate {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        scribe.burst(&mut self.live)?;
        if !scribe.rng.chance(8) {
            return Ok(());
        }
        let (alike, doomed) = (self.alike, self.live.incarnation);
        let live = &mut self.live;
        let old = scribe.book.open().incarnations[doomed].size;
        scribe.destroy(&[doomed], |scribe| {
            live.truncate(&scribe.book)?;
            if alike {
                scribe.header(live)?;
            }
            let regrow = scribe.rng.chance(40);
            while regrow && scribe.book.open().incarnations[live.incarnation].size <= old {
                scribe.burst(live)?;
            }
            Ok(())
        })?;
        Ok(())
    }
}
