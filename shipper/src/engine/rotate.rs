//! Rotates live files by cutting their front off: decides when, and takes each step only when the one before it is durable.
//!
//! The steps of a piece, and what a crash behind each leaves: the archive *written* under a temporary name (it is removed when the next
//! one is written), *entered* as planned (it is dropped, or adopted if it had its name already), *named*, the cut *intended* together
//! with the archive that is there now (the file itself tells whether it was cut), *cut*, the new base *committed*.

mod begin;
mod recover;
mod rename;
mod report;

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::plan::RotationMode;
use crate::rotate::collapse::{self, Block, Site};
use crate::rotate::cycle::LiveName;
use crate::rotate::piece::{Piece, Written};
use crate::rotate::worker::{Archivist, Done, Job};
use crate::rotate::{fault, piece, suit};
use crate::source::stream::{framing_of, path_bytes};
use crate::state::StreamId;
use crate::state::entry::{ArchiveGone, ArchiveRecord, Cut, Extent, FileKey, Kind, Position, StreamRecord};
use crate::state::ledger::Action;

use super::{Engine, Now};

/// How often it is looked whether a file is to be rotated.
const LOOK: Duration = Duration::from_millis(250);
/// A file that could not be rotated is tried again after this.
const AGAIN: Duration = Duration::from_secs(15);
/// Names that are tried for one archive, if others take them meanwhile.
const NAMES: u32 = 8;

/// The rotations under way, and the thread that does what takes long.
#[derive(Default)]
pub(super) struct Rotations {
    archivist: Option<Archivist>,
    under_way: HashMap<StreamId, Rotation>,
    /// Renamed files that go because they are archived, and whose they are.
    removing: HashMap<FileKey, StreamId>,
    /// Files that cannot be rotated, why, and when that was found.
    refused: HashMap<FileKey, (Instant, String)>,
    /// Writers of renamed files that were asked to open a new one.
    asked: HashMap<StreamId, rename::Asked>,
    looked: Option<Instant>,
    cycles_looked: Option<Instant>,
}

/// The rotation of one live file.
struct Rotation {
    /// When it began, nanoseconds since 1970 UTC: its pieces have it in common.
    began: i64,
    /// What is to be archived ends here.
    target: u64,
    /// Block size of the file system, in bytes.
    block: u64,
    /// Where the live file is.
    live: Arc<OwnedFd>,
    path: PathBuf,
    /// Where archives go.
    folder: Arc<OwnedFd>,
    folder_path: PathBuf,
    names_tried: u32,
    /// The file that goes when its archive is entered.
    renamed: Option<(PathBuf, FileKey)>,
    step: Step,
}

/// What is being waited for.
enum Step {
    /// The archivist is at it.
    Working,
    /// Until the intent to rename is durable.
    Renaming {
        ticket: u64,
    },
    /// Until the plan is durable.
    Entering {
        ticket: u64,
        number: u64,
        temporary: OsString,
        name: OsString,
    },
    Naming {
        number: u64,
        cut: u64,
    },
    /// Until the archive and the intent are durable.
    Intending {
        ticket: u64,
        cut: Option<Cut>,
    },
    /// Until the new base is durable.
    Committing {
        ticket: u64,
    },
}

impl Rotations {
    /// Whether a stream's live file is being rotated.
    pub(super) fn is_under_way(&self, id: StreamId) -> bool {
        self.under_way.contains_key(&id) || self.removing.values().any(|removing| *removing == id)
    }
}

impl Engine {
    /// Gives the engine the thread that archives and cuts; without it nothing is rotated.
    pub fn set_archivist(&mut self, archivist: Archivist) {
        self.rotations.archivist = Some(archivist);
    }

    /// Takes the next step of every rotation that can take one, and begins what is due.
    pub(super) fn rotate(&mut self, now: Now) {
        self.resolve_cuts(now);
        let durable = self.store.durable();
        let ready: Vec<StreamId> = self
            .rotations
            .under_way
            .iter()
            .filter(|(_, r)| match &r.step {
                Step::Renaming { ticket }
                | Step::Entering { ticket, .. }
                | Step::Intending { ticket, .. }
                | Step::Committing { ticket } => *ticket <= durable,
                Step::Working | Step::Naming { .. } => false,
            })
            .map(|(id, _)| *id)
            .collect();
        for id in ready {
            self.step(id, now);
        }
        let due = self.rotations.looked.is_none_or(|at| now.mono.duration_since(at) >= LOOK);
        if due && self.draining.is_none() {
            self.rotations.looked = Some(now.mono);
            self.begin_rotations(now);
            self.follow_renamed(now);
        }
    }

    /// What was to be durable is.
    fn step(&mut self, id: StreamId, now: Now) {
        let Some(rotation) = self.rotations.under_way.get_mut(&id) else { return };
        match std::mem::replace(&mut rotation.step, Step::Working) {
            Step::Entering { number, temporary, name, .. } => {
                fault::point("archive-entered");
                let folder = Arc::clone(&rotation.folder);
                let cut = self.place_to_cut(id, number);
                let Some(rotation) = self.rotations.under_way.get_mut(&id) else { return };
                rotation.step = Step::Naming { number, cut: cut.as_ref().map_or(0, |(_, to)| *to) };
                let base = self.streams.get(&id).map_or(0, |s| s.base);
                let block = rotation.block;
                let cut = cut.map(|(file, to)| (file, to - base, block));
                self.submit(id, Job::Name { stream: id, folder, temporary, name, cut });
            }
            Step::Renaming { .. } => self.rename(id),
            Step::Intending { .. } if rotation.renamed.is_some() => self.remove_renamed(id),
            Step::Intending { cut: None, .. } => self.next_piece(id, now),
            Step::Intending { cut: Some(cut), .. } => {
                fault::point("intent-entered");
                let name = rotation.path.file_name().unwrap_or_default().to_owned();
                let folder = Arc::clone(&rotation.live);
                let Some(stream) = self.streams.get_mut(&id) else { return self.abort(id) };
                // From here until it is known what became of the cut, nothing is read.
                stream.cutting = true;
                let site = Site { folder, name, key: stream.key };
                self.submit(id, Job::Cut(id, site, cut));
            }
            Step::Committing { .. } => {
                fault::point("base-committed");
                self.next_piece(id, now);
            }
            other @ (Step::Working | Step::Naming { .. }) => rotation.step = other,
        }
    }

    /// Takes in what the archivist did.
    pub(super) fn rotated(&mut self, done: Done, now: Now) {
        self.stuck = false;
        match done {
            Done::Examined(id, Ok(block), protects) => self.examined(id, block, protects, now),
            Done::Examined(id, Err(unsuited), _) => self.refuse_rotation(id, &unsuited.to_string(), now),
            Done::Guarded(guard, result) => self.guarded(&guard, result, now),
            Done::Archived(id, Ok(Some(written))) => self.enter_archive(id, written, now),
            Done::Archived(id, Ok(None)) => self.end_rotation(id),
            Done::Archived(id, Err(error)) => self.refuse_rotation(id, &format!("it cannot be archived: {error}"), now),
            Done::Named(id, Ok(block)) => self.intend(id, block, now),
            Done::Named(id, Err(error)) => self.not_named(id, &error, now),
            Done::Renamed(id, result) => self.renamed(id, result, now),
            Done::Sealed(id, result) => self.sealed(id, result, now),
            Done::Reopened(id, Err(why)) => self.say_not_reopened(id, &why, now),
            Done::Reopened(_, Ok(())) => {}
            Done::Removed(victim, result) => self.removed(&victim, result, now),
            Done::Digested { sink, live, file, result } => self.digested((sink, live, &file), result, now),
            Done::Cut(id, result) => {
                if let Err(error) = result {
                    self.refuse_rotation(id, &format!("its front cannot be cut off: {error}"), now);
                }
                self.resolve_cut(id, now);
            }
        }
    }

    /// The live file can be cut.
    fn examined(&mut self, id: StreamId, block: u64, protects: Result<(), String>, now: Now) {
        let Some(rotation) = self.rotations.under_way.get_mut(&id) else { return };
        rotation.block = block;
        let path = rotation.path.clone();
        let source = self.store.model().streams.get(&id).map(|r| r.source.clone()).unwrap_or_default();
        let renames = self.plan.sources.iter().any(|s| {
            s.name == source && s.rotation.as_ref().is_some_and(|r| matches!(r.mode, RotationMode::Rename(_)))
        });
        match self.must_refuse(&source, &path, protects, now) {
            Some(reason) => self.refuse_rotation(id, &reason, now),
            None if renames => self.begin_rename(id, now),
            None => self.next_piece(id, now),
        }
    }

    /// Hands a job over, or gives the rotation up if the thread is gone.
    fn submit(&mut self, id: StreamId, job: Job) {
        if !self.rotations.archivist.as_ref().is_some_and(|a| a.submit(job)) {
            tracing::error!(stream = %id, "the archivist is gone");
            self.abort(id);
        }
    }

    /// Hands a job over that belongs to no rotation.
    pub(super) fn send_job(&mut self, job: Job) {
        if !self.rotations.archivist.as_ref().is_some_and(|a| a.submit(job)) {
            tracing::error!("the archivist is gone");
        }
    }

    /// Enters, beforehand, that a protected live file loses its attribute.
    fn say_lifted(&mut self, id: StreamId, what_for: &str, now: Now) {
        let source = self.streams.get(&id).and_then(|s| self.plan.sources.get(s.source?));
        if source.is_some_and(|s| s.protect.live) {
            let message = format!("stream {id}: its live file is append-only, and is not {what_for}");
            self.store.enter(now.wall, Action::ProtectionLifted, message, &json!({"stream": id.to_string()}));
        }
    }

    /// Lets go of a rotation. What it has done so far stays.
    fn abort(&mut self, id: StreamId) {
        self.rotations.under_way.remove(&id);
    }

    /// Says once a while why a file is not rotated.
    fn refuse_rotation(&mut self, id: StreamId, reason: &str, now: Now) {
        let rotation = self.rotations.under_way.remove(&id);
        let stream = self.streams.get(&id);
        let renamed = rotation.as_ref().and_then(|r| r.renamed.as_ref()).map(|(_, key)| *key);
        let Some(key) = renamed.or(stream.map(|s| s.key)) else { return };
        let stream_path = stream.and_then(|s| s.path()).map(ToOwned::to_owned);
        let known = self.rotations.refused.insert(key, (now.mono, reason.to_owned()));
        if self.awaits_restart(reason) || known.is_some_and(|(_, before)| before == reason) {
            return;
        }
        let path = rotation.map(|r| r.path).or(stream_path).unwrap_or_default();
        let fields = json!({"stream": id.to_string(), "path": path.to_string_lossy(), "reason": reason});
        let message = format!("{} is not rotated: {reason}", path.display());
        self.store.enter(now.wall, Action::RotationRefused, message, &fields);
    }

    /// Whether a file is not rotated because this pod does not mount its folder for writing yet: its next start brings that.
    fn awaits_restart(&self, reason: &str) -> bool {
        self.setup.in_pod && reason == suit::READ_ONLY
    }

    /// Has the next stretch archived, or ends the rotation.
    fn next_piece(&mut self, id: StreamId, now: Now) {
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return self.abort(id) };
        let Some(plan) = self.rotation_plan(&record).cloned() else { return self.abort(id) };
        let began = self.cycle_began(&record);
        let Some(rotation) = self.rotations.under_way.get_mut(&id) else { return };
        let from = record.archived.map_or(record.base, |p| p.offset);
        if from >= rotation.target || self.draining.is_some() {
            return self.end_rotation(id);
        }
        rotation.step = Step::Working;
        let Some(stream) = self.streams.get(&id) else { return self.abort(id) };
        let live = match stream.duplicate() {
            Ok(Some(file)) => file,
            Ok(None) => return self.abort(id),
            Err(error) => return self.refuse_rotation(id, &format!("it cannot be read: {error}"), now),
        };
        let (folder, target, path) = (Arc::clone(&rotation.folder), rotation.target, rotation.path.clone());
        let piece = Piece {
            live,
            base: stream.base,
            stream: id,
            framing: framing_of(&record),
            from,
            start: record.archived.unwrap_or(Position::at(record.begins_at.max(from))),
            limit: target,
            whole: None,
            compression: plan.compression,
            folder,
            name: LiveName::of(&path),
            cycle: plan.cycle,
            began,
            taken: self.taken_names(&path_bytes(&path)),
        };
        self.submit(id, Job::Archive(Box::new(piece)));
    }

    /// An archive is complete under its temporary name: it is entered before it gets its own.
    fn enter_archive(&mut self, id: StreamId, written: Written, now: Now) {
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return self.abort(id) };
        let Some(rotation) = self.rotations.under_way.get_mut(&id) else { return };
        // Of a renamed file every byte was settled already; a live one may have started over while it was read.
        let still = rotation.renamed.is_some()
            || self.streams.get_mut(&id).is_some_and(|s| s.is_open() && s.verify(&record).is_ok());
        if !still {
            let removed = piece::remove(&rotation.folder, &written.temporary);
            if let Err(error) = removed {
                tracing::warn!(stream = %id, %error, "failed to remove an archive that was not finished");
            }
            return self.abort(id);
        }
        let number = self.store.model().archives_last + 1;
        let Some(rotation) = self.rotations.under_way.get_mut(&id) else { return };
        let name = OsString::from(&written.name);
        let archive = ArchiveRecord {
            number,
            stream: record.id.clone(),
            source: record.source.clone(),
            live: path_bytes(&rotation.path),
            extent: Extent {
                from: record.archived.map_or(record.base, |p| p.offset),
                to: if rotation.renamed.is_some() { record.digest_end() } else { written.end.offset },
                path: path_bytes(&rotation.folder_path.join(&name)),
                file: written.file,
                compression: written.compression.number(),
                digest: written.digest.to_vec(),
            },
            size: written.size,
            begin: record.archived.unwrap_or(Position::at(record.begins_at.max(record.base))),
            end: written.end,
            made: now.wall,
            rotation: rotation.began,
            phase: ArchiveRecord::PLANNED,
            immutable: false,
            sink: String::new(),
        };
        self.store.put(Kind::ArchivePut(archive));
        let ticket = self.store.flush();
        rotation.step = Step::Entering { ticket, number, temporary: written.temporary, name };
    }

    /// Where the live file could be cut once this archive is there, and the file.
    fn place_to_cut(&self, id: StreamId, number: u64) -> Option<(std::fs::File, u64)> {
        let record = self.store.model().streams.get(&id)?;
        let archive = self.store.model().archives.get(&number)?;
        let stream = self.streams.get(&id)?;
        let block = self.rotations.under_way.get(&id).filter(|r| r.renamed.is_none())?.block;
        let to = collapse::cut_at(stream.base, archive.extent.to, record.frontier.offset, block);
        let file = stream.duplicate().ok().flatten().filter(|_| to > stream.base)?;
        Some((file, to))
    }

    /// The archive is there: it is entered together with the intent to cut.
    fn intend(&mut self, id: StreamId, block: Option<Block>, now: Now) {
        let Some(rotation) = self.rotations.under_way.get(&id) else { return };
        let Step::Naming { number, cut } = &rotation.step else { return };
        let (number, to) = (*number, *cut);
        let block_len = rotation.block;
        let intent = block.filter(|_| to > 0).map(|block| Cut {
            base: self.streams.get(&id).map_or(0, |s| s.base),
            to,
            physical: block.physical,
            hash: block.hash.to_vec(),
            block: block_len,
        });
        self.adopt_archive(number, intent.clone(), now);
        self.protect_archive(number);
        if intent.is_some() {
            self.say_lifted(id, "while its front is cut off", now);
        }
        let ticket = self.store.flush();
        if let Some(rotation) = self.rotations.under_way.get_mut(&id) {
            rotation.names_tried = 0;
            rotation.step = Step::Intending { ticket, cut: intent };
        }
    }

    /// Enters that an archive is there, and that its stream is archived so far.
    pub(super) fn adopt_archive(&mut self, number: u64, cut: Option<Cut>, now: Now) {
        let Some(mut archive) = self.store.model().archives.get(&number).cloned() else { return };
        archive.phase = ArchiveRecord::THERE;
        let path = crate::source::stream::bytes_path(&archive.extent.path);
        let id = StreamId::from_slice(&archive.stream).unwrap_or_default();
        let fields = json!({
            "archive": number, "stream": id.to_string(), "source": archive.source, "path": path.to_string_lossy(),
            "live": crate::source::stream::bytes_path(&archive.live).to_string_lossy(),
            "from": archive.extent.from, "to": archive.extent.to,
            "firstRecord": archive.begin.seq + 1, "lastRecord": archive.end.seq,
            "size": archive.size, "digest": crate::source::digest::hex(&archive.extent.digest),
        });
        let message = format!(
            "bytes {} to {} of stream {id} are archived in {}",
            archive.extent.from,
            archive.extent.to,
            path.display()
        );
        self.store.enter(now.wall, Action::ArchiveMade, message, &fields);
        if let Some(record) = self.store.model().streams.get(&id).cloned() {
            let archived = Some(archive.end);
            let whole = !record.renamed_from.is_empty() && archive.end.offset >= record.frontier.offset;
            let sealed = record.sealed || whole;
            self.store.put(Kind::StreamPut(StreamRecord { cut, archived, sealed, ..record }));
        }
        self.store.put(Kind::ArchivePut(archive));
        self.set_archives(id);
    }

    /// The name was taken, or something else went wrong: the file says how far it got.
    fn not_named(&mut self, id: StreamId, error: &std::io::Error, now: Now) {
        let Some(rotation) = self.rotations.under_way.get_mut(&id) else { return };
        let Step::Naming { number, .. } = rotation.step else { return };
        rotation.names_tried += 1;
        let again = error.kind() == std::io::ErrorKind::AlreadyExists
            && rotation.names_tried < NAMES
            && rotation.renamed.is_none();
        self.resolve_planned(number, now);
        if again {
            self.next_piece(id, now);
        } else {
            self.refuse_rotation(id, &format!("its archive cannot get its name: {error}"), now);
        }
    }

    /// The new base is entered, and the intent with it is done.
    pub(super) fn commit_base(&mut self, id: StreamId, base: u64, now: Now) {
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return };
        self.store.put(Kind::StreamPut(StreamRecord { base, cut: None, ..record }));
        let ticket = self.store.flush();
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.base = base;
            stream.cutting = false;
            stream.wake();
        }
        if let Ok(Some(look)) = self.streams.get_mut(&id).map_or(Ok(None), |s| s.look()) {
            self.grown(id, &look, now);
        }
        if let Some(rotation) = self.rotations.under_way.get_mut(&id) {
            rotation.step = Step::Committing { ticket };
        }
    }

    /// Everything that was to be archived is.
    fn end_rotation(&mut self, id: StreamId) {
        let Some(rotation) = self.rotations.under_way.remove(&id) else { return };
        if let Some(stream) = self.streams.get(&id) {
            self.rotations.refused.remove(&stream.key);
        }
        let Some(mut record) = self.store.model().streams.get(&id).cloned() else { return };
        if rotation.renamed.is_some() {
            record.renamed_from = Vec::new();
        } else {
            record.cycle_began = rotation.began;
        }
        self.store.put(Kind::StreamPut(record));
    }

    /// Tells a stream which archives it has.
    pub(super) fn set_archives(&mut self, id: StreamId) {
        let model = self.store.model();
        let end = model.streams.get(&id).and_then(|r| r.archived).unwrap_or_default();
        let list =
            model.archives.values().filter(|a| a.stream == id.0 && a.phase == ArchiveRecord::THERE).cloned().collect();
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.archives.set(list, end);
        }
    }

    /// Enters that an archive is gone.
    pub(super) fn archive_gone(&mut self, number: u64) {
        let id = self.store.model().archives.get(&number).and_then(|a| StreamId::from_slice(&a.stream));
        self.store.put(Kind::ArchiveGone(ArchiveGone { number }));
        if let Some(id) = id {
            self.set_archives(id);
        }
    }
}
