//! Archives go when their time is over, never before a required lane has them, and those that are protected are.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::agent::binary;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room::{self, Room};
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::skip;
use waybill_tests::wait::{await_true, holds_for};

fn kept(room: &Room, retention: &Value) -> Value {
    let pattern = format!("{}/*/app*", room.logs().display());
    let rotation = json!({"mode": "Collapse", "maxSize": "64Ki", "compression": "Zstd"});
    with(with(policy::text("app", &pattern), "/rotation", rotation), "/retention", retention.clone())
}

fn archives(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("app~")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn write_until(
    scene: &mut Scene<'_>,
    live: &mut waybill_tests::writer::Live,
    done: impl Fn() -> Result<bool>,
) -> Result<()> {
    let began = std::time::Instant::now();
    while !done()? {
        scene.write(live, 200)?;
        scene.came(live)?;
        scene.agent.check_alive()?;
        ensure!(began.elapsed() < 3 * SOON, "it does not come about");
    }
    Ok(())
}

#[test]
fn the_oldest_go_and_every_removal_is_entered() -> Result<()> {
    room::within("retention", |room| {
        let policy = Policy::new("retention")
            .source(kept(room, &json!({"maxFiles": 3})))
            .sink(policy::file("archive", &room.archive()));
        let mut scene = Scene::with(room, &policy)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        let folder = room.logs().join("app");
        write_until(&mut scene, &mut live, || Ok(room.output()?.actions("archive_made").count() >= 6))?;
        await_true("three are left", SOON, || Ok(archives(&folder)?.len() <= 3))?;
        let output = scene.output()?;
        let (made, removed) = (output.actions("archive_made").count(), output.actions("archive_removed").count());
        ensure!(removed >= 3 && removed <= made, "{made} made, {removed} removed");
        // The numbers go up: what is left are the youngest.
        ensure!(!archives(&folder)?.iter().any(|p| p.to_string_lossy().contains("~01")), "the oldest is still there");
        scene.judge()?;
        Ok(())
    })
}

/// A required sink that cannot write, as long as there is a file where its folder should be.
fn with_slow(room: &Room, source: Value, required: bool) -> Result<(Policy, PathBuf)> {
    let slow = room.elsewhere().join("slow");
    fs::write(&slow, "")?;
    let sink = with(policy::file("slow", &slow.join("audit.log")), "/required", json!(required));
    let policy = Policy::new("slow")
        .with("limits", json!({"inFlight": "1Mi", "line": "64Ki"}))
        .source(source)
        .sink(policy::file("archive", &room.archive()))
        .sink(sink);
    Ok((policy, slow))
}

#[test]
fn hold_waits_for_a_required_lane() -> Result<()> {
    room::within("retention-hold", |room| {
        let (policy, slow) = with_slow(room, kept(room, &json!({"maxFiles": 2})), true)?;
        let mut scene = Scene::with(room, &policy)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        let folder = room.logs().join("app");
        write_until(&mut scene, &mut live, || Ok(archives(&folder)?.len() >= 20))?;
        let before = archives(&folder)?.len();
        holds_for("nothing that is owed goes", std::time::Duration::from_secs(5), || {
            Ok(archives(&folder)?.len() >= before)
        })?;
        fs::remove_file(&slow)?;
        scene.await_idle()?;
        await_true("two are left", SOON, || Ok(archives(&folder)?.len() <= 2))?;
        ensure!(scene.output()?.losses().count() == 0, "something was lost");
        let texts = waybill_tests::output::Output::read(&slow.join("audit.log"))?.texts("app");
        ensure!(texts == scene.output()?.texts("app"), "the slow sink did not get the same");
        scene.judge()?;
        Ok(())
    })
}

#[test]
fn evict_enters_the_loss_first() -> Result<()> {
    room::within("retention-evict", |room| {
        let (policy, slow) = with_slow(room, kept(room, &json!({"maxFiles": 2, "onPressure": "Evict"})), true)?;
        let mut scene = Scene::with(room, &policy)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        let folder = room.logs().join("app");
        write_until(&mut scene, &mut live, || Ok(room.output()?.losses().count() >= 3))?;
        await_true("few are left", SOON, || Ok(archives(&folder)?.len() <= 3))?;
        fs::remove_file(&slow)?;
        scene.await_idle()?;
        let lanes = waybill_tests::face::lanes(&scene.agent.asker().status()?)?;
        for lane in &lanes {
            lane.balance()?;
            ensure!((lane.term("lost").bytes > 0) == (lane.name == "slow"), "{}: {lane}", lane.name);
        }
        scene.stop()?;
        Ok(())
    })
}

#[test]
fn a_kill_switch_in_hold_holds_retention() -> Result<()> {
    room::within("retention-switch", |room| {
        let policy = Policy::new("retention")
            .source(kept(room, &json!({"maxFiles": 1000})))
            .sink(policy::file("archive", &room.archive()));
        let mut scene = Scene::with(room, &policy)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        let folder = room.logs().join("app");
        write_until(&mut scene, &mut live, || Ok(archives(&folder)?.len() >= 4))?;
        let tight = Policy::new("retention")
            .source(kept(room, &json!({"maxFiles": 1})))
            .sink(policy::file("archive", &room.archive()));
        tight.clone().engaged("Hold", "an investigation").write(&room.policy())?;
        holds_for("all stay", std::time::Duration::from_secs(6), || Ok(archives(&folder)?.len() >= 4))?;
        tight.lifted("it is over").write(&room.policy())?;
        await_true("one is left", SOON, || Ok(archives(&folder)?.len() == 1))?;
        scene.stop()
    })
}

fn inspect(scene: &Scene<'_>) -> Result<(bool, Value)> {
    let mut command = Command::new(binary()?);
    command.args(["inspect", "archives", "--json", "--state-dir"]).arg(scene.room.state());
    let done = command.output()?;
    let rows = serde_json::from_slice(&done.stdout).context("inspect archives did not print JSON")?;
    Ok((done.status.success(), rows))
}

fn flags(path: &Path) -> Result<String> {
    let done = Command::new("lsattr").arg(path).output()?;
    Ok(String::from_utf8_lossy(&done.stdout).split(' ').next().unwrap_or_default().to_owned())
}

#[test]
fn protected_archives_cannot_be_changed_and_what_is_changed_is_named() -> Result<()> {
    if !skip::is_root() || !skip::has("chattr") {
        return skip::skip("protected_archives", "it needs root and chattr");
    }
    room::within("protect", |room| {
        let source = with(kept(room, &json!({"maxFiles": 4})), "/protect", json!({"archives": true, "live": true}));
        let policy = Policy::new("protect").source(source).sink(policy::file("archive", &room.archive()));
        let mut scene = Scene::with(room, &policy)?;
        let mut live = scene.create("app.log")?;
        if Command::new("chattr").arg("+a").arg(&live.path).status().is_ok_and(|s| !s.success()) {
            return skip::skip("protected_archives", "the file system has no attributes");
        }
        scene.start()?;
        let folder = room.logs().join("app");
        // Retention takes the attribute off, and Collapse cuts a file that is append-only.
        write_until(&mut scene, &mut live, || Ok(room.output()?.actions("archive_removed").count() >= 2))?;
        await_true("four are left, all immutable", SOON, || {
            let left = archives(&folder)?;
            let all: Result<Vec<bool>> = left.iter().map(|p| Ok(flags(p)?.contains('i'))).collect();
            Ok(left.len() <= 4 && all?.iter().all(|is| *is))
        })?;
        await_true("the live file is append-only", SOON, || Ok(flags(&live.path)?.contains('a')))?;
        let left = archives(&folder)?;
        ensure!(OpenOptions::new().append(true).open(&left[0]).is_err(), "an immutable archive was opened for writing");
        ensure!(
            fs::remove_file(&left[0]).is_err() && File::create(&live.path).is_err(),
            "what is protected was changed"
        );
        ensure!(inspect(&scene)?.0, "what is whole was named");
        scene.settle()?;
        scene.stop()?;
        for (path, what) in left.iter().zip(["altered", "cut", "missing"]) {
            ensure!(Command::new("chattr").arg("-i").arg(path).status()?.success(), "chattr failed");
            match what {
                "altered" => OpenOptions::new().append(true).open(path)?.write_all(b"x")?,
                "cut" => OpenOptions::new().write(true).open(path)?.set_len(10)?,
                _ => fs::remove_file(path)?,
            }
            let (good, rows) = inspect(&scene)?;
            let state = rows
                .as_array()
                .and_then(|rows| rows.iter().find(|r| r["path"].as_str() == path.to_str()).map(|r| r["state"].clone()));
            ensure!(!good && state == Some(json!(what)), "{what}: {state:?}");
        }
        for path in archives(&folder)?.iter().chain([&live.path]) {
            ensure!(Command::new("chattr").args(["-i", "-a"]).arg(path).status()?.success(), "chattr failed");
        }
        Ok(())
    })
}
