//! `waybill inspect`: the state of an agent, read where it lies, whether the agent runs or not.

mod archives;
mod clock;
mod dead_letters;
mod model;
mod page;
mod repair;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::text;
use crate::engine::Now;
use crate::state::model::Model;
use crate::state::store::{self, Opened};

/// Read an agent's state: streams, sinks, what is pending, kill switches, the ledger
///
/// Changes nothing, and may be used while the agent runs.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = false,
    after_long_help = "\
Examples:
  waybill inspect                                         the only policy of this machine
  waybill inspect --state-dir /var/lib/waybill/edge --ledger 50
  waybill inspect --json | jq '.ledger[] | select(.action == \"loss\")'
  waybill inspect archives                                whether any was altered, cut, replaced or removed
  waybill inspect clock --confirm                         after a step of the clock: it is right, files may go for their age
  waybill inspect dead-letters --sink search              what a sink refused, and why
  waybill inspect dead-letters --sink search --retry      send it again, under the same ids
  waybill inspect repair                                  keep what still checks of a damaged state

Exit status: 0 done, 1 the state or an archive is damaged or cannot be read, 2 the arguments are wrong."
)]
pub struct InspectArgs {
    /// Where the agent keeps its state [default: the only folder below /var/lib/waybill]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// How many of the newest ledger entries to print [default: 20; all as JSON]
    #[arg(long, value_name = "N")]
    pub ledger: Option<usize>,
    /// Something more special
    #[command(subcommand)]
    pub what: Option<What>,
}

/// What else can be done with a state.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "each is explained at its arguments, where its help comes from")]
pub enum What {
    Archives(archives::ArchivesArgs),
    Clock(clock::ClockArgs),
    Repair(repair::RepairArgs),
    DeadLetters(dead_letters::DeadLettersArgs),
}

/// Ledger entries on a page.
const ENTRIES: usize = 20;
/// Below it each policy has its folder.
const ROOT: &str = "/var/lib/waybill";

impl InspectArgs {
    /// Reads and shows.
    pub fn run(&self) -> ExitCode {
        let dir = match self.state_dir.clone().map_or_else(|| only_folder(Path::new(ROOT)), Ok) {
            Ok(dir) => dir,
            Err(reason) => {
                eprintln!("waybill: {}", text::safe(&reason));
                return ExitCode::from(2);
            }
        };
        match &self.what {
            None => self.show(&dir),
            Some(What::Archives(_)) => archives::run(&dir, self.json),
            Some(What::Clock(args)) => args.run(&dir, self.json),
            Some(What::Repair(_)) => repair::run(&dir),
            Some(What::DeadLetters(args)) => args.run(&dir, self.json),
        }
    }

    fn show(&self, dir: &Path) -> ExitCode {
        let (state, opened) = match read(dir) {
            Ok(read) => read,
            Err(error) => return fail(&error),
        };
        let entries = self.ledger.unwrap_or(if self.json { usize::MAX } else { ENTRIES });
        let inspection = model::inspect(&state, opened.torn, entries, Now::read().wall);
        if !self.json {
            return text::print(&page::render(&inspection));
        }
        match serde_json::to_string_pretty(&inspection) {
            Ok(json) => text::print(&(json + "\n")),
            Err(error) => fail(&error),
        }
    }
}

/// The state in a folder.
fn read(dir: &Path) -> Result<(Model, Opened), String> {
    let (state, opened) = store::read(dir).map_err(|error| error.to_string())?;
    if opened.fresh {
        return Err(nothing_in(dir));
    }
    Ok((state, opened))
}

/// What to say of a folder that holds no state.
fn nothing_in(dir: &Path) -> String {
    format!("there is no state in {}; --state-dir names the folder of one policy", dir.display())
}

/// The only folder below `root`, if there is just one.
fn only_folder(root: &Path) -> Result<PathBuf, String> {
    let entries = std::fs::read_dir(root)
        .map_err(|error| format!("give --state-dir; {} cannot be read: {error}", root.display()))?;
    let folders: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    match folders.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(format!("give --state-dir; there is no state below {}", root.display())),
        many => {
            let names: Vec<String> = many.iter().map(|path| path.display().to_string()).collect();
            Err(format!("give --state-dir, one of: {}", names.join(", ")))
        }
    }
}

fn fail(error: &dyn Display) -> ExitCode {
    eprintln!("waybill: {}", text::safe(&error.to_string()));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_folder_needs_no_name() {
        let root = tempfile::tempdir().unwrap();
        assert!(only_folder(root.path()).is_err());
        std::fs::create_dir(root.path().join("edge")).unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        assert_eq!(only_folder(root.path()).unwrap(), root.path().join("edge"));
        std::fs::create_dir(root.path().join("core")).unwrap();
        assert!(only_folder(root.path()).unwrap_err().contains("edge"));
    }
}
