//! Counts the archives of the sinks that write files. Whoever asks for a report waits for the folders, not the engine.

use std::path::Path;

use crate::engine::report::{BackupsReport, Report};
use crate::sink::file::archive;

/// Says for each lane what archives there are. A folder that cannot be read leaves its lane without.
pub(super) fn count(report: &mut Report) {
    for archive in report.lanes.iter_mut().filter_map(|lane| lane.archive.as_mut()) {
        archive.found = look(Path::new(&archive.path));
    }
}

fn look(live: &Path) -> Option<BackupsReport> {
    let mut found = BackupsReport { live_bytes: live.metadata().map_or(0, |m| m.len()), ..BackupsReport::default() };
    for (_, path) in archive::names(live).ok()? {
        found.files += 1;
        found.bytes += path.metadata().map_or(0, |m| m.len());
        found.plain += u64::from(!path.extension().is_some_and(|ending| ending == "gz" || ending == "zst"));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_archives_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for (name, size) in
            [("audit.log", 5), ("audit~01.log.gz", 10), ("audit~02.log", 20), ("audit.txt", 40), ("other~01.log", 80)]
        {
            std::fs::write(dir.path().join(name), vec![0; size]).unwrap();
        }
        let found = look(&dir.path().join("audit.log")).unwrap();
        assert_eq!(found, BackupsReport { live_bytes: 5, files: 2, bytes: 30, plain: 1 });
        assert_eq!(look(&dir.path().join("none/audit.log")), None);
    }
}
