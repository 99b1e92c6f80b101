//! Archives are named by a clock that someone sets: an hour ahead, an hour back, and over a month's end.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

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
        scene.agent.set("LD_PRELOAD", library.to_str().context("a path is text")?);
        scene.agent.set("FAKETIME_TIMESTAMP_FILE", clock.to_str().context("a path is text")?);
        scene.agent.set("FAKETIME_NO_CACHE", "1");
        scene.agent.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        scene.agent.set("DONT_FAKE_MONOTONIC", "1");
        scene.agent.set("TZ", "UTC");
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
