//! What goes wrong in clusters, with records in flight: nothing is lost, and what was asked for is done in the end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waybill_tests::cluster::policy_scene::{lifted, thrown};
use waybill_tests::cluster::traffic::Traffic;
use waybill_tests::cluster::{BAR, Kubectl, PATIENCE, PolicyScene, Site, chart, within, within_bar};
use waybill_tests::oracle::Leniency;
use waybill_tests::policy::file;
use waybill_tests::wait::{await_condition, await_true};

/// Whoever is killed may send again what was not acknowledged.
const KILLED: Leniency = Leniency { new_ids: false, repeats: true };

/// How long the cluster may take to give up the pods of a node that is gone, and the operator to see it.
const LOST: Duration = Duration::from_mins(4);

fn operator(site: &Site) -> Kubectl {
    site.cluster().kubectl().namespace(chart::OPERATOR)
}

/// The replica that leads.
fn leader(site: &Site) -> Result<String> {
    let lease = operator(site).json(&["get", "lease", "waybill-operator"])?;
    Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn agents_that_are_killed_resume_where_they_were() -> Result<()> {
    within("faults-agents", |site| {
        let mut scene = PolicyScene::begin(site, "faults-agents")?;
        for _ in 0..3 {
            scene.write(1000)?;
            let selector = "--selector=waybill.dev/policy=faults-agents";
            scene.agents().run(&["delete", "pods", selector, "--grace-period=0", "--force"])?;
            scene.write(1000)?;
            scene.pods()?;
        }
        scene.flow(500)?;
        scene.judge(KILLED)?;
        scene.await_up_to_date()?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn an_operator_that_dies_in_the_middle_finishes_what_it_began() -> Result<()> {
    within("faults-operator", |site| {
        let mut scene = PolicyScene::begin(site, "faults-operator")?;
        let second = "/var/lib/waybill/faults-operator/second/audit.log";
        for round in 0..3 {
            let policy = scene.plain();
            scene.put(&if round % 2 == 0 { policy.sink(file("second", second.as_ref())) } else { policy })?;
            // Both replicas, at once and without a word.
            let all = format!("--selector={}", chart::OPERATOR_PODS);
            operator(site).run(&["delete", "pods", &all, "--grace-period=0", "--force", "--wait=false"])?;
            scene.write(200)?;
        }
        scene.await_up_to_date()?;
        scene.flow(200)?;
        ensure!(site.nodes().iter().all(|node| node.path(second).exists()), "the last edit was not carried out");
        scene.untouched()?;
        scene.judge(Leniency::default())?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_standby_takes_over_and_only_the_leader_writes() -> Result<()> {
    within("faults-lease", |site| {
        let scene = PolicyScene::begin(site, "faults-lease")?;
        let first =
            await_condition("a replica leads", PATIENCE, || Ok(Some(leader(site)?).filter(|name| !name.is_empty())))?;
        let traffic = Traffic::mark(site.cluster())?;
        let began = Instant::now();
        operator(site).run(&["delete", "pod", &first, "--grace-period=0", "--force", "--wait=false"])?;
        let next = await_condition("another replica leads", PATIENCE, || {
            Ok(Some(leader(site)?).filter(|name| !name.is_empty() && *name != first))
        })?;
        println!("TOOK {:.1}s: {next} took over after {first} was killed", began.elapsed().as_secs_f64());
        let reason = "under the new leader";
        scene.put(&scene.plain().with("killSwitch", thrown("Hold", reason)))?;
        scene.await_condition("KillSwitchEngaged", "True", "Engaged")?;
        scene.put(&scene.plain().with("killSwitch", lifted("over")))?;
        scene.await_condition("KillSwitchEngaged", "False", "NotEngaged")?;
        for (request, count) in traffic.requests()? {
            let writes =
                request.user.ends_with(":waybill-operator") && request.writes() && request.resource != "leases";
            ensure!(!writes || request.pod == next || request.pod == first, "{request:?} {count} times");
            if writes {
                println!("{} {} by {}: {count}", request.verb, request.resource, request.pod);
            }
        }
        scene.untouched()?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn agents_ship_on_while_the_api_server_is_away() -> Result<()> {
    within("faults-apiserver", |site| {
        let mut scene = PolicyScene::begin(site, "faults-apiserver")?;
        site.cluster().stop("apiserver", "KILL")?;
        let away = (|| {
            scene.write(500)?;
            scene.settle()
        })();
        site.cluster().start("apiserver")?;
        away?;
        await_true("the API server is back", PATIENCE, || {
            Ok(site.kubectl().run(&["get", "--raw", "/readyz"]).is_ok())
        })?;
        let reason = "after the API server's return";
        let began = Instant::now();
        scene.put(&scene.plain().with("killSwitch", thrown("Hold", reason)))?;
        await_true("the pods carry the switch", PATIENCE, || {
            let annotation = |pod: &Value| pod["metadata"]["annotations"]["waybill.dev/switches"].to_string();
            let pods = scene.agents().list("pods", "waybill.dev/policy=faults-apiserver")?;
            Ok(pods.iter().all(|pod| annotation(pod).contains(reason)))
        })?;
        // What follows is the kubelets': they watch again after a wait of their own, which grows with the time that the API server
        // was away.
        within_bar("a switch in the pods, thrown as soon as the API server was back", began.elapsed(), BAR);
        await_true("the switch is in force", PATIENCE, || scene.entered(reason))?;
        println!(
            "TOOK {:.1}s: the same in force, by kubelets that found the API server again",
            began.elapsed().as_secs_f64()
        );
        scene.put(&scene.plain().with("killSwitch", lifted("over")))?;
        scene.flow(200)?;
        scene.await_up_to_date()?;
        scene.untouched()?;
        scene.judge(Leniency::default())?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_node_whose_kubelet_is_silent_is_named_and_told_as_soon_as_it_is_back() -> Result<()> {
    within("faults-kubelet", |site| {
        let mut scene = PolicyScene::begin(site, "faults-kubelet")?;
        scene.flow(200)?;
        let silent = site.nodes()[1].name();
        let kubelet = format!("kubelet-{silent}");
        site.cluster().stop(&kubelet, "TERM")?;
        let reason = "one kubelet is silent";
        let meanwhile = (|| {
            scene.put(&scene.plain().with("killSwitch", thrown("Hold", reason)))?;
            let first = &scene.writers[0];
            await_true("the other node obeys", Duration::from_secs(10), || {
                first.has_entry(waybill_tests::face::SWITCH, reason)
            })?;
            await_condition("the silent node is named", PATIENCE, || {
                let said = scene.condition("KillSwitchEngaged")?;
                let message = said["message"].as_str().unwrap_or_default().to_owned();
                Ok((message.contains("1 of 2") && message.contains(silent)).then_some(message))
            })
        })();
        site.cluster().start(&kubelet)?;
        println!("{}", meanwhile?);
        await_true("the node that was silent obeys", PATIENCE, || scene.entered(reason))?;
        scene.await_condition("KillSwitchEngaged", "True", "Engaged")?;
        scene.put(&scene.plain().with("killSwitch", lifted("over")))?;
        scene.flow(200)?;
        scene.judge(Leniency::default())?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_node_that_is_drained_and_returns_goes_on() -> Result<()> {
    within("faults-drain", |site| {
        let mut scene = PolicyScene::begin(site, "faults-drain")?;
        scene.flow(200)?;
        let node = site.nodes()[0].name();
        let drained =
            site.kubectl().run(&["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s"]);
        scene.write(200)?;
        site.kubectl().run(&["uncordon", node])?;
        drained?;
        scene.flow(200)?;
        let pods = scene.pods()?;
        let on_node = |pod: &Value| pod["spec"]["nodeName"] == node;
        ensure!(pods.iter().any(on_node), "no agent on {node}");
        let ready = operator(site).run(&["rollout", "status", "deployment", "waybill-operator", "--timeout=90s"]);
        ready.context("the operator did not return")?;
        scene.judge(Leniency::default())?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_node_that_is_gone_with_bytes_pending_is_named() -> Result<()> {
    within("faults-gone", |site| {
        let mut scene = PolicyScene::begin(site, "faults-gone")?;
        scene.flow(100)?;
        scene.put(&scene.plain().with("killSwitch", thrown("Hold", "bytes pile up")))?;
        scene.await_condition("KillSwitchEngaged", "True", "Engaged")?;
        scene.write(100)?;
        // The operator asks its agents every 15 seconds; what it never heard of it can't miss.
        let pending = || -> Result<bool> { Ok(scene.asked_pending()?.iter().all(|bytes| *bytes > 0)) };
        await_true("the agents say that bytes are pending", PATIENCE, pending)?;
        await_true("the operator has asked since", PATIENCE, || {
            Ok(scene.condition("Delivering")?["status"] == "False")
        })?;
        let gone = site.nodes()[1].name();
        let kubelet = format!("kubelet-{gone}");
        site.cluster().stop(&kubelet, "TERM")?;
        let noticed = (|| {
            site.kubectl().run(&["delete", "node", gone])?;
            await_condition("the node is named as lost", LOST, || {
                let nodes = scene.policy()?["status"]["nodes"].clone();
                Ok((nodes["lostWithPending"] == 1 && nodes["lost"][0]["name"] == gone).then_some(nodes))
            })
        })();
        site.cluster().start(&kubelet)?;
        println!("{}", noticed?);
        await_true("the node is back", PATIENCE, || Ok(site.kubectl().find("node", gone)?.is_some()))?;
        scene.put(&scene.plain().with("killSwitch", lifted("over")))?;
        scene.await_up_to_date()?;
        scene.flow(100)?;
        scene.judge(KILLED)?;
        scene.remove()
    })
}
