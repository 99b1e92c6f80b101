//! inotify is a hint: without it everything works, only later.

use std::time::Duration;

use anyhow::{Result, ensure};
use waybill_tests::room;
use waybill_tests::scene::Scene;
use waybill_tests::wait::holds_for;
use waybill_tests::writer::{Make, chain, copytruncate, dated};

fn without_inotify(name: &str, make: Make) -> Result<()> {
    room::within(name, |room| {
        let mut scene = Scene::new(room)?;
        scene.agent.set("WAYBILL_INOTIFY", "off");
        let mut actor = make(&mut scene.scribe)?;
        scene.start()?;
        holds_for("the writer writes", Duration::from_secs(4), || actor.step(&mut scene.scribe).map(|()| true))?;
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.delivered == totals.lines && totals.repeats == 0, "{totals}");
        Ok(())
    })
}

#[test]
fn renames_without_inotify() -> Result<()> {
    without_inotify("no-inotify-chain", chain::alike)
}

#[test]
fn copytruncate_without_inotify() -> Result<()> {
    without_inotify("no-inotify-copy", copytruncate::inside)
}

#[test]
fn dates_without_inotify() -> Result<()> {
    without_inotify("no-inotify-dates", dated::make)
}
