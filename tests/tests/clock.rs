//! Archives are named by a clock that someone sets: an hour ahead, an hour back, and over a month's end.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use waybill_tests::output::open;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room;
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::skip;
use waybill_tests::wait::await_true;

/// Where Debian's package puts the library that sets a program's clock.
const LIBRARY: &str = "faketime/libfaketime.so.1";

fn library() -> Option<PathBuf> {
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"]
        .iter()
        .map(|folder| PathBuf::from(folder).join(LIBRARY))
        .find(|path| path.exists())
}

/// Nothing goes for its age after a step, also after a restart, until someone says that the clock is right.
#[test]
fn a_step_is_remembered_until_it_is_confirmed() -> Result<()> {
    let Some(library) = library() else {
        return skip::skip("a clock that is set", "libfaketime is not installed");
    };
    room::within("clock-confirm", |room| {
        let pattern = format!("{}/app/app.log", room.logs().display());
        let source = policy::text("app", &pattern);
        let source = with(source, "/rotation", json!({"mode": "Collapse", "maxSize": "64Ki"}));
        let source = with(source, "/retention", json!({"maxAgeDays": 1, "maxFiles": 0}));
        let policy = Policy::new("clock").source(source).sink(policy::file("archive", &room.archive()));
        let mut scene = Scene::with(room, &policy)?;
        let mut live = scene.create("app.log")?;
        let clock = room.path().join("clock");
        let set = |time: &str| fs::write(&clock, format!("{time}\n"));
        set("2026-10-10 10:00:00")?;
        fake(&mut scene, &library, &clock)?;
        scene.start()?;
        await_true("archives are made", SOON, || {
            scene.write(&mut live, 100)?;
            Ok(scene.output()?.actions("archive_made").count() >= 3)
        })?;
        // Four days ahead: everything is old.
        set("2026-10-14 10:00:00")?;
        scene.await_entry("clock_stepped", |_| true)?;
        let metric = |scene: &Scene<'_>| -> Result<bool> {
            let text = scene.agent.asker().metrics()?;
            Ok(text.lines().any(|l| l == "waybill_retention_held{source=\"app\",reason=\"Clock\"} 1"))
        };
        await_true("it is said what holds the retention", SOON, || metric(&scene))?;
        scene.kill()?;
        scene.start()?;
        await_true("it is said what holds the retention after a restart", SOON, || metric(&scene))?;
        ensure!(scene.output()?.actions("archive_removed").count() == 0, "something went for its age");
        let inspect = |words: &[&str]| -> Result<String> {
            let mut command = Command::new(waybill_tests::agent::binary()?);
            command.args(["inspect", "clock", "--state-dir"]).arg(room.state()).args(words);
            command.env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &clock);
            let done = command.env("DONT_FAKE_MONOTONIC", "1").output()?;
            ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            Ok(String::from_utf8_lossy(&done.stdout).into_owned())
        };
        ensure!(inspect(&[])?.contains("nothing is removed for its age"), "{}", inspect(&[])?);
        inspect(&["--confirm"])?;
        scene.await_entry("clock_confirmed", |_| true)?;
        await_true("the old go", SOON, || Ok(scene.output()?.actions("archive_removed").count() >= 3))?;
        ensure!(inspect(&[])?.contains("was not set lately"), "{}", inspect(&[])?);
        // Back while the agent is away: noticed from its own entries.
        scene.stop()?;
        set("2026-10-12 10:00:00")?;
        scene.start()?;
        await_true("the step back is noticed", SOON, || Ok(scene.output()?.actions("clock_stepped").count() == 2))?;
        scene.stop()
    })
}

/// Gives the agent a clock that a file sets.
fn fake(scene: &mut Scene<'_>, library: &Path, clock: &Path) -> Result<()> {
    scene.agent.set("LD_PRELOAD", library.to_str().context("a path is text")?);
    scene.agent.set("FAKETIME_TIMESTAMP_FILE", clock.to_str().context("a path is text")?);
    scene.agent.set("FAKETIME_NO_CACHE", "1");
    scene.agent.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    scene.agent.set("DONT_FAKE_MONOTONIC", "1");
    scene.agent.set("TZ", "UTC");
    Ok(())
}

#[test]
fn no_archive_is_overwritten_and_none_is_empty() -> Result<()> {
    let Some(library) = library() else {
        return skip::skip("a clock that is set", "libfaketime is not installed");
    };
    room::within("clock", |room| {
        let pattern = format!("{}/app/app.log", room.logs().display());
        let rotation = json!({"mode": "Collapse", "maxSize": "100Mi", "cycle": "Hour"});
        let source =
            with(with(policy::text("app", &pattern), "/rotation", rotation), "/timeZone", json!("Europe/Berlin"));
        let retention = json!({"maxAgeDays": 1, "maxFiles": 0});
        let policy = Policy::new("clock")
            .source(with(source, "/retention", retention))
            .sink(policy::file("archive", &room.archive()));
        let mut scene = Scene::with(room, &policy)?;
        let mut live = scene.create("app.log")?;
        let clock = room.path().join("clock");
        let set = |time: &str| fs::write(&clock, format!("{time}\n"));
        set("2026-10-31 21:30:00")?;
        fake(&mut scene, &library, &clock)?;
        scene.start()?;
        let folder = room.logs().join("app");
        let archives = || -> Result<BTreeSet<String>> {
            let names = fs::read_dir(&folder)?.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()));
            Ok(names.filter(|name| name.starts_with("app_")).collect())
        };
        // An hour ahead, an hour back, ahead again, over the month's end, back over it, and with a restart in between.
        let times = [
            "2026-10-31 22:30:00",
            "2026-10-31 21:40:00",
            "2026-10-31 22:45:00",
            "2026-10-31 23:59:50",
            "2026-11-01 00:10:00",
            "2026-10-31 22:50:00",
            "2026-11-01 00:20:00",
        ];
        for (round, time) in times.iter().enumerate() {
            scene.write(&mut live, 500)?;
            scene.came(&live)?;
            let before = archives()?.len();
            if round == 4 {
                scene.kill()?;
            }
            set(time)?;
            if round == 4 {
                scene.start()?;
            }
            await_true(&format!("an archive is made at {time}"), SOON, || Ok(archives()?.len() > before))?;
        }
        scene.settle()?;
        let names = archives()?;
        let mut lines = HashSet::new();
        for name in &names {
            let mut text = String::new();
            open(&folder.join(name))?.read_to_string(&mut text)?;
            ensure!(!text.is_empty(), "{name} is empty");
            ensure!(text.lines().all(|line| lines.insert(line.to_owned())), "{name} repeats lines");
        }
        println!("{names:?}");
        ensure!(names.len() == times.len() && lines.len() == 500 * times.len(), "{} lines in {names:?}", lines.len());
        // In the zone of the source, and numbered where an hour came again.
        for expected in
            ["app_20261031_22.log.gz", "app_20261031_22~01.log.gz", "app_20261031_23.log.gz", "app_20261101_00.log.gz"]
        {
            ensure!(names.contains(expected), "{expected} is not among {names:?}");
        }
        ensure!(scene.output()?.actions("clock_stepped").count() >= 1, "the steps were not noticed");
        ensure!(scene.output()?.actions("archive_removed").count() == 0, "something was removed for its age");
        let totals = scene.judge()?;
        ensure!(totals.entered == 0 && totals.delivered == totals.lines, "{totals}");
        Ok(())
    })
}
