//! The agent as a process: started, killed, stopped, ended, and asked.

mod binary;

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub use binary::binary;

use crate::face::{self, Lane, page};
use crate::history::{Event, History};
use crate::http;
use crate::process::stands_still;
use crate::wait::{await_condition, await_true};

/// How long an agent may take to answer after its start; generous, for it may replay a long state on a busy machine.
const START: Duration = Duration::from_secs(20);
/// How long it may take to go after SIGTERM: its `drainSeconds` and some more.
const STOP: Duration = Duration::from_secs(40);
/// How long an agent that is alive may be too busy to answer; how soon it must hear a kill switch is tested where that is promised.
const BUSY: Duration = Duration::from_secs(20);

/// One agent. Killed when dropped.
#[derive(Debug)]
pub struct Agent {
    policy: PathBuf,
    state: PathBuf,
    secrets: Option<PathBuf>,
    log: PathBuf,
    environment: Vec<(OsString, OsString)>,
    wrapper: Vec<&'static str>,
    asker: Asker,
    history: Arc<History>,
    child: Option<Child>,
}

/// What can be asked of a running agent from any thread.
#[derive(Debug, Clone, Copy)]
pub struct Asker(SocketAddr);

impl Asker {
    /// Where it listens.
    pub fn address(self) -> SocketAddr {
        self.0
    }

    /// Whether it serves.
    pub fn healthy(self) -> bool {
        http::get(self.0, page::HEALTH).is_ok_and(|(status, _)| status == 200)
    }

    /// Whether it ships.
    pub fn ready(self) -> bool {
        http::get(self.0, page::READY).is_ok_and(|(status, _)| status == 200)
    }

    /// `/status`.
    pub fn status(self) -> Result<Value> {
        serde_json::from_str(&self.page(page::STATUS)?).context("/status is not JSON")
    }

    /// The lanes of `/status`.
    pub fn lanes(self) -> Result<Vec<Lane>> {
        face::lanes(&self.status()?)
    }

    /// `/metrics`.
    pub fn metrics(self) -> Result<String> {
        self.page(page::METRICS)
    }

    /// A page. On a machine that is short of processors it may say that it is to be asked again.
    fn page(self, path: &str) -> Result<String> {
        await_condition(path, BUSY, || match http::get(self.0, path)? {
            (200, body) => Ok(Some(body)),
            (503, _) => Ok(None),
            (code, body) => bail!("{path} answered {code}: {body}"),
        })
    }
}

impl Agent {
    /// An agent that is not started yet.
    pub fn new(policy: &Path, state: &Path, log: &Path, history: Arc<History>) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        Ok(Self {
            policy: policy.to_owned(),
            state: state.to_owned(),
            secrets: None,
            log: log.to_owned(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            asker: Asker(port),
            history,
            child: None,
        })
    }

    /// Sets a variable of its environment, from the next start on; an empty value takes it away.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(had, _)| had != name);
        if !value.is_empty() {
            self.environment.push((name.into(), value.into()));
        }
    }

    /// Starts it through another program, which must become it.
    pub fn through(&mut self, program: &[&'static str]) {
        self.wrapper = program.to_vec();
    }

    /// Gives it secrets: files `<folder>/<secret>/<key>`.
    pub fn secrets_at(&mut self, folder: &Path) {
        self.secrets = Some(folder.to_owned());
    }

    /// Keeps its state elsewhere.
    pub fn state_at(&mut self, state: &Path) {
        state.clone_into(&mut self.state);
    }

    /// What was done to it.
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// What can be asked of it.
    pub fn asker(&self) -> Asker {
        self.asker
    }

    /// What it has logged in all its lives.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(&self.log).context("failed to read the agent's log")
    }

    /// Starts it and does not wait.
    pub fn launch(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the agent is already running");
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let binary = binary()?;
        let mut words = self.wrapper.iter().map(OsStr::new).chain([binary.as_os_str()]);
        let child = Command::new(words.next().context("nothing to start")?)
            .args(words)
            .args(["run".as_ref(), "-f".as_ref(), self.policy.as_os_str()])
            .args(["--state-dir".as_ref(), self.state.as_os_str()])
            .args(self.secrets.iter().flat_map(|folder| [OsStr::new("--secrets-dir"), folder.as_os_str()]))
            .args(["--listen", &self.asker.0.to_string()])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("failed to start the agent")?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.await_healthy()
    }

    /// Waits until it answers; an agent that ends instead is an error with the end of its log.
    pub fn await_healthy(&mut self) -> Result<()> {
        let asker = self.asker;
        await_true("the agent answers", START, || {
            self.check_alive()?;
            Ok(asker.healthy())
        })?;
        self.history.enter(Event::Ready);
        Ok(())
    }

    /// Fails if it has ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        let child = self.child.as_mut().context("the agent is not running")?;
        if let Some(status) = child.try_wait()? {
            self.child = None;
            self.history.enter(Event::Killed);
            bail!("the agent ended by itself, {status}:\n{}", tail(&self.log));
        }
        Ok(())
    }

    /// Its process id.
    pub fn pid(&self) -> Result<Pid> {
        let child = self.child.as_ref().context("the agent is not running")?;
        Ok(Pid::from_child(child))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid()?, signal).context("failed to signal the agent")
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.check_alive()?;
        self.history.enter(Event::Killed);
        self.signal(Signal::KILL)?;
        if let Some(mut child) = self.child.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// SIGSTOP; returns when it stands still.
    pub fn freeze(&mut self) -> Result<()> {
        self.check_alive()?;
        self.history.enter(Event::Frozen);
        self.signal(Signal::STOP)?;
        await_true("the agent stands still", Duration::from_secs(5), || self.is_halted())
    }

    /// Whether it stands still, because it was stopped or came to the point of a `WAYBILL_FAULT` that halts it.
    pub fn is_halted(&mut self) -> Result<bool> {
        self.check_alive()?;
        stands_still(self.pid()?)
    }

    /// `waybill inspect archives`: fails, naming it, if one is not as it was made; how many there are.
    pub fn inspect_archives(&self) -> Result<usize> {
        let mut command = Command::new(binary()?);
        command.args(["inspect", "archives", "--json", "--state-dir"]).arg(&self.state);
        let done = command.output().context("failed to start inspect")?;
        let rows: Value = serde_json::from_slice(&done.stdout).context("inspect archives did not print JSON")?;
        let rows = rows.as_array().context("inspect archives did not print a list")?;
        let bad: Vec<&Value> = rows.iter().filter(|row| row["state"] != "whole").collect();
        ensure!(done.status.success() && bad.is_empty(), "archives are not as they were made: {bad:?}");
        Ok(rows.len())
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<()> {
        self.signal(Signal::CONT)?;
        self.history.enter(Event::Thawed);
        Ok(())
    }

    /// SIGTERM; returns how it ended.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.check_alive()?;
        self.history.enter(Event::Terminated);
        self.signal(Signal::TERM)?;
        self.await_exit(STOP)
    }

    /// Waits for an end that was asked for.
    pub fn await_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        let mut child = self.child.take().context("the agent is not running")?;
        let status = await_condition("the agent ends", within, || Ok(child.try_wait()?));
        if status.is_err() {
            self.child = Some(child);
        }
        status
    }

    /// SIGTERM, and an error if the exit code is not 0.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.terminate()?;
        ensure!(status.success(), "the agent ended with {status} after SIGTERM:\n{}", tail(&self.log));
        Ok(())
    }

    /// `waybill inspect --json`.
    pub fn inspect(&self) -> Result<Value> {
        let mut command = Command::new(binary()?);
        command.args(["inspect", "--json", "--state-dir"]).arg(&self.state);
        let done = command.output().context("failed to start inspect")?;
        ensure!(done.status.success(), "inspect failed: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).context("inspect did not print JSON")
    }

    /// `waybill inspect dead-letters --retry` of one sink.
    pub fn retry_dead_letters(&self, sink: &str) -> Result<()> {
        let mut command = Command::new(binary()?);
        command.args(["inspect", "--state-dir"]).arg(&self.state).args(["dead-letters", "--retry", "--sink", sink]);
        let done = command.output().context("failed to start inspect")?;
        ensure!(done.status.success(), "inspect failed: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// `waybill check --probe`: what it says, and how it ended.
    pub fn probe(&self) -> Result<(String, ExitStatus)> {
        let mut command = Command::new(binary()?);
        command.args(["check", "--probe", "-f"]).arg(&self.policy);
        command.args(self.policy.parent().iter().flat_map(|room| [OsStr::new("--read-root"), room.as_os_str()]));
        command.args(self.secrets.iter().flat_map(|folder| [OsStr::new("--secrets-dir"), folder.as_os_str()]));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let done = command.output().context("failed to start check")?;
        Ok((String::from_utf8_lossy(&done.stdout).into_owned(), done.status))
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most that was resident since its start, in bytes.
    pub fn peak(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?.as_raw_nonzero()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// Processor time used since its start, in the kernel's ticks of 10 ms.
    pub fn processor(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()?.as_raw_nonzero()))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().context("no stat")?.split(' ').collect();
        let (user, system) = (fields.get(11).context("no user time")?, fields.get(12).context("no system time")?);
        Ok(Duration::from_millis(10 * (user.parse::<u64>()? + system.parse::<u64>()?)))
    }

    /// Bytes that it read from files since its start; what it received does not count.
    pub fn read(&self) -> Result<u64> {
        let io = fs::read_to_string(format!("/proc/{}/io", self.pid()?.as_raw_nonzero()))?;
        let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).context("no rchar")?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let gone = child.kill().and_then(|()| child.wait());
            if let Err(error) = gone {
                println!("failed to end the agent: {error}");
            }
        }
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_else(|error| error.to_string());
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
