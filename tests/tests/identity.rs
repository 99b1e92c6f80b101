//! What a stream is when names, inodes and beginnings deceive: the interleavings of the identity invariant, each by name.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waybill_tests::book::How;
use waybill_tests::face;
use waybill_tests::oracle::Leniency;
use waybill_tests::room;
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::wait::await_true;
use waybill_tests::writer::Live;
use waybill_tests::writer::pack::{Packing, pack};
use waybill_tests::writer::unlink::recreate;

#[test]
fn equal_headers_and_a_reused_inode_after_a_lost_answer() -> Result<()> {
    room::within("reused-inode", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        scene.scribe.header(&mut live)?;
        let mut reused = 0;
        for _ in 0..8 {
            scene.start()?;
            scene.write(&mut live, 50)?;
            scene.came(&live)?;
            // The lines are in the sink; whether the agent has its answer entered is left to chance.
            scene.kill()?;
            let (path, inode) = (live.path.clone(), fs::metadata(&live.path)?.ino());
            live.close()?;
            fs::remove_file(&path)?;
            scene.scribe.gone(&[live.incarnation], How::Down);
            reused += usize::from(recreate(&path, inode)?);
            live = Live::adopt(&scene.scribe.book, &path)?;
            scene.scribe.header(&mut live)?;
        }
        ensure!(reused > 0, "no inode was used again: nothing was proved");
        scene.start()?;
        scene.settle()?;
        scene.judge()?;
        Ok(())
    })
}

/// Copies and truncates; what the agent has not read is in the copy, which the pattern names.
fn copy_and_truncate(scene: &mut Scene<'_>, live: &mut Live, copy: &str) -> Result<()> {
    fs::copy(&live.path, scene.scribe.path(copy))?;
    live.truncate(&scene.scribe.book)?;
    scene.write(live, 30)
}

#[test]
fn copytruncate_with_the_copy_in_the_pattern() -> Result<()> {
    room::within("copytruncate", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.came(&live)?;
        copy_and_truncate(&mut scene, &mut live, "app.log.1")?;
        // Behind: the agent stands still.
        scene.came(&live)?;
        scene.agent.freeze()?;
        scene.write(&mut live, 100)?;
        copy_and_truncate(&mut scene, &mut live, "app.log.2")?;
        scene.agent.thaw()?;
        scene.settle()?;
        // Dead, and twice.
        scene.kill()?;
        scene.write(&mut live, 100)?;
        copy_and_truncate(&mut scene, &mut live, "app.log.3")?;
        copy_and_truncate(&mut scene, &mut live, "app.log.4")?;
        scene.start()?;
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.delivered == totals.lines && totals.losses == 0, "every line was still there: {totals}");
        Ok(())
    })
}

fn truncate_and_regrow(alike: bool) -> Result<()> {
    room::within("regrow", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        if alike {
            scene.scribe.header(&mut live)?;
        }
        scene.start()?;
        for _ in 0..5 {
            scene.write(&mut live, 60)?;
            scene.came(&live)?;
            scene.await_idle()?;
            scene.agent.freeze()?;
            let doomed = live.incarnation;
            let old = fs::metadata(&live.path)?.len();
            live.truncate(&scene.scribe.book)?;
            scene.scribe.gone(&[doomed], How::Down);
            if alike {
                scene.scribe.header(&mut live)?;
            }
            while fs::metadata(&live.path)?.len() <= old {
                scene.write(&mut live, 10)?;
            }
            scene.agent.thaw()?;
            scene.settle()?;
        }
        let totals = scene.judge()?;
        ensure!(totals.delivered == totals.lines, "all lines could be read: {totals}");
        Ok(())
    })
}

#[test]
fn truncated_and_regrown_between_two_looks() -> Result<()> {
    truncate_and_regrow(false)
}

#[test]
fn truncated_and_regrown_with_an_equal_header() -> Result<()> {
    truncate_and_regrow(true)
}

/// Kills the agent in the middle of a large file, which is renamed and compressed meanwhile.
fn half_read(packing: Packing) -> Result<()> {
    room::within("half-read", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        for _ in 0..400 {
            scene.write(&mut live, 250)?;
        }
        scene.start()?;
        await_true("the agent is in the middle", SOON, || {
            Ok(fs::metadata(room.archive()).is_ok_and(|archive| archive.len() > 100_000))
        })?;
        scene.kill()?;
        let before = scene.output()?.records.len();
        ensure!(before < 100_000, "the agent was through before it was killed: nothing was proved");
        let rotated = scene.scribe.path("app.log.1");
        fs::rename(&live.path, &rotated)?;
        pack(&rotated, packing, &mut scene.scribe.rng)?;
        live = scene.create("app.log")?;
        scene.write(&mut live, 10)?;
        scene.start()?;
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.delivered == totals.lines && totals.losses == 0, "every line was still there: {totals}");
        Ok(())
    })
}

#[test]
fn a_half_read_file_gzipped() -> Result<()> {
    half_read(Packing::Gzip)
}

#[test]
fn a_half_read_file_packed_with_zstd() -> Result<()> {
    half_read(Packing::Zstd)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let done = Command::new("cp").arg("-a").args([from, to]).status().context("failed to start cp")?;
    ensure!(done.success(), "failed to copy {}", from.display());
    Ok(())
}

#[test]
fn a_restored_state() -> Result<()> {
    room::within("restored-state", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        scene.stop()?;
        let backup = room.elsewhere().join("state");
        copy_folder(&room.state(), &backup)?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        fs::rename(&live.path, scene.scribe.path("app.log.1"))?;
        live = scene.create("app.log")?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        scene.stop()?;
        fs::remove_dir_all(room.state())?;
        copy_folder(&backup, &room.state())?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        let totals = scene.judge_with(Leniency { new_ids: true, repeats: true })?;
        ensure!(totals.delivered == totals.lines && totals.losses == 0, "every line was still there: {totals}");
        Ok(())
    })
}

#[test]
fn a_lost_state() -> Result<()> {
    room::within("lost-state", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        scene.stop()?;
        fs::remove_dir_all(room.state())?;
        scene.write(&mut live, 100)?;
        scene.start()?;
        scene.settle()?;
        scene.await_entry(face::EMPTY_STATE, |_| true)?;
        let totals = scene.judge_with(Leniency { new_ids: true, repeats: true })?;
        ensure!(totals.delivered == totals.lines && totals.losses == 0, "every line was still there: {totals}");
        Ok(())
    })
}

#[test]
fn a_copy_is_not_shipped_again() -> Result<()> {
    room::within("copy", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 200)?;
        scene.settle()?;
        fs::copy(&live.path, scene.scribe.path("app-copy.log"))?;
        fs::hard_link(&live.path, scene.scribe.path("app-link.log"))?;
        scene.write(&mut live, 50)?;
        let mut marker = scene.create("app-marker.log")?;
        scene.write(&mut marker, 1)?;
        scene.settle()?;
        scene.judge()?;
        Ok(())
    })
}

#[test]
fn renamed_out_of_the_pattern_while_behind() -> Result<()> {
    room::within("renamed-out", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        for away in ["stopped", "dead"] {
            let dead = away == "dead";
            if dead { scene.kill() } else { scene.agent.freeze() }?;
            scene.write(&mut live, 100)?;
            fs::rename(&live.path, scene.scribe.path(&format!("{away}.was-app")))?;
            live = scene.create("app.log")?;
            scene.write(&mut live, 100)?;
            if dead { scene.start() } else { scene.agent.thaw() }?;
            scene.settle()?;
        }
        let totals = scene.judge()?;
        ensure!(totals.delivered == totals.lines && totals.losses == 0, "every line was still there: {totals}");
        Ok(())
    })
}

#[test]
fn deleted_while_dead_is_entered_from_the_cursor_on() -> Result<()> {
    room::within("deleted-dead", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        let size = fs::metadata(&live.path)?.len();
        scene.kill()?;
        scene.write(&mut live, 100)?;
        fs::remove_file(&live.path)?;
        scene.scribe.gone(&[live.incarnation], How::Down);
        scene.start()?;
        let entry = scene.await_entry(face::LOSS, |_| true)?;
        let loss = entry.loss.context("a loss without details")?;
        ensure!(loss.more && loss.from >= size, "the agent had shipped {size} bytes and saw no more: {loss:?}");
        let totals = scene.judge()?;
        ensure!(totals.entered == 100, "{totals}");
        Ok(())
    })
}

#[test]
fn deleted_while_open_and_behind_is_read_to_its_end() -> Result<()> {
    room::within("deleted-open", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        scene.agent.freeze()?;
        scene.write(&mut live, 1000)?;
        fs::remove_file(&live.path)?;
        scene.write(&mut live, 1000)?;
        scene.agent.thaw()?;
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.delivered == totals.lines && totals.losses == 0, "the agent held the file: {totals}");
        Ok(())
    })
}

/// A switch holds every lane, so that the file's turn to be read does not come: each of its contents is known all the same.
#[test]
fn truncated_and_outgrown_again_and_again_before_it_is_read() -> Result<()> {
    room::within("outgrown-unread", |room| {
        let mut scene = Scene::new(room)?;
        scene.start()?;
        let switch = room.state().join("KILL");
        fs::write(&switch, "nothing is read for now\n")?;
        let engaged =
            |scene: &Scene<'_>| Ok(scene.agent.asker().status()?["switches"].as_array().is_some_and(|s| !s.is_empty()));
        await_true("the switch is engaged", SOON, || engaged(&scene))?;
        let mut live = scene.create("app.log")?;
        let mut known = HashSet::new();
        for lines in [40, 80, 120, 160] {
            if lines > 40 {
                scene.scribe.gone(&[live.incarnation], How::Blind);
                live.truncate(&scene.scribe.book)?;
            }
            // All at once: no look finds the file shorter than it was.
            scene.write(&mut live, lines)?;
            let size = fs::metadata(&live.path)?.len();
            await_true("the content is known as a stream of its own", SOON, || {
                let status = scene.agent.asker().status()?;
                let streams = status["streams"].as_array().context("/status has streams")?;
                let here =
                    |stream: &&Value| stream["size"] == size && stream["frontier"] == 0 && stream["state"] == "live";
                Ok(streams.iter().find(here).is_some_and(|stream| known.insert(stream["id"].to_string())))
            })?;
        }
        fs::remove_file(&switch)?;
        scene.settle()?;
        await_true("the three contents are given up", SOON, || Ok(scene.output()?.losses().count() == 3))?;
        let totals = scene.judge()?;
        ensure!(totals.delivered == 160 && totals.entered == 240, "{totals}");
        Ok(())
    })
}
