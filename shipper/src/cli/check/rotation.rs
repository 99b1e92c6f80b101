//! Whether the files of a source can be rotated, protected and kept as the policy says, tried where they lie.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use waybill_crds::MinFree;

use crate::cli::text;
use crate::plan::{RotationMode, SourcePlan};
use crate::rotate::immutable::{self, Flag};
use crate::rotate::{retain, suit};
use crate::source::discover::Discovery;
use crate::source::root::Root;

/// Below this a rate says nothing.
const TOO_SHORT_NS: i64 = 3_600 * 1_000_000_000;
const DAY_NS: f64 = 86_400e9;

/// Tries it and prints what was found; returns how much does not work.
pub(super) fn probe(source: &SourcePlan, index: usize, discovery: &Discovery, now: i64) -> usize {
    let mut wrong = 0;
    let say = |what: String| {
        println!("source {}: {}", source.name, text::safe(&what));
    };
    let files: Vec<&PathBuf> =
        discovery.found().iter().filter(|(_, f)| f.source == index).map(|(path, _)| path).collect();
    let mut folders: BTreeSet<PathBuf> = files.iter().filter_map(|p| p.parent().map(Path::to_owned)).collect();
    if folders.is_empty() {
        folders.extend(source.patterns.iter().map(|p| p.prefix().to_owned()));
    }
    let collapses = source.rotation.as_ref().is_some_and(|r| r.mode == RotationMode::Collapse);
    for folder in &folders {
        let Some(fd) = open(folder) else { continue };
        if collapses && let Err(why) = suit::trial(&fd) {
            say(format!("files in {} cannot be rotated with Collapse: {why}", folder.display()));
            wrong += 1;
        }
        if source.protect.live
            && let Err(why) = immutable::trial(&fd, Flag::AppendOnly)
        {
            say(format!("files in {} cannot be protected: {why}", folder.display()));
            wrong += 1;
        }
        let archives = source.rotation.as_ref().and_then(|r| r.folder.clone()).unwrap_or_else(|| folder.clone());
        if source.protect.archives
            && let Some(Err(why)) = open(&archives).map(|fd| immutable::trial(&fd, Flag::Immutable))
        {
            say(format!("archives in {} cannot be protected: {why}", archives.display()));
            wrong += 1;
        }
    }
    for path in files.iter().filter(|_| collapses) {
        let (Some(parent), Some(found)) = (path.parent(), discovery.found().get(*path)) else { continue };
        let Some(fd) = open(parent).filter(|fd| suit::trial(fd).is_ok()) else { continue };
        let look = discovery.root(found.root).map(|root| root.look(path));
        if let Some(Ok(look)) = look
            && let Err(why) = suit::examine(&fd, &look)
        {
            say(format!("{} cannot be rotated with Collapse: {why}", path.display()));
            wrong += 1;
        }
    }
    for folder in &folders {
        let min_free = source.retention.as_ref().and_then(|r| r.min_free);
        if let Some(days) = days_of_outage(folder, &files, discovery, min_free, now) {
            say(days);
        }
    }
    wrong
}

fn open(folder: &Path) -> Option<OwnedFd> {
    Root::open(folder).ok()?.open_folder(folder).ok()
}

/// How long a sink may be away before the files that wait for it fill their disk, at the pace at which they were written so far.
fn days_of_outage(
    folder: &Path,
    files: &[&PathBuf],
    discovery: &Discovery,
    min_free: Option<MinFree>,
    now: i64,
) -> Option<String> {
    let mut bytes = 0;
    let mut oldest = now;
    for path in files.iter().filter(|p| p.parent() == Some(folder)) {
        let found = discovery.found().get(*path)?;
        let look = discovery.root(found.root)?.look_through(path).ok()?;
        bytes += look.size;
        oldest = oldest.min(if look.key.born > 0 { look.key.born } else { look.modified });
    }
    let (size, free) = retain::free_space(folder)?;
    // What has to stay free is no room for what waits.
    let room = free.saturating_sub(retain::lacking(min_free, size, 0));
    Some(match pace(bytes, now.saturating_sub(oldest)) {
        None if bytes == 0 => return None,
        None => {
            format!("{}: its files are too young to say for how many days it has room without a sink", folder.display())
        }
        Some(a_day) => format!(
            "{} takes about {:.1} MiB a day and has room for {:.1} GiB: enough for {:.0} days without a sink",
            folder.display(),
            a_day / f64::from(1 << 20),
            room as f64 / f64::from(1 << 30),
            room as f64 / a_day
        ),
    })
}

/// Bytes a day, of so many in so many nanoseconds; nothing if that says nothing.
fn pace(bytes: u64, span: i64) -> Option<f64> {
    (bytes > 0 && span >= TOO_SHORT_NS).then(|| bytes as f64 * DAY_NS / span as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_of_a_day_and_needs_an_hour() {
        assert_eq!(pace(1000, 12 * TOO_SHORT_NS), Some(2000.0));
        assert_eq!(pace(1000, TOO_SHORT_NS - 1), None);
        assert_eq!(pace(0, 12 * TOO_SHORT_NS), None);
    }

    #[test]
    fn says_for_how_many_days_a_folder_has_room() {
        use crate::source::discover::Target;
        use crate::source::pattern::Pattern;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        let pattern = Pattern::new(path.to_str().unwrap()).unwrap();
        let target = Target { source: 0, patterns: vec![pattern], exclude: Vec::new() };
        let mut discovery = Discovery::new(vec![target], &[dir.path().to_owned()], Vec::new(), Vec::new());
        let now = crate::engine::Now::read();
        discovery.scan(now.mono, now.wall);
        let said = |after: i64, min_free| days_of_outage(dir.path(), &[&path], &discovery, min_free, now.wall + after);
        assert!(said(0, None).unwrap().contains("too young"));
        let day = DAY_NS as i64;
        assert!(said(day, None).unwrap().contains("takes about 1.0 MiB a day"), "{:?}", said(day, None));
        assert!(said(day, Some(MinFree::Percent(100))).unwrap().contains("enough for 0 days"));
    }
}
