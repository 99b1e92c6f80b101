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
        let refused = of_source().filter_map(|s| self.rotations.refused.get(&s.key)).map(|(_, why)| why);
        let (awaiting, refused): (Vec<&String>, Vec<&String>) = refused.partition(|why| self.awaits_restart(why));
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
            awaiting_restart: awaiting.len() as u64,
            not_reopened: asked().count() as u64,
            held_open: asked().find_map(|(_, asked)| asked.told.clone()),
            holds: HOLDS.iter().zip(held).filter(|(_, is)| *is).map(|(word, _)| (*word).into()).collect(),
            pressed: self.is_source_pressed(&source.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::Now;
    use crate::engine::made_up::{delivered, engine};
    use crate::rotate::suit;

    #[test]
    fn a_folder_that_the_pod_does_not_mount_yet_is_a_state_and_no_entry() {
        for in_pod in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let (mut engine, _outlet, inbox) = engine(dir.path());
            engine.setup.in_pod = in_pod;
            let id = delivered(&mut engine, &inbox).chunk.stream;
            engine.refuse_rotation(id, &suit::Unsuited::read_only().to_string(), Now::read());
            let report = engine.report_rotation(&engine.plan.sources[0]);
            assert_eq!((report.awaiting_restart, report.refused), if in_pod { (1, 0) } else { (0, 1) });
            let entries = engine.store.model().ledger.iter().filter(|e| e.action == "rotation_refused").count();
            assert_eq!(entries, usize::from(!in_pod));
        }
    }
}
