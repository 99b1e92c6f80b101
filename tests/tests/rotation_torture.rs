//! All modes of rotation at once, while the agent is killed at each of their steps: nothing is lost, nothing comes under two ids, and no
//! archive is damaged.
//!
//! A short run by default; `make torture` makes at least 500 kills, more with `WAYBILL_TORTURE_KILLS`. `WAYBILL_SEED` repeats a run.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use waybill_tests::agent::Agent;
use waybill_tests::oracle::{Case, Leniency, judge};
use waybill_tests::output::{Output, open};
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::rng::Rng;
use waybill_tests::room::{self, Room};
use waybill_tests::stage::Stage;
use waybill_tests::wait::await_true;
use waybill_tests::writer::{Actor, Kind, Scribe, Shell, Troupe, append, logrotate, shell};
use waybill_tests::{face, fault, skip};

/// Kills of the short run.
const SHORT: usize = 40;
/// Kills that the full run makes at least.
const FULL: usize = 500;
/// The slow sink stands still, or works, for so many of the agent's lives.
const FLIP: usize = 9;
/// What a kill is called that came at a random moment, or because a step did not come.
const ANYWHERE: &str = "anywhere";
/// How long a step is waited for; generous, for the agent archives with a low priority and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(15);

/// A writer at a pace that leaves the agent its time.
struct Calm(Box<dyn Actor>);

impl Actor for Calm {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        self.0.step(scribe)?;
        std::thread::sleep(Duration::from_millis(100));
        Ok(())
    }

    fn finish(&mut self, scribe: &mut Scribe) -> Result<()> {
        self.0.finish(scribe)
    }
}

fn appends(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    Ok(Box::new(Calm(append::make(scribe)?)))
}

/// The mode of logrotate that the scribe is named after.
fn rotates(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    let mode = logrotate::MODES.iter().find(|kind| kind.name == scribe.name).context("no such mode of logrotate")?;
    Ok(Box::new(Calm((mode.make)(scribe)?)))
}

const CUT: [Kind; 3] = [
    Kind { name: "cut-1", make: appends },
    Kind { name: "cut-2", make: appends },
    Kind { name: "cut-3", make: appends },
];
/// Modes of logrotate that the agent follows.
const FOLLOWED: [Kind; 2] =
    [Kind { name: "logrotate-create", make: rotates }, Kind { name: "logrotate-delaycompress", make: rotates }];

fn policy(room: &Room, writer: &Shell) -> Policy {
    let logs = room.logs().display().to_string();
    let protect = json!({"archives": true, "live": true, "whenUnsupported": "Warn"});
    let cut = policy::text("cut", &format!("{logs}/cut-*/app*"));
    let cut = with(cut, "/rotation", json!({"mode": "Collapse", "maxSize": "64Ki", "compression": "Zstd"}));
    let cut = with(with(cut, "/retention", json!({"maxFiles": 4})), "/protect", protect.clone());
    let reopen = json!({"type": "Signal", "signal": "USR1", "process": {"executable": writer.program}});
    let shell = policy::text("shell", &format!("{logs}/shell/app*.log"));
    let shell = with(shell, "/rotation", json!({"mode": "Rename", "maxSize": "64Ki", "reopen": reopen}));
    let shell = with(with(shell, "/retention", json!({"maxFiles": 3})), "/protect", protect.clone());
    let archive = with(
        policy::file("archive", &room.archive()),
        "/file/rotation",
        json!({"maxSize": "1Mi", "compression": "Gzip"}),
    );
    let archive = with(with(archive, "/file/retention", json!({"maxFiles": 10000})), "/file/protect", protect);
    Policy::new("modes")
        .with("limits", json!({"inFlight": "2Mi", "line": "64Ki"}))
        .source(cut)
        .source(shell)
        .source(policy::text("followed", &format!("{logs}/logrotate-*/app*")))
        .sink(archive)
        .sink(policy::file("slow", &Slow::of(room).folder.join("audit.log")))
}

/// A sink whose folder is now and then a file, so that it cannot write: its lane lags behind and reads on in archives.
struct Slow {
    folder: PathBuf,
    aside: PathBuf,
    stands: bool,
}

impl Slow {
    fn of(room: &Room) -> Self {
        Self { folder: room.elsewhere().join("slow"), aside: room.elsewhere().join("aside"), stands: false }
    }

    fn flip(&mut self) -> Result<()> {
        renameat_with(CWD, &self.folder, CWD, &self.aside, RenameFlags::EXCHANGE)?;
        self.stands = !self.stands;
        Ok(())
    }
}

/// Lets the agent live until it comes to the step, or for a while; whether it was the step that ended it.
fn live_until(agent: &mut Agent, step: &str, moment: Duration) -> Result<bool> {
    agent.set("WAYBILL_FAULT", step);
    agent.launch()?;
    let ended = match agent.await_healthy() {
        Ok(()) => await_true("it comes to the step", moment, || agent.check_alive().map(|()| false)),
        Err(early) => Err(early),
    };
    let ended = match agent.pid() {
        // It still runs: only the time was over.
        Ok(_) => match agent.kill() {
            Ok(()) => return Ok(false),
            Err(meanwhile) => meanwhile,
        },
        Err(_) => ended.err().context("it ended without an end")?,
    };
    ensure!(ended.to_string().contains("signal: 9"), "{ended:#}");
    Ok(true)
}

/// Kills the agent at every step in turn; says how often at each.
fn torment(
    agent: &mut Agent,
    stage: &Stage,
    rng: &mut Rng,
    slow: &mut Slow,
    kills: usize,
) -> Result<BTreeMap<&'static str, usize>> {
    let mut done = BTreeMap::new();
    let mut deck: Vec<&'static str> = Vec::new();
    for number in 1..=kills {
        if deck.is_empty() {
            deck = fault::all();
            deck.extend([ANYWHERE; 4]);
        }
        let step = deck.swap_remove(rng.within(0..deck.len() as u64) as usize);
        let nth = *rng.pick(&[1, 1, 1, 2, 3]);
        stage.gate.up();
        let came = if step == ANYWHERE {
            live_until(agent, "", Duration::from_millis(rng.within(10..2500)))?
        } else {
            live_until(agent, &format!("{step}:{nth}"), PATIENCE)?
        };
        stage.gate.down();
        *done.entry(if came { step } else { ANYWHERE }).or_insert(0) += 1;
        if number % FLIP == 0 {
            slow.flip()?;
        }
    }
    agent.set("WAYBILL_FAULT", "");
    Ok(done)
}

/// Whether a file that was renamed is not compressed yet, or still there beside its archive.
fn has_renamed(folder: &Path) -> Result<bool> {
    let names: Vec<_> = fs::read_dir(folder)?.map(|entry| entry.map(|e| e.file_name())).collect::<Result<_, _>>()?;
    Ok(names.iter().map(|name| name.to_string_lossy()).any(|name| name.starts_with("app~") && name.ends_with(".log")))
}

/// Every archive of a live file holds whole lines, and no line is in two.
fn are_whole(folder: &Path) -> Result<usize> {
    let (mut found, mut lines) = (0, HashSet::new());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("app~")) {
            continue;
        }
        let mut text = String::new();
        open(&path)?.read_to_string(&mut text).with_context(|| format!("{} is damaged", path.display()))?;
        ensure!(text.ends_with('\n'), "{} does not end at a record's end", path.display());
        ensure!(text.lines().all(|line| lines.insert(line.to_owned())), "{} repeats lines", path.display());
        found += 1;
    }
    Ok(found)
}

fn violence(name: &str, kills: usize) -> Result<BTreeMap<&'static str, usize>> {
    let mut counted = BTreeMap::new();
    room::within(name, |room| {
        let mut rng = Rng::from_env(name);
        let mut slow = Slow::of(room);
        fs::create_dir(&slow.folder)?;
        fs::write(&slow.aside, "")?;
        let mut writer = Shell::start(room.path(), &room.logs().join("shell/app.log"), Shell::REOPENS, "0.1")?;
        let mut agent = room.agent(&policy(room, &writer))?;
        let stage = Stage::new(&room.archive());
        let mut troupe = Troupe::new(&stage);
        let followed = if skip::has("logrotate") { FOLLOWED.to_vec() } else { Vec::new() };
        if followed.is_empty() {
            skip::skip("Observe in the torture of rotations", "logrotate is not installed")?;
        }
        for kind in CUT.into_iter().chain(followed) {
            troupe.engage(kind, &room.logs(), &mut rng)?;
        }
        counted = torment(&mut agent, &stage, &mut rng, &mut slow, kills)?;
        println!("{kills} kills: {counted:?}");
        let books = troupe.finish()?;
        writer.finish()?;
        if slow.stands {
            slow.flip()?;
        }
        stage.gate.up();
        agent.start()?;
        // The last files may not be found yet when everything that is known is settled.
        let mut since = None;
        await_true("nothing is owed for a while", Duration::from_mins(6), || {
            agent.check_alive()?;
            let settled = agent.asker().lanes()?.iter().all(|lane| lane.term("pending").bytes == 0);
            since = if settled { since.or_else(|| Some(Instant::now())) } else { None };
            Ok(since.is_some_and(|since: Instant| since.elapsed() > Duration::from_secs(3)))
        })?;
        await_true("no renamed file stays beside its archive", Duration::from_mins(1), || {
            agent.check_alive()?;
            has_renamed(&room.logs().join("shell")).map(|has| !has)
        })?;
        agent.stop()?;
        let known = agent.inspect_archives()?;
        let mut made = 0;
        for folder in ["cut-1", "cut-2", "cut-3", "shell"] {
            made += are_whole(&room.logs().join(folder))?;
        }
        println!("{known} archives are as they were made, {made} of sources");
        ensure!(made >= 4, "only {made} archives: nothing was proved");
        for lane in face::lanes(&agent.inspect()?)? {
            lane.balance()?;
        }
        for (sink, path) in [("archive", room.archive()), ("slow", slow.folder.join("audit.log"))] {
            let mut output = Output::read(&path)?;
            let numbered = shell::all_came(&output, "shell")?;
            output.records.retain(|record| &*record.source != "shell");
            let case = Case { books: &books, output: &output, history: agent.history(), leniency: Leniency::default() };
            let totals = judge(&case).check().with_context(|| format!("the sink {sink}"))?;
            println!("{sink}: {numbered} lines of the shell; {totals}");
            ensure!(totals.entered == 0 && totals.delivered == totals.lines, "{sink}: {totals}");
        }
        // What is protected could not be removed with the room.
        Command::new("chattr").args(["-R", "-i", "-a"]).arg(room.path()).status().context("chattr is needed")?;
        Ok(())
    })?;
    Ok(counted)
}

#[test]
fn kills_at_the_steps_of_every_mode_cost_nothing() -> Result<()> {
    violence("modes", SHORT).map(drop)
}

#[test]
#[ignore = "takes a quarter of an hour: `make torture` runs it"]
fn hundreds_of_kills_at_the_steps_of_every_mode_cost_nothing() -> Result<()> {
    let kills = std::env::var("WAYBILL_TORTURE_KILLS").map_or(Ok(FULL), |text| text.parse())?.max(FULL);
    let counted = violence("modes-full", kills)?;
    let missed: Vec<_> = fault::all().into_iter().filter(|step| !counted.contains_key(step)).collect();
    ensure!(missed.is_empty(), "never killed at {missed:?}");
    Ok(())
}
