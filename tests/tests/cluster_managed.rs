//! A source whose files the agents rotate themselves: the pods get the rights and the folder for it when it comes, and not before.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;
use waybill_tests::cluster::process;
use waybill_tests::cluster::{Node, PATIENCE, PolicyScene, chart, within};
use waybill_tests::oracle::Leniency;
use waybill_tests::policy::{Policy, file, with};
use waybill_tests::wait::await_true;

const NAME: &str = "managed";
/// Where the writers write, and whether a pod may write there too.
const FOLDER: &str = "/var/log/managed/app";
/// `CAP_DAC_READ_SEARCH` and `CAP_LEASE`, which every agent has.
const ALWAYS: u64 = (1 << 2) | (1 << 28);
/// `CAP_CHOWN`, `CAP_DAC_OVERRIDE` and `CAP_FOWNER`.
const MANAGES: u64 = (1 << 0) | (1 << 1) | (1 << 3);

fn archives(node: &Node) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(node.path(FOLDER))? {
        count += usize::from(entry?.path().extension().is_some_and(|extension| extension == "gz"));
    }
    Ok(count)
}

fn rights() -> Result<Vec<(u64, bool)>> {
    let agents = process::agents(NAME)?;
    let writes = |agent: &process::Process| agent.mounted(FOLDER).is_some_and(|options| options.starts_with("rw"));
    agents.iter().map(|agent| Ok((agent.capabilities("CapEff:")?, writes(agent)))).collect()
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_first_managed_source_rolls_the_pods_while_everything_else_applies() -> Result<()> {
    within(NAME, |site| {
        chart::install(site.cluster())?;
        chart::set("agents.writeRoots={/var/lib/waybill,/var/log/managed}")?;
        let verdict = (|| {
            let mut scene = PolicyScene::begin(site, NAME)?;
            scene.flow(500)?;
            ensure!(rights()?.iter().all(|had| *had == (ALWAYS, false)), "{:x?}", rights()?);
            let second = format!("/var/lib/waybill/{NAME}/second/audit.log");
            let policy = scene.plain().sink(file("second", second.as_ref())).value();
            let rotation = json!({"mode": "Collapse", "maxSize": "64Ki"});
            let managed = Policy::from(with(policy, "/spec/sources/0/rotation", rotation));
            // One pod is replaced after the other; the sink does not wait for that.
            scene.edit("a sink that comes with the first managed source", &managed, || {
                Ok(site.nodes().iter().all(|node| node.path(&second).exists()))
            })?;
            scene.write(500)?;
            await_true("the pods got the rights", PATIENCE, || {
                scene.pods()?;
                Ok(rights()?.iter().all(|has| *has == (ALWAYS | MANAGES, true)))
            })?;
            ensure!(scene.untouched().is_err(), "the pods were not made anew");
            scene.await_up_to_date()?;
            scene.renewed()?;
            for _ in 0..5 {
                scene.flow(1000)?;
            }
            await_true("every node has an archive", PATIENCE, || {
                site.nodes().iter().try_fold(true, |all, node| Ok(all && archives(node)? > 0))
            })?;
            scene.flow(200)?;
            scene.untouched()?;
            // Whoever is replaced may send again what was not acknowledged.
            scene.judge(Leniency { new_ids: false, repeats: true })?;
            scene.balance()?;
            scene.remove()
        })();
        let back = chart::install_again(site.cluster());
        verdict.and(back)
    })
}
