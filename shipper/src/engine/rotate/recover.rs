//! What a crash left of a rotation, told from the files and never guessed.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use serde_json::json;

use crate::rotate::collapse::{self, Outcome};
use crate::rotate::piece::{self, TEMPORARY};
use crate::source::archived;
use crate::source::digest::{self, Digest};
use crate::source::identity::{Candidate, read_full};
use crate::source::stream::{Place, bytes_path};
use crate::state::StreamId;
use crate::state::entry::{ArchiveRecord, FileKey, Kind, Position, StreamRecord};
use crate::state::ledger::Action;

use super::super::{Engine, Now};

impl Engine {
    /// Brings the archives of the state to life, and says of those that a crash caught half-way what became of them.
    pub(in crate::engine) fn resume_archives(&mut self, now: Now) {
        let planned: Vec<u64> = self
            .store
            .model()
            .archives
            .values()
            .filter(|a| a.phase == ArchiveRecord::PLANNED)
            .map(|a| a.number)
            .collect();
        for number in planned {
            self.resolve_planned(number, now);
        }
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        ids.into_iter().for_each(|id| self.set_archives(id));
    }

    /// A planned archive is there under its name, or it is dropped.
    pub(super) fn resolve_planned(&mut self, number: u64, now: Now) {
        let Some(archive) = self.store.model().archives.get(&number).cloned() else { return };
        let path = bytes_path(&archive.extent.path);
        let is_there = archived::open_plain(&path).is_ok_and(|(_, look)| {
            (look.key.ino, look.key.born) == (archive.extent.file.ino, archive.extent.file.born)
                && look.size == archive.size
        });
        let folder = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().unwrap_or_default();
        let mut temporary = OsString::from(TEMPORARY);
        temporary.push(name);
        let done = File::open(folder).and_then(|folder| {
            let folder = OwnedFd::from(folder);
            if is_there { rustix::fs::fsync(&folder).map_err(Into::into) } else { piece::remove(&folder, &temporary) }
        });
        if let Err(error) = done {
            tracing::warn!(path = %path.display(), %error, "failed to tidy up after an archive");
        }
        if is_there {
            self.adopt_archive(number, None, now);
        } else {
            self.archive_gone(number);
        }
    }

    /// Looks at every live file of which it is not known whether it was cut.
    pub(super) fn resolve_cuts(&mut self, now: Now) {
        let open: Vec<StreamId> = self
            .streams
            .values()
            .filter(|s| s.cutting && !self.rotations.under_way.contains_key(&s.id))
            .map(|s| s.id)
            .collect();
        for id in open {
            self.resolve_cut(id, now);
        }
    }

    /// Says what became of an intended cut, from the file.
    pub(super) fn resolve_cut(&mut self, id: StreamId, now: Now) {
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return };
        let Some(cut) = record.cut.clone() else {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.cutting = false;
            }
            return;
        };
        if self.streams.get(&id).is_some_and(|s| s.place == Place::Gone) {
            // Nothing is left to be cut. If the content turns up, `cut_stream` looks at it.
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.cutting = false;
            }
            return;
        }
        // Not found yet: the folders are looked at first.
        if self.first_scan || self.open(id).is_err() {
            return;
        }
        let file = self.streams.get(&id).and_then(|s| s.duplicate().ok().flatten());
        let Some(file) = file else { return };
        match collapse::look(&file, &cut) {
            Ok(Outcome::Done) => self.commit_base(id, cut.to, now),
            Ok(Outcome::NotDone) => self.commit_base(id, cut.base, now),
            Ok(Outcome::Neither) => {
                self.rotations.under_way.remove(&id);
                self.store.put(Kind::StreamPut(StreamRecord { cut: None, ..record.clone() }));
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.cutting = false;
                }
                let path = bytes_path(&record.extents.last().map(|e| e.path.clone()).unwrap_or_default());
                let fields =
                    json!({"stream": id.to_string(), "path": path.to_string_lossy(), "base": cut.base, "to": cut.to});
                let message = format!(
                    "whether {} was cut cannot be told from its blocks; what it holds begins a new stream",
                    path.display()
                );
                self.store.enter(now.wall, Action::RotationRefused, message, &fields);
                self.started_over(id, now);
            }
            Err(error) => tracing::warn!(stream = %id, %error, "failed to look at a file that may have been cut"),
        }
    }

    /// The stream that a file goes on with whose front was cut off, if its other names and numbers changed: a device has another number
    /// after a reboot. Told by the digest of the block at the frontier.
    pub(in crate::engine) fn cut_stream(
        &mut self,
        candidate: &Candidate,
        source: &str,
        key: &FileKey,
        now: Now,
    ) -> Option<StreamId> {
        let cut = |r: &StreamRecord| r.phase == 0 && r.source == source && (r.base > 0 || r.cut.is_some());
        let model = self.store.model();
        // Asked for each file that is met: what was never cut is passed by.
        let may = self.streams.values().filter(|s| s.base > 0 || s.cutting || s.place == Place::Gone).map(|s| s.id);
        let ids: Vec<StreamId> = may.filter(|id| model.streams.get(id).is_some_and(cut)).collect();
        for id in ids {
            if self.streams.get(&id).is_some_and(|s| (s.key.ino, s.key.born) == (key.ino, key.born)) {
                self.refresh(id, now);
            }
            let readable = self.streams.get(&id).is_none_or(crate::source::stream::Stream::is_readable);
            let Some(record) = self.store.model().streams.get(&id).cloned().filter(|_| !readable) else { continue };
            let Some(base) = base_in(candidate, &record) else { continue };
            self.store.put(Kind::StreamPut(StreamRecord { base, cut: None, ..record }));
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.cutting = false;
            }
            self.cut_continues = Some((id, *key));
            return Some(id);
        }
        None
    }

    /// Bytes that lanes still need were in an archive that is gone: they are lost, and the lanes go on behind them.
    pub(in crate::engine) fn lose_missing(
        &mut self,
        id: StreamId,
        record: &StreamRecord,
        lanes: &[u32],
        to: Position,
        now: Now,
    ) {
        let path = bytes_path(&record.extents.last().map(|e| e.path.clone()).unwrap_or_default());
        let what = (path.as_path(), "the archive that held the content was removed before it was delivered");
        self.lose_to(id, record, lanes, what, to, now);
    }

    /// Enters what lanes lose, and why, and moves them behind it; those that have something under way stay for now.
    pub(in crate::engine) fn lose_to(
        &mut self,
        id: StreamId,
        record: &StreamRecord,
        lanes: &[u32],
        (path, reason): (&Path, &str),
        to: Position,
        now: Now,
    ) {
        let mut losses = Vec::new();
        for number in lanes {
            let Some(lane) = self.lanes.iter_mut().find(|l| l.number == *number) else { continue };
            let Some(track) = lane.tracks.get_mut(&id) else { continue };
            // What is under way may still be acknowledged.
            if track.under_way() > 0 || track.settled.offset >= to.offset {
                continue;
            }
            let from = track.settled.offset;
            let count = track.lose(to, record.begins_at);
            self.any_moved = true;
            losses.push((lane.plan.name.clone(), from, count.bytes));
        }
        for (lane, from, bytes) in losses {
            let fields = json!({
                "stream": id.to_string(), "source": record.source, "path": path.to_string_lossy(), "lane": lane,
                "from": from, "to": to.offset, "bytes": bytes, "more": false, "reason": reason,
            });
            let message = format!("{bytes} bytes of {} are lost for {lane}: {reason}", path.display());
            self.store.enter(now.wall, Action::Loss, message, &fields);
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.wake();
        }
    }

    /// Whether a lane has yet to read, in archives, what a live file had that is gone.
    pub(in crate::engine) fn owes_archived(&self, id: StreamId, record: &StreamRecord) -> bool {
        let Some(stream) = self.streams.get(&id) else { return false };
        let mut behind = self.lanes.iter().filter_map(|l| l.tracks.get(&id)).map(|t| t.settled.offset);
        behind.any(|at| at < record.frontier.offset && stream.is_archived(at))
    }
}

/// The base at which a file holds the end of what was handed out, if it does.
fn base_in(candidate: &Candidate, record: &StreamRecord) -> Option<u64> {
    let base = match &record.cut {
        None => record.base,
        Some(cut) => match collapse::look(&candidate.file, cut).ok()? {
            Outcome::Done => cut.to,
            Outcome::NotDone => cut.base,
            Outcome::Neither => return None,
        },
    };
    let frontier = record.digest_end();
    let start = digest::block_start(frontier);
    let mut block = vec![0; (frontier - start) as usize];
    let at = start.checked_sub(base)?;
    if block.is_empty() || read_full(&candidate.file, &mut block, at).ok()? < block.len() {
        return None;
    }
    let mut digest = Digest::resume(digest::hash_from(&record.chain)?, start);
    digest.update(&block);
    (digest::hash_from(&record.digest) == Some(digest.digest())).then_some(base)
}
