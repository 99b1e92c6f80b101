//! Archives: their names, their compression and their number.
//!
//! Names are as SoftEther's: `audit.log` becomes `audit_20261122.log` with a daily cycle (`_2026112215` hourly is written
//! `_20261122_15`, monthly `_202611`), and the second of one cycle `audit_20261122~01.log`. Without a cycle only the number is there:
//! `audit~01.log`. Compressed ones have `.gz` or `.zst` behind that. No archive is ever overwritten.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::sync_folder;
use crate::plan::{Cycle, FilePlan};
use crate::source::decompress::Compression;

/// What the comment field of our gzip headers says: a source never takes such a file up.
pub const COMMENT: &str = "waybill archive";

/// Whether a new cycle has begun since a file was opened.
pub fn is_due(plan: &FilePlan, opened: &jiff::Zoned, now: &jiff::Zoned) -> bool {
    plan.cycle != Cycle::None && stamp(plan.cycle, opened) != stamp(plan.cycle, now)
}

fn stamp(cycle: Cycle, at: &jiff::Zoned) -> String {
    match cycle {
        Cycle::None => String::new(),
        Cycle::Hour => at.strftime("_%Y%m%d_%H").to_string(),
        Cycle::Day => at.strftime("_%Y%m%d").to_string(),
        Cycle::Month => at.strftime("_%Y%m").to_string(),
    }
}

/// The archives of one file.
pub struct Archives {
    plan: FilePlan,
    worker: Option<JoinHandle<()>>,
}

impl Archives {
    /// Takes up what an earlier run left uncompressed.
    pub fn new(plan: FilePlan) -> Self {
        let mut archives = Self { plan, worker: None };
        archives.tidy();
        archives
    }

    /// Renames the live file to its archive's name, and has it compressed in the background.
    pub fn rotate(&mut self, opened: &jiff::Zoned) -> io::Result<()> {
        let target = self.next_name(opened)?;
        std::fs::rename(&self.plan.path, &target)?;
        sync_folder(&self.plan.path)?;
        self.tidy();
        Ok(())
    }

    /// Waits for the compression under way.
    pub fn finish(&mut self) {
        if let Some(worker) = self.worker.take() {
            let _joined = worker.join();
        }
    }

    fn next_name(&self, opened: &jiff::Zoned) -> io::Result<PathBuf> {
        let stamp = stamp(self.plan.cycle, opened);
        let (stem, extension) = parts(&self.plan.path);
        let taken: Vec<String> = names(&self.plan.path)?.into_iter().map(|(name, _)| name).collect();
        let first = u32::from(self.plan.cycle == Cycle::None);
        // After the highest number there ever was, as far as it can be seen: numbers keep the order.
        let mut number = first;
        for name in &taken {
            let Some(rest) = name.strip_prefix(&format!("{stem}{stamp}")) else { continue };
            if let Some(digits) = rest.strip_prefix('~') {
                let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
                number = number.max(digits.parse::<u32>().map_or(0, |n| n + 1));
            } else if rest.starts_with(&extension) {
                number = number.max(1);
            }
        }
        let split = if number == 0 { String::new() } else { format!("~{number:02}") };
        Ok(self.plan.path.with_file_name(format!("{stem}{stamp}{split}{extension}")))
    }

    /// Compresses and prunes, one worker at a time.
    fn tidy(&mut self) {
        if self.worker.as_ref().is_some_and(|w| !w.is_finished()) {
            self.finish();
        }
        let plan = self.plan.clone();
        let started = std::thread::Builder::new().name("archive".into()).spawn(move || {
            if let Err(error) = compress_all(&plan).and_then(|()| prune(&plan)) {
                tracing::warn!(path = %plan.path.display(), %error, "failed to tidy archives; it is tried again at the next rotation");
            }
        });
        match started {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => tracing::warn!(%error, "failed to start compressing archives"),
        }
    }
}

impl Drop for Archives {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Stem and extension with its dot: `audit` and `.log`.
fn parts(path: &Path) -> (String, String) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
    (stem, extension)
}

/// The archives beside a live file, with their paths.
pub fn names(live: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let (stem, extension) = parts(live);
    let mut out = Vec::new();
    let folder = live.parent().unwrap_or(Path::new("."));
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(rest) = name.strip_prefix(&stem) else { continue };
        let plain = rest.trim_end_matches(".gz").trim_end_matches(".zst");
        let Some(middle) = plain.strip_suffix(extension.as_str()) else { continue };
        // A stamp or a number, nothing that someone else named.
        if middle.is_empty()
            || !middle.starts_with(['_', '~'])
            || !middle.chars().all(|c| c.is_ascii_digit() || c == '_' || c == '~')
        {
            continue;
        }
        out.push((name, entry.path()));
    }
    Ok(out)
}

fn compress_all(plan: &FilePlan) -> io::Result<()> {
    let suffix = match plan.compression {
        Compression::None => return Ok(()),
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
    };
    for (name, path) in names(&plan.path)? {
        if name.ends_with(".gz") || name.ends_with(".zst") {
            continue;
        }
        let mut target = path.clone().into_os_string();
        target.push(suffix);
        compress(&path, Path::new(&target), plan.compression)?;
        std::fs::remove_file(&path)?;
        sync_folder(&path)?;
    }
    Ok(())
}

/// Writes a compressed copy that is whole and durable before it gets its name.
fn compress(from: &Path, to: &Path, compression: Compression) -> io::Result<()> {
    let mut temporary: OsString = to.as_os_str().to_owned();
    temporary.push(".tmp");
    let source = File::open(from)?;
    let modified = source.metadata()?.modified()?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
    let mut reader = BufReader::with_capacity(256 << 10, source);
    let file = match compression {
        Compression::None => return Ok(()),
        Compression::Gzip => {
            let mut encoder = flate2::GzBuilder::new().comment(COMMENT).write(file, flate2::Compression::default());
            io::copy(&mut reader, &mut encoder)?;
            encoder.finish()?
        }
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(file, 3)?;
            encoder.include_checksum(true)?;
            io::copy(&mut reader, &mut encoder)?;
            encoder.finish()?
        }
    };
    // Retention goes by the age of the records, not of the compression.
    file.set_modified(modified)?;
    file.sync_all()?;
    std::fs::rename(&temporary, to)
}

fn prune(plan: &FilePlan) -> io::Result<()> {
    let mut archives = Vec::new();
    for (_, path) in names(&plan.path)? {
        let metadata = std::fs::metadata(&path)?;
        archives.push((metadata.modified()?, path, metadata.len()));
    }
    archives.sort_by(|a, b| b.cmp(a));
    let age = |modified: SystemTime| SystemTime::now().duration_since(modified).unwrap_or_default();
    let mut total = 0;
    for (index, (modified, path, len)) in archives.into_iter().enumerate() {
        total += len;
        let too_old =
            plan.max_age_days > 0 && age(modified) > Duration::from_secs(u64::from(plan.max_age_days) * 86_400);
        let too_many = plan.max_files > 0 && index >= plan.max_files as usize;
        let too_large = plan.max_total_size > 0 && total > plan.max_total_size;
        if too_old || too_many || too_large {
            tracing::info!(path = %path.display(), "removing an archive that its retention no longer covers");
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn plan(dir: &Path, cycle: Cycle, max_files: u32) -> FilePlan {
        FilePlan {
            path: dir.join("audit.log"),
            max_size: 100,
            cycle,
            compression: Compression::Gzip,
            max_age_days: 90,
            max_files,
            max_total_size: 0,
        }
    }

    fn listed(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn names_count_up_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path(), Cycle::Day, 2);
        let day: jiff::Zoned = "2026-11-22T10:00[UTC]".parse().unwrap();
        let mut archives = Archives::new(plan.clone());
        for text in ["one\n", "two\n", "three\n"] {
            std::fs::write(&plan.path, text).unwrap();
            archives.rotate(&day).unwrap();
            archives.finish();
        }
        assert_eq!(listed(dir.path()), ["audit_20261122~01.log.gz", "audit_20261122~02.log.gz"]);
        let mut text = String::new();
        let file = File::open(dir.path().join("audit_20261122~02.log.gz")).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "three\n");
    }

    #[test]
    fn without_a_cycle_only_numbers_and_foreign_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path(), Cycle::None, 1);
        std::fs::write(dir.path().join("audit-copy.log"), "mine").unwrap();
        std::fs::write(dir.path().join("audit~01.log"), "left over\n").unwrap();
        let mut archives = Archives::new(plan.clone());
        archives.finish();
        assert_eq!(listed(dir.path()), ["audit-copy.log", "audit~01.log.gz"]);
        std::fs::write(&plan.path, "two\n").unwrap();
        archives.rotate(&jiff::Zoned::now()).unwrap();
        archives.finish();
        assert_eq!(listed(dir.path()), ["audit-copy.log", "audit~02.log.gz"]);
    }

    #[test]
    fn cycles_follow_the_calendar() {
        let at = |text: &str| -> jiff::Zoned { text.parse().unwrap() };
        let dir = Path::new("/nowhere");
        let hour = plan(dir, Cycle::Hour, 0);
        // The hour that is repeated in autumn is one cycle: nothing is overwritten, because numbers count up.
        let (first, again) = (at("2026-10-25T02:30+02:00[Europe/Berlin]"), at("2026-10-25T02:30+01:00[Europe/Berlin]"));
        assert!(!is_due(&hour, &first, &again));
        assert!(is_due(&hour, &first, &at("2026-10-25T03:00+01:00[Europe/Berlin]")));
        assert!(is_due(&plan(dir, Cycle::Month, 0), &first, &at("2026-11-01T00:00[Europe/Berlin]")));
        assert!(!is_due(&plan(dir, Cycle::None, 0), &first, &at("2027-11-01T00:00[Europe/Berlin]")));
    }
}
