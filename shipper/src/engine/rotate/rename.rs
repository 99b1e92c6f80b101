//! Rotates live files by renaming them and making their writer open a new one.
//!
//! What the file is called now is entered before it is renamed, so that after a crash the writer is asked again. A renamed file is followed
//! like one that someone else renamed; it is compressed when its writer has let go of it and every lane has all of it, and removed when
//! its archive is entered.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::plan::RotationMode;
use crate::rotate::collapse::Site;
use crate::rotate::cycle::{LiveName, suffix};
use crate::rotate::piece::Piece;
use crate::rotate::worker::{Job, Victim};
use crate::source::archived;
use crate::source::decompress::Compression;
use crate::source::lease::Writers;
use crate::source::stream::{Place, bytes_path, framing_of, path_bytes};
use crate::state::StreamId;
use crate::state::entry::{ArchiveRecord, Extent, FileKey, Kind, Position, StreamRecord};
use crate::state::ledger::Action;

use super::super::{Engine, Now};
use super::{Rotation, Step};

/// How often a writer is asked that holds on to a renamed file.
const ASK: Duration = Duration::from_secs(2);
/// How long it may hold on before that is said.
const SAY: Duration = Duration::from_secs(20);
/// Renamed files that are compressed at a time.
const MOST: usize = 4;

/// A writer that was asked to let go of a renamed file.
pub(super) struct Asked {
    first: Instant,
    last: Option<Instant>,
    /// Why it does not, once that was said.
    pub(super) told: Option<String>,
}

impl Engine {
    /// Enters under which name a live file was, and has it renamed.
    pub(super) fn begin_rename(&mut self, id: StreamId, now: Now) {
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return self.abort(id) };
        self.say_lifted(id, "any more when it is renamed", now);
        let Some(rotation) = self.rotations.under_way.get_mut(&id) else { return };
        let renamed_from = path_bytes(&rotation.path);
        self.store.put(Kind::StreamPut(StreamRecord { renamed_from, rotation: now.wall, ..record }));
        rotation.step = Step::Renaming { ticket: self.store.flush() };
    }

    /// The intent is durable.
    pub(super) fn rename(&mut self, id: StreamId) {
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return self.abort(id) };
        let Some(plan) = self.rotation_plan(&record).cloned() else { return self.abort(id) };
        let RotationMode::Rename(reopen) = plan.mode else { return self.abort(id) };
        let began = self.cycle_began(&record);
        let live_path = record.renamed_from.clone();
        let taken = self.taken_names(&live_path);
        let Some(rotation) = self.rotations.under_way.get_mut(&id) else { return };
        rotation.step = Step::Working;
        let Some(stream) = self.streams.get(&id) else { return self.abort(id) };
        let name = rotation.path.file_name().unwrap_or_default().to_owned();
        let site = Site { folder: Arc::clone(&rotation.live), name, key: stream.key };
        let live = LiveName::of(&rotation.path);
        self.submit(
            id,
            Job::Rename { stream: id, site, live, cycle: plan.cycle, began: Box::new(began), taken, reopen },
        );
    }

    /// The file has another name, and its writer was asked.
    pub(super) fn renamed(&mut self, id: StreamId, result: std::io::Result<Result<(), String>>, now: Now) {
        let path = self.rotations.under_way.get(&id).map(|r| r.path.clone());
        match result {
            Ok(asked) => {
                self.rotations.under_way.remove(&id);
                let asked_at = Asked { first: now.mono, last: Some(now.mono), told: None };
                self.rotations.asked.insert(id, asked_at);
                if let Err(why) = asked {
                    self.say_not_reopened(id, &why, now);
                }
                if let Some(path) = path {
                    self.relook.insert(path);
                }
                self.discovery.touch_all();
                self.listed = true;
            }
            Err(error) => {
                if let Some(record) = self.store.model().streams.get(&id).cloned() {
                    self.store.put(Kind::StreamPut(StreamRecord { renamed_from: Vec::new(), ..record }));
                }
                self.refuse_rotation(id, &format!("it cannot be renamed: {error}"), now);
            }
        }
    }

    /// Asks writers again that hold on to renamed files, and has files compressed that nobody needs any more as they are.
    pub(super) fn follow_renamed(&mut self, now: Now) {
        let renamed: Vec<(StreamId, StreamRecord)> = self
            .store
            .model()
            .streams
            .iter()
            .filter(|(id, r)| !r.renamed_from.is_empty() && !self.rotations.is_under_way(**id))
            .map(|(id, r)| (*id, r.clone()))
            .collect();
        self.rotations.asked.retain(|id, _| renamed.iter().any(|(renamed, _)| renamed == id));
        let mut begun = 0;
        for (id, record) in renamed {
            let Some(stream) = self.streams.get(&id) else {
                // It ended: everything of it is settled, and nobody can write to it.
                begun += usize::from(begun < MOST && self.compress_renamed(id, &record, now));
                continue;
            };
            let live = bytes_path(&record.renamed_from);
            if matches!(&stream.place, Place::At(path) if *path == live) {
                // A crash came before it was renamed; or the folder was not looked at since.
                use std::os::unix::fs::MetadataExt as _;
                if std::fs::symlink_metadata(&live).is_ok_and(|m| m.ino() == stream.key.ino) {
                    self.store.put(Kind::StreamPut(StreamRecord { renamed_from: Vec::new(), ..record }));
                }
                continue;
            }
            if !stream.finished {
                self.confirm_end(id, now);
                self.ask_again(id, &record, now);
                continue;
            }
            self.rotations.asked.remove(&id);
            let settled = self.is_settled(id, &record) && stream.size <= record.frontier.read_from();
            if settled && begun < MOST {
                begun += usize::from(self.compress_renamed(id, &record, now));
            }
        }
    }

    fn ask_again(&mut self, id: StreamId, record: &StreamRecord, now: Now) {
        let Some(stream) = self.streams.get(&id) else { return };
        let held = stream.writers() != Writers::None;
        let asked = self.rotations.asked.entry(id).or_insert(Asked { first: now.mono, last: None, told: None });
        if !held || asked.last.is_some_and(|at| now.mono.duration_since(at) < ASK) {
            return;
        }
        asked.last = Some(now.mono);
        let late = now.mono.duration_since(asked.first) > SAY && asked.told.is_none();
        let reopen = self.rotation_plan(record).and_then(|p| match &p.mode {
            RotationMode::Rename(reopen) => Some(reopen.clone()),
            RotationMode::Collapse => None,
        });
        if let Some(reopen) = reopen {
            self.send_job(Job::Reopen(id, reopen));
        }
        if late {
            self.say_not_reopened(id, "it still holds the renamed file open for writing", now);
        }
    }

    /// Says once for each rotation that a writer does not reopen its file. Nothing is compressed under it.
    pub(super) fn say_not_reopened(&mut self, id: StreamId, why: &str, now: Now) {
        let Some(asked) = self.rotations.asked.get_mut(&id).filter(|a| a.told.is_none()) else { return };
        asked.told = Some(why.to_owned());
        let live = self.store.model().streams.get(&id).map(|r| bytes_path(&r.renamed_from)).unwrap_or_default();
        let fields = json!({"stream": id.to_string(), "path": live.to_string_lossy(), "reason": why});
        let message = format!("the writer of {} did not open it anew: {why}", live.display());
        self.store.enter(now.wall, Action::RotationRefused, message, &fields);
    }

    /// Has a renamed file archived as a whole; one that is not compressed is an archive as it is. False if that is not possible now.
    fn compress_renamed(&mut self, id: StreamId, record: &StreamRecord, now: Now) -> bool {
        let Some(plan) = self.rotation_plan(record).cloned() else { return false };
        let path = bytes_path(&record.extents.last().map(|e| e.path.clone()).unwrap_or_default());
        let key = record.extents.last().map(|e| e.file).unwrap_or_default();
        let done = |engine: &mut Self| {
            engine.store.put(Kind::StreamPut(StreamRecord { renamed_from: Vec::new(), ..record.clone() }));
            false
        };
        let file = match archived::open_plain(&path) {
            Ok((file, look)) if look.key == key => file,
            // Someone else moved or removed it.
            _ => return done(self),
        };
        if self.rotations.refused.get(&key).is_some_and(|(at, _)| now.mono.duration_since(*at) < super::AGAIN) {
            return false;
        }
        let from = record.archived.map_or(record.base, |p| p.offset);
        if from >= record.digest_end() {
            // Its archive is entered: a crash came before its own removal, or it could not be removed.
            self.remove_archived(id, path, key);
            return true;
        }
        let live = bytes_path(&record.renamed_from);
        let Ok((live_folder, folder, folder_path)) = self.rotation_folders(&live, record) else { return false };
        let began = self.cycle_began(record);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned() + suffix(plan.compression);
        let piece = Piece {
            live: file,
            base: record.base,
            stream: id,
            framing: framing_of(record),
            from,
            start: record.archived.unwrap_or(Position::at(record.begins_at.max(from))),
            limit: record.digest_end(),
            whole: Some((name, record.frontier)),
            compression: plan.compression,
            folder: Arc::clone(&folder),
            name: LiveName::of(&live),
            cycle: plan.cycle,
            began,
            taken: Vec::new(),
        };
        let rotation = Rotation {
            began: record.rotation,
            target: 0,
            block: 0,
            live: live_folder,
            path: live,
            folder,
            folder_path,
            names_tried: 0,
            renamed: Some((path, key)),
            step: Step::Working,
        };
        self.rotations.under_way.insert(id, rotation);
        let job = match plan.compression {
            Compression::None => Job::Seal(id, piece.live),
            Compression::Gzip | Compression::Zstd => Job::Archive(Box::new(piece)),
        };
        self.submit(id, job);
        true
    }

    /// A renamed file that stays as it is becomes an archive.
    pub(super) fn sealed(&mut self, id: StreamId, result: std::io::Result<(u64, Vec<u8>)>, now: Now) {
        let (size, digest) = match result {
            Ok(sealed) => sealed,
            Err(error) => return self.refuse_rotation(id, &format!("it cannot be archived: {error}"), now),
        };
        let Some(rotation) = self.rotations.under_way.remove(&id) else { return };
        let (Some(record), Some((path, file))) = (self.store.model().streams.get(&id).cloned(), rotation.renamed)
        else {
            return;
        };
        let from = record.archived.map_or(record.base, |p| p.offset);
        let number = self.store.model().archives_last + 1;
        let extent = Extent { from, to: record.digest_end(), path: path_bytes(&path), file, compression: 0, digest };
        self.store.put(Kind::ArchivePut(ArchiveRecord {
            number,
            stream: record.id.clone(),
            source: record.source.clone(),
            live: record.renamed_from.clone(),
            extent,
            size,
            begin: record.archived.unwrap_or(Position::at(record.begins_at.max(from))),
            end: record.frontier,
            made: now.wall,
            rotation: rotation.began,
            phase: ArchiveRecord::PLANNED,
            immutable: false,
            sink: String::new(),
        }));
        self.store.put(Kind::StreamPut(StreamRecord { renamed_from: Vec::new(), sealed: true, ..record }));
        self.adopt_archive(number, None, now);
        self.protect_archive(number);
    }

    /// The archive of a renamed file is entered: the file itself goes.
    pub(super) fn remove_renamed(&mut self, id: StreamId) {
        let Some(rotation) = self.rotations.under_way.remove(&id) else { return };
        let Some((path, key)) = rotation.renamed else { return };
        self.remove_archived(id, path, key);
    }

    fn remove_archived(&mut self, id: StreamId, path: PathBuf, key: FileKey) {
        self.rotations.removing.insert(key, id);
        self.send_job(Job::Remove(Victim { archive: None, path, key, folder: None }));
    }

    /// A file was removed, or could not be. That its rotation is over is entered only now: a crash before would leave the file for ever.
    pub(in crate::engine) fn removed_renamed(&mut self, victim: &Victim, result: &std::io::Result<()>, now: Now) {
        let Some(id) = self.rotations.removing.remove(&victim.key) else { return };
        if let Err(error) = result {
            self.rotations.refused.insert(victim.key, (now.mono, format!("it cannot be removed: {error}")));
        } else if let Some(record) = self.store.model().streams.get(&id).cloned() {
            self.store.put(Kind::StreamPut(StreamRecord { renamed_from: Vec::new(), ..record }));
        }
    }

    /// The names that the archives of a live file have or had.
    pub(super) fn taken_names(&self, live: &[u8]) -> Vec<String> {
        let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
        self.store
            .model()
            .archives
            .values()
            .filter(|a| a.live == live)
            .filter_map(|a| name(&bytes_path(&a.extent.path)))
            .collect()
    }
}
