//! Edits of a policy in flight: each in force on both nodes within two seconds, none restarts a pod, and at the end every byte
//! is accounted for.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use waybill_tests::cluster::policy_scene::{lifted, thrown};
use waybill_tests::cluster::{PolicyScene, within};
use waybill_tests::oracle::Leniency;
use waybill_tests::policy::{Policy, file, text, with};
use waybill_tests::scene::SOON;
use waybill_tests::wait::{await_true, holds_for};

/// How long nothing must come for a switch to count as in force.
const QUIET: Duration = Duration::from_secs(2);

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn sinks_and_sources_come_and_go() -> Result<()> {
    within("edits-sinks", |site| {
        let name = "edits-sinks";
        let mut scene = PolicyScene::begin(site, name)?;
        scene.flow(300)?;
        let second = format!("/var/lib/waybill/{name}/second/audit.log");
        let both = || scene.plain().sink(file("second", second.as_ref()));
        let everywhere = |path: &str| site.nodes().iter().all(|node| node.path(path).exists());
        scene.edit("a sink is added", &both(), || Ok(everywhere(&second)))?;
        scene.await_up_to_date()?;
        scene.flow(300)?;
        let more = format!("/var/log/{name}/more.log");
        for node in site.nodes() {
            std::fs::write(node.path(&more), format!("of {}\n", node.name()))?;
        }
        let source = scene.plain().source(text("more", &more));
        let texts = |scene: &PolicyScene<'_>| -> Result<bool> {
            scene.writers.iter().try_fold(true, |all, writer| Ok(all && writer.output()?.texts("more").len() == 1))
        };
        scene.edit("a source is added and a sink removed", &source, || texts(&scene))?;
        scene.await_up_to_date()?;
        let retention = with(scene.plain().value(), "/spec/sources/0/retention", json!({"maxAgeDays": 30}));
        scene.put(&Policy::from(retention))?;
        scene.await_up_to_date()?;
        scene.flow(300)?;
        scene.untouched()?;
        scene.balance()?;
        ensure!(scene.records()?.iter().all(|records| *records == 901), "{:?}", scene.records()?);
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_hold_of_policy_source_and_sink_loses_nothing() -> Result<()> {
    within("edits-hold", |site| {
        let mut scene = PolicyScene::begin(site, "edits-hold")?;
        scene.flow(300)?;
        for (what, pointer) in [
            ("the policy", "/spec/killSwitch"),
            ("a source", "/spec/sources/0/killSwitch"),
            ("a sink", "/spec/sinks/0/killSwitch"),
        ] {
            let reason = format!("hold of {what}");
            let throw = Policy::from(with(scene.plain().value(), pointer, thrown("Hold", &reason)));
            if what == "a sink" {
                // Its entry can't leave by that lane; the operator knows from the agents themselves.
                scene.put(&throw)?;
            } else {
                scene.edit(&format!("{what} is held"), &throw, || scene.entered(&reason))?;
            }
            let said = scene.await_condition("KillSwitchEngaged", "True", "Engaged")?;
            ensure!(said["message"].as_str().is_some_and(|text| text.contains(&reason)), "{said}");
            ensure!(said["message"].as_str().is_some_and(|text| text.contains("2 of 2 agents")), "{said}");
            let before = scene.records()?;
            scene.write(200)?;
            holds_for("nothing is delivered", QUIET, || Ok(scene.records()? == before))?;
            let calm = Policy::from(with(scene.plain().value(), pointer, lifted(&format!("{reason} is over"))));
            scene.edit(&format!("{what} is released"), &calm, || {
                Ok(scene.writers.iter().all(waybill_tests::cluster::node_writer::NodeWriter::came))
            })?;
            scene.await_condition("KillSwitchEngaged", "False", "NotEngaged")?;
        }
        scene.untouched()?;
        scene.judge(Leniency::default())?;
        scene.balance()?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_discard_skips_for_good_and_is_accounted_for() -> Result<()> {
    within("edits-discard", |site| {
        let mut scene = PolicyScene::begin(site, "edits-discard")?;
        scene.flow(100)?;
        let pointers = ["/spec/killSwitch", "/spec/sources/0/killSwitch", "/spec/sinks/0/killSwitch"];
        for (number, pointer) in pointers.into_iter().enumerate() {
            let reason = format!("discard {number}");
            let throw = Policy::from(with(scene.plain().value(), pointer, thrown("Discard", &reason)));
            if pointer.contains("sinks") {
                // Its entry can't leave by that lane before it is lifted; the operator knows from the agents themselves.
                scene.put(&throw)?;
            } else {
                scene.edit(&format!("{reason} is thrown"), &throw, || scene.entered(&reason))?;
            }
            scene.await_condition("KillSwitchEngaged", "True", "Engaged")?;
            let before = scene.records()?;
            scene.write(50)?;
            holds_for("nothing is delivered", QUIET, || Ok(scene.records()? == before))?;
            let over = format!("over {number}");
            let calm = Policy::from(with(scene.plain().value(), pointer, lifted(&over)));
            scene.edit(&format!("{reason} is lifted"), &calm, || scene.entered(&over))?;
            scene.await_condition("KillSwitchEngaged", "False", "NotEngaged")?;
            scene.write(10)?;
            let after: Vec<_> = before.iter().map(|records| records + 10).collect();
            await_true("the lines after the lifting come, and no other", SOON, || Ok(scene.records()? == after))?;
        }
        scene.untouched()?;
        scene.balance()?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_broken_policy_changes_nothing_but_its_switches_count() -> Result<()> {
    within("edits-broken", |site| {
        let mut scene = PolicyScene::begin(site, "edits-broken")?;
        scene.flow(200)?;
        let broken = || scene.plain().source(text("shadow", "/etc/shadow"));
        scene.put(&broken())?;
        let said = scene.await_condition("Accepted", "False", "PathNotAllowed")?;
        ensure!(said["message"].as_str().is_some_and(|text| text.contains("/etc/shadow")), "{said}");
        let reason = "held although broken";
        let throw = broken().with("killSwitch", thrown("Hold", reason));
        scene.edit("a switch in a broken policy", &throw, || scene.entered(reason))?;
        scene.write(100)?;
        let before = scene.records()?;
        holds_for("nothing is delivered", QUIET, || Ok(scene.records()? == before))?;
        scene.put(&scene.plain().with("killSwitch", lifted("mended")))?;
        scene.await_condition("Accepted", "True", "Accepted")?;
        scene.flow(100)?;
        scene.untouched()?;
        scene.judge(Leniency::default())?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn two_policies_keep_out_of_each_others_way() -> Result<()> {
    within("edits-two", |site| {
        let mut one = PolicyScene::begin(site, "edits-one")?;
        let mut two = PolicyScene::begin(site, "edits-two")?;
        one.write(500)?;
        two.write(500)?;
        let reason = "only the first";
        let throw = one.plain().with("killSwitch", thrown("Hold", reason));
        one.edit("the first of two policies is held", &throw, || one.entered(reason))?;
        two.flow(500)?;
        one.put(&one.plain().with("killSwitch", lifted("over")))?;
        one.flow(500)?;
        two.remove()?;
        one.flow(500)?;
        one.untouched()?;
        one.judge(Leniency::default())?;
        two.judge(Leniency::default())?;
        one.remove()
    })
}
