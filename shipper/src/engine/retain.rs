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
use crate::source::stream::{Place, Stream, bytes_path};
use crate::state::StreamId;
use crate::state::entry::{ArchiveRecord, FileKey, Kind, NodeRecord, Position, StreamRecord};
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
    /// Lanes that have something under way of a stream of which it goes: they get nothing more of it until that has come back.
    recalled: HashSet<(u32, StreamId)>,
    recalled_before: HashSet<(u32, StreamId)>,
    /// Sources whose file system has too little free.
    pressed: HashSet<String>,
    /// Of these it was said that nothing more can be removed.
    alarmed: HashSet<String>,
    /// What holds the retention of sources and sinks that would have something to remove.
    holds: BTreeMap<String, Holds>,
}

/// What keeps files that would go otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Holds {
    /// A required lane has not settled them.
    pub(super) owed: bool,
    /// The clock was set.
    pub(super) clock: bool,
}

/// One file of a unit.
pub(super) enum Member {
    Archive(u64),
    File { path: PathBuf, key: FileKey, stream: Option<StreamId>, source: String },
}

/// What goes as one, with its files.
pub(super) struct Group {
    pub(super) unit: Unit,
    pub(super) members: Vec<Member>,
}

/// What goes of a folder.
pub(super) struct Surplus {
    /// So many of the oldest groups.
    pub(super) count: usize,
    /// Bytes that the file system has too few of.
    pub(super) lacking: u64,
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
        let recalled = !self.retention.recalled.is_empty();
        let early = self.retention.looked.is_some_and(|at| now.mono.duration_since(at) < LOOK) && !recalled;
        if early || self.draining.is_some() {
            return;
        }
        // What is still to be recalled is found anew.
        self.retention.recalled_before = std::mem::take(&mut self.retention.recalled);
        for (_, id) in &self.retention.recalled_before {
            self.streams.get_mut(id).into_iter().for_each(Stream::wake);
        }
        self.retention.looked = Some(now.mono);
        self.watch_clock(now);
        self.remove_leaving();
        self.retention.holds.clear();
        for (name, bounds) in self.retained_sources() {
            self.retain_source(&name, &bounds, now);
        }
        self.retain_sinks(now);
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
        let noticed = if let Some(clock) = &mut self.retention.clock {
            clock.look(now.wall, now.mono)
        } else {
            let model = self.store.model();
            let told = [Action::ClockStepped.name(), Action::ClockConfirmed.name()];
            // What was entered before the last step has the time of another clock.
            let since = model.ledger.iter().rev().take_while(|r| !told.contains(&r.action.as_str()));
            let last = since.map(|r| r.time).max();
            let (clock, back) = ClockWatch::new(now.wall, now.mono, last, model.node.clock_stepped);
            self.retention.clock = Some(clock);
            back
        };
        if noticed {
            let message = "the clock was set by more than an hour; nothing is removed for its age for 24 hours, or until someone says that it is right: waybill inspect clock --confirm";
            self.store.enter(now.wall, Action::ClockStepped, message, &json!({"now": now.wall}));
            self.note_clock(now.wall);
        }
    }

    /// Someone says that the clock is right: files go for their age again.
    pub(super) fn confirm_clock(&mut self, now: Now) {
        let waited = self.retention.clock.as_mut().is_some_and(|clock| clock.confirm(now.mono));
        if waited || self.store.model().node.clock_stepped != 0 {
            let message = "someone said that the clock is right; files are removed for their age again";
            self.store.enter(now.wall, Action::ClockConfirmed, message, &json!({"now": now.wall}));
            self.note_clock(0);
        }
    }

    fn note_clock(&mut self, clock_stepped: i64) {
        let node = self.store.model().node.clone();
        self.store.put(Kind::NodePut(NodeRecord { clock_stepped, ..node }));
    }

    /// How long nothing goes for its age, because the clock was set.
    pub(super) fn age_pause(&self, now: Now) -> Option<Duration> {
        self.retention.clock.and_then(|clock| clock.left(now.mono))
    }

    /// What keeps the files of a source or a sink that would go otherwise.
    pub(super) fn retention_holds(&self, name: &str) -> Holds {
        self.retention.holds.get(name).copied().unwrap_or_default()
    }

    /// How many of a folder's groups go, the oldest first; what keeps others is remembered under a name.
    pub(super) fn surplus_of(
        &mut self,
        name: &str,
        folder: &Path,
        groups: &[Group],
        bounds: &Bounds,
        freed: u64,
        now: Now,
    ) -> Surplus {
        let lacking = retain::free_space(folder).map_or(0, |(size, free)| retain::lacking(bounds.min_free, size, free));
        let units: Vec<Unit> = groups.iter().map(|g| g.unit).collect();
        let age_paused = self.age_pause(now).is_some();
        let at = |age_paused, evict| {
            // What goes from one folder relieves the others: as a rule they are of one file system.
            let now = retain::Now { wall: now.wall, age_paused, lacking: lacking.saturating_sub(freed) };
            retain::surplus(&units, &Bounds { evict, ..bounds.clone() }, now)
        };
        let count = at(age_paused, bounds.evict);
        let holds = self.retention.holds.entry(name.to_owned()).or_default();
        holds.owed |= at(age_paused, true) > count;
        holds.clock |= at(false, bounds.evict) > count;
        Surplus { count, lacking }
    }

    fn retained_sources(&self) -> Vec<(String, Bounds)> {
        self.plan
            .sources
            .iter()
            .filter_map(|s| Some((s.name.clone(), s.retention.clone()?)))
            .filter(|(name, _)| !self.is_retention_held(name))
            .collect()
    }

    /// Whether a kill switch holds a source's files.
    pub(super) fn is_retention_held(&self, source: &str) -> bool {
        let switches = &self.store.model().switches;
        let held = |lane: &str| kill_switch::covering(switches.values(), Some(source), lane) == Effect::Hold;
        self.lanes.iter().any(|l| held(&l.plan.name))
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
        self.confirm_ends(source, now);
        let mut went = 0;
        let mut lacking = 0;
        let mut freed = 0;
        for (folder, mut groups) in self.units(source) {
            groups.sort_by_key(|g| g.unit.made);
            let surplus = self.surplus_of(source, &folder, &groups, bounds, freed, now);
            lacking = surplus.lacking.max(lacking);
            freed += groups.iter().take(surplus.count).map(|g| g.unit.size).sum::<u64>();
            for group in groups.into_iter().take(surplus.count) {
                if went >= MOST {
                    return;
                }
                for member in group.members {
                    went += usize::from(self.dismiss(member, now));
                }
            }
        }
        if lacking == 0 {
            lacking = self.lacking_beside_live(source, bounds);
        }
        self.press(source, lacking, went, now);
    }

    /// Finds out which of a source's files their writers have left.
    fn confirm_ends(&mut self, source: &str, now: Now) {
        self.note_newest();
        let index = self.plan.sources.iter().position(|s| s.name == source);
        let model = self.store.model();
        let left: Vec<StreamId> = self
            .streams
            .values()
            .filter(|s| s.source == index && !s.finished && !s.is_busy())
            .filter(|s| model.streams.get(&s.id).is_some_and(|r| self.is_aside(s.id, r)))
            .map(|s| s.id)
            .collect();
        left.into_iter().for_each(|id| self.confirm_end(id, now));
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
        let lacks =
            |f: &&Path| retain::free_space(f).map_or(0, |(size, free)| retain::lacking(bounds.min_free, size, free));
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
        let archives: HashSet<FileKey> = model.archives.values().map(|a| a.extent.file).collect();
        let index = self.plan.sources.iter().position(|s| s.name == source);
        for (path, found) in self.discovery.found() {
            let Some(key) = self.by_path.get(path).filter(|_| Some(found.source) == index) else { continue };
            let Some((made, size, owed, stream)) = self.rotated_file(key) else { continue };
            let leaves =
                self.retention.under_way.contains(key) || self.retention.entered.iter().any(|(_, v)| v.key == *key);
            // A renamed file that was not compressed counts once, as the archive that it is.
            if leaves || found.link || archives.contains(key) {
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
            let source = source.to_owned();
            group.add(made, size, owed, Member::File { path: path.clone(), key: *key, stream, source });
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
    pub(super) fn dismiss(&mut self, member: Member, now: Now) -> bool {
        let (path, number, stream, end, (whose, name)) = match &member {
            Member::Archive(number) => {
                let Some(archive) = self.store.model().archives.get(number) else { return false };
                let stream = StreamId::from_slice(&archive.stream);
                let of_sink = !archive.sink.is_empty();
                let whose = if of_sink { ("sink", archive.sink.clone()) } else { ("source", archive.source.clone()) };
                (bytes_path(&archive.extent.path), Some(*number), stream, Some(archive.end), whose)
            }
            Member::File { path, stream, source, .. } => {
                let end = stream.and_then(|id| self.end_of(id));
                (path.clone(), None, *stream, end, ("source", source.clone()))
            }
        };
        if let (Some(id), Some(end)) = (stream, end)
            && !self.lose_up_to(id, end, &path, now)
        {
            return false;
        }
        let fields = json!({whose: name, "path": path.to_string_lossy(), "archive": number, "stream": stream.map(|s| s.to_string())});
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
            Member::File { path, key, stream, .. } => {
                // Should a crash come before its stream has ended, it is known that nothing was written to it unseen.
                let record = stream.and_then(|id| self.store.model().streams.get(&id).cloned());
                if let Some(record) = record {
                    self.store.put(Kind::StreamPut(StreamRecord { sealed: true, ..record }));
                }
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
            self.recall(id, end);
            return false;
        }
        let lanes: Vec<u32> =
            self.lanes.iter().filter(|l| l.tracks.get(&id).is_some_and(behind)).map(|l| l.number).collect();
        self.lose_to(id, &record, &lanes, (path, "its retention was over before it was delivered"), end, now);
        self.put_cursors();
        true
    }

    /// Calls back what lanes have under way of a stream before a place: a sink that cannot deliver would hold on to it for ever.
    pub(super) fn recall(&mut self, id: StreamId, end: Position) {
        for lane in &mut self.lanes {
            let waits = |t: &crate::lane::track::Track| t.under_way() > 0 && t.settled.offset < end.offset;
            if !lane.tracks.get(&id).is_some_and(waits) {
                continue;
            }
            let key = (lane.number, id);
            // Once: what the lane has of other streams goes again too.
            if self.retention.recalled.insert(key) && !self.retention.recalled_before.contains(&key) {
                lane.gate.shut();
            }
        }
    }

    /// Whether a lane gets nothing of a stream at the moment.
    pub(super) fn is_recalled(&self, lane: u32, id: StreamId) -> bool {
        self.retention.recalled.contains(&(lane, id))
    }

    /// A file was removed, or could not be.
    pub(super) fn removed(&mut self, victim: &Victim, result: std::io::Result<()>, now: Now) {
        self.retention.under_way.remove(&victim.key);
        self.removed_renamed(victim, &result, now);
        if let Err(error) = result {
            tracing::warn!(path = %victim.path.display(), %error, "failed to remove a file that is archived or whose retention is over; it is tried again");
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
    /// A file that goes by itself.
    pub(super) fn one(unit: Unit, member: Member) -> Self {
        Self { unit, members: vec![member] }
    }

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
