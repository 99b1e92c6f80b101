//! An agent that ships log files to sinks, and what was written to them: what the tests of sinks are made of.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::{Agent, binary};
use crate::face;
use crate::logs::Logs;
use crate::policy::{self, Policy};
use crate::rng::Rng;
use crate::room::Room;
use crate::wait::await_true;

/// How long delivery may take at most, on a busy machine.
pub const LATE: Duration = Duration::from_mins(3);
/// How long the agent may take to say what is in the way.
pub const SOON: Duration = Duration::from_secs(30);
/// The log that is written to where a test needs one only.
const LOG: &str = "app.log";

/// The shipment: the logs are `logs/app/*.log`, of format `Text` unless the policy says otherwise.
#[derive(Debug)]
pub struct Shipment {
    /// The agent, not yet started.
    pub agent: Agent,
    /// What was written.
    pub logs: Logs,
    /// Randomness for the test.
    pub rng: Rng,
    lane: String,
    secrets: PathBuf,
}

impl Shipment {
    /// A shipment in a room, to this sink.
    pub fn new(room: &Room, sink: Value) -> Result<Self> {
        let lane = sink["name"].as_str().context("a sink has a name")?.to_owned();
        Self::with(room, &Self::policy(room, sink), &lane)
    }

    /// A shipment with a policy of its own; `lane` is the sink that is watched.
    pub fn with(room: &Room, policy: &Policy, lane: &str) -> Result<Self> {
        let mut rng = Rng::from_env("shipment");
        let logs = Logs::new(&room.logs().join("app"), rng.fork())?;
        let mut agent = room.agent(policy)?;
        let secrets = room.path().join("secrets");
        agent.secrets_at(&secrets);
        Ok(Self { agent, logs, rng, lane: lane.to_owned(), secrets })
    }

    /// The pattern of the logs' paths.
    pub fn pattern(room: &Room) -> String {
        format!("{}/app/*.log", room.logs().display())
    }

    /// The policy that ships the logs to a sink.
    pub fn policy(room: &Room, sink: Value) -> Policy {
        Policy::new("shipment").source(policy::text("app", &Self::pattern(room))).sink(sink)
    }

    /// Puts a secret where the agent looks for it, in one step.
    pub fn secret(&self, secret: &str, key: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        let folder = self.secrets.join(secret);
        fs::create_dir_all(&folder)?;
        let fresh = folder.join(format!(".{key}"));
        fs::write(&fresh, bytes)?;
        fs::rename(fresh, folder.join(key)).context("failed to write a secret")
    }

    /// Appends random lines to the one log.
    pub fn write(&mut self, count: usize) -> Result<()> {
        self.logs.write(LOG, count)
    }

    /// Appends these lines to the one log.
    pub fn lines(&mut self, lines: &[impl AsRef<[u8]>]) -> Result<()> {
        self.logs.lines(LOG, lines)
    }

    /// The lane's account now.
    pub fn account(&self) -> Result<face::Lane> {
        let lanes = self.agent.asker().lanes()?;
        lanes.into_iter().find(|lane| lane.name == self.lane).context("no such lane")
    }

    /// Records that the lane has refused.
    pub fn refused(&self) -> Result<u64> {
        Ok(self.account()?.term("refused").records)
    }

    /// What `/status` says of the lane.
    pub fn status(&self) -> Result<Value> {
        let status = self.agent.asker().status()?;
        let lanes = status["lanes"].as_array().context("no lanes")?;
        lanes.iter().find(|lane| lane["name"] == self.lane.as_str()).cloned().context("no such lane")
    }

    /// Waits until the lane is in trouble with these words, and a person has to do something, or not.
    pub fn await_trouble(&mut self, is_held: bool, words: &[&str]) -> Result<()> {
        let mut last = Value::Null;
        let came = await_true(&format!("the lane says {words:?}"), SOON, || {
            self.agent.check_alive()?;
            last = self.status()?;
            let trouble = last["trouble"].as_str().unwrap_or_default();
            Ok((last["state"] == "Misconfigured") == is_held
                && !trouble.is_empty()
                && words.iter().all(|words| trouble.contains(words)))
        });
        came.with_context(|| format!("state {}, trouble {}", last["state"], last["trouble"]))
    }

    /// Waits until the lane has settled everything that was written.
    pub fn settle(&mut self) -> Result<()> {
        self.settle_within(LATE)
    }

    /// The same with another patience.
    pub fn settle_within(&mut self, patience: Duration) -> Result<()> {
        let lane = self.lane.clone();
        self.settle_lanes(&[&lane], patience)
    }

    /// Waits until these lanes have settled everything that was written.
    pub fn settle_lanes(&mut self, names: &[&str], patience: Duration) -> Result<()> {
        let (wanted, folder) = (self.logs.bytes(), self.logs.folder().to_owned());
        let settled = await_true("the lanes owe nothing", patience, || {
            self.agent.check_alive()?;
            let status = self.agent.asker().status()?;
            let streams = status["streams"].as_array().context("no streams")?;
            let ours = |stream: &&Value| {
                stream["path"].as_str().is_some_and(|path| std::path::Path::new(path).starts_with(&folder))
            };
            let passed = |lane: &str| -> u64 {
                streams.iter().filter(ours).filter_map(|stream| stream["cursors"][lane].as_u64()).sum()
            };
            let lanes = face::lanes(&status)?;
            let owes = |name: &str| lanes.iter().any(|lane| lane.name == name && lane.term("pending").bytes > 0);
            Ok(names.iter().all(|name| !owes(name) && passed(name) == wanted))
        });
        settled.with_context(|| match self.agent.asker().status() {
            Ok(status) => format!("{wanted} bytes were written; {:#}", status["lanes"]),
            Err(error) => format!("{error:#}"),
        })
    }

    /// Runs `waybill` with these words; whether it ended with 0, and what it said.
    pub fn waybill(&self, words: &[&str]) -> Result<(bool, String)> {
        let done = Command::new(binary()?).args(words).output().context("failed to start waybill")?;
        let text = [done.stdout, done.stderr].concat();
        Ok((done.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// What `check --probe` says of the lane's sink, and whether it finds everything well.
    pub fn probe(&self) -> Result<(bool, String)> {
        let (said, status) = self.agent.probe()?;
        let start = format!("sink {}: ", self.lane);
        let line = said.lines().find(|line| line.starts_with(&start));
        Ok((status.success(), line.with_context(|| format!("the sink is not mentioned: {said}"))?.to_owned()))
    }

    /// Stops the agent, and wants every lane's account in balance with nothing refused or lost.
    pub fn stop(&mut self) -> Result<()> {
        self.stop_with(0)
    }

    /// The same where the lanes may have refused so many records, no more and no less.
    pub fn stop_with(&mut self, refused: u64) -> Result<()> {
        self.agent.stop()?;
        for lane in face::lanes(&self.agent.inspect()?)? {
            lane.balance()?;
            ensure!(lane.term("refused").records == refused && lane.term("lost").bytes == 0, "{}: {lane}", lane.name);
        }
        Ok(())
    }
}
