//! SIGTERM drains, commits, and ends with 0; a second agent waits for the state.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use waybill_tests::agent::Agent;
use waybill_tests::face;
use waybill_tests::policy::Policy;
use waybill_tests::room;
use waybill_tests::scene::Scene;
use waybill_tests::wait::holds_for;

#[test]
fn sigterm_drains_and_the_next_start_repeats_nothing() -> Result<()> {
    room::within("drain", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        for _ in 0..4 {
            scene.start()?;
            for _ in 0..20 {
                scene.write(&mut live, 100)?;
            }
            scene.stop()?;
        }
        scene.start()?;
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.delivered == totals.lines && totals.repeats == 0, "{totals}");
        let output = scene.output()?;
        let (starts, stops) = (output.actions(face::STARTED).count(), output.actions(face::STOPPED).count());
        ensure!(starts == 5 && stops >= 4, "{starts} starts and {stops} stops in the ledger");
        Ok(())
    })
}

#[test]
fn draining_ends_in_time_when_a_sink_takes_nothing() -> Result<()> {
    room::within("drain-held", |room| {
        let policy = Policy::plain("held", &format!("{}/app/app*", room.logs().display()), &room.archive())
            .with("limits", json!({"drainSeconds": 2}))
            .engaged("Hold", "nothing leaves");
        let mut scene = Scene::with(room, &policy)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 1000)?;
        let began = Instant::now();
        scene.stop()?;
        ensure!(began.elapsed() < Duration::from_secs(6), "draining took {:?}", began.elapsed());
        Policy::plain("held", &format!("{}/app/app*", room.logs().display()), &room.archive()).write(&room.policy())?;
        scene.start()?;
        scene.settle()?;
        scene.judge()?;
        Ok(())
    })
}

#[test]
fn a_second_agent_waits_for_the_state() -> Result<()> {
    room::within("two-agents", |room| {
        let mut scene = Scene::new(room)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        let log = room.path().join("second.log");
        let mut second = Agent::new(&room.policy(), &room.state(), &log, Arc::clone(scene.agent.history()))?;
        second.launch()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        holds_for("the second agent waits", Duration::from_secs(1), || second.check_alive().map(|()| true))?;
        scene.stop()?;
        second.await_healthy()?;
        scene.write(&mut live, 100)?;
        scene.came(&live)?;
        second.stop()?;
        ensure!(scene.output()?.records.len() == 300, "{} records of 300 lines", scene.output()?.records.len());
        Ok(())
    })
}

#[test]
fn a_policy_that_cannot_be_read_ends_with_the_code_for_it() -> Result<()> {
    room::within("exit-code", |room| {
        let mut scene = Scene::new(room)?;
        fs::write(room.policy(), "spec: [")?;
        scene.agent.launch()?;
        let status = scene.agent.await_exit(Duration::from_secs(10))?;
        ensure!(status.code() == Some(3), "a wrong configuration ends with 3, not with {status}");
        Ok(())
    })
}
