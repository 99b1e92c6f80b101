//! Appends, and nothing else.

use anyhow::Result;

use super::{Actor, Live, Scribe};

struct Append(Live);

/// A writer that only appends.
pub fn make(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    Ok(Box::new(Append(Live::create(&scribe.book, &scribe.path("app.log"))?)))
}

impl Actor for Append {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        scribe.burst(&mut self.0)
    }
}
