//! A server as a child process of a test: killed, made to stand still, and gone when the test is.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::await_true;

/// How long the kernel may take to stop all threads of a process.
const STAND: Duration = Duration::from_secs(5);
/// Lines of its log that an error shows.
const TAIL: usize = 20;

/// A program that may run or not, and the log of all its runs. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A program of that name, not started yet; what it says is appended to `log`.
    pub fn new(name: &'static str, log: &Path) -> Self {
        Self { name, log: log.to_owned(), child: None }
    }

    /// Starts it and does not wait. Its standard input ends when the test does, however that ends.
    pub fn start(&mut self, command: &mut Command) -> Result<()> {
        let log = self.open()?;
        self.spawn(command, log.into())
    }

    /// The same with a program that is spoken to: its standard input and output.
    pub fn converse(&mut self, command: &mut Command) -> Result<(ChildStdin, ChildStdout)> {
        self.spawn(command, Stdio::piped())?;
        let child = self.child.as_mut().context("it was just started")?;
        child.stdin.take().zip(child.stdout.take()).context("no standard input and output")
    }

    fn spawn(&mut self, command: &mut Command, stdout: Stdio) -> Result<()> {
        ensure!(self.child.is_none(), "{} is already running", self.name);
        let child = command.stdin(Stdio::piped()).stdout(stdout).stderr(self.open()?).spawn();
        self.child = Some(child.with_context(|| format!("failed to start {}", self.name))?);
        Ok(())
    }

    fn open(&self) -> Result<fs::File> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        log.with_context(|| format!("failed to open {}", self.log.display()))
    }

    /// Whether it was started and not killed since.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Fails if it has ended by itself, with the end of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        let child = self.child.as_mut().with_context(|| format!("{} is not running", self.name))?;
        if let Some(status) = child.try_wait()? {
            self.child = None;
            let log = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
            bail!("{} ended by itself, {status}; {} ends with:\n{tail}", self.name, self.log.display());
        }
        Ok(())
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().with_context(|| format!("{} is not running", self.name))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGSTOP: it keeps its connections and answers nothing. Returns when it stands still.
    pub fn freeze(&self) -> Result<()> {
        let pid = self.signal(Signal::STOP)?;
        await_true("the server stands still", STAND, || stands_still(pid))
    }

    /// SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT).map(drop)
    }

    fn signal(&self, signal: Signal) -> Result<Pid> {
        let child = self.child.as_ref().with_context(|| format!("{} is not running", self.name))?;
        let pid = Pid::from_child(child);
        kill_process(pid, signal)?;
        Ok(pid)
    }
}

/// Whether a process was stopped by a signal.
pub fn stands_still(pid: Pid) -> Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    Ok(stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.is_some()
            && let Err(error) = self.kill()
        {
            println!("failed to end {}: {error:#}", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_by_itself_is_told_with_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::new("sh", &folder.path().join("log"));
        process.start(Command::new("sh").args(["-c", "echo so long >&2; exit 3"])).unwrap();
        let told = await_true("it ends", STAND, || process.check_alive().map(|()| false)).unwrap_err().to_string();
        assert!(told.contains("so long") && told.contains('3'), "{told}");
        assert!(!process.is_running());
    }

    #[test]
    fn what_stands_still_answers_again_when_thawed() {
        use std::io::{BufRead, BufReader, Write};
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::new("cat", &folder.path().join("log"));
        let (mut to, from) = process.converse(&mut Command::new("cat")).unwrap();
        process.freeze().unwrap();
        to.write_all(b"hello\n").unwrap();
        process.thaw().unwrap();
        let mut line = String::new();
        BufReader::new(from).read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
        process.kill().unwrap();
        assert!(process.freeze().is_err());
    }
}
