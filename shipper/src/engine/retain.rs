//! Removes what the policy no longer keeps: archives, and rotated files that the patterns name.
//!
//! Nothing goes that a required lane has not settled, unless the policy says `Evict`; whatever a lane loses is entered first, and so is
//! every removal. A kill switch in `Hold` holds all of it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::lane::kill_switch::{self, Effect};
use crate::plan::SinkKind;
use crate::rotate::fault;
use crate::rotate::retain::{self, Bounds, ClockWatch, Unit};
use crate::rotate::worker::{Job, Victim};
use crate::source::stream::{Place, bytes_path};
use crate::state::StreamId;
use crate::state::entry::{ArchiveRecord, FileKey, Kind, Position};
use crate::state::ledger::Action;

use super::{Engine, Now};

/// How often it is looked whether something may go.
const LOOK: Duration = Duration::from_secs(2);
/// Files that one look removes at most.
const MOST: usize = 256;

/// What retention remembers between two looks.
#[derive(Default)]
pub(super) struct Retention {
    looked: Option<Instant>,
    clock: Option<ClockWatch>,
    /// Entered, and to be removed as soon as that is durable.
    entered: Vec<(u64, Victim)>,
    /// Handed to the archivist.
    under_way: HashSet<FileKey>,
    /// Sources whose file system has too little free.
    pressed: HashSet<String>,
    /// Of these it was said that nothing more can be removed.
    alarmed: HashSet<String>,
}

/// One file of a unit.
enum Member {
    Archive(u64),
    File { path: PathBuf, key: FileKey, stream: Option<StreamId> },
}

/// What goes as one, with its files.
struct Group {
    unit: Unit,
    members: Vec<Member>,
}

impl Engine {
    /// Removes what was entered and is durable, and now and then looks for more.
    pub(super) fn retain(&mut self, now: Now) {
        let durable = self.store.durable();
        let entered = std::mem::take(&mut self.retention.entered);
        for (ticket, victim) in entered {
            if ticket > durable {
                self.retention.entered.push((ticket, victim));
                continue;
            }
            fault::point("prune-entered");
            self.retention.under_way.insert(victim.key);
            self.send_job(Job::Remove(victim));
        }
        if self.retention.looked.is_some_and(|at| now.mono.duration_since(at) < LOOK) || self.draining.is_some() {
            return;
        }
        self.retention.looked = Some(now.mono);
        self.watch_clock(now);
        self.remove_leaving();
        for (name, bounds) in self.retained_sources() {
            self.retain_source(&name, &bounds, now);
        }
    }

    /// Whether a sink's copies would take what little is left of a file system that a source writes to.
    pub(super) fn is_pressed(&self, kind: &SinkKind, required: bool) -> bool {
        !required && matches!(kind, SinkKind::File(_)) && !self.retention.pressed.is_empty()
    }

    /// Whether a source's file system has too little free.
    pub(super) fn is_source_pressed(&self, source: &str) -> bool {
        self.retention.pressed.contains(source)
    }

    fn watch_clock(&mut self, now: Now) {
        let last = self.store.model().ledger.back().map(|r| r.time);
        let clock = self.retention.clock.get_or_insert_with(|| ClockWatch::new(now.wall, now.mono, last));
        if clock.look(now.wall, now.mono) {
            let message = "the clock was set by more than an hour; nothing is removed for its age for 24 hours";
            self.store.enter(now.wall, Action::ClockStepped, message, &json!({"now": now.wall}));
        }
    }

    fn retained_sources(&self) -> Vec<(String, Bounds)> {
        let switches = &self.store.model().switches;
        let held = |source: &str| {
            self.lanes
                .iter()
                .any(|l| kill_switch::covering(switches.values(), Some(source), &l.plan.name) == Effect::Hold)
        };
        self.plan
            .sources
            .iter()
            .filter_map(|s| Some((s.name.clone(), s.retention.clone()?)))
            .filter(|(name, _)| !held(name))
            .collect()
    }

    /// Archives whose removal a crash interrupted.
    fn remove_leaving(&mut self) {
        let waiting: HashSet<FileKey> = self.retention.entered.iter().map(|(_, v)| v.key).collect();
        let leaving: Vec<Victim> = self
            .store
            .model()
            .archives
            .values()
            .filter(|a| a.phase == ArchiveRecord::LEAVING)
            .filter(|a| !waiting.contains(&a.extent.file) && !self.retention.under_way.contains(&a.extent.file))
            .map(victim_of)
            .collect();
        for victim in leaving {
            self.retention.under_way.insert(victim.key);
            self.send_job(Job::Remove(victim));
        }
    }

    fn retain_source(&mut self, source: &str, bounds: &Bounds, now: Now) {
        let mut went = 0;
        let mut lacking = 0;
        let mut freed = 0;
        for (folder, mut groups) in self.units(source) {
            groups.sort_by_key(|g| g.unit.made);
            let lacks = free_space(&folder).map_or(0, |(size, free)| retain::lacking(bounds.min_free, size, free));
            lacking = lacks.max(lacking);
            let units: Vec<Unit> = groups.iter().map(|g| g.unit).collect();
            let age_paused = self.retention.clock.is_some_and(|c| c.is_paused(now.mono));
            // What goes from one folder relieves the others: as a rule they are of one file system.
            let circumstances = retain::Now { wall: now.wall, age_paused, lacking: lacks.saturating_sub(freed) };
            let count = retain::surplus(&units, bounds, circumstances);
            freed += units.iter().take(count).map(|u| u.size).sum::<u64>();
            for group in groups.into_iter().take(count) {
                if went >= MOST {
                    return;
                }
                for member in group.members {
                    went += usize::from(self.dismiss(source, member, now));
                }
            }
        }
        if lacking == 0 {
            lacking = self.lacking_beside_live(source, bounds);
        }
        self.press(source, lacking, went, now);
    }

    /// A source's live files may fill their file system though there is nothing yet that could go.
    fn lacking_beside_live(&self, source: &str, bounds: &Bounds) -> u64 {
        if bounds.min_free.is_none() {
            return 0;
        }
        let index = self.plan.sources.iter().position(|s| s.name == source);
        let folders: HashSet<&Path> = self
            .streams
            .values()
            .filter(|s| s.source == index)
            .filter_map(|s| s.path().and_then(Path::parent))
            .collect();
        let lacks = |f: &&Path| free_space(f).map_or(0, |(size, free)| retain::lacking(bounds.min_free, size, free));
        folders.iter().map(lacks).max().unwrap_or(0)
    }

    /// Under pressure optional copies stop and live files are rotated early; when nothing more can go, it is said once.
    fn press(&mut self, source: &str, lacking: u64, went: usize, now: Now) {
        if lacking == 0 {
            self.retention.pressed.remove(source);
            self.retention.alarmed.remove(source);
            return;
        }
        self.retention.pressed.insert(source.to_owned());
        if went == 0 && self.retention.alarmed.insert(source.to_owned()) {
            let fields = json!({"source": source, "lacking": lacking});
            let message = format!(
                "the file system of {source} has {lacking} bytes less free than minFree asks for, and nothing that may be removed: its writer is at risk"
            );
            self.store.enter(now.wall, Action::Pressure, message, &fields);
        }
    }

    /// What a source has that may go one day, by the live file that it comes from, with the folder that it lies in.
    fn units(&self, source: &str) -> Vec<(PathBuf, Vec<Group>)> {
        let mut by_live: BTreeMap<(Vec<u8>, PathBuf), BTreeMap<i64, Group>> = BTreeMap::new();
        let model = self.store.model();
        for archive in model.archives.values().filter(|a| a.source == source && a.phase == ArchiveRecord::THERE) {
            let path = bytes_path(&archive.extent.path);
            let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
            let groups = by_live.entry((archive.live.clone(), folder)).or_default();
            let group = groups.entry(archive.rotation).or_insert_with(Group::empty);
            let owed = self.is_archive_owed(archive);
            group.add(archive.made, archive.size, owed, Member::Archive(archive.number));
        }
        let index = self.plan.sources.iter().position(|s| s.name == source);
        for (path, found) in self.discovery.found() {
            let Some(key) = self.by_path.get(path).filter(|_| Some(found.source) == index) else { continue };
            let Some((made, size, owed, stream)) = self.rotated_file(key) else { continue };
            if self.retention.under_way.contains(key) || found.link {
                continue;
            }
            let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
            let groups = by_live.entry((Vec::new(), folder)).or_default();
            // Two files of the same instant are two files.
            let mut at = made;
            while groups.contains_key(&at) {
                at += 1;
            }
            let group = groups.entry(at).or_insert_with(Group::empty);
            group.add(made, size, owed, Member::File { path: path.clone(), key: *key, stream });
        }
        by_live.into_iter().map(|((_, folder), groups)| (folder, groups.into_values().collect())).collect()
    }

    /// A file that its writer has left, or a copy of one: when it was written, its size, whether it is owed, and its stream.
    fn rotated_file(&self, key: &FileKey) -> Option<(i64, u64, bool, Option<StreamId>)> {
        let model = self.store.model();
        if let Some(copy) = model.copies.get(key) {
            let original = StreamId::from_slice(&copy.stream)?;
            // What may be all that is left of a stream stays.
            let owed = self.streams.get(&original).is_some_and(|s| !s.is_readable());
            return Some((copy.modified, copy.size, owed, None));
        }
        let id = self.by_key.get(key)?;
        let (stream, record) = (self.streams.get(id)?, model.streams.get(id)?);
        let left = stream.finished && self.is_aside(*id, record) && matches!(stream.place, Place::At(_));
        // What was never handed out is not given up here: the lanes would not know what they lost.
        let left = left && stream.size <= record.frontier.read_from();
        left.then(|| (stream.modified, stream.size, self.owes(*id), Some(*id)))
    }

    fn is_archive_owed(&self, archive: &ArchiveRecord) -> bool {
        let Some(id) = StreamId::from_slice(&archive.stream) else { return false };
        let lanes = self.lanes.iter().filter(|l| l.plan.required);
        lanes.filter_map(|l| l.tracks.get(&id)).any(|t| t.settled.offset < archive.end.offset)
    }

    /// Enters that a file goes, and what is lost with it. False if it has to wait, because something of it is under way.
    fn dismiss(&mut self, source: &str, member: Member, now: Now) -> bool {
        let (path, number, stream, end) = match &member {
            Member::Archive(number) => {
                let Some(archive) = self.store.model().archives.get(number) else { return false };
                let stream = StreamId::from_slice(&archive.stream);
                (bytes_path(&archive.extent.path), Some(*number), stream, Some(archive.end))
            }
            Member::File { path, stream, .. } => {
                let end = stream.and_then(|id| self.end_of(id));
                (path.clone(), None, *stream, end)
            }
        };
        if let (Some(id), Some(end)) = (stream, end)
            && !self.lose_up_to(id, end, &path, now)
        {
            return false;
        }
        let fields = json!({"source": source, "path": path.to_string_lossy(), "archive": number, "stream": stream.map(|s| s.to_string())});
        let message = format!("{} is removed: its retention is over", path.display());
        self.store.enter(now.wall, Action::ArchiveRemoved, message, &fields);
        let victim = match member {
            Member::Archive(number) => {
                let Some(archive) = self.store.model().archives.get(&number).cloned() else { return false };
                let leaving = ArchiveRecord { phase: ArchiveRecord::LEAVING, ..archive };
                let victim = victim_of(&leaving);
                self.store.put(Kind::ArchivePut(leaving));
                stream.into_iter().for_each(|id| self.set_archives(id));
                victim
            }
            Member::File { path, key, .. } => {
                // Its folder's own descriptor: what the path leads to may change.
                let folder = path.parent().and_then(|p| {
                    let (_, root) = self.discovery.folders().find(|(f, _)| *f == p)?;
                    root.open_folder(p).ok()
                });
                Victim { archive: None, path, key, folder: folder.map(Arc::new) }
            }
        };
        let ticket = self.store.flush();
        self.retention.entered.push((ticket, victim));
        true
    }

    fn end_of(&self, id: StreamId) -> Option<Position> {
        let (stream, record) = (self.streams.get(&id)?, self.store.model().streams.get(&id)?);
        Some(Position { offset: stream.size.max(record.frontier.offset), ..record.frontier })
    }

    /// Enters what lanes lose that have not settled everything up to a place, and moves them there. False while something is under way.
    fn lose_up_to(&mut self, id: StreamId, end: Position, path: &Path, now: Now) -> bool {
        let behind = |t: &crate::lane::track::Track| t.settled.offset < end.offset;
        let waits = self.lanes.iter().filter_map(|l| l.tracks.get(&id)).any(|t| behind(t) && t.under_way() > 0);
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return true };
        if waits {
            return false;
        }
        let lanes: Vec<u32> =
            self.lanes.iter().filter(|l| l.tracks.get(&id).is_some_and(behind)).map(|l| l.number).collect();
        self.lose_to(id, &record, &lanes, (path, "its retention was over before it was delivered"), end, now);
        self.put_cursors();
        true
    }

    /// A file was removed, or could not be.
    pub(super) fn removed(&mut self, victim: &Victim, result: std::io::Result<()>) {
        self.retention.under_way.remove(&victim.key);
        if let Err(error) = result {
            tracing::warn!(path = %victim.path.display(), %error, "failed to remove a file whose retention is over; it is tried again");
            return;
        }
        if let Some(number) = victim.archive {
            self.archive_gone(number);
        }
        fault::point("pruned");
        self.relook.insert(victim.path.clone());
        self.stuck = false;
    }
}

impl Group {
    fn empty() -> Self {
        Self { unit: Unit { made: i64::MIN, size: 0, owed: false }, members: Vec::new() }
    }

    fn add(&mut self, made: i64, size: u64, owed: bool, member: Member) {
        self.unit.made = self.unit.made.max(made);
        self.unit.size += size;
        self.unit.owed |= owed;
        self.members.push(member);
    }
}

fn victim_of(archive: &ArchiveRecord) -> Victim {
    Victim {
        archive: Some(archive.number),
        path: bytes_path(&archive.extent.path),
        key: archive.extent.file,
        folder: None,
    }
}

/// The size of a file system, and what is free of it for everyone, in bytes.
fn free_space(folder: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}
