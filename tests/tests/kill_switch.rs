//! A kill switch speaks before it acts, acts within a second, and leaves its trace.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::face;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room::{self, Room};
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::wait::{await_true, holds_for};

/// What a switch may take from the file's change to its effect.
const BAR: Duration = Duration::from_secs(1);
const QUIET: Duration = Duration::from_millis(1200);

fn plain(room: &Room) -> Policy {
    Policy::plain("switches", &format!("{}/app/app*", room.logs().display()), &room.archive())
}

fn records(scene: &Scene<'_>) -> Result<usize> {
    Ok(scene.output()?.records.len())
}

fn says(details: &Value, wanted: &str) -> bool {
    details.to_string().contains(wanted)
}

/// Waits for the entry of a switch, for no longer than the bar allows.
fn await_switch(scene: &Scene<'_>, since: Instant, reason: &str) -> Result<()> {
    scene.await_entry(face::SWITCH, |entry| says(&entry.details, reason))?;
    ensure!(since.elapsed() < BAR, "the switch {reason:?} took {:?}", since.elapsed());
    Ok(())
}

#[test]
fn hold_delivers_nothing_and_loses_nothing() -> Result<()> {
    room::within("hold", |room| {
        let mut scene = Scene::with(room, &plain(room))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        let thrown = Instant::now();
        plain(room).engaged("Hold", "drill-hold").write(&room.policy())?;
        await_switch(&scene, thrown, "drill-hold")?;
        let before = records(&scene)?;
        scene.write(&mut live, 100)?;
        holds_for("nothing is delivered", QUIET, || Ok(records(&scene)? == before))?;
        let lifted = Instant::now();
        plain(room).lifted("drill-over").write(&room.policy())?;
        scene.came(&live)?;
        ensure!(lifted.elapsed() < BAR * 2, "lifting took {:?}", lifted.elapsed());
        scene.await_entry(face::SWITCH, |entry| says(&entry.details, "drill-over"))?;
        let totals = scene.judge()?;
        ensure!(totals.delivered == 200 && totals.losses == 0 && totals.repeats == 0, "{totals}");
        Ok(())
    })
}

#[test]
fn discard_skips_for_good_and_says_so() -> Result<()> {
    room::within("discard", |room| {
        let mut scene = Scene::with(room, &plain(room))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        let thrown = Instant::now();
        plain(room).engaged("Discard", "drill-discard").write(&room.policy())?;
        await_switch(&scene, thrown, "drill-discard")?;
        scene.write(&mut live, 50)?;
        holds_for("nothing is delivered", QUIET, || Ok(records(&scene)? == 100))?;
        plain(room).lifted("drill-over").write(&room.policy())?;
        scene.await_entry(face::SWITCH, |entry| says(&entry.details, "drill-over"))?;
        scene.write(&mut live, 10)?;
        await_true("the lines after the lifting come", SOON, || Ok(records(&scene)? == 110))?;
        scene.await_idle()?;
        scene.stop()?;
        let lanes = face::lanes(&scene.agent.inspect()?)?;
        let lane = lanes.iter().find(|lane| lane.name == "archive").context("no lane archive")?;
        lane.balance()?;
        ensure!(lane.term("dropped").records == 50, "50 records were skipped: {:?}", lane.term("dropped"));
        Ok(())
    })
}

#[test]
fn a_discard_outlives_a_kill() -> Result<()> {
    room::within("discard-kill", |room| {
        let mut scene = Scene::with(room, &plain(room))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        plain(room).engaged("Discard", "drill").write(&room.policy())?;
        scene.await_entry(face::SWITCH, |entry| says(&entry.details, "drill"))?;
        scene.write(&mut live, 50)?;
        scene.kill()?;
        scene.write(&mut live, 50)?;
        scene.start()?;
        holds_for("nothing is delivered", QUIET, || Ok(records(&scene)? == 100))?;
        scene.kill()?;
        plain(room).lifted("over").write(&room.policy())?;
        scene.start()?;
        scene.await_entry(face::SWITCH, |entry| says(&entry.details, "over"))?;
        scene.write(&mut live, 10)?;
        await_true("the lines after the lifting come", SOON, || Ok(records(&scene)? == 110))?;
        Ok(())
    })
}

#[test]
fn the_file_of_last_resort_stops_everything() -> Result<()> {
    room::within("kill-file", |room| {
        let mut scene = Scene::with(room, &plain(room))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        let switch = room.state().join("KILL");
        fs::write(&switch, "")?;
        let thrown = Instant::now();
        await_true("the switch shows in the status", BAR, || Ok(says(&scene.agent.asker().status()?, "KILL")))?;
        println!("thrown within {:?}", thrown.elapsed());
        let size = fs::metadata(room.archive())?.len();
        scene.write(&mut live, 100)?;
        holds_for("not a byte comes, not even an entry", QUIET, || Ok(fs::metadata(room.archive())?.len() == size))?;
        fs::remove_file(&switch)?;
        scene.came(&live)?;
        scene.await_entry(face::SWITCH, |_| true)?;
        let totals = scene.judge()?;
        ensure!(totals.delivered == 200 && totals.losses == 0, "{totals}");
        Ok(())
    })
}

#[test]
fn the_variable_of_last_resort_holds_from_the_start() -> Result<()> {
    room::within("kill-variable", |room| {
        let mut scene = Scene::with(room, &plain(room))?;
        let mut live = scene.create("app.log")?;
        scene.write(&mut live, 100)?;
        scene.agent.set("WAYBILL_ENABLED", "false");
        scene.start()?;
        holds_for("not a byte comes", QUIET, || Ok(fs::metadata(room.archive()).map_or(0, |file| file.len()) == 0))?;
        scene.stop()?;
        scene.agent.set("WAYBILL_ENABLED", "");
        scene.start()?;
        scene.settle()?;
        scene.await_entry(face::SWITCH, |_| true)?;
        scene.judge()?;
        Ok(())
    })
}

#[test]
fn a_switch_of_one_sink_stops_that_lane_alone() -> Result<()> {
    room::within("sink-switch", |room| {
        let second = room.path().join("second/audit.log");
        fs::create_dir(room.path().join("second"))?;
        let policy = |engaged| {
            let sink =
                with(policy::file("second", &second), "/killSwitch", policy::switch(engaged, "Hold", "one-lane"));
            plain(room).sink(sink)
        };
        let mut scene = Scene::with(room, &policy(true))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.came(&live)?;
        let second_records = || Ok::<_, anyhow::Error>(waybill_tests::output::Output::read(&second)?.records.len());
        holds_for("the second sink gets nothing", QUIET, || Ok(second_records()? == 0))?;
        policy(false).write(&room.policy())?;
        await_true("the second sink catches up", SOON, || Ok(second_records()? == 100))?;
        scene.judge()?;
        Ok(())
    })
}

#[test]
fn a_switch_in_a_broken_policy_counts() -> Result<()> {
    room::within("broken-switch", |room| {
        let mut scene = Scene::with(room, &plain(room))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        plain(room)
            .engaged("Hold", "in-haste")
            .with("sources", json!("none of your business"))
            .write(&room.policy())?;
        scene.await_entry(face::SWITCH, |entry| says(&entry.details, "in-haste"))?;
        let before = records(&scene)?;
        scene.write(&mut live, 100)?;
        holds_for("nothing is delivered", QUIET, || Ok(records(&scene)? == before))?;
        plain(room).lifted("over").write(&room.policy())?;
        scene.settle()?;
        scene.judge()?;
        Ok(())
    })
}
