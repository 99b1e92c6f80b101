//! Collapse on real file systems: each gives the answer that `check` promised, and where it cannot be done nothing is harmed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use waybill_tests::agent::binary;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room::{self, Room};
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::skip;
use waybill_tests::wait::await_true;

/// A file system of its own, unmounted when dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        if !done.is_ok_and(|status| status.success()) {
            println!("failed to unmount {}", self.0.display());
        }
    }
}

fn quiet(command: &mut Command) -> Result<bool> {
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).status().context("failed to start a program")?.success())
}

/// Mounts a file system at a folder; `None` with the reason if this machine cannot.
fn mount(kind: &str, at: &Path, room: &Room) -> Result<std::result::Result<Mounted, String>> {
    fs::create_dir_all(at)?;
    let made = match kind {
        "tmpfs" => quiet(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "waybill-test"]).arg(at))?,
        "overlay" => {
            let part = |name: &str| room.path().join(format!("overlay-{name}"));
            for name in ["lower", "upper", "work"] {
                fs::create_dir_all(part(name))?;
            }
            let options = format!(
                "lowerdir={},upperdir={},workdir={}",
                part("lower").display(),
                part("upper").display(),
                part("work").display()
            );
            quiet(Command::new("mount").args(["-t", "overlay", "-o", &options, "waybill-test"]).arg(at))?
        }
        _ => {
            let image = room.path().join(format!("{kind}.image"));
            // What xfs and btrfs ask for at least.
            File::create(&image)?.set_len(400 << 20)?;
            let mkfs = format!("mkfs.{kind}");
            if !skip::has(&mkfs) {
                return Ok(Err(format!("{mkfs} is not installed")));
            }
            quiet(Command::new(&mkfs).arg("-q").arg(&image))?
                && quiet(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at))?
        }
    };
    Ok(if made { Ok(Mounted(at.to_owned())) } else { Err(format!("{kind} cannot be mounted here")) })
}

fn on(kind: &str, works: bool) -> Result<()> {
    if !skip::is_root() {
        return skip::skip(&format!("Collapse on {kind}"), "it needs root to mount");
    }
    room::within(&format!("fs-{kind}"), |room| {
        let folder = room.logs().join("app");
        let _mounted = match mount(kind, &folder, room)? {
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
