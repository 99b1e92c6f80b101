//! A program of its own that writes numbered lines and opens its log anew at SIGUSR1, or does not: a shell, so that a signal reaches
//! it alone and its executable is like no other.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::output::Output;

/// The writer; ended when dropped.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    /// Its executable, which no other process has.
    pub program: PathBuf,
    stop: PathBuf,
}

impl Shell {
    /// What [`start`](Self::start) is given for a writer that reopens.
    pub const REOPENS: &'static str = "exec >>$log";

    /// Begins to write to `log`, whose folder is made, 40 lines and then none for so many seconds; `trap` says what it does at
    /// SIGUSR1. What it needs it keeps in `folder`.
    pub fn start(folder: &Path, log: &Path, trap: &str, pause: &str) -> Result<Self> {
        let (program, stop) = (folder.join("writer"), folder.join("stop"));
        // By another process: a test that forks meanwhile would hold the copy open for writing, and it could not be executed.
        let copied = Command::new("cp").arg("/bin/bash").arg(&program).status().context("cp is needed")?;
        ensure!(copied.success(), "bash is needed");
        fs::create_dir_all(log.parent().context("a log has a folder")?)?;
        let script = format!(
            "log={}; stop={}; exec >>$log; trap '{trap}' USR1; n=0; padding=$(printf 'x%.0s' {{1..120}})
            while [ ! -e $stop ]; do n=$((n+1)); echo \"line $n $padding\"; [ $((n % 40)) != 0 ] || sleep {pause}; done",
            log.display(),
            stop.display()
        );
        let child = Command::new(&program).args(["-c", &script]).stdin(Stdio::null()).spawn()?;
        Ok(Self { child, program, stop })
    }

    /// Ends it in good order.
    pub fn finish(&mut self) -> Result<()> {
        fs::write(&self.stop, "")?;
        ensure!(self.child.wait()?.success(), "the writer failed");
        Ok(())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            println!("failed to end the writer: {error}");
        }
    }
}

/// Every line of such a writer from the first to the last came, under one id; how many there were.
pub fn all_came(output: &Output, source: &str) -> Result<u64> {
    let mut seen: HashMap<u64, u32> = HashMap::new();
    let mut ids = HashSet::new();
    for record in output.records.iter().filter(|r| &*r.source == source && ids.insert(r.id)) {
        let text = String::from_utf8_lossy(record.text.bytes()).into_owned();
        let number = text.split(' ').nth(1).context("a line has a number")?.parse()?;
        *seen.entry(number).or_default() += 1;
    }
    let last = seen.keys().copied().max().unwrap_or(0);
    ensure!(seen.values().all(|n| *n == 1), "a line came under two ids");
    ensure!(seen.len() as u64 == last, "{} of {last} lines came", seen.len());
    Ok(last)
}
