//! A changed policy is taken over in process; a broken one is refused and the old one goes on.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use waybill_tests::face;
use waybill_tests::output::Output;
use waybill_tests::policy::{self, Policy, replace};
use waybill_tests::room::{self, Room};
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::wait::await_true;
use waybill_tests::writer::Live;

fn pattern(room: &Room, folder: &str) -> String {
    format!("{}/{folder}/app*", room.logs().display())
}

fn base(room: &Room) -> Policy {
    Policy::plain("reload", &pattern(room, "app"), &room.archive())
}

#[test]
fn sources_come_and_go_in_process() -> Result<()> {
    room::within("reload-sources", |room| {
        let mut scene = Scene::with(room, &base(room))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        let pid = scene.agent.pid()?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        fs::create_dir(room.logs().join("more"))?;
        fs::write(room.logs().join("more/app.log"), "a line of another source\n")?;
        base(room).source(policy::text("more", &pattern(room, "more"))).write(&room.policy())?;
        let of_more = || Ok::<_, anyhow::Error>(scene.output()?.texts("more").len());
        await_true("the new source is read", SOON, || Ok(of_more()? == 1))?;
        base(room).write(&room.policy())?;
        scene.await_entry(face::APPLIED, |_| true)?;
        scene.write(&mut live, 100)?;
        scene.settle()?;
        // The same key resumes.
        fs::write(room.logs().join("more/app.log"), "a line of another source\nand another\n")?;
        base(room).source(policy::text("more", &pattern(room, "more"))).write(&room.policy())?;
        await_true("the source resumes", SOON, || Ok(scene.output()?.texts("more").len() >= 2))?;
        ensure!(
            scene.output()?.texts("more").len() == 2,
            "the source began anew: {:?}",
            scene.output()?.texts("more").len()
        );
        ensure!(scene.agent.pid()? == pid, "the agent was restarted");
        scene.stop()
    })
}

#[test]
fn a_removed_sink_abandons_what_it_is_owed() -> Result<()> {
    room::within("reload-sinks", |room| {
        let second = room.path().join("second");
        fs::create_dir(&second)?;
        let both = |engaged| {
            let sink = policy::file("second", &second.join("audit.log"));
            base(room).sink(policy::with(sink, "/killSwitch", policy::switch(engaged, "Hold", "held")))
        };
        let mut scene = Scene::with(room, &both(true))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 100)?;
        scene.came(&live)?;
        base(room).write(&room.policy())?;
        let entry = scene.await_entry(face::ABANDONED, |_| true)?;
        ensure!(entry.details.to_string().contains("second"), "the entry does not name the lane: {}", entry.details);
        both(false).write(&room.policy())?;
        await_true("the same key resumes", SOON, || Ok(Output::read(&second.join("audit.log"))?.records.len() == 100))?;
        scene.judge()?;
        Ok(())
    })
}

#[test]
fn a_broken_policy_is_refused_and_the_old_one_goes_on() -> Result<()> {
    room::within("reload-broken", |room| {
        let mut scene = Scene::with(room, &base(room))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        let broken = [
            "spec: [".to_owned(),
            String::new(),
            base(room).with("sources", json!([{"name": "x", "format": "NoSuchFormat", "file": {"paths": []}}])).text(),
        ];
        for (round, text) in broken.iter().enumerate() {
            replace(&room.policy(), text)?;
            await_true("the refusal is in the ledger", SOON, || {
                Ok(scene.output()?.actions(face::REFUSED).count() > round)
            })?;
            scene.write(&mut live, 100)?;
            scene.came(&live)?;
        }
        ensure!(scene.agent.log()?.contains("policy"), "the log does not speak of the policy");
        base(room).with("limits", json!({"line": "2Mi"})).write(&room.policy())?;
        scene.await_entry(face::APPLIED, |_| true)?;
        scene.judge()?;
        Ok(())
    })
}

#[test]
fn a_mounted_config_map_is_followed() -> Result<()> {
    room::within("reload-swap", |room| {
        let mut scene = Scene::with(room, &base(room))?;
        fs::remove_file(room.policy())?;
        base(room).swap(&room.policy(), 1)?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 10)?;
        scene.settle()?;
        let mut other = Live::create(&scene.scribe.book, &scene.scribe.path("other.log"))?;
        scene.write(&mut other, 10)?;
        let wider = format!("{}/app/*.log", room.logs().display());
        Policy::plain("reload", &wider, &room.archive()).swap(&room.policy(), 2)?;
        fs::remove_dir_all(room.path().join("..generation_1"))?;
        scene.came(&other)?;
        scene.judge()?;
        Ok(())
    })
}

#[test]
fn an_unchanged_source_is_not_disturbed() -> Result<()> {
    room::within("reload-undisturbed", |room| {
        let mut scene = Scene::with(room, &base(room))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        for round in 0..10 {
            scene.write(&mut live, 200)?;
            base(room).with("limits", json!({"openFiles": 1000 + round})).write(&room.policy())?;
        }
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.repeats == 0 && totals.losses == 0 && totals.streams == 1, "{totals}");
        scene.output()?.actions(face::APPLIED).next().context("no policy was applied")?;
        Ok(())
    })
}
