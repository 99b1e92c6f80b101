//! The agent on the nodes of a real cluster, without an operator: a plain `DaemonSet` with a mounted policy.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use waybill_tests::cluster::node_writer::{self, NodeWriter, all_came};
use waybill_tests::cluster::{BAR, Site, agent, config_map, config_map_text, starts, within, within_bar};
use waybill_tests::face;
use waybill_tests::oracle::Leniency;
use waybill_tests::policy::{Policy, file, switch, with};
use waybill_tests::scene::SOON;
use waybill_tests::wait::{await_true, holds_for};

fn plain(name: &str) -> Policy {
    Policy::plain(name, &node_writer::pattern(name), Path::new(&node_writer::archive(name)))
}

/// Starts the agents, and gives back their pods and a writer on each node.
fn begin(site: &Site, name: &str) -> Result<(Vec<Value>, Vec<NodeWriter>)> {
    let writers = node_writer::on_each(site.nodes(), name)?;
    site.kubectl().apply(&config_map(name, &plain(name)))?;
    site.kubectl().apply(&agent(name))?;
    Ok((site.await_daemon_set(name)?, writers))
}

/// Brings a policy to the nodes as an operator does: the `ConfigMap` first, then a touch of each pod, which makes its kubelet
/// look at once.
fn bring(site: &Site, name: &str, map: &Value, generation: u32) -> Result<()> {
    site.kubectl().apply(map)?;
    let selector = format!("app={name}");
    let note = format!("waybill.dev/generation={generation}");
    site.kubectl().run(&["annotate", "pods", "--overwrite", "--selector", &selector, &note])?;
    Ok(())
}

fn applied(writer: &NodeWriter) -> Result<usize> {
    Ok(writer.output()?.actions(face::APPLIED).count())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn both_nodes_ship_their_own_files_completely() -> Result<()> {
    within("agent-plain", |site| {
        let (pods, mut writers) = begin(site, "agent-plain")?;
        for _ in 0..20 {
            writers.iter_mut().try_for_each(|writer| writer.write(500))?;
        }
        all_came(&writers)?;
        for (writer, node) in writers.iter().zip(site.nodes()) {
            writer.judge(Leniency::default())?;
            let files = waybill_tests::output::files(writer.archive())?;
            ensure!(!files.is_empty(), "{} has no archive", node.name());
        }
        // What a pod leaves behind is found by the one that comes after it.
        site.kubectl().run(&["delete", "pods", "--selector=app=agent-plain", "--wait=true"])?;
        writers.iter_mut().try_for_each(|writer| writer.write(500))?;
        let fresh = site.await_daemon_set("agent-plain")?;
        all_came(&writers)?;
        ensure!(starts(&pods)? != starts(&fresh)?, "the pods were not made anew");
        writers.iter().try_for_each(|writer| writer.judge(Leniency::default()).map(|_| ()))
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn an_edited_policy_is_in_force_on_both_nodes_without_a_restart() -> Result<()> {
    within("agent-edit", |site| {
        let name = "agent-edit";
        let (pods, mut writers) = begin(site, name)?;
        writers.iter_mut().try_for_each(|writer| writer.write(200))?;
        all_came(&writers)?;
        let second = format!("/var/lib/waybill/{name}/second/audit.log");
        let began = Instant::now();
        let both = plain(name).sink(file("second", Path::new(&second)));
        bring(site, name, &config_map(name, &both), 2)?;
        await_true("a sink was added on every node", SOON, || {
            Ok(site.nodes().iter().all(|node| node.path(&second).exists()))
        })?;
        within_bar("a sink added, to its file on the slowest node", began.elapsed(), BAR);
        writers.iter_mut().try_for_each(|writer| writer.write(200))?;
        all_came(&writers)?;
        let before: Vec<_> = writers.iter().map(applied).collect::<Result<_>>()?;
        let began = Instant::now();
        bring(site, name, &config_map(name, &plain(name)), 3)?;
        await_true("the sink was removed on every node", SOON, || {
            writers.iter().zip(&before).try_fold(true, |all, (writer, had)| Ok(all && applied(writer)? > *had))
        })?;
        within_bar("a sink removed, to the ledger entry on the slowest node", began.elapsed(), BAR);
        // A broken policy is refused on the nodes too, and the one in force goes on.
        bring(site, name, &config_map_text(name, "spec: [\n"), 4)?;
        await_true("the broken policy is refused on every node", SOON, || {
            writers
                .iter()
                .try_fold(true, |all, writer| Ok(all && writer.output()?.actions(face::REFUSED).next().is_some()))
        })?;
        writers.iter_mut().try_for_each(|writer| writer.write(200))?;
        all_came(&writers)?;
        ensure!(starts(&pods)? == starts(&site.await_daemon_set(name)?)?, "a pod was restarted");
        writers.iter().try_for_each(|writer| writer.judge(Leniency::default()).map(|_| ()))
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_kill_switch_stops_both_nodes_in_two_seconds() -> Result<()> {
    within("agent-switch", |site| {
        let name = "agent-switch";
        let (pods, mut writers) = begin(site, name)?;
        writers.iter_mut().try_for_each(|writer| writer.write(200))?;
        all_came(&writers)?;
        let mut generation = 1;
        let thrown = |scope: &str, mode: &str, reason: &str| {
            let switch = switch(true, mode, reason);
            let value = plain(name).value();
            let pointer = match scope {
                "policy" => "/spec/killSwitch",
                "source" => "/spec/sources/0/killSwitch",
                _ => "/spec/sinks/0/killSwitch",
            };
            config_map_text(name, &with(value, pointer, switch).to_string())
        };
        for scope in ["policy", "source", "sink"] {
            let reason = format!("throw-{scope}");
            generation += 1;
            let began = Instant::now();
            bring(site, name, &thrown(scope, "Hold", &reason), generation)?;
            if scope == "sink" {
                // The entry can't leave by the only lane, which is held.
                settle_quiet(&mut writers)?;
            } else {
                await_true("the throw is entered on every node", SOON, || entered(&writers, &reason))?;
                within_bar(&format!("a {scope}'s switch, to its entry on the slowest node"), began.elapsed(), BAR);
            }
            let before: Vec<_> = writers.iter().map(NodeWriter::records).collect::<Result<_>>()?;
            writers.iter_mut().try_for_each(|writer| writer.write(100))?;
            holds_for("nothing is delivered", Duration::from_secs(2), || {
                let now: Vec<_> = writers.iter().map(NodeWriter::records).collect::<Result<_>>()?;
                Ok(now == before)
            })?;
            generation += 1;
            let began = Instant::now();
            let pointer = format!("lift-{scope}");
            bring(site, name, &config_map(name, &plain(name).lifted(&pointer)), generation)?;
            all_came(&writers)?;
            within_bar(&format!("a {scope}'s switch lifted, to the last held record"), began.elapsed(), BAR * 2);
        }
        ensure!(starts(&pods)? == starts(&site.await_daemon_set(name)?)?, "a pod was restarted");
        writers.iter().try_for_each(|writer| writer.judge(Leniency::default()).map(|_| ()))
    })
}

/// Waits until nothing more comes although lines are written: the switch of the only lane is in force.
fn settle_quiet(writers: &mut [NodeWriter]) -> Result<()> {
    await_true("the lane is quiet", SOON, || {
        writers.iter_mut().try_for_each(|writer| writer.write(1))?;
        let any = await_true("a line comes", Duration::from_secs(1), || Ok(writers.iter().any(NodeWriter::came)));
        Ok(any.is_err())
    })
}

fn entered(writers: &[NodeWriter], reason: &str) -> Result<bool> {
    writers.iter().try_fold(true, |all, writer| Ok(all && writer.has_entry(face::SWITCH, reason)?))
}
