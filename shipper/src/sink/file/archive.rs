//! Archives: their names (see [`cycle`]), their compression and their number.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, TrySendError, bounded};
use waybill_crds::WhenUnsupported;

use super::owner::Owner;
use super::sync_folder;
use crate::plan::FilePlan;
use crate::rotate::cycle::{self, LiveName};
use crate::rotate::fault;
use crate::rotate::header;
use crate::rotate::immutable::{self, Flag};
use crate::rotate::piece::TEMPORARY;
use crate::source::decompress::Compression;
use crate::source::root::Look;
use crate::state::entry::FileKey;

/// Whether a new cycle has begun since a file was opened.
pub fn is_due(plan: &FilePlan, opened: &jiff::Zoned, now: &jiff::Zoned) -> bool {
    cycle::turned(plan.cycle, opened, now)
}

/// The finished archives of a sink, for the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The sink's name.
    pub sink: String,
    /// Its live file.
    pub live: PathBuf,
    /// The archives, in no order.
    pub files: Vec<Listed>,
}

/// One finished archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path.
    pub path: PathBuf,
    /// The file.
    pub key: FileKey,
    /// Bytes on disk.
    pub size: u64,
    /// When its last record was written, nanoseconds since 1970 UTC.
    pub modified: i64,
    /// What it is compressed with.
    pub compression: Compression,
}

/// Who is told of finished archives.
pub type Tell = Arc<dyn Fn(Vec<Listed>) + Send + Sync>;

/// The archives of one file.
pub struct Archives {
    plan: FilePlan,
    tell: Tell,
    worker: Option<Worker>,
}

/// Tidies the archives as often as it is woken.
struct Worker {
    wake: Sender<()>,
    thread: JoinHandle<()>,
}

impl Archives {
    /// Takes up what an earlier run left uncompressed.
    pub fn new(plan: FilePlan, tell: Tell) -> Self {
        let mut archives = Self { plan, tell, worker: None };
        archives.tidy();
        archives
    }

    /// Renames the live file to its archive's name, and has it compressed in the background. Waits for no compression.
    pub fn rotate(&mut self, opened: &jiff::Zoned) -> io::Result<()> {
        let target = self.next_name(opened)?;
        std::fs::rename(&self.plan.path, &target)?;
        fault::point("sink-renamed");
        sync_folder(&self.plan.path)?;
        self.tidy();
        Ok(())
    }

    /// Waits until all is compressed that is to be.
    pub fn finish(&mut self) {
        if let Some(Worker { wake, thread }) = self.worker.take() {
            drop(wake);
            let _joined = thread.join();
        }
    }

    fn next_name(&self, opened: &jiff::Zoned) -> io::Result<PathBuf> {
        let taken: Vec<String> = names(&self.plan.path)?.into_iter().map(|(name, _)| name).collect();
        let name = LiveName::of(&self.plan.path).next(self.plan.cycle, opened, taken.iter().map(String::as_str));
        Ok(self.plan.path.with_file_name(name))
    }

    /// Has the archives tidied; a worker that is still at it does so once more when it is done.
    fn tidy(&mut self) {
        if let Some(worker) = &self.worker
            && !matches!(worker.wake.try_send(()), Err(TrySendError::Disconnected(())))
        {
            return;
        }
        self.finish();
        let (wake, woken) = bounded(1);
        let _first = wake.try_send(());
        let (plan, tell, owner) = (self.plan.clone(), Arc::clone(&self.tell), Owner::of(&self.plan.path));
        let started = std::thread::Builder::new().name("archive".into()).spawn(move || {
            for () in woken {
                let _right = owner.archives();
                tidy(&plan, &tell);
            }
        });
        match started {
            Ok(thread) => self.worker = Some(Worker { wake, thread }),
            Err(error) => tracing::warn!(%error, "failed to start compressing archives"),
        }
    }
}

/// Compresses, protects and tells of what is finished. What fails with one archive keeps back no other.
fn tidy(plan: &FilePlan, tell: &Tell) {
    let compressed = compress_all(plan);
    let protected = protect(plan);
    let mut files = Vec::new();
    let listed = finished(plan, &mut files);
    tell(files);
    let path = plan.path.display();
    for error in [compressed, listed].into_iter().filter_map(Result::err) {
        tracing::warn!(%path, %error, "failed to tidy archives; it is tried again at the next rotation");
    }
    match protected {
        Err(error) if plan.protect.when_unsupported == WhenUnsupported::Warn => {
            tracing::warn!(%path, %error, "archives stay unprotected; it is tried again at the next rotation");
        }
        Err(error) => {
            tracing::error!(%path, %error, "failed to protect archives; it is tried again at the next rotation")
        }
        Ok(()) => {}
    }
}

impl Drop for Archives {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The archives beside a live file, with their paths.
pub fn names(live: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let live_name = LiveName::of(live);
    let mut out = Vec::new();
    for entry in std::fs::read_dir(live.parent().unwrap_or(Path::new(".")))? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && live_name.is_archive(&name)
        {
            out.push((name, entry.path()));
        }
    }
    Ok(out)
}

/// Compresses every archive that is not yet; the first error, if one could not be.
fn compress_all(plan: &FilePlan) -> io::Result<()> {
    if plan.compression == Compression::None {
        return Ok(());
    }
    let mut done = Ok(());
    for (_, path) in names(&plan.path)?.into_iter().filter(|(name, _)| !is_finished(plan, name)) {
        done = done.and(replace(&path, plan.compression));
    }
    done
}

/// Puts a compressed copy in the place of an archive.
fn replace(path: &Path, compression: Compression) -> io::Result<()> {
    let mut target = path.to_owned().into_os_string();
    target.push(cycle::suffix(compression));
    compress(path, Path::new(&target), compression)?;
    sync_folder(path)?;
    fault::point("sink-compressed");
    std::fs::remove_file(path)?;
    sync_folder(path)
}

/// Writes a compressed copy that is whole and durable before it gets its name.
fn compress(from: &Path, to: &Path, compression: Compression) -> io::Result<()> {
    // Under a name that no one takes for an archive: a crash may leave it behind, until it is made anew.
    let mut name = OsString::from(TEMPORARY);
    name.push(to.file_name().unwrap_or_default());
    let temporary = to.with_file_name(name);
    let source = File::open(from)?;
    let modified = source.metadata()?.modified()?;
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&temporary)?;
    let mut reader = BufReader::with_capacity(256 << 10, source);
    let file = match compression {
        Compression::None => return Ok(()),
        Compression::Gzip => {
            let mut encoder =
                flate2::GzBuilder::new().comment(header::MARK).write(file, flate2::Compression::default());
            io::copy(&mut reader, &mut encoder)?;
            encoder.finish()?
        }
        Compression::Zstd => {
            let mut file = file;
            file.write_all(&header::skippable_frame(header::MARK))?;
            let mut encoder = zstd::Encoder::new(file, 3)?;
            encoder.include_checksum(true)?;
            io::copy(&mut reader, &mut encoder)?;
            encoder.finish()?
        }
    };
    // Retention goes by the age of the records, not of the compression.
    file.set_modified(modified)?;
    fault::point("sink-filled");
    file.sync_all()?;
    std::fs::rename(&temporary, to)
}

/// Lists the archives that are as they will stay; the first error, if one could not be looked at.
fn finished(plan: &FilePlan, files: &mut Vec<Listed>) -> io::Result<()> {
    let mut done = Ok(());
    for (name, path) in names(&plan.path)?.into_iter().filter(|(name, _)| is_finished(plan, name)) {
        let look = File::open(&path).and_then(|file| Look::at_file(&file));
        let compression = match Path::new(&name).extension().and_then(std::ffi::OsStr::to_str) {
            Some("gz") => Compression::Gzip,
            Some("zst") => Compression::Zstd,
            _ => Compression::None,
        };
        done = done.and(look.map(|look| {
            files.push(Listed { path, key: look.key, size: look.size, modified: look.modified, compression });
        }));
    }
    done
}

fn is_finished(plan: &FilePlan, name: &str) -> bool {
    plan.compression == Compression::None || name.ends_with(".gz") || name.ends_with(".zst")
}

/// Makes every finished archive immutable, if the policy says so; the first error, if one could not be.
fn protect(plan: &FilePlan) -> io::Result<()> {
    if !plan.protect.archives {
        return Ok(());
    }
    let mut done = Ok(());
    for (_, path) in names(&plan.path)?.into_iter().filter(|(name, _)| is_finished(plan, name)) {
        let set = File::open(&path).and_then(|file| immutable::set(&file, Flag::Immutable, true));
        let set = set.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())));
        fault::point("sink-protected");
        done = done.and(set.map(|_| ()));
    }
    done
}

/// Whether the folder's file system can protect archives as the policy says; an error if it must and cannot.
pub fn can_protect(plan: &FilePlan) -> io::Result<()> {
    let folder = plan.path.parent().unwrap_or(Path::new("/"));
    if !plan.protect.archives {
        return Ok(());
    }
    let Err(why) = immutable::trial(File::open(folder)?, Flag::Immutable) else { return Ok(()) };
    let why = format!("its archives cannot be protected: {why}");
    if plan.protect.when_unsupported == WhenUnsupported::Refuse {
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    tracing::warn!(path = %plan.path.display(), "{why}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use waybill_crds::Cycle;

    use crate::rotate::retain::Bounds;

    use super::*;

    fn plan(dir: &Path, cycle: Cycle) -> FilePlan {
        FilePlan {
            path: dir.join("audit.log"),
            max_size: 100,
            cycle,
            compression: Compression::Gzip,
            retention: Bounds::default(),
            protect: waybill_crds::Protect::default(),
        }
    }

    fn listed(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Archives whose listings are counted in a channel.
    fn archives(plan: &FilePlan) -> (Archives, crossbeam_channel::Receiver<Vec<Listed>>) {
        let (sender, told) = crossbeam_channel::unbounded();
        let tell: Tell = std::sync::Arc::new(move |files| sender.send(files).unwrap());
        (Archives::new(plan.clone(), tell), told)
    }

    #[test]
    fn names_count_up_and_every_finished_archive_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path(), Cycle::Day);
        let day: jiff::Zoned = "2026-11-22T10:00[UTC]".parse().unwrap();
        let (mut archives, told) = archives(&plan);
        for text in ["one\n", "two\n", "three\n"] {
            std::fs::write(&plan.path, text).unwrap();
            archives.rotate(&day).unwrap();
            archives.finish();
        }
        let names = ["audit_20261122.log.gz", "audit_20261122~01.log.gz", "audit_20261122~02.log.gz"];
        assert_eq!(listed(dir.path()), names);
        let mut text = String::new();
        let file = File::open(dir.path().join(names[2])).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "three\n");
        let mut last = told.try_iter().last().unwrap();
        last.sort_by(|a, b| a.path.cmp(&b.path));
        assert!(last.iter().all(|f| f.compression == Compression::Gzip && f.size > 0 && f.key.ino > 0));
        assert_eq!(last.iter().map(|f| f.path.clone()).collect::<Vec<_>>(), names.map(|name| dir.path().join(name)));
    }

    #[test]
    fn protected_archives_are_immutable() {
        let dir = tempfile::tempdir().unwrap();
        let mut plan = plan(dir.path(), Cycle::None);
        plan.protect.archives = true;
        if let Err(why) = can_protect(&plan) {
            return println!("SKIPPED: {why}");
        }
        let (mut archives, _told) = archives(&plan);
        for text in ["one\n", "two\n"] {
            std::fs::write(&plan.path, text).unwrap();
            archives.rotate(&jiff::Zoned::now()).unwrap();
            archives.finish();
        }
        for name in listed(dir.path()) {
            let path = dir.path().join(name);
            assert!(std::fs::remove_file(&path).is_err());
            assert!(immutable::set(&File::open(&path).unwrap(), Flag::Immutable, false).unwrap());
        }
    }

    #[test]
    fn archives_that_cannot_be_protected_are_told_all_the_same() {
        for when_unsupported in [WhenUnsupported::Warn, WhenUnsupported::Refuse] {
            let dir = tempfile::tempdir().unwrap();
            let mut plan = plan(dir.path(), Cycle::None);
            plan.protect = waybill_crds::Protect { archives: true, when_unsupported, ..plan.protect };
            std::fs::write(dir.path().join("audit~01.log"), "one\n").unwrap();
            std::fs::write(dir.path().join("audit~02.log"), "two\n").unwrap();
            // Whatever the file system can do: this one cannot be protected.
            std::os::unix::fs::symlink("nowhere", dir.path().join("audit~00.log.gz")).unwrap();
            let (mut archives, told) = archives(&plan);
            archives.finish();
            let told = told.try_recv().unwrap();
            assert_eq!(told.len(), 2, "{when_unsupported:?}");
            for file in told {
                immutable::set(&File::open(&file.path).unwrap(), Flag::Immutable, false).unwrap_or_default();
            }
        }
    }

    #[test]
    fn a_rotation_waits_for_no_compression() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path(), Cycle::None);
        let owner = Owner::of(&plan.path);
        let slow = owner.archives();
        let (mut archives, told) = archives(&plan);
        for text in ["one\n", "two\n", "three\n"] {
            std::fs::write(&plan.path, text).unwrap();
            archives.rotate(&jiff::Zoned::now()).unwrap();
        }
        assert_eq!(listed(dir.path()), ["audit~01.log", "audit~02.log", "audit~03.log"]);
        // Neither does another sink that takes this one's place touch what is being compressed.
        let (mut after, _told) = self::archives(&plan);
        assert!(told.try_recv().is_err());
        drop(slow);
        archives.finish();
        after.finish();
        assert_eq!(listed(dir.path()), ["audit~01.log.gz", "audit~02.log.gz", "audit~03.log.gz"]);
        assert_eq!(told.try_iter().last().unwrap().len(), 3);
    }

    #[test]
    fn what_a_crash_left_of_a_compression_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path(), Cycle::None);
        // Another still has it open, and goes on writing.
        let left = dir.path().join(format!("{TEMPORARY}audit~01.log.gz"));
        let mut other = File::create(&left).unwrap();
        std::fs::write(dir.path().join("audit~01.log"), "one\n").unwrap();
        let (mut archives, _told) = archives(&plan);
        archives.finish();
        other.write_all(b"not an archive").unwrap();
        let mut text = String::new();
        let file = File::open(dir.path().join("audit~01.log.gz")).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\n");
    }

    #[test]
    fn without_a_cycle_only_numbers_and_foreign_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path(), Cycle::None);
        std::fs::write(dir.path().join("audit-copy.log"), "mine").unwrap();
        std::fs::write(dir.path().join("audit~01.log"), "left over\n").unwrap();
        let (mut archives, told) = archives(&plan);
        archives.finish();
        assert_eq!(listed(dir.path()), ["audit-copy.log", "audit~01.log.gz"]);
        assert_eq!(told.recv().unwrap().len(), 1);
        std::fs::write(&plan.path, "two\n").unwrap();
        archives.rotate(&jiff::Zoned::now()).unwrap();
        archives.finish();
        assert_eq!(listed(dir.path()), ["audit-copy.log", "audit~01.log.gz", "audit~02.log.gz"]);
    }
}
