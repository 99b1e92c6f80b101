//! inotify is a hint: without it everything works, only later.

use std::time::Duration;

use anyhow::{Result, ensure};
use waybill_tests::room;
use waybill_tests::scene::Scene;
use waybill_tests::wait::holds_for;
use waybill_tests::writer::{Actor, chain, copytruncate, dated};

#[test]
fn all_comes_without_inotify() -> Result<()> {
    room::within("no-inotify", |room| {
        for (at, make) in [chain::alike, copytruncate::inside, dated::make].into_iter().enumerate() {
            let _ = at;
            let mut scene = Scene::new(room)?;
            scene.agent.set("WAYBILL_INOTIFY", "off");
            let mut actor: Box<dyn Actor> = make(&mut scene.scribe)?;
            scene.start()?;
            holds_for("the writer writes", Duration::from_secs(4), || {
                actor.step(&mut scene.scribe)?;
                Ok(true)
            })?;
            scene.settle()?;
            let totals = scene.judge()?;
            ensure!(totals.delivered == totals.lines && totals.repeats == 0, "{totals}");
        }
        Ok(())
    })
}
