//! An agent that ships one log to one sink, and the lines that were written to it: what tests of a sink are made of.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::agent::{Agent, binary};
use crate::face;
use crate::policy::{self, Policy};
use crate::rng::Rng;
use crate::room::Room;
use crate::wait::await_true;

/// How long delivery may take at most.
const LATE: Duration = Duration::from_secs(180);
/// Lines that are written with one call.
const BLOCK: usize = 5_000;

/// The shipment: the log is `logs/app/app.log`, of format `Text`.
#[derive(Debug)]
pub struct Shipment {
    /// The agent, not yet started.
    pub agent: Agent,
    /// What was written.
    pub lines: Vec<String>,
    /// Randomness of the lines, for the test to use too.
    pub rng: Rng,
    lane: String,
    live: File,
    path: PathBuf,
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
        let folder = room.logs().join("app");
        fs::create_dir_all(&folder)?;
        let path = folder.join("app.log");
        let live = OpenOptions::new().create_new(true).append(true).open(&path)?;
        let mut agent = room.agent(policy)?;
        let secrets = room.path().join("secrets");
        agent.secrets_at(&secrets);
        let rng = Rng::from_env("shipment");
        Ok(Self { agent, lines: Vec::new(), rng, lane: lane.to_owned(), live, path, secrets })
    }

    /// The policy that ships the log to a sink.
    pub fn policy(room: &Room, sink: Value) -> Policy {
        let pattern = format!("{}/app/app*", room.logs().display());
        Policy::new("shipment").source(policy::text("app", &pattern)).sink(sink)
    }

    /// Where the log is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Puts a secret where the agent looks for it, in one step.
    pub fn secret(&self, secret: &str, key: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        let folder = self.secrets.join(secret);
        fs::create_dir_all(&folder)?;
        let fresh = folder.join(format!(".{key}"));
        fs::write(&fresh, bytes)?;
        fs::rename(fresh, folder.join(key)).context("failed to write a secret")
    }

    /// Appends lines, each written once only.
    pub fn write(&mut self, count: usize) -> Result<()> {
        for first in (0..count).step_by(BLOCK) {
            let mut block = String::new();
            for _ in first..(first + BLOCK).min(count) {
                let len = self.rng.within(1..200) as usize;
                let line = format!("{} {}", self.lines.len(), self.rng.text(len));
                block.push_str(&line);
                block.push('\n');
                self.lines.push(line);
            }
            self.live.write_all(block.as_bytes()).context("failed to write a log")?;
        }
        Ok(())
    }

    /// Appends one line.
    pub fn line(&mut self, line: &str) -> Result<()> {
        self.lines.push(line.to_owned());
        self.live.write_all(format!("{line}\n").as_bytes()).context("failed to write a log")
    }

    /// The lane's account now.
    pub fn account(&self) -> Result<face::Lane> {
        let lanes = self.agent.asker().lanes()?;
        lanes.into_iter().find(|lane| lane.name == self.lane).context("no such lane")
    }

    /// What `/status` says of the lane.
    pub fn status(&self) -> Result<Value> {
        let status = self.agent.asker().status()?;
        let lanes = status["lanes"].as_array().context("no lanes")?;
        lanes.iter().find(|lane| lane["name"] == self.lane.as_str()).cloned().context("no such lane")
    }

    /// Waits until the lane is in trouble with these words, and a person has to do something, or not.
    pub fn await_trouble(&mut self, is_held: bool, words: &str) -> Result<()> {
        let mut last = Value::Null;
        let came = await_true(&format!("the lane says {words:?}"), Duration::from_secs(30), || {
            self.agent.check_alive()?;
            last = self.status()?;
            Ok((last["state"] == "Misconfigured") == is_held
                && last["trouble"].as_str().is_some_and(|trouble| trouble.contains(words)))
        });
        came.with_context(|| format!("state {}, trouble {}", last["state"], last["trouble"]))
    }

    /// Waits until the lane has settled everything that was written.
    pub fn settle(&mut self) -> Result<()> {
        let wanted = self.lines.len() as u64;
        let settled = await_true("the lane owes nothing", LATE, || {
            self.agent.check_alive()?;
            let lane = self.account()?;
            let settled = lane.term("acknowledged").records + lane.term("refused").records;
            Ok(lane.term("pending").bytes == 0 && settled >= wanted)
        });
        settled.with_context(|| format!("{:?}", self.status().map(|status| status["trouble"].clone())))
    }

    /// Runs `waybill` with these words behind the subcommand; whether it ended with 0, and what it said.
    pub fn waybill(&self, words: &[&str]) -> Result<(bool, String)> {
        let done = Command::new(binary()?).args(words).output().context("failed to start waybill")?;
        let text = [done.stdout, done.stderr].concat();
        Ok((done.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// Stops the agent, and wants every lane's account in balance with nothing refused or lost.
    pub fn stop(&mut self) -> Result<()> {
        self.agent.stop()?;
        for lane in face::lanes(&self.agent.inspect()?)? {
            lane.balance()?;
            ensure!(lane.term("refused").records == 0 && lane.term("lost").bytes == 0, "{}: {lane}", lane.name);
        }
        Ok(())
    }

    /// Holds what arrived, as (id, canonical record), against what was written: byte for byte, and each record under its id and once.
    pub fn judge(&self, arrived: impl IntoIterator<Item = (String, Value)>) -> Result<()> {
        let mut wanted: HashMap<&str, usize> = HashMap::new();
        for line in &self.lines {
            *wanted.entry(line).or_default() += 1;
        }
        let (mut ids, mut alien) = (HashSet::new(), 0);
        for (id, record) in arrived {
            ensure!(record["waybill"]["id"] == id.as_str(), "{id} holds the record {}", record["waybill"]["id"]);
            if !ids.insert(id.clone()) {
                bail!("{id} is there twice");
            }
            if record["event"]["dataset"] == face::CONTROL {
                continue;
            }
            match wanted.get_mut(record["event"]["original"].as_str().context("a record without its line")?) {
                Some(left @ 1..) => *left -= 1,
                _ => alien += 1,
            }
        }
        let missing = wanted.values().sum::<usize>();
        ensure!(missing == 0 && alien == 0, "{missing} of {} lines are missing, {alien} are alien", self.lines.len());
        println!("{} lines, each once", self.lines.len());
        Ok(())
    }
}
