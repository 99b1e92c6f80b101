//! How the rotation and the retention of a source are.

use crate::engine::report::{HOLDS, RotationReport};
use crate::plan::{RotationMode, SourcePlan};
use crate::source::stream::Place;
use crate::state::entry::ArchiveRecord;

use super::super::Engine;

impl Engine {
    /// How the files of a source are rotated and kept.
    pub(in crate::engine) fn report_rotation(&self, source: &SourcePlan) -> RotationReport {
        let model = self.store.model();
        let index = self.plan.sources.iter().position(|s| s.name == source.name);
        let of_source = || self.streams.values().filter(|s| s.source == index);
        let lives = of_source().filter(|s| matches!(s.place, Place::At(_)) && !s.finished);
        let refused: Vec<&String> =
            of_source().filter_map(|s| self.rotations.refused.get(&s.key)).map(|(_, why)| why).collect();
        let archives =
            || model.archives.values().filter(|a| a.source == source.name && a.phase == ArchiveRecord::THERE);
        let asked = || {
            self.rotations.asked.iter().filter(|(id, _)| model.streams.get(id).is_some_and(|r| r.source == source.name))
        };
        let holds = self.retention_holds(&source.name);
        let switched = source.retention.is_some() && self.is_retention_held(&source.name);
        let held = [holds.owed, switched, holds.clock];
        RotationReport {
            source: source.name.clone(),
            mode: match source.rotation.as_ref().map(|r| &r.mode) {
                None => "Observe",
                Some(RotationMode::Rename(_)) => "Rename",
                Some(RotationMode::Collapse) => "Collapse",
            }
            .into(),
            live_bytes: lives.map(|s| s.size.saturating_sub(s.base)).max().unwrap_or(0),
            bound_bytes: source.rotation.as_ref().map_or(0, |r| r.max_size),
            archives: archives().count() as u64,
            archive_bytes: archives().map(|a| a.size).sum(),
            last_archive: archives().map(|a| a.made).max().unwrap_or(0),
            refused: refused.len() as u64,
            refusal: refused.first().map(|why| (*why).clone()),
            not_reopened: asked().count() as u64,
            held_open: asked().find_map(|(_, asked)| asked.told.clone()),
            holds: HOLDS.iter().zip(held).filter(|(_, is)| *is).map(|(word, _)| (*word).into()).collect(),
            pressed: self.is_source_pressed(&source.name),
        }
    }
}
