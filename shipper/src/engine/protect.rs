//! Keeps the attributes of the file system on what the policy protects: archives immutable, live files append-only.

use std::collections::{HashMap, HashSet};
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
/// How long to wait before it is tried again to protect a file that could not be.
const AGAIN: Duration = Duration::from_secs(60);

/// What is protected, and what could not be.
#[derive(Default)]
pub(super) struct Protection {
    looked: Option<Instant>,
    /// Live files that are protected, or about to be; or that could not be, and until when they are left alone.
    live: HashMap<FileKey, Option<Instant>>,
    /// The same of archives that are not protected yet.
    archives: HashMap<u64, Option<Instant>>,
    /// Of these it was said that they cannot be protected.
    told: HashSet<PathBuf>,
}

impl Protection {
    /// A file could not be protected.
    fn failed(&mut self, guard: &Guard, now: Instant) {
        let again = Some(now + AGAIN);
        match guard.archive {
            Some(number) => self.archives.insert(number, again),
            None => self.live.insert(guard.key, again),
        };
    }

    /// Has those tried again whose time has come.
    fn forget_failed(&mut self, now: Instant) {
        let waits = |again: &Option<Instant>| again.is_none_or(|at| now < at);
        self.live.retain(|_, again| waits(again));
        self.archives.retain(|_, again| waits(again));
    }
}

impl Engine {
    /// Has protected what is not yet: after a crash, or because the policy says so since now.
    pub(super) fn protect(&mut self, now: Now) {
        if self.protection.looked.is_some_and(|at| now.mono.duration_since(at) < LOOK) || self.draining.is_some() {
            return;
        }
        self.protection.looked = Some(now.mono);
        self.protection.forget_failed(now.mono);
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
            .filter(|(_, key)| !self.protection.live.contains_key(key))
            .collect();
        for (path, key) in live {
            self.protection.live.insert(key, None);
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
        if wanted && !self.protection.archives.contains_key(&number) {
            self.protection.archives.insert(number, None);
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
            (Err(error), _) => {
                self.protection.failed(guard, now.mono);
                self.say_unprotected(&guard.path, &error.to_string(), now);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_protected_is_tried_again() {
        let (mut protection, now) = (Protection::default(), Instant::now());
        let (key, flag) = (FileKey { dev: 1, ino: 2, born: 3 }, Flag::AppendOnly);
        let live = Guard { archive: None, path: "/a".into(), key, flag };
        let archive = Guard { archive: Some(7), flag: Flag::Immutable, ..live.clone() };
        protection.live.insert(FileKey { ino: 9, ..key }, None);
        protection.failed(&live, now);
        protection.failed(&archive, now);
        protection.forget_failed(now + AGAIN / 2);
        assert!(protection.live.contains_key(&key) && protection.archives.contains_key(&7));
        protection.forget_failed(now + AGAIN);
        assert!(!protection.live.contains_key(&key) && !protection.archives.contains_key(&7));
        assert_eq!(protection.live.len(), 1);
    }
}
