//! The archives of `File` sinks: entered with their digests, kept and removed like those of sources.
//!
//! The sink itself rotates, compresses and protects. It tells which archives are finished; here they get their entries, and go when
//! their retention is over. All of it was acknowledged before it got there, so that no lane is owed anything.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::lane::kill_switch::Effect;
use crate::plan::{FilePlan, SinkKind};
use crate::rotate::retain::Unit;
use crate::rotate::worker::Job;
use crate::sink::file::archive::{Listed, Listing};
use crate::source::digest::hex;
use crate::source::stream::path_bytes;
use crate::state::entry::{ArchiveRecord, Extent, Kind};
use crate::state::ledger::Action;

use super::retain::{Group, Member};
use super::{Engine, Now};

impl Engine {
    /// Has those digested that are not entered yet. A path that is entered stays as it is: another file there is named by
    /// `inspect archives`, and never entered in its place.
    pub(super) fn list_archives(&mut self, listing: Listing) {
        let model = self.store.model();
        let known: std::collections::HashSet<&[u8]> =
            model.archives.values().filter(|a| a.sink == listing.sink).map(|a| a.extent.path.as_slice()).collect();
        // The archivist may be busy for longer than it takes to list them again.
        let under_way = &self.digesting;
        let fresh = |f: &Listed| !known.contains(path_bytes(&f.path).as_slice()) && !under_way.contains(&f.path);
        let files: Vec<Listed> = listing.files.into_iter().filter(fresh).collect();
        for file in files {
            self.digesting.insert(file.path.clone());
            self.send_job(Job::Digest { sink: listing.sink.clone(), live: listing.live.clone(), file: Box::new(file) });
        }
    }

    /// An archive of a sink was digested, or cannot be read.
    pub(super) fn digested(
        &mut self,
        (sink, live, file): (String, PathBuf, &Listed),
        result: std::io::Result<(Vec<u8>, bool)>,
        now: Now,
    ) {
        self.digesting.remove(&file.path);
        let (digest, immutable) = match result {
            Ok(digested) => digested,
            Err(error) => {
                tracing::warn!(path = %file.path.display(), %error, "failed to digest an archive; it is tried again at the next rotation");
                return;
            }
        };
        let path = path_bytes(&file.path);
        if self.store.model().archives.values().any(|a| a.sink == sink && a.extent.path == path) {
            return;
        }
        let number = self.store.model().archives_last + 1;
        let shown = file.path.to_string_lossy();
        let fields = json!({"archive": number, "sink": sink, "path": shown, "live": live.to_string_lossy(),
            "size": file.size, "digest": hex(&digest)});
        let message = format!("the output of {sink} is archived in {}", file.path.display());
        self.store.enter(now.wall, Action::ArchiveMade, message, &fields);
        let extent =
            Extent { path, file: file.key, compression: file.compression.number(), digest, ..Extent::default() };
        self.store.put(Kind::ArchivePut(ArchiveRecord {
            number,
            live: path_bytes(&live),
            extent,
            size: file.size,
            made: file.modified,
            rotation: file.modified,
            phase: ArchiveRecord::THERE,
            immutable,
            sink,
            ..ArchiveRecord::default()
        }));
    }

    /// Removes archives of sinks whose retention is over.
    pub(super) fn retain_sinks(&mut self, now: Now) {
        let sinks: Vec<(String, FilePlan)> = self
            .plan
            .sinks
            .iter()
            .filter(|sink| self.effect_on(sink) != Effect::Hold)
            .filter_map(
                |s| if let SinkKind::File(plan) = &s.kind { Some((s.name.clone(), plan.clone())) } else { None },
            )
            .collect();
        for (name, plan) in sinks {
            let live = path_bytes(&plan.path);
            let mut groups: Vec<Group> = self
                .store
                .model()
                .archives
                .values()
                .filter(|a| a.sink == name && a.live == live && a.phase == ArchiveRecord::THERE)
                .map(|a| Group::one(Unit { made: a.made, size: a.size, owed: false }, Member::Archive(a.number)))
                .collect();
            let folder = plan.path.parent().unwrap_or(Path::new("/")).to_owned();
            groups.sort_by_key(|g| g.unit.made);
            let count = self.surplus_of(&name, &folder, &groups, &plan.retention, 0, now).count;
            for member in groups.into_iter().take(count).flat_map(|g| g.members) {
                self.dismiss(member, now);
            }
        }
    }
}
