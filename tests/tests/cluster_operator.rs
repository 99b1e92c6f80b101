//! A policy under the operator: what there is after `kubectl apply`, how it is hardened, and what is left after `kubectl delete`.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waybill_tests::cluster::{PolicyScene, within};
use waybill_tests::oracle::Leniency;

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_policy_gives_agents_on_both_nodes_that_ship_their_files() -> Result<()> {
    within("operator-plain", |site| {
        let mut scene = PolicyScene::begin(site, "operator-plain")?;
        for _ in 0..10 {
            scene.write(500)?;
        }
        scene.settle()?;
        scene.judge(Leniency::default())?;
        scene.balance()?;
        for (kind, status) in [
            ("Accepted", "True"),
            ("SecretsResolved", "True"),
            ("AgentsReady", "True"),
            ("Delivering", "True"),
            ("KillSwitchEngaged", "False"),
        ] {
            let condition = scene.condition(kind)?;
            ensure!(condition["status"] == status, "{kind}: {condition}");
            ensure!(condition["message"].as_str().is_some_and(|text| !text.is_empty()), "{condition}");
        }
        println!("{}", site.kubectl().run(&["get", "auditpolicies", "--output=wide"])?);
        owned(&scene)?;
        scene.untouched()?;
        scene.remove()?;
        // What was shipped stays on the nodes; so does the state.
        ensure!(scene.records()?.iter().all(|records| *records == 5000), "{:?}", scene.records()?);
        Ok(())
    })
}

/// Every object of the policy names it as its owner and waits for no finalizer.
fn owned(scene: &PolicyScene<'_>) -> Result<()> {
    let uid = scene.policy()?["metadata"]["uid"].clone();
    let name = format!("waybill-{}", scene.name());
    for kind in ["daemonset", "configmap", "serviceaccount", "networkpolicy"] {
        let object = scene.agents().find(kind, &name)?.with_context(|| format!("there is no {kind} {name}"))?;
        let metadata = &object["metadata"];
        ensure!(metadata["ownerReferences"][0]["uid"] == uid, "{kind}: {metadata}");
        ensure!(metadata["finalizers"].is_null(), "{kind}: {metadata}");
    }
    ensure!(scene.policy()?["metadata"]["finalizers"].is_null(), "the policy has a finalizer");
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn agents_have_two_capabilities_no_token_and_a_read_only_root() -> Result<()> {
    within("operator-hardened", |site| {
        let scene = PolicyScene::begin(site, "operator-hardened")?;
        let agents = processes("--state-dir=/var/lib/waybill/operator-hardened")?;
        ensure!(agents.len() == site.nodes().len(), "{} agents run", agents.len());
        for agent in &agents {
            let field = |name: &str| -> Result<String> {
                let line = agent.status.lines().find_map(|line| line.strip_prefix(name));
                Ok(line.with_context(|| format!("no {name}"))?.trim().to_owned())
            };
            // CAP_DAC_READ_SEARCH is bit 2, CAP_LEASE is bit 28.
            let wanted = (1_u64 << 2) | (1 << 28);
            for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
                let has = u64::from_str_radix(&field(set)?, 16)?;
                ensure!(has == wanted, "{set} {has:x} instead of {wanted:x}");
            }
            ensure!(field("CapAmb:")?.chars().all(|digit| digit == '0'), "{}", field("CapAmb:")?);
            ensure!(field("NoNewPrivs:")? == "1", "privileges can be gained");
            ensure!(field("Seccomp:")? == "2", "no seccomp filter");
            let root = agent.mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"));
            let root = root.context("no root file system")?;
            ensure!(root.split(' ').nth(5).is_some_and(|options| options.starts_with("ro")), "{root}");
            ensure!(!agent.mounts.contains("serviceaccount"), "a token is mounted:\n{}", agent.mounts);
            let logs = agent.mounts.lines().find(|line| line.split(' ').nth(4) == Some("/var/log"));
            let logs = logs.context("/var/log is not mounted")?;
            ensure!(logs.split(' ').nth(5).is_some_and(|options| options.starts_with("ro")), "{logs}");
        }
        scene.remove()
    })
}

struct Process {
    status: String,
    mounts: String,
}

/// The agents of this cluster whose command line has an argument. All of its processes are in the tests' own pid namespace.
fn processes(argument: &str) -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Ok(line) = fs::read_to_string(path.join("cmdline")) else { continue };
        let mut words = line.split('\0');
        if words.next() == Some("/waybill") && words.any(|word| word == argument) {
            let read = |name| fs::read_to_string(path.join(name));
            found.push(Process { status: read("status")?, mounts: read("mountinfo")? });
        }
    }
    Ok(found)
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn drift_is_corrected() -> Result<()> {
    within("operator-drift", |site| {
        let mut scene = PolicyScene::begin(site, "operator-drift")?;
        let name = "waybill-operator-drift";
        let map = |scene: &PolicyScene<'_>| -> Result<Value> {
            Ok(scene.agents().find("configmap", name)?.unwrap_or_default()["data"].clone())
        };
        let wanted = map(&scene)?;
        scene.agents().patch("configmap", name, &serde_json::json!({"data": {"policy.yaml": "spec: {}"}}))?;
        site.wait("the ConfigMap is as it was", || Ok(map(&scene)? == wanted))?;
        scene.agents().delete("networkpolicy", name)?;
        site.wait("the NetworkPolicy is back", || Ok(scene.agents().find("networkpolicy", name)?.is_some()))?;
        scene.flow(200)?;
        scene.untouched()?;
        scene.judge(Leniency::default())?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_policy_made_again_resumes() -> Result<()> {
    within("operator-resume", |site| {
        let mut scene = PolicyScene::begin(site, "operator-resume")?;
        scene.flow(300)?;
        scene.remove()?;
        scene.write(300)?;
        scene.put(&scene.plain())?;
        scene.await_up_to_date()?;
        scene.flow(300)?;
        scene.judge(Leniency::default())?;
        scene.remove()
    })
}
