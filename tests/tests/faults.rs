//! Full disks, files that can't be read, and an agent that is stopped for seconds.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::Duration;

use anyhow::{Result, ensure};
use waybill_tests::mount::{Mounted, Small};
use waybill_tests::policy::Policy;
use waybill_tests::room::{self, Room};
use waybill_tests::sampler::Sampler;
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::skip;
use waybill_tests::wait::{await_true, holds_for};

const MIB: u64 = 1 << 20;

/// A scene that is judged after a file system was full for a while and then was not.
fn full(name: &str, full_at: impl Fn(&Room) -> std::path::PathBuf, size: u64) -> Result<()> {
    if !skip::is_root() {
        return skip::skip(name, "mounting a small file system needs root");
    }
    room::within(name, |room| {
        let small = Small::mount(&full_at(room), size)?;
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        let sampler = Sampler::start(scene.agent.asker());
        scene.write(&mut live, 500)?;
        scene.settle()?;
        let ballast = small.fill()?;
        for round in 0..20 {
            scene.write(&mut live, 500)?;
            if round % 5 == 4 {
                fs::rename(&live.path, scene.scribe.path(&format!("app.log.{round}")))?;
                live = scene.create("app.log")?;
            }
            holds_for("the agent lives with a full disk", Duration::from_millis(100), || {
                scene.agent.check_alive().map(|()| true)
            })?;
        }
        // A restart must not need room either.
        scene.kill()?;
        scene.start()?;
        holds_for("the agent lives with a full disk", Duration::from_millis(500), || {
            scene.agent.check_alive().map(|()| true)
        })?;
        fs::remove_file(ballast)?;
        scene.settle()?;
        sampler.finish(3)?;
        let totals = scene.judge()?;
        ensure!(totals.delivered == totals.lines && totals.losses == 0, "a full disk loses nothing: {totals}");
        Ok(())
    })
}

#[test]
fn a_full_disk_under_the_state() -> Result<()> {
    full("full-state", Room::state, 16 * MIB)
}

#[test]
fn a_full_disk_under_the_archive() -> Result<()> {
    full("full-archive", |room| room.path().join("archive"), 32 * MIB)
}

/// A block whose checksum is wrong: btrfs answers each read of it with EIO, until what was there is there again.
#[test]
fn a_disk_that_answers_with_errors_for_a_while() -> Result<()> {
    let name = "a_disk_that_answers_with_errors_for_a_while";
    if !skip::is_root() {
        return skip::skip(name, "mounting a file system needs root");
    }
    room::within("eio", |room| {
        let disk = match Mounted::mount("btrfs", &room.logs().join("app"), room.path())? {
            Ok(disk) => disk,
            Err(why) => return skip::skip(name, &why),
        };
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        let mut other = scene.create("app-other.log")?;
        scene.write(&mut live, 3000)?;
        let file = File::open(&live.path)?;
        file.sync_all()?;
        rustix::fs::syncfs(&file)?;
        let written = fs::read(&live.path)?;
        let forget = || rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        // One line of the middle, and where the image has it.
        let middle = written.len() / 2;
        let needle = written.get(middle..middle + 60).unwrap_or_default();
        let image = File::options().read(true).write(true).open(&disk.image)?;
        let at = memchr::memmem::find(&fs::read(&disk.image)?, needle).map(|at| at as u64);
        let at = at.ok_or_else(|| anyhow::anyhow!("the image does not hold the line: is it compressed?"))?;
        image.write_all_at(b"\xff\xff", at)?;
        image.sync_all()?;
        forget()?;
        ensure!(fs::read(&live.path).is_err(), "the damaged block can be read: nothing is proved");
        scene.start()?;
        let sampler = Sampler::start(scene.agent.asker());
        scene.write(&mut other, 100)?;
        scene.came(&other)?;
        await_true("the agent says that reads fail", SOON, || {
            let metrics = scene.agent.asker().metrics()?;
            Ok(metrics.lines().any(|l| l.starts_with("waybill_read_errors_total ") && !l.ends_with(" 0")))
        })?;
        // A disk that fails is no reason to spin.
        let before = scene.agent.processor()?;
        holds_for("the agent lives with a bad disk", Duration::from_secs(2), || {
            scene.agent.check_alive().map(|()| true)
        })?;
        let used = scene.agent.processor()?.saturating_sub(before);
        println!("{used:?} of the processor in two seconds of failed reads");
        ensure!(used < Duration::from_secs(1), "{used:?} of the processor in two seconds of failed reads");
        let status = scene.agent.asker().status()?.to_string();
        ensure!(status.contains("os error 5"), "/status does not name the error: {status}");
        scene.kill()?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        image.write_all_at(needle.get(..2).unwrap_or_default(), at)?;
        image.sync_all()?;
        forget()?;
        scene.settle()?;
        sampler.finish(3)?;
        let totals = scene.judge()?;
        ensure!(
            totals.delivered == totals.lines && totals.losses == 0,
            "a bad disk that recovers loses nothing: {totals}"
        );
        Ok(())
    })
}

#[test]
fn stopped_for_seconds() -> Result<()> {
    room::within("stopped", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        for round in 0..3 {
            scene.agent.freeze()?;
            for _ in 0..20 {
                scene.write(&mut live, 100)?;
            }
            fs::rename(&live.path, scene.scribe.path(&format!("app.log.{round}")))?;
            live = scene.create("app.log")?;
            scene.write(&mut live, 10)?;
            // The span of the stop is the point.
            std::thread::sleep(Duration::from_secs(2));
            scene.agent.thaw()?;
            scene.came(&live)?;
        }
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.delivered == totals.lines && totals.repeats == 0 && totals.losses == 0, "{totals}");
        Ok(())
    })
}

#[test]
fn a_file_that_may_not_be_read_for_a_while() -> Result<()> {
    if !skip::is_root() || !skip::has("setpriv") {
        return skip::skip("a_file_that_may_not_be_read_for_a_while", "dropping DAC_OVERRIDE needs root and setpriv");
    }
    room::within("eacces", |room| {
        let pattern = format!("{}/app/app*", room.logs().display());
        let mut scene = Scene::with(room, &Policy::plain("eacces", &pattern, &room.archive()))?;
        scene.agent.through(&["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]);
        let mut live = scene.create("app.log")?;
        let mut other = scene.create("app-other.log")?;
        scene.write(&mut live, 100)?;
        fs::set_permissions(&live.path, fs::Permissions::from_mode(0o000))?;
        ensure!(fs::File::open(&live.path).is_ok(), "root with all its rights may read it: the agent must lack them");
        scene.start()?;
        scene.write(&mut other, 100)?;
        scene.came(&other)?;
        ensure!(scene.output()?.records.len() == 100, "a file of mode 0 was read: nothing was proved");
        fs::set_permissions(&live.path, fs::Permissions::from_mode(0o600))?;
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.delivered == totals.lines && totals.losses == 0, "{totals}");
        Ok(())
    })
}
