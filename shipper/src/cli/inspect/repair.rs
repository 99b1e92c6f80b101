//! `waybill inspect repair`: keeps everything of a damaged state that still checks.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::fail;
use crate::cli::text;
use crate::engine::Now;
use crate::state::commit::Committer;
use crate::state::ledger::Action;
use crate::state::store::{self, Store};
use crate::state::{lock, log};

/// Keep what still checks of a damaged state
///
/// The agent must be stopped. The damaged files stay beside the new ones as state-N.log.damaged-TIME, and a ledger entry says what was
/// left out. Where a stream or a cursor was left out, its records are delivered once more; nothing is taken for delivered that was not.
/// A state that is whole is left as it is.
#[derive(Debug, Args)]
pub struct RepairArgs {}

/// Why nothing was repaired.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the agent with process id {owner} has the state in {}; stop it first", dir.display())]
    Running { dir: PathBuf, owner: String },
    #[error("{}", super::nothing_in(.0))]
    Missing(PathBuf),
    #[error("failed to {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    State(#[from] store::Error),
    #[error("failed to write the repaired state: {0}; the damaged files are kept")]
    Write(String),
}

/// What was done.
#[derive(Debug)]
struct Repaired {
    left_out: Vec<String>,
    kept: Vec<PathBuf>,
}

/// Repairs the state in `dir`, and says what was done.
pub(super) fn run(dir: &Path) -> ExitCode {
    match repair(dir, Now::read().wall) {
        Ok(None) => text::print(&format!("the state in {} is whole, nothing was changed\n", said(&dir.display()))),
        Ok(Some(repaired)) => text::print(&page(dir, &repaired)),
        Err(error) => fail(&error),
    }
}

fn page(dir: &Path, repaired: &Repaired) -> String {
    let list = |texts: &[String]| texts.iter().fold(String::new(), |page, text| page + "  " + &text::safe(text) + "\n");
    let kept: Vec<String> = repaired.kept.iter().map(|path| path.display().to_string()).collect();
    format!(
        "the state in {} is repaired; left out:\n{}the damaged files are kept as:\n{}\
         the agent can be started again; records whose cursor was left out are delivered once more,\n\
         under new ids where their stream was left out too\n",
        said(&dir.display()),
        list(&repaired.left_out),
        list(&kept),
    )
}

fn said(text: &dyn Display) -> String {
    text::safe(&text.to_string())
}

fn repair(dir: &Path, now: i64) -> Result<Option<Repaired>, Error> {
    if log::FILES.iter().all(|name| !dir.join(name).exists()) {
        return Err(Error::Missing(dir.to_owned()));
    }
    let locked = lock::try_lock(dir).map_err(|source| Error::Io { what: "lock", path: dir.to_owned(), source })?;
    let _lock = locked.map_err(|owner| Error::Running { dir: dir.to_owned(), owner })?;
    match store::read(dir) {
        Ok(_) => return Ok(None),
        Err(store::Error::Entry { .. } | store::Error::Log(log::Error::Damaged { .. })) => {}
        // A later release's format, or a disk that does not answer, is no damage.
        Err(error) => return Err(error.into()),
    }
    let kept = keep(dir, now)?;
    let (log, model, opened) = store::load(dir, true)?;
    let mut store = Store::new(model, Committer::inline(log));
    let names: Vec<String> = kept.iter().map(|path| path.display().to_string()).collect();
    let fields = json!({"leftOut": opened.left_out, "kept": names});
    store.enter(now, Action::StateRepaired, "the state was repaired; what did not check was left out", &fields);
    // The first write of a store is a snapshot: the file with the damage is not the one in use any more.
    let ticket = store.flush();
    match store.progress().trouble() {
        None if store.durable() == ticket => Ok(Some(Repaired { left_out: opened.left_out, kept })),
        trouble => Err(Error::Write(trouble.unwrap_or_else(|| "it is not durable".to_owned()))),
    }
}

/// Copies the damaged files beside themselves, durably, before anything is changed.
fn keep(dir: &Path, now: i64) -> Result<Vec<PathBuf>, Error> {
    let stamp = text::moment(now).replace([':', '-'], "");
    let mut kept = Vec::new();
    for name in log::FILES {
        let from = dir.join(name);
        if !from.exists() {
            continue;
        }
        let to = dir.join(format!("{name}.damaged-{stamp}"));
        let io = |what| {
            let path = to.clone();
            move |source| Error::Io { what, path, source }
        };
        let mut source = File::open(&from).map_err(io("keep the damaged file as"))?;
        // An earlier repair of the same second is not written over.
        let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to).map_err(io("make"))?;
        std::io::copy(&mut source, &mut target).map_err(io("write"))?;
        target.sync_all().map_err(io("sync"))?;
        kept.push(to);
    }
    let folder = File::open(dir).and_then(|folder| folder.sync_all());
    folder.map_err(|source| Error::Io { what: "sync", path: dir.to_owned(), source })?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::state::entry::{Kind, LaneRecord};

    const NOW: i64 = 1_700_000_000_000_000_000;

    /// A state with three lanes, of which the entry of the second does not check.
    fn damaged(dir: &Path) {
        let (log, model, _) = store::load(dir, false).unwrap();
        let mut store = Store::new(model, Committer::inline(log));
        for number in 1..=3 {
            store.put(Kind::LanePut(LaneRecord { number, name: format!("lane-{number}"), ..LaneRecord::default() }));
            store.flush();
        }
        drop(store);
        let mut hit = 0;
        for name in log::FILES {
            let bytes = std::fs::read(dir.join(name)).unwrap();
            if let Some(at) = bytes.windows(6).position(|w| w == b"lane-2") {
                std::fs::OpenOptions::new()
                    .write(true)
                    .open(dir.join(name))
                    .unwrap()
                    .write_all_at(b"X", at as u64)
                    .unwrap();
                hit += 1;
            }
        }
        assert_eq!(hit, 1);
    }

    #[test]
    fn keeps_what_checks_says_what_does_not_and_sets_the_damaged_files_aside() {
        let dir = tempfile::tempdir().unwrap();
        damaged(dir.path());
        assert!(store::read(dir.path()).is_err());
        let before = std::fs::read(dir.path().join(log::FILES[0])).unwrap();
        let repaired = repair(dir.path(), NOW).unwrap().unwrap();
        assert_eq!((repaired.left_out.len(), repaired.kept.len()), (1, 2));
        assert_eq!(repaired.kept[0], dir.path().join("state-0.log.damaged-20231114T221320Z"));
        assert_eq!(std::fs::read(&repaired.kept[0]).unwrap(), before);
        let (model, opened) = store::read(dir.path()).unwrap();
        assert!(!opened.torn);
        assert_eq!(model.lanes.keys().copied().collect::<Vec<_>>(), [1, 3]);
        let entry = model.ledger.back().unwrap();
        assert_eq!(entry.action, "state_repaired");
        assert!(entry.fields.contains("leftOut") && entry.fields.contains("damaged-2023"));
        store::load(dir.path(), false).unwrap();
        assert!(repair(dir.path(), NOW).unwrap().is_none(), "now it is whole");
    }

    #[test]
    fn everything_destroyed_is_a_new_state_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        damaged(dir.path());
        for name in log::FILES {
            std::fs::write(dir.path().join(name), vec![0xee; 20_000]).unwrap();
        }
        let repaired = repair(dir.path(), NOW).unwrap().unwrap();
        assert!(!repaired.left_out.is_empty());
        assert_eq!(store::read(dir.path()).unwrap().0.ledger.len(), 1);
    }

    #[test]
    fn a_missing_file_is_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let (log, model, _) = store::load(dir.path(), false).unwrap();
        let mut store = Store::new(model, Committer::inline(log));
        store.put(Kind::LanePut(LaneRecord { number: 1, ..LaneRecord::default() }));
        store.flush();
        drop(store);
        std::fs::remove_file(dir.path().join(log::FILES[1])).unwrap();
        repair(dir.path(), NOW).unwrap().unwrap();
        store::load(dir.path(), false).unwrap();
    }

    #[test]
    fn a_running_agent_a_whole_state_and_no_state_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(repair(dir.path(), NOW), Err(Error::Missing(_))));
        drop(store::load(dir.path(), false).unwrap());
        assert!(repair(dir.path(), NOW).unwrap().is_none());
        let _lock = lock::try_lock(dir.path()).unwrap().unwrap();
        assert!(matches!(repair(dir.path(), NOW), Err(Error::Running { .. })));
    }
}
