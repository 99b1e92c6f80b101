//! When a live file is rotated.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use waybill_crds::Cycle;

use crate::plan::{RotationMode, RotationPlan};
use crate::rotate::collapse::{self, Site};
use crate::rotate::cycle;
use crate::rotate::worker::Job;
use crate::source::decompress::Compression;
use crate::source::stream::Place;
use crate::state::StreamId;
use crate::state::entry::{Kind, StreamRecord};

use super::super::{Engine, Now};
use super::{AGAIN, Rotation, Step};

/// The block size that is reckoned with before the file system was asked, in bytes.
const BLOCK: u64 = 4096;
/// What cutting must gain, in bytes, to be worth it when a file system has too little free.
const PRESSED: u64 = 1 << 20;
/// How often calendars are looked at: with many files that costs more than their sizes.
const CYCLES: Duration = Duration::from_secs(1);

impl Engine {
    /// Begins a rotation for every live file that is due.
    pub(super) fn begin_rotations(&mut self, now: Now) {
        if !self.plan.sources.iter().any(|s| s.rotation.is_some()) {
            return;
        }
        self.rotations.refused.retain(|_, (at, _)| now.mono.duration_since(*at) < 10 * AGAIN);
        let cycles = self.rotations.cycles_looked.is_none_or(|at| now.mono.duration_since(at) >= CYCLES);
        if cycles {
            self.rotations.cycles_looked = Some(now.mono);
        }
        let due: Vec<StreamId> = self.streams.keys().copied().filter(|id| self.is_due(*id, cycles, now)).collect();
        for id in due {
            self.begin_rotation(id, now);
        }
    }

    /// How a stream's live file is rotated.
    pub(super) fn rotation_plan(&self, record: &StreamRecord) -> Option<&RotationPlan> {
        self.plan.sources.iter().find(|s| s.name == record.source)?.rotation.as_ref()
    }

    /// When the content that is not archived began, in the source's time zone.
    pub(super) fn cycle_began(&self, record: &StreamRecord) -> jiff::Zoned {
        let nanos = if record.cycle_began == 0 { record.begun } else { record.cycle_began };
        self.zoned(record, nanos)
    }

    fn zoned(&self, record: &StreamRecord, nanos: i64) -> jiff::Zoned {
        let zone = self.plan.sources.iter().find(|s| s.name == record.source).map(|s| s.settings.time_zone.clone());
        let at = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
        at.to_zoned(zone.unwrap_or(jiff::tz::TimeZone::UTC))
    }

    fn is_due(&self, id: StreamId, cycles: bool, now: Now) -> bool {
        let Some(stream) = self.streams.get(&id) else { return false };
        let Some(record) = self.store.model().streams.get(&id) else { return false };
        let Some(plan) = self.rotation_plan(record) else { return false };
        let lives = matches!(stream.place, Place::At(_))
            && stream.source.is_some()
            && stream.compression == Compression::None
            && !stream.finished
            && !stream.cutting
            && record.joined_len == 0
            && !self.rotations.under_way.contains_key(&id);
        let refused =
            self.rotations.refused.get(&stream.key).is_some_and(|(at, _)| now.mono.duration_since(*at) < AGAIN);
        if !lives || refused {
            return false;
        }
        let frontier = record.frontier.offset;
        let large = plan.max_size > 0 && stream.size.saturating_sub(stream.base) >= plan.max_size;
        let renames = matches!(plan.mode, RotationMode::Rename(_));
        if renames && (large || self.is_source_pressed(&record.source)) {
            return record.renamed_from.is_empty() && stream.size > 0;
        }
        // Not for a few blocks: a file that cannot become smaller is not archived in crumbs.
        let gain = collapse::cut_at(stream.base, frontier, frontier, BLOCK) - stream.base;
        let pressed = self.is_source_pressed(&record.source) && gain >= PRESSED;
        if pressed || (large && gain >= (plan.max_size / 4).max(BLOCK)) {
            return true;
        }
        let cycles = cycles && plan.cycle != Cycle::None;
        cycles && cycle::turned(plan.cycle, &self.cycle_began(record), &self.zoned(record, now.wall))
    }

    /// Whether a stream is framed beyond what its lanes can take: its live file is too large, and only what is framed can be archived; or
    /// what was rotated may have to go before any lane has it.
    pub(in crate::engine) fn reads_ahead(&self, id: StreamId, record: &StreamRecord) -> bool {
        let Some(stream) = self.streams.get(&id).filter(|s| s.size > record.frontier.read_from()) else { return false };
        let Some(source) = self.plan.sources.iter().find(|s| s.name == record.source) else { return false };
        let large = source.rotation.as_ref().is_some_and(|r| stream.size.saturating_sub(stream.base) >= r.max_size);
        let evicts = stream.finished && source.retention.as_ref().is_some_and(|b| b.evict);
        large || evicts
    }

    fn begin_rotation(&mut self, id: StreamId, now: Now) {
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return };
        let archived = record.archived.map_or(record.base, |p| p.offset);
        if record.frontier.offset <= archived.max(record.begins_at) {
            // An empty cycle makes no archive; what comes now belongs to this one.
            let cycle = self.rotation_plan(&record).map(|p| p.cycle).unwrap_or_default();
            if cycle::turned(cycle, &self.cycle_began(&record), &self.zoned(&record, now.wall)) {
                self.store.put(Kind::StreamPut(StreamRecord { cycle_began: now.wall, ..record }));
            }
            return;
        }
        if self.open(id).is_err() {
            return;
        }
        let Some(stream) = self.streams.get(&id) else { return };
        let (Some(path), key) = (stream.path().map(Path::to_owned), stream.key) else { return };
        let folders = self.rotation_folders(&path, &record);
        let (live, folder, folder_path) = match folders {
            Ok(folders) => folders,
            Err(reason) => return self.refuse_rotation(id, &reason, now),
        };
        let site = Site { folder: Arc::clone(&live), name: path.file_name().unwrap_or_default().to_owned(), key };
        let archives = Arc::clone(&folder);
        let rotation = Rotation {
            began: now.wall,
            target: record.frontier.offset,
            block: BLOCK,
            live,
            path,
            folder,
            folder_path,
            names_tried: 0,
            renamed: None,
            step: Step::Working,
        };
        self.rotations.under_way.insert(id, rotation);
        let source = self.plan.sources.iter().find(|s| s.name == record.source);
        let protect = source.map(|s| s.protect.clone()).unwrap_or_default();
        let collapses = self.rotation_plan(&record).is_some_and(|p| p.mode == RotationMode::Collapse);
        self.submit(id, Job::Examine { stream: id, site, folder: archives, collapses, protect });
    }

    /// The folder of the live file, and that of its archives with its path.
    pub(super) fn rotation_folders(
        &self,
        path: &Path,
        record: &StreamRecord,
    ) -> Result<(Arc<OwnedFd>, Arc<OwnedFd>, std::path::PathBuf), String> {
        if self.discovery.found().get(path).is_some_and(|f| f.link) {
            return Err("its path is a link; name the file itself".to_owned());
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        let root = self.discovery.folders().find(|(f, _)| *f == parent).map(|(_, r)| Arc::clone(r));
        let root = root.ok_or_else(|| format!("{} is not among the folders that are read", parent.display()))?;
        let live = root.open_folder(parent).map_err(|e| format!("{} cannot be opened: {e}", parent.display()))?;
        let live = Arc::new(live);
        let Some(folder) = self.rotation_plan(record).and_then(|p| p.folder.clone()) else {
            return Ok((Arc::clone(&live), live, parent.to_owned()));
        };
        let open = || -> std::io::Result<OwnedFd> {
            std::fs::create_dir_all(&folder)?;
            Ok(std::fs::File::open(&folder)?.into())
        };
        let opened =
            open().map_err(|e| format!("the folder for archives, {}, cannot be opened: {e}", folder.display()))?;
        Ok((live, Arc::new(opened), folder))
    }
}
