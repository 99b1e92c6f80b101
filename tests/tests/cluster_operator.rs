//! A policy under the operator: what there is after `kubectl apply`, how it is hardened, and what is left after `kubectl delete`.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::cluster::{PATIENCE, PolicyScene, process, within};
use waybill_tests::oracle::Leniency;
use waybill_tests::wait::await_condition;

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
        let agents = process::agents("operator-hardened")?;
        ensure!(agents.len() == site.nodes().len(), "{} agents run", agents.len());
        for agent in &agents {
            // CAP_DAC_READ_SEARCH is bit 2, CAP_LEASE is bit 28.
            let wanted = (1_u64 << 2) | (1 << 28);
            for (set, wanted) in [("CapEff:", wanted), ("CapPrm:", wanted), ("CapBnd:", wanted), ("CapAmb:", 0)] {
                let has = agent.capabilities(set)?;
                ensure!(has == wanted, "{set} {has:x} instead of {wanted:x}");
            }
            ensure!(agent.field("NoNewPrivs:")? == "1", "privileges can be gained");
            ensure!(agent.field("Seccomp:")? == "2", "no seccomp filter");
            for path in ["/", "/var/log"] {
                let options = agent.mounted(path).with_context(|| format!("{path} is not mounted"))?;
                ensure!(options.starts_with("ro"), "{path}: {options}");
            }
            ensure!(!agent.mounts().contains("serviceaccount"), "a token is mounted:\n{}", agent.mounts());
        }
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_sink_that_lags_is_told_in_the_table() -> Result<()> {
    within("operator-lag", |site| {
        let mut scene = PolicyScene::begin(site, "operator-lag")?;
        // No one listens there.
        let kafka = json!({"name": "stream", "type": "Kafka", "kafka": {"brokers": ["10.89.0.1:1"], "topic": "audit"}});
        scene.put(&scene.plain().sink(kafka))?;
        scene.flow(100)?;
        let row = await_condition("the table tells the lag", PATIENCE, || {
            let table = site.kubectl().run(&["get", "auditpolicies", scene.name(), "--no-headers"])?;
            // A column without a value is blank.
            let row: Vec<String> = table.split_whitespace().map(str::to_owned).collect();
            Ok((row.len() == 8 && row[4] == "False").then_some(row))
        })?;
        println!("{}", row.join(" "));
        ensure!(row[5].starts_with(|first: char| first.is_ascii_digit()), "no age: {}", row[5]);
        let status = scene.policy()?["status"].clone();
        let sinks = status["sinks"].as_array().cloned().unwrap_or_default();
        let lags = |sink: &Value| sink["name"] == "stream" && sink["state"] == "Behind" && sink["worstNode"] != "";
        ensure!(sinks.iter().any(lags), "{sinks:?}");
        scene.put(&scene.plain())?;
        await_condition("the lag is over", PATIENCE, || {
            Ok(scene.policy()?["status"]["behindSince"].is_null().then_some(()))
        })?;
        scene.untouched()?;
        scene.remove()
    })
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
