//! Compares the folders with what is known: which stream is where now, and which file is new.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::source::decompress::Compression;
use crate::source::discover::{self, Found};
use crate::source::root::{FileKind, Look};
use crate::source::stream::{Place, ReadError, Stream, path_bytes};
use crate::state::StreamId;
use crate::state::entry::{FileKey, Kind, StreamRecord};
use crate::state::ledger::Action;

use super::succession::Rank;
use super::{Engine, Now};

/// Files looked at in one go when inotify does not cover them; all are looked at in turn.
const POLL: usize = 1000;
/// A file that changed, and is not read within so long because it is not its turn, is compared with what its stream knows of it: it may
/// have been truncated and written anew, and more than once.
const SURE: Duration = Duration::from_millis(200);
/// Files that one turn compares.
const COMPARED: usize = 256;
/// A file that changed this lately is looked at each time.
const HOT: Duration = Duration::from_secs(10);

impl Engine {
    /// Brings the picture up to date. With `full`, files are looked at even if nothing hints at a change.
    pub(super) fn reconcile(&mut self, full: bool, now: Now) {
        let mut displaced = Vec::new();
        self.meet_in_line(&mut displaced, now);
        if full || self.listed {
            self.listed = false;
            self.listed_at = Some(now.mono);
            let changes = self.discovery.scan(now.mono, now.wall);
            for (path, what) in changes.refused {
                let message = format!("{} {what}", path.display());
                self.store.enter(
                    now.wall,
                    Action::PathRefused,
                    message,
                    &json!({"path": path.to_string_lossy(), "reason": what}),
                );
            }
            for (path, first, later) in changes.overlaps {
                let name = |i: usize| self.plan.sources.get(i).map_or("", |s| s.name.as_str());
                tracing::warn!(path = %path.display(), source = name(first), also = name(later), "two sources name this file; it belongs to the first");
            }
            if let Some(watch) = &mut self.watch {
                changes.folders.iter().for_each(|f| watch.add(f));
                changes.folders_gone.iter().for_each(|f| watch.remove(f));
            }
            for path in changes.gone {
                if let Some(key) = self.by_path.remove(&path) {
                    displaced.push((key, path));
                }
            }
            // Oldest first, so that a backlog is met in the order in which it was written.
            let mut looks: Vec<(i64, PathBuf)> = Vec::new();
            for path in changes.look {
                let modified = self.look_path(&path).map_or(0, |l| l.modified);
                looks.push((modified, path));
            }
            looks.sort_by_cached_key(|(modified, path)| (*modified, Rank::of(path), path.clone()));
            self.order_joining(&mut looks);
            for (_, path) in looks {
                self.observe(&path, &mut displaced, now);
                self.store.flush_if_large();
            }
        }
        let relook: Vec<PathBuf> = self.relook.drain().collect();
        for path in relook {
            self.observe(&path, &mut displaced, now);
        }
        if full {
            self.poll(&mut displaced, now);
        }
        for (key, path) in displaced {
            self.displace(key, &path, now);
        }
        self.compare_doubtful(now);
        if full {
            self.reconciled = Some(now.mono);
            self.refresh_open(now);
            self.fresh_sources.clear();
            self.close_idle();
        }
        // What is still to be read may be what is missing.
        if self.first_scan && self.reconciled.is_some() && self.line.is_empty() {
            self.first_scan = false;
            self.after_first_scan(now);
        }
    }

    /// When the next file is to be compared that changed and was not read since.
    pub(super) fn doubt_due(&self) -> Option<Instant> {
        self.doubtful.values().min().map(|changed| *changed + SURE)
    }

    /// Compares files that changed with what their streams know of them.
    fn compare_doubtful(&mut self, now: Now) {
        // Who reads a file compares it.
        let streams = &self.streams;
        self.doubtful.retain(|id, changed| {
            streams.get(id).is_some_and(|s| !s.cutting && s.sure.is_none_or(|sure| sure <= *changed))
        });
        // Since the start nobody has: it may be a short life, in which nothing else would be learnt.
        let never = |id: &StreamId| streams.get(id).is_some_and(|s| s.sure.is_none());
        let due = self.doubtful.iter().filter(|(id, changed)| never(id) || now.mono.duration_since(**changed) >= SURE);
        let some: Vec<StreamId> = due.map(|(id, _)| *id).take(COMPARED).collect();
        for id in some {
            self.doubtful.remove(&id);
            let Some(record) = self.store.model().streams.get(&id).cloned() else { continue };
            // What cannot be opened or read is told of when it is its turn.
            if self.open(id).is_err() {
                continue;
            }
            self.compare(id, &record, now);
        }
    }

    /// Compares an open file with what its stream knows of it.
    pub(super) fn compare(&mut self, id: StreamId, record: &StreamRecord, now: Now) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if matches!(stream.verify(record), Err(ReadError::StartedOver)) {
            self.started_over(id, now);
        }
    }

    /// Goes on with the files that are read one after the other, as far as this turn may.
    fn meet_in_line(&mut self, displaced: &mut Vec<(FileKey, PathBuf)>, now: Now) {
        while !self.allowance.is_used_up() {
            let Some(path) = self.line.next() else { return };
            self.store.flush_if_large();
            if let Some((found, look)) = self.look_at(&path, displaced, now) {
                self.classify(&path, &found, &look, now);
            } else if let Some(key) = self.by_path.get(&path) {
                self.waiting_files.remove(key);
            }
        }
    }

    fn look_path(&self, path: &Path) -> Option<Look> {
        let found = self.discovery.found().get(path)?;
        discover::look(self.discovery.root(found.root)?, path, found).ok()
    }

    /// Looks at files that nothing hinted at: hot ones each time, the others in turn.
    fn poll(&mut self, displaced: &mut Vec<(FileKey, PathBuf)>, now: Now) {
        let most = if self.watch.is_some() { 64 } else { POLL };
        let hot: Vec<PathBuf> =
            self.hot.iter().take(most).filter_map(|id| self.streams.get(id)?.path().map(Path::to_owned)).collect();
        for path in hot {
            self.observe(&path, displaced, now);
        }
        let streams = &mut self.streams;
        self.hot.retain(|id| {
            let Some(stream) = streams.get_mut(id) else { return false };
            let hot = now.mono.duration_since(stream.changed) < HOT;
            if !hot && !stream.is_busy() {
                stream.rest();
            }
            hot
        });
        let total = self.discovery.found().len();
        if total == 0 {
            return;
        }
        // Files in watched folders announce themselves: looking at them is only a safety net.
        let quota = if self.watch.is_some() { POLL.min(total.div_ceil(60).max(100)) } else { POLL.min(total) };
        let start = self.polled % total;
        let paths: Vec<PathBuf> = self.discovery.found().keys().cycle().skip(start).take(quota).cloned().collect();
        self.polled = start + quota;
        for path in paths {
            self.observe(&path, displaced, now);
        }
    }

    /// Looks at a path that a source names, and makes the picture agree with it.
    pub(super) fn observe(&mut self, path: &Path, displaced: &mut Vec<(FileKey, PathBuf)>, now: Now) {
        if let Some((found, look)) = self.look_at(path, displaced, now) {
            self.meet(path, &found, &look, now);
        }
    }

    /// The same, but for a file that no stream holds: that one is answered.
    fn look_at(&mut self, path: &Path, displaced: &mut Vec<(FileKey, PathBuf)>, now: Now) -> Option<(Found, Look)> {
        let found = self.discovery.found().get(path).cloned()?;
        let root = self.discovery.root(found.root).cloned()?;
        let look = match discover::look(&root, path, &found) {
            Ok(look) if look.kind == FileKind::File && !self.setup.own_files.contains(&look.key) => look,
            Ok(_) => return None,
            Err(error) if error.is_absent() => {
                if let Some(key) = self.by_path.remove(path) {
                    displaced.push((key, path.to_owned()));
                }
                self.listed = true;
                return None;
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "failed to look at a file");
                return None;
            }
        };
        if let Some(before) = self.by_path.insert(path.to_owned(), look.key)
            && before != look.key
        {
            displaced.push((before, path.to_owned()));
        }
        let Some(id) = self.by_key.get(&look.key).copied() else { return Some((found, look)) };
        self.seen_at(id, path, &look, now);
        None
    }

    /// A stream's file was seen at a path.
    pub(super) fn seen_at(&mut self, id: StreamId, path: &Path, look: &Look, now: Now) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.source.is_none() {
            let name = self.store.model().streams.get(&id).map(|r| r.source.as_str());
            stream.source = self.plan.sources.iter().position(|s| Some(s.name.as_str()) == name);
        }
        let elsewhere = match &stream.place {
            Place::At(old) if old == path => false,
            // Two names of one file: the one that is known stays as long as it is right.
            Place::At(old) => self.by_path.get(old) != Some(&look.key) || !self.discovery.found().contains_key(old),
            _ => true,
        };
        if elsewhere {
            stream.place = Place::At(path.to_owned());
            stream.wake();
            self.put_place(id);
        }
        self.grown(id, look, now);
    }

    /// Takes in a look at a stream's file.
    pub(super) fn grown(&mut self, id: StreamId, look: &Look, now: Now) {
        let Some(record) = self.store.model().streams.get(&id) else { return };
        let frontier = record.frontier.offset;
        let joined = if record.is_joined() { record.joined_len } else { 0 };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.compression != Compression::None {
            // Its size on disk says nothing of what it holds.
            if look.modified == stream.modified {
                stream.sure.get_or_insert(now.mono);
            } else {
                stream.modified = look.modified;
                stream.sure = None;
                stream.wake();
                self.stuck = false;
            }
            return;
        }
        // While it may be cut, its size says nothing; it is looked at again at once.
        if stream.cutting {
            return;
        }
        let size = stream.base + look.size + joined;
        let moved = size != stream.size || look.modified != stream.modified;
        // Unchanged since it was seen last, maybe by an earlier run. Whether a changed one is still itself comes out when it is read.
        if !moved && !self.doubtful.contains_key(&id) {
            stream.sure = Some(now.mono);
        }
        if moved {
            stream.changed = now.mono;
            stream.modified = look.modified;
            stream.wake();
            stream.finished = false;
            self.doubtful.entry(id).or_insert(now.mono);
            self.hot.insert(id);
            self.stuck = false;
        }
        // What only ever grows has started over when it is shorter than it was.
        if size < frontier.max(stream.size) {
            // What was seen of it before it shrank was its own.
            stream.known = stream.known.max(stream.size);
            self.started_over(id, now);
        } else {
            stream.size = size;
        }
    }

    /// Enters where a stream's file is now.
    pub(super) fn put_place(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(&id) else { return };
        let Some(mut record) = self.store.model().streams.get(&id).cloned() else { return };
        if let Some(extent) = record.extents.last_mut() {
            if let Some(path) = stream.path() {
                extent.path = path_bytes(path);
            }
            extent.file = stream.key;
            extent.compression = stream.compression.number();
        }
        record.seen = record.seen.max(stream.size);
        record.modified = stream.modified;
        record.base = stream.base;
        self.store.put(Kind::StreamPut(record));
    }

    /// A path no longer holds a file that it held.
    fn displace(&mut self, key: FileKey, path: &Path, now: Now) {
        if let Some(copy) = self.store.model().copies.get(&key)
            && !self.by_path.values().any(|k| *k == copy.file)
        {
            self.store.put(Kind::CopyGone(key));
            return;
        }
        self.unusable.remove(&key);
        self.waiting_files.remove(&key);
        if let Some(id) = self.by_key.get(&key).copied() {
            self.displace_stream(id, path, now);
        }
    }

    /// A path no longer holds a stream's file.
    pub(super) fn displace_stream(&mut self, id: StreamId, path: &Path, now: Now) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let key = stream.key;
        if stream.place != Place::At(path.to_owned()) {
            return;
        }
        stream.wake();
        // Another name of the same file may be in the picture already.
        if let Some((other, _)) = self.by_path.iter().find(|(_, k)| **k == key) {
            stream.place = Place::At(other.clone());
            self.put_place(id);
            return;
        }
        if let Ok(Some(look)) = stream.look() {
            stream.place = if look.links == 0 { Place::Unlinked } else { Place::Moved(path.to_owned()) };
            self.grown(id, &look, now);
        } else {
            stream.place = Place::Moved(path.to_owned());
        }
        let is_moved = self.streams.get(&id).is_some_and(|s| matches!(s.place, Place::Moved(_)));
        if is_moved {
            self.find_moved(id, now);
        }
    }

    /// Looks for a renamed file in the folders that the patterns reach, under names that no pattern matches.
    fn find_moved(&mut self, id: StreamId, now: Now) {
        let Some(stream) = self.streams.get(&id) else { return };
        let (key, open) = (stream.key, stream.is_open());
        let mut folders: Vec<(PathBuf, std::sync::Arc<crate::source::root::Root>)> =
            self.discovery.folders().map(|(p, r)| (p.to_owned(), std::sync::Arc::clone(r))).collect();
        // The folder in which it was is the most likely one.
        if let Some(parent) = stream.path().and_then(Path::parent) {
            folders.sort_by_key(|(p, _)| p != parent);
        }
        let place = folders.iter().find_map(|(folder, root)| find_inode(root, folder, key));
        let Some(stream) = self.streams.get_mut(&id) else { return };
        match place {
            Some(path) => {
                stream.place = Place::Moved(path);
                self.put_place(id);
            }
            // Moved out of every folder, but open: it can be read to its end all the same.
            None if open => {}
            None => self.orphan(id, now),
        }
    }

    /// A stream's content is nowhere to be found. It may turn up: see `end_streams`.
    pub(super) fn orphan(&mut self, id: StreamId, now: Now) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        // An inode may be another stream's by now.
        if self.by_key.get(&stream.key) == Some(&id) {
            self.by_key.remove(&stream.key);
        }
        stream.lose_file();
        self.orphans.insert(id, now.mono);
        // What was taken for its copy may be all that is left of it.
        let copies: Vec<FileKey> =
            self.store.model().copies.values().filter(|c| c.stream == id.0).map(|c| c.file).collect();
        for key in copies {
            self.store.put(Kind::CopyGone(key));
            if let Some((path, _)) = self.by_path.iter().find(|(_, k)| **k == key) {
                self.relook.insert(path.clone());
            }
        }
        // Files of the same source that nothing was decided about yet are looked at again too.
        self.unusable.clear();
        self.discovery.touch_all();
        self.listed = true;
    }

    /// A stream's file holds other bytes now.
    pub(super) fn started_over(&mut self, id: StreamId, now: Now) {
        let Some(stream) = self.streams.get(&id) else { return };
        let path = stream.path().map(Path::to_owned);
        tracing::info!(stream = %id, path = ?path, "the file started over");
        // The size may be that of what came after.
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.size = stream.known;
        }
        self.counters.started_over += 1;
        self.orphan(id, now);
        if let Some(path) = path {
            self.by_path.remove(&path);
            self.relook.insert(path);
        }
    }

    /// Looks at open files that have no path in the picture.
    fn refresh_open(&mut self, now: Now) {
        let aside: Vec<StreamId> = self
            .streams
            .values()
            .filter(|s| matches!(s.place, Place::Unlinked | Place::Moved(_)))
            .map(|s| s.id)
            .collect();
        for id in aside {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            match stream.look() {
                Ok(Some(look)) => {
                    if look.links == 0 && matches!(stream.place, Place::Moved(_)) {
                        stream.place = Place::Unlinked;
                    }
                    self.grown(id, &look, now);
                }
                Ok(None) => {
                    if self.open(id).is_err()
                        && matches!(self.streams.get(&id).map(|s| &s.place), Some(Place::Moved(_)))
                    {
                        self.find_moved(id, now);
                    }
                }
                Err(error) => tracing::warn!(stream = %id, %error, "failed to look at an open file"),
            }
        }
    }

    /// Opens a stream's file by its path, if it is still that file.
    pub(super) fn open(&mut self, id: StreamId) -> Result<(), ReadError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.is_open() {
            return Ok(());
        }
        let absent = || ReadError::Io(std::io::Error::from(std::io::ErrorKind::NotFound));
        let path = stream.path().ok_or_else(absent)?.to_owned();
        let root =
            self.discovery.folders().find(|(f, _)| Some(*f) == path.parent()).map(|(_, r)| std::sync::Arc::clone(r));
        let file = root.ok_or_else(absent)?.open_file(&path).map_err(|error| match error {
            crate::source::root::Error::Io(error) => ReadError::Io(error),
            outside @ crate::source::root::Error::Outside { .. } => {
                ReadError::Io(std::io::Error::other(outside.to_string()))
            }
        })?;
        let look = Look::at_file(&file)?;
        if look.key != stream.key {
            self.relook.insert(path);
            return Err(absent());
        }
        stream.open(file);
        Ok(())
    }

    /// Closes files that owe nothing, the ones that changed longest ago first, so that not too many are open.
    fn close_idle(&mut self) {
        let open = self.streams.values().filter(|s| s.is_open()).count();
        let over = open.saturating_sub(self.plan.limits.open_files);
        if over == 0 {
            return;
        }
        let mut idle: Vec<(Instant, StreamId)> = self
            .streams
            .values()
            .filter(|s| s.is_open() && !s.is_busy() && matches!(s.place, Place::At(_)) && !self.owes(s.id))
            .map(|s| (s.changed, s.id))
            .collect();
        idle.sort();
        for (_, id) in idle.into_iter().take(over) {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.close();
            }
        }
    }

    /// Whether a required lane has not settled all that is known of a stream.
    pub(super) fn owes(&self, id: StreamId) -> bool {
        let Some(stream) = self.streams.get(&id) else { return false };
        self.lanes
            .iter()
            .filter(|l| l.plan.required)
            .filter_map(|l| l.tracks.get(&id))
            .any(|t| t.settled.offset < stream.size)
    }

    /// Brings the streams of the state to life; where their files are now comes out in the first scan.
    pub(super) fn resume_streams(&mut self, now: Now) {
        let mut records: Vec<_> = self.store.model().streams.iter().map(|(id, r)| (*id, r.clone())).collect();
        // Where a file was truncated, several have the same inode: it is the last one's.
        records.sort_by_key(|(_, r)| r.begun);
        for (id, record) in records {
            self.last_begun = self.last_begun.max(record.begun);
            self.index_lead(id, record.lead_hash);
            if record.phase != 0 {
                continue;
            }
            let stream = Stream::new(&record, id, now.mono);
            self.by_key.insert(stream.key, id);
            if let Some(path) = stream.path() {
                self.by_path.insert(path.to_owned(), stream.key);
            }
            self.newest_stale = true;
            self.streams.insert(id, stream);
        }
    }

    /// Streams of the state that the first scan did not find anywhere.
    fn after_first_scan(&mut self, now: Now) {
        let missing: Vec<(StreamId, PathBuf)> = self
            .streams
            .values()
            .filter_map(|s| {
                let path = s.path()?;
                let named = self.discovery.found().contains_key(path) && self.by_path.get(path) == Some(&s.key);
                (!named && !s.is_open()).then(|| (s.id, path.to_owned()))
            })
            .collect();
        for (id, path) in missing {
            self.by_path.remove(&path);
            let wanted = self
                .store
                .model()
                .streams
                .get(&id)
                .is_some_and(|r| self.plan.sources.iter().any(|s| s.name == r.source));
            if wanted {
                self.displace_stream(id, &path, now);
            }
        }
    }

    pub(super) fn forget_lead(&mut self, id: StreamId, lead: u64) {
        if let Some(ids) = self.by_lead.get_mut(&lead) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_lead.remove(&lead);
            }
        }
    }

    pub(super) fn index_lead(&mut self, id: StreamId, lead: u64) {
        if lead != 0 {
            let ids = self.by_lead.entry(lead).or_default();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
}

/// Finds a file by its inode among the names of a folder.
fn find_inode(root: &crate::source::root::Root, folder: &Path, key: FileKey) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let fd = root.open_folder(folder).ok()?;
    for entry in rustix::fs::Dir::read_from(&fd).ok()? {
        let entry = entry.ok()?;
        if entry.ino() != key.ino {
            continue;
        }
        let path = folder.join(std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()));
        if root.look(&path).is_ok_and(|look| look.key == key) {
            return Some(path);
        }
    }
    None
}
