//! Live files that are renamed, and whose writers are made to open new ones, or do not.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use waybill_tests::agent::Agent;
use waybill_tests::face;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room::{self, Room};
use waybill_tests::scene::SOON;
use waybill_tests::wait::{await_true, holds_for};
use waybill_tests::writer::{Shell, shell};

fn start(room: &Room, trap: &str) -> Result<Shell> {
    Shell::start(room.path(), &room.logs().join("app/app.log"), trap, "0.01")
}

fn renaming(room: &Room, writer: &Shell) -> Policy {
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
    let output = room.output()?;
    shell::all_came(&output, "app")?;
    ensure!(output.losses().count() == 0, "a loss was entered");
    for lane in face::lanes(&agent.inspect()?)? {
        lane.balance()?;
    }
    Ok(())
}

#[test]
fn a_writer_that_reopens_is_rotated_and_compressed() -> Result<()> {
    room::within("rename", |room| {
        let mut writer = start(room, Shell::REOPENS)?;
        let mut agent = room.agent(&renaming(room, &writer))?;
        agent.start()?;
        let folder = room.logs().join("app");
        await_true("archives are made", 2 * SOON, || {
            agent.check_alive()?;
            Ok(names(&folder, ".gz")?.len() >= 4)
        })?;
        writer.finish()?;
        await_true("only compressed ones are left", SOON, || Ok(names(&folder, ".log")?.is_empty()))?;
        agent.inspect_archives()?;
        all_came(room, &mut agent)
    })
}

#[test]
fn a_writer_that_does_not_reopen_is_reported_and_nothing_is_compressed_under_it() -> Result<()> {
    room::within("rename-deaf", |room| {
        let mut writer = start(room, "")?;
        let mut agent = room.agent(&renaming(room, &writer))?;
        agent.start()?;
        let folder = room.logs().join("app");
        await_true("it is reported", Duration::from_secs(60), || {
            agent.check_alive()?;
            Ok(room.output()?.actions("rotation_refused").count() >= 1)
        })?;
        holds_for("nothing is compressed", Duration::from_secs(2), || Ok(names(&folder, ".gz")?.is_empty()))?;
        ensure!(names(&folder, ".log")?.len() == 1, "it was renamed more than once");
        writer.finish()?;
        all_came(room, &mut agent)
    })
}

#[test]
fn a_crash_at_every_step_of_a_rename_costs_nothing() -> Result<()> {
    // "pruned": the renamed file is gone, and its stream has not ended yet.
    for step in ["rename-renamed", "rename-reopened", "archive-entered", "archive-renamed", "pruned"] {
        room::within(&format!("rename-{step}"), |room| {
            let mut writer = start(room, Shell::REOPENS)?;
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
            writer.finish()?;
            await_true("only compressed ones are left", SOON, || Ok(names(&folder, ".log")?.is_empty()))?;
            all_came(room, &mut agent)
        })?;
    }
    Ok(())
}
