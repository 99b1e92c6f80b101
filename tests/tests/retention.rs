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
fn a_crash_in_a_removal_costs_nothing() -> Result<()> {
    for step in ["prune-entered", "pruned"] {
        room::within(&format!("retention-{step}"), |room| {
            let policy = Policy::new("retention")
                .source(kept(room, &json!({"maxFiles": 2})))
                .sink(policy::file("archive", &room.archive()));
            let mut scene = Scene::with(room, &policy)?;
            let mut live = scene.create("app.log")?;
            scene.agent.set("WAYBILL_FAULT", step);
            scene.start()?;
            await_true("the agent comes to the fault", SOON, || {
                scene.write(&mut live, 100)?;
                std::thread::sleep(std::time::Duration::from_millis(5));
                Ok(scene.agent.check_alive().is_err())
            })?;
            scene.agent.set("WAYBILL_FAULT", "");
            scene.start()?;
            let folder = room.logs().join("app");
            await_true("two are left", SOON, || {
                scene.write(&mut live, 20)?;
                Ok(archives(&folder)?.len() <= 2)
            })?;
            scene.settle()?;
            ensure!(inspect(&scene)?.0, "an archive is not as it was made, or is entered and gone");
            let totals = scene.judge()?;
            ensure!(totals.entered == 0 && totals.delivered == totals.lines, "{totals}");
            Ok(())
        })?;
    }
    Ok(())
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

/// The archives of a File sink are in the ledger with their digests, go with an entry, and are verified like any other.
#[test]
fn archives_of_a_sink_are_entered_kept_and_verified() -> Result<()> {
    room::within("retention-sink", |room| {
        let sink = with(
            policy::file("archive", &room.archive()),
            "/file/rotation",
            json!({"maxSize": "64Ki", "compression": "Gzip"}),
        );
        let sink = with(sink, "/file/retention", json!({"maxFiles": 3}));
        let source = policy::text("app", &format!("{}/app/app*", room.logs().display()));
        let all = policy::file("all", &room.elsewhere().join("all.log"));
        let mut scene = Scene::with(room, &Policy::new("sink").source(source).sink(sink).sink(all))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        let entered = |action: &str| -> Result<usize> {
            let all = waybill_tests::output::Output::read(&room.elsewhere().join("all.log"))?;
            let of_sink = |e: &&waybill_tests::output::Entry| e.details.get("sink") == Some(&json!("archive"));
            Ok(all.actions(action).filter(of_sink).count())
        };
        await_true("archives are made and removed", 3 * SOON, || {
            scene.write(&mut live, 100)?;
            scene.agent.check_alive()?;
            Ok(entered("archive_removed")? >= 3)
        })?;
        scene.await_idle()?;
        let folder = room.archive().parent().context("a sink has a folder")?.to_owned();
        let left = || -> Result<Vec<PathBuf>> {
            let mut left: Vec<PathBuf> = fs::read_dir(&folder)?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
            left.retain(|path| path.extension().is_some_and(|end| end == "gz"));
            left.sort();
            Ok(left)
        };
        await_true("three are left, all of them entered and whole", SOON, || {
            Ok(left()?.len() == 3 && scene.agent.inspect_archives().is_ok_and(|known| known == 3))
        })?;
        scene.stop()?;
        let left = left()?;
        OpenOptions::new().append(true).open(&left[0])?.write_all(b"x")?;
        fs::remove_file(&left[1])?;
        let (good, rows) = inspect(&scene)?;
        let state = |path: &Path| {
            rows.as_array().and_then(|rows| rows.iter().find(|r| r["path"].as_str() == path.to_str())).cloned()
        };
        for (path, what) in left.iter().zip(["altered", "missing", "whole"]) {
            let row = state(path).context("an archive is not listed")?;
            ensure!(row["state"] == what && row["sink"] == "archive", "{row}");
        }
        ensure!(!good, "what was altered was not named");
        // What was altered is not entered anew by the next start.
        scene.start()?;
        scene.write(&mut live, 10)?;
        // Not `settle`: what the sink removed can't be found in it.
        scene.await_idle()?;
        ensure!(!inspect(&scene)?.0, "a start took what was altered for whole");
        scene.stop()
    })
}

/// What was delivered and removed in good order is no loss, though the agent is killed before its stream has ended.
#[test]
fn a_crash_in_the_removal_of_a_rotated_file_is_no_loss() -> Result<()> {
    for step in ["prune-entered", "pruned"] {
        room::within(&format!("retention-observe-{step}"), |room| {
            let pattern = format!("{}/app/app*.log", room.logs().display());
            let source = with(policy::text("app", &pattern), "/retention", json!({"maxFiles": 1}));
            let policy = Policy::new("retention").source(source).sink(policy::file("archive", &room.archive()));
            let mut scene = Scene::with(room, &policy)?;
            scene.agent.set("WAYBILL_FAULT", step);
            scene.start()?;
            for number in 0..4 {
                let mut live = scene.create(&format!("app-{number}.log"))?;
                scene.write(&mut live, 50)?;
                live.close()?;
            }
            await_true("the agent comes to the fault", SOON, || Ok(scene.agent.check_alive().is_err()))?;
            scene.agent.set("WAYBILL_FAULT", "");
            scene.start()?;
            let folder = room.logs().join("app");
            await_true("one is left beside the youngest", SOON, || Ok(fs::read_dir(&folder)?.count() == 2))?;
            // A stream that is missing is given up after a while.
            await_true("no stream is missing", SOON, || {
                let status = scene.agent.asker().status()?;
                let streams = status["streams"].as_array().cloned().unwrap_or_default();
                Ok(streams.iter().all(|stream| stream["state"] != "missing"))
            })?;
            let totals = scene.judge()?;
            ensure!(totals.losses == 0 && totals.delivered == totals.lines, "{totals}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn rotated_files_that_the_patterns_name_go_too() -> Result<()> {
    room::within("retention-observe", |room| {
        let pattern = format!("{}/app/app*.log", room.logs().display());
        let source = with(policy::text("app", &pattern), "/retention", json!({"maxFiles": 2}));
        let policy = Policy::new("retention").source(source).sink(policy::file("archive", &room.archive()));
        let mut scene = Scene::with(room, &policy)?;
        scene.start()?;
        for number in 0..7 {
            // As programs do that switch their file by the date.
            let mut live = scene.create(&format!("app-{number}.log"))?;
            scene.write(&mut live, 50)?;
            scene.came(&live)?;
            live.close()?;
        }
        let folder = room.logs().join("app");
        await_true("two are left beside the youngest", SOON, || Ok(fs::read_dir(&folder)?.count() == 3))?;
        for number in 4..7 {
            ensure!(folder.join(format!("app-{number}.log")).exists(), "app-{number}.log is gone");
        }
        ensure!(scene.output()?.actions("archive_removed").count() == 4, "a removal was not entered");
        let totals = scene.judge()?;
        ensure!(totals.entered == 0 && totals.delivered == totals.lines, "{totals}");
        Ok(())
    })
}
