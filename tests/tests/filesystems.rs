//! Collapse on real file systems: each gives the answer that `check` promised, and where it cannot be done nothing is harmed.

use std::fs::{self, File};
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;
use waybill_tests::agent::binary;
use waybill_tests::mount::{Mounted, fill};
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room;
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::skip;
use waybill_tests::wait::await_true;

fn on(kind: &str, works: bool) -> Result<()> {
    if !skip::is_root() {
        return skip::skip(&format!("Collapse on {kind}"), "it needs root to mount");
    }
    room::within(&format!("fs-{kind}"), |room| {
        let folder = room.logs().join("app");
        let _mounted = match Mounted::mount(kind, &folder, room.path())? {
            Ok(mounted) => mounted,
            Err(why) => return skip::skip(&format!("Collapse on {kind}"), &why),
        };
        let pattern = format!("{}/app*", folder.display());
        let source = with(policy::text("app", &pattern), "/rotation", json!({"mode": "Collapse", "maxSize": "64Ki"}));
        let policy = Policy::new("fs").source(source).sink(policy::file("archive", &room.archive()));
        let mut scene = Scene::with(room, &policy)?;
        let mut live = scene.create("app.log")?;
        scene.write(&mut live, 10)?;
        let check = Command::new(binary()?)
            .args(["check", "--probe", "-f"])
            .arg(room.policy())
            .arg("--read-root")
            .arg(room.logs())
            .output()?;
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        ensure!(check.status.success() == works, "check said:\n{said}");
        ensure!(works || said.contains("cannot be rotated with Collapse"), "check said:\n{said}");
        ensure!(works || said.contains("ext4 or xfs"), "check does not say what would do:\n{said}");
        scene.start()?;
        for _ in 0..20 {
            scene.write(&mut live, 100)?;
            scene.came(&live)?;
        }
        if works {
            await_true("archives are made", SOON, || Ok(room.output()?.actions("archive_made").count() >= 1))?;
            await_true("the live file is cut", SOON, || Ok(fs::metadata(&live.path)?.len() < 192 << 10))?;
            // With what a crash leaves of a cut, on this file system.
            scene.kill()?;
            scene.agent.set("WAYBILL_FAULT", "collapsed");
            scene.start()?;
            await_true("the agent comes to the fault", SOON, || {
                scene.write(&mut live, 60)?;
                Ok(scene.agent.check_alive().is_err())
            })?;
            scene.agent.set("WAYBILL_FAULT", "");
            scene.start()?;
        } else {
            scene.await_entry("rotation_refused", |_| true)?;
        }
        for _ in 0..10 {
            scene.write(&mut live, 60)?;
        }
        scene.settle()?;
        if !works {
            ensure!(fs::read_dir(&folder)?.flatten().count() <= 2, "something was made beside the log");
        }
        let totals = scene.judge()?;
        ensure!(totals.entered == 0 && totals.delivered == totals.lines, "{totals}");
        Ok(())
    })
}

#[test]
fn ext4() -> Result<()> {
    on("ext4", true)
}

#[test]
fn xfs() -> Result<()> {
    on("xfs", true)
}

#[test]
fn btrfs() -> Result<()> {
    on("btrfs", false)
}

#[test]
fn tmpfs() -> Result<()> {
    on("tmpfs", false)
}

#[test]
fn overlay() -> Result<()> {
    on("overlay", false)
}

/// A writer that seeks to its file's end instead of appending, and a file with two names.
#[test]
fn writers_and_names_that_a_cut_would_harm_are_refused() -> Result<()> {
    use std::io::{Seek as _, Write as _};
    room::within("refused-writers", |room| {
        let folder = room.logs().join("app");
        let pattern = format!("{}/app*", folder.display());
        let source = with(policy::text("app", &pattern), "/rotation", json!({"mode": "Collapse", "maxSize": "64Ki"}));
        let policy = Policy::new("fs").source(source).sink(policy::file("archive", &room.archive()));
        let mut scene = Scene::with(room, &policy)?;
        scene.start()?;
        let mut seeking = File::create(folder.join("app-seeks.log"))?;
        let mut linked = fs::OpenOptions::new().create(true).append(true).open(folder.join("app-linked.log"))?;
        fs::hard_link(folder.join("app-linked.log"), room.elsewhere().join("other"))?;
        for round in 0..4000 {
            seeking.seek(std::io::SeekFrom::End(0))?;
            writeln!(seeking, "seeking {round} {}", "x".repeat(60))?;
            writeln!(linked, "linked {round} {}", "x".repeat(60))?;
        }
        scene.await_entry("rotation_refused", |e| format!("{e:?}").contains("O_APPEND"))?;
        scene.await_entry("rotation_refused", |e| format!("{e:?}").contains("2 names"))?;
        await_true("all has come", SOON, || Ok(scene.output()?.texts("app").len() == 8000))?;
        ensure!(scene.output()?.actions("archive_made").count() == 0, "it was archived all the same");
        scene.stop()
    })
}

/// No room for an archive: nothing is lost, it is said, and the archive is made as soon as there is room.
#[test]
fn a_full_file_system_delays_archives_and_costs_nothing() -> Result<()> {
    if !skip::is_root() {
        return skip::skip("a full file system", "it needs root to mount");
    }
    room::within("fs-full", |room| {
        let folder = room.logs().join("app");
        let _mounted = match Mounted::mount("ext4", &folder, room.path())? {
            Ok(mounted) => mounted,
            Err(why) => return skip::skip("a full file system", &why),
        };
        let rotation = json!({"mode": "Collapse", "maxSize": "256Ki", "compression": "None"});
        let source = with(policy::text("app", &format!("{}/app*", folder.display())), "/rotation", rotation);
        let policy = Policy::new("fs").source(source).sink(policy::file("archive", &room.archive()));
        let mut scene = Scene::with(room, &policy)?;
        let mut live = scene.create("app.log")?;
        scene.write(&mut live, 10)?;
        // All but some 400 KiB: enough for the log, not for its archive too.
        let ballast = fill(&folder)?;
        let file = File::options().write(true).open(&ballast)?;
        file.set_len(file.metadata()?.len().saturating_sub(400 << 10))?;
        file.sync_all()?;
        // As long as it is open its blocks are not free.
        drop(file);
        scene.start()?;
        while fs::metadata(&live.path)?.len() < 330 << 10 {
            scene.write(&mut live, 20)?;
            scene.came(&live)?;
        }
        scene.await_entry("rotation_refused", |_| true)?;
        fs::remove_file(&ballast)?;
        await_true("the archive is made", 2 * SOON, || Ok(scene.output()?.actions("archive_made").count() >= 1))?;
        await_true("the live file is cut", SOON, || Ok(fs::metadata(&live.path)?.len() < 256 << 10))?;
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.entered == 0 && totals.delivered == totals.lines, "{totals}");
        Ok(())
    })
}
