//! Keeps the attributes of the file system on what the policy protects: archives immutable, live files append-only.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use waybill_crds::WhenUnsupported;

use crate::rotate::immutable::Flag;
use crate::rotate::worker::{Guard, Job};
use crate::source::stream::{Place, bytes_path};
use crate::state::entry::{ArchiveRecord, FileKey, Kind};
use crate::state::ledger::Action;

use super::{Engine, Now};

/// How often it is looked whether something is to be protected.
const LOOK: Duration = Duration::from_secs(5);

/// What is protected, and what could not be.
#[derive(Default)]
pub(super) struct Protection {
    looked: Option<Instant>,
    /// Live files that are protected, or about to be.
    live: HashSet<FileKey>,
    /// Archives that are about to be, or that cannot be.
    archives: HashSet<u64>,
    /// Of these it was said that they cannot be protected.
    told: HashSet<PathBuf>,
}

impl Engine {
    /// Has protected what is not yet: after a crash, or because the policy says so since now.
    pub(super) fn protect(&mut self, now: Now) {
        if self.protection.looked.is_some_and(|at| now.mono.duration_since(at) < LOOK) || self.draining.is_some() {
            return;
        }
        self.protection.looked = Some(now.mono);
        let wanted: Vec<u64> = self
            .store
            .model()
            .archives
            .values()
            .filter(|a| a.phase == ArchiveRecord::THERE && !a.immutable)
            .map(|a| a.number)
            .collect();
        wanted.into_iter().for_each(|number| self.protect_archive(number));
        let live: Vec<(PathBuf, FileKey)> = self
            .streams
            .values()
            .filter(|s| {
                s.source.and_then(|i| self.plan.sources.get(i)).is_some_and(|source| source.protect.live)
                    && !s.finished
                    && !s.cutting
                    && !self.rotations.is_under_way(s.id)
                    && self.store.model().streams.get(&s.id).is_some_and(|r| !self.is_aside(s.id, r))
            })
            .filter_map(|s| if let Place::At(path) = &s.place { Some((path.clone(), s.key)) } else { None })
            .filter(|(_, key)| !self.protection.live.contains(key))
            .collect();
        for (path, key) in live {
            self.protection.live.insert(key);
            self.send_job(Job::Guard(Guard { archive: None, path, key, flag: Flag::AppendOnly }));
        }
    }

    /// Has an archive made immutable, if its source's policy says so.
    pub(super) fn protect_archive(&mut self, number: u64) {
        let Some(archive) = self.store.model().archives.get(&number) else { return };
        let wanted = self.plan.sources.iter().any(|s| s.name == archive.source && s.protect.archives);
        let guard = Guard {
            archive: Some(number),
            path: bytes_path(&archive.extent.path),
            key: archive.extent.file,
            flag: Flag::Immutable,
        };
        if wanted && self.protection.archives.insert(number) {
            self.send_job(Job::Guard(guard));
        }
    }

    /// Whether a live file must not be rotated because it, or its archives, cannot be protected; `trial` is the archivist's answer.
    pub(super) fn must_refuse(
        &mut self,
        source: &str,
        path: &Path,
        trial: Result<(), String>,
        now: Now,
    ) -> Option<String> {
        let Err(why) = trial else { return None };
        let refuse =
            self.plan.sources.iter().any(|s| s.name == source && s.protect.when_unsupported == WhenUnsupported::Refuse);
        if refuse {
            return Some(format!("it cannot be protected: {why}; write whenUnsupported: Warn, or leave protect out"));
        }
        self.say_unprotected(path, &why, now);
        None
    }

    /// A file has its attribute, or cannot have it.
    pub(super) fn guarded(&mut self, guard: &Guard, result: std::io::Result<()>, now: Now) {
        match (result, guard.archive) {
            (Ok(()), Some(number)) => {
                self.protection.archives.remove(&number);
                if let Some(archive) = self.store.model().archives.get(&number).cloned() {
                    self.store.put(Kind::ArchivePut(ArchiveRecord { immutable: true, ..archive }));
                }
            }
            (Ok(()), None) => {}
            (Err(error), _) => self.say_unprotected(&guard.path, &error.to_string(), now),
        }
    }

    fn say_unprotected(&mut self, path: &Path, why: &str, now: Now) {
        // Once for each folder: its file system answers for all files in it.
        let folder = path.parent().unwrap_or(path).to_owned();
        if self.protection.told.insert(folder) {
            let fields = json!({"path": path.to_string_lossy(), "reason": why});
            let message = format!("{} cannot be protected: {why}", path.display());
            self.store.enter(now.wall, Action::RotationRefused, message, &fields);
        }
    }
}
