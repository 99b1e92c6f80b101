//! Live files that are renamed, and whose writers are made to open new ones, or do not.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use waybill_tests::agent::Agent;
use waybill_tests::face;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room::{self, Room};
use waybill_tests::scene::SOON;
use waybill_tests::wait::{await_true, holds_for};

/// A program of its own, so that the signal reaches it alone: a shell that writes numbered lines.
struct Writer {
    child: Child,
    program: PathBuf,
}

impl Writer {
    /// Begins to write; `trap` says what it does at SIGUSR1.
    fn start(room: &Room, trap: &str) -> Result<Self> {
        let program = room.path().join("writer");
        // By another process: a test that forks meanwhile would hold the copy open for writing, and it could not be executed.
        let copied = Command::new("cp").arg("/bin/bash").arg(&program).status().context("cp is needed")?;
        ensure!(copied.success(), "bash is needed");
        fs::create_dir_all(room.logs().join("app"))?;
        let script = format!(
            "log={}; stop={}; exec >>$log; trap '{trap}' USR1; n=0; padding=$(printf 'x%.0s' {{1..120}})
            while [ ! -e $stop ]; do n=$((n+1)); echo \"line $n $padding\"; [ $((n % 40)) != 0 ] || sleep 0.01; done",
            room.logs().join("app/app.log").display(),
            stop(room).display()
        );
        let child = Command::new(&program).args(["-c", &script]).stdin(Stdio::null()).spawn()?;
        Ok(Self { child, program })
    }

    /// Ends it in good order.
    fn finish(&mut self, room: &Room) -> Result<()> {
        fs::write(stop(room), "")?;
        ensure!(self.child.wait()?.success(), "the writer failed");
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            println!("failed to end the writer: {error}");
        }
    }
}

fn stop(room: &Room) -> PathBuf {
    room.path().join("stop")
}

fn renaming(room: &Room, writer: &Writer) -> Policy {
    let rotation = json!({
        "mode": "Rename", "maxSize": "64Ki",
        "reopen": {"type": "Signal", "signal": "USR1", "process": {"executable": writer.program}},
    });
    let source = with(policy::text("app", &format!("{}/app/app*.log", room.logs().display())), "/rotation", rotation);
    Policy::new("rename").source(source).sink(policy::file("archive", &room.archive()))
}

fn names(folder: &Path, ending: &str) -> Result<Vec<String>> {
    let mut found: Vec<String> =
        fs::read_dir(folder)?.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).collect();
    found.retain(|name| name.contains('~') && name.ends_with(ending));
    found.sort();
    Ok(found)
}

/// Every line from the first to the last came once.
fn all_came(room: &Room, agent: &mut Agent) -> Result<()> {
    await_true("nothing is owed", SOON, || {
        agent.check_alive()?;
        let settled = agent.asker().lanes()?.iter().all(|lane| lane.term("pending").bytes == 0);
        let last = room.output()?.texts("app").len();
        Ok(settled && last > 0)
    })?;
    agent.stop()?;
    let mut seen: HashMap<u64, u32> = HashMap::new();
    let output = room.output()?;
    let mut ids = std::collections::HashSet::new();
    for record in output.records.iter().filter(|r| &*r.source == "app" && ids.insert(r.id)) {
        let text = String::from_utf8_lossy(record.text.bytes()).into_owned();
        let number = text.split(' ').nth(1).context("a line has a number")?.parse()?;
        *seen.entry(number).or_default() += 1;
    }
    let last = seen.keys().copied().max().unwrap_or(0);
    ensure!(seen.values().all(|n| *n == 1), "a line came under two ids");
    ensure!(seen.len() as u64 == last, "{} of {last} lines came", seen.len());
    ensure!(output.losses().count() == 0, "a loss was entered");
    for lane in face::lanes(&agent.inspect()?)? {
        lane.balance()?;
    }
    Ok(())
}

#[test]
fn a_writer_that_reopens_is_rotated_and_compressed() -> Result<()> {
    room::within("rename", |room| {
        let mut writer = Writer::start(room, "exec >>$log")?;
        let mut agent = room.agent(&renaming(room, &writer))?;
        agent.start()?;
        let folder = room.logs().join("app");
        await_true("archives are made", 2 * SOON, || {
            agent.check_alive()?;
            Ok(names(&folder, ".gz")?.len() >= 4)
        })?;
        writer.finish(room)?;
        await_true("only compressed ones are left", SOON, || Ok(names(&folder, ".log")?.is_empty()))?;
        let done = Command::new(waybill_tests::agent::binary()?)
            .args(["inspect", "archives", "--state-dir"])
            .arg(room.state())
            .status()?;
        ensure!(done.success(), "an archive is not as it was made");
        all_came(room, &mut agent)
    })
}

#[test]
fn a_writer_that_does_not_reopen_is_reported_and_nothing_is_compressed_under_it() -> Result<()> {
    room::within("rename-deaf", |room| {
        let mut writer = Writer::start(room, "")?;
        let mut agent = room.agent(&renaming(room, &writer))?;
        agent.start()?;
        let folder = room.logs().join("app");
        await_true("it is reported", Duration::from_secs(60), || {
            agent.check_alive()?;
            Ok(room.output()?.actions("rotation_refused").count() >= 1)
        })?;
        holds_for("nothing is compressed", Duration::from_secs(2), || Ok(names(&folder, ".gz")?.is_empty()))?;
        ensure!(names(&folder, ".log")?.len() == 1, "it was renamed more than once");
        writer.finish(room)?;
        all_came(room, &mut agent)
    })
}

#[test]
fn a_crash_at_every_step_of_a_rename_costs_nothing() -> Result<()> {
    for step in ["rename-renamed", "rename-reopened", "archive-entered", "archive-renamed"] {
        room::within(&format!("rename-{step}"), |room| {
            let mut writer = Writer::start(room, "exec >>$log")?;
            let mut agent = room.agent(&renaming(room, &writer))?;
            agent.set("WAYBILL_FAULT", step);
            agent.start()?;
            await_true("the agent comes to the fault", SOON, || Ok(agent.check_alive().is_err()))?;
            agent.set("WAYBILL_FAULT", "");
            agent.start()?;
            let folder = room.logs().join("app");
            await_true("archives are made", 2 * SOON, || {
                agent.check_alive()?;
                Ok(names(&folder, ".gz")?.len() >= 3)
            })?;
            writer.finish(room)?;
            await_true("only compressed ones are left", SOON, || Ok(names(&folder, ".log")?.is_empty()))?;
            all_came(room, &mut agent)
        })?;
    }
    Ok(())
}
