//! The operator against a double of the API server and doubles of agents: what it writes is counted.
//!
//! The double keeps objects, lists, watches, patches and counts; it judges nothing. What the real API server says is tested on the
//! test cluster.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod agents;
mod api;
mod scene;

use std::time::{Duration, Instant};

use axum::http::Method;
use scene::Scene;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_world_is_written_nothing_but_the_lease() {
    let scene = Scene::start(3).await;
    scene.apply("quickstart", &json!({})).await;
    scene.condition("quickstart", "AgentsReady", "Ready").await;
    scene.settle().await;
    scene.api.forget_requests();
    // Traffic and lag come and go, and the operator keeps asking; nothing else happens.
    for bytes in 0..30 {
        scene.agents.change(|lane| lane["pendingBytes"] = json!(bytes * 1000));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let writes = scene.api.writes();
    assert!(!writes.is_empty() && writes.iter().all(|write| write.contains("/leases/")), "{writes:#?}");
    assert!(scene.agents.questions() > 50, "{}", scene.agents.questions());
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_operator_writes_nothing_either() {
    let mut scene = Scene::start(2).await;
    scene.apply("quickstart", &json!({})).await;
    scene.condition("quickstart", "AgentsReady", "Ready").await;
    scene.settle().await;
    scene.restart().await;
    scene.api.forget_requests();
    scene.leads().await;
    scene.settle().await;
    let writes = scene.api.writes();
    assert!(writes.iter().all(|write| write.contains("/leases/")), "{writes:#?}");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_corrected_and_what_no_policy_wants_is_removed() {
    let scene = Scene::start(1).await;
    scene.apply("quickstart", &json!({})).await;
    scene.condition("quickstart", "AgentsReady", "Ready").await;
    let path = scene.object("configmaps", "waybill-quickstart");
    let before = scene.api.get(&path).unwrap()["data"].clone();
    scene.api.merge(&path, &json!({"data": {"policy.yaml": "tampered"}}));
    scene.until("the document is back", || scene.api.get(&path).is_some_and(|object| object["data"] == before)).await;
    scene.api.remove(&scene.object("daemonsets", "waybill-quickstart"));
    let path = scene.object("daemonsets", "waybill-quickstart");
    scene.until("the DaemonSet is back", || scene.api.get(&path).is_some()).await;

    let mut orphan = scene.api.get(&scene.object("serviceaccounts", "waybill-quickstart")).unwrap();
    orphan["metadata"]["name"] = json!("waybill-of-old");
    let path = scene.object("serviceaccounts", "waybill-of-old");
    scene.api.put(&path, orphan);
    scene.until("the orphan is gone", || scene.api.get(&path).is_none()).await;

    scene.api.remove("/apis/waybill.dev/v1alpha1/auditpolicies/quickstart");
    let path = scene.object("daemonsets", "waybill-quickstart");
    scene.until("the agents are gone", || scene.api.get(&path).is_none()).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_switch_is_told_until_it_is_acknowledged_and_the_silent_are_named() {
    let scene = Scene::start(3).await;
    scene.apply("quickstart", &json!({})).await;
    scene.condition("quickstart", "AgentsReady", "Ready").await;
    scene.settle().await;
    scene.agents.deafen("node-2");
    let thrown = Instant::now();
    let switch = json!({"engaged": true, "mode": "Hold", "reason": "leak", "requestedBy": "alice"});
    scene.apply("quickstart", &json!({"killSwitch": switch})).await;
    let message = scene.condition("quickstart", "KillSwitchEngaged", "Engaging").await;
    assert!(message.contains("the policy (Hold) by alice: leak"), "{message}");
    scene.until("all pods carry the switch", || scene.pods_with("\"engaged\":true") == 3).await;
    println!("TOOK {:.3}s: from the edit to the annotation of 3 pods", thrown.elapsed().as_secs_f64());
    scene.until("it is told again", || scene.api.count("PATCH", "/pods/agent-quickstart-2") > 1).await;
    scene.agents.hear("node-2");
    scene.condition("quickstart", "KillSwitchEngaged", "Engaged").await;
    scene.settle().await;
    scene.apply("quickstart", &json!({"killSwitch": {"engaged": false, "requestedBy": "alice"}})).await;
    scene.condition("quickstart", "KillSwitchEngaged", "NotEngaged").await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_policy_stops_no_other_and_its_switch_still_counts() {
    let scene = Scene::start(2).await;
    scene.apply("quickstart", &json!({})).await;
    scene.condition("quickstart", "AgentsReady", "Ready").await;
    let path = scene.object("configmaps", "waybill-quickstart");
    let broken = json!({
        "sources": [{"name": "pods", "format": "Text", "file": {"paths": ["/etc/shadow"]}}],
        "killSwitch": {"engaged": true, "reason": "leak", "requestedBy": "alice"},
    });
    scene.apply("quickstart", &broken).await;
    let message = scene.condition("quickstart", "Accepted", "PathNotAllowed").await;
    assert!(message.contains("/etc/shadow"), "{message}");
    scene.condition("quickstart", "KillSwitchEngaged", "Engaged").await;
    let text = scene.api.get(&path).unwrap()["data"]["policy.yaml"].as_str().unwrap().to_owned();
    assert!(text.contains("/var/log/pods/") && !text.contains("/etc/shadow") && text.contains("\"engaged\": true"));
    // The other one is not disturbed.
    let other = json!({"sinks": [{"name": "mirror", "type": "Stdout"}]});
    scene.apply("other", &other).await;
    scene.condition("other", "AgentsReady", "Ready").await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_mounted_only_with_its_label() {
    let scene = Scene::start(1).await;
    let password = json!({"secret": "kafka", "key": "password"});
    let sasl = json!({"mechanism": "Plain", "username": "u", "password": password});
    let sink = json!({"name": "stream", "type": "Kafka", "kafka": {"brokers": ["k:9092"], "topic": "t", "sasl": sasl}});
    scene.apply("quickstart", &json!({"sinks": [sink]})).await;
    scene.condition("quickstart", "SecretsResolved", "SecretMissing").await;
    let secret = |labels| json!({"metadata": {"name": "kafka", "namespace": "waybill-agents", "labels": labels}});
    let path = scene.object("secrets", "kafka");
    scene.api.put(&path, secret(json!({})));
    scene.condition("quickstart", "SecretsResolved", "SecretNotLabelled").await;
    let mounts = || {
        scene
            .api
            .get(&scene.object("daemonsets", "waybill-quickstart"))
            .unwrap()
            .to_string()
            .contains("\"secretName\":\"kafka\"")
    };
    assert!(!mounts());
    scene.api.put(&path, secret(json!({"waybill.dev/policy": "quickstart"})));
    scene.condition("quickstart", "SecretsResolved", "Resolved").await;
    scene.until("it is mounted", mounts).await;
    // By itself, what is not named any more rolls no pod; who is labelled for another policy is unmounted all the same.
    let writes = || scene.api.count("PATCH", "/daemonsets/");
    scene.settle().await;
    scene.api.forget_requests();
    scene.apply("quickstart", &json!({"sinks": [{"name": "mirror", "type": "Stdout"}]})).await;
    let has_sink = || {
        let map = scene.api.get(&scene.object("configmaps", "waybill-quickstart")).unwrap();
        map["data"]["policy.yaml"].as_str().unwrap().contains("kafka")
    };
    scene.until("the agents are told", || !has_sink()).await;
    scene.settle().await;
    assert!(mounts() && writes() == 0, "{:#?}", scene.api.writes());
    scene.api.put(&path, secret(json!({"waybill.dev/policy": "other"})));
    scene.until("it is unmounted", || !mounts()).await;
    // Its data was never asked for: neither by name nor as anything but metadata.
    let requests = scene.api.requests();
    assert!(
        requests
            .iter()
            .filter(|request| request.contains("/secrets"))
            .all(|request| request.contains("as=PartialObjectMetadata"))
    );
    scene.stop().await;
}

/// Two agents that were heard to owe something.
async fn two_that_owe() -> Scene {
    let scene = Scene::start(2).await;
    scene.apply("quickstart", &json!({})).await;
    scene.condition("quickstart", "AgentsReady", "Ready").await;
    scene.agents.change(|lane| lane["pendingBytes"] = json!(4096));
    let heard = scene.agents.questions();
    scene.until("the agents were heard", || scene.agents.questions() > heard + 4).await;
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_with_bytes_pending_is_noticed() {
    let scene = two_that_owe().await;
    scene.api.remove("/api/v1/nodes/node-1");
    // An API server that fails meanwhile, first to say whether the node is there and then to take the status, hides nothing.
    scene.api.forget_requests();
    scene.api.fail(Some((Method::GET, "/nodes/")));
    scene.api.remove(&scene.object("pods", "agent-quickstart-1"));
    scene.until("the node was asked for", || scene.api.count("GET", "/nodes/node-1") > 0).await;
    scene.api.fail(Some((Method::PATCH, "/status")));
    scene.until("the status was written", || scene.api.count("PATCH", "/status") > 0).await;
    scene.api.fail(None);
    let lost = || scene.policy("quickstart")["status"]["nodes"]["lost"][0].clone();
    scene.until("the node is named", || lost()["name"] == "node-1").await;
    assert_eq!(lost()["pendingBytes"], 4096);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_may_go_long_after_its_pod() {
    let scene = two_that_owe().await;
    scene.api.forget_requests();
    scene.api.remove(&scene.object("pods", "agent-quickstart-1"));
    scene.until("the node was asked for", || scene.api.count("GET", "/nodes/node-1") > 0).await;
    // It is there, and is looked for again now and then; nothing is written for that.
    scene.settle().await;
    scene.api.forget_requests();
    scene.until("the node is asked for again", || scene.api.count("GET", "/nodes/node-1") > 2).await;
    let writes = scene.api.writes();
    assert!(writes.iter().all(|write| write.contains("/leases/")), "{writes:#?}");
    let lost = || scene.policy("quickstart")["status"]["nodes"]["lost"][0].clone();
    assert!(lost().is_null());
    scene.api.remove("/api/v1/nodes/node-1");
    scene.until("the node is named", || lost()["name"] == "node-1").await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_policy_takes_no_file_from_a_younger_one_s_agents() {
    let scene = Scene::start(1).await;
    let source = |path: &str, mode: &str| {
        let source = json!({"name": "access", "format": "Text", "file": {"paths": [path]}, "rotation": {"mode": mode}});
        json!({"sources": [source], "sinks": [{"name": "mirror", "type": "Stdout"}]})
    };
    let (file, elsewhere) = ("/var/log/v2ray/access.log", "/var/log/v2ray/error.log");
    // Of the same age, the first by name is the older one.
    scene.apply("older", &source(elsewhere, "Observe")).await;
    scene.condition("older", "AgentsReady", "Ready").await;
    scene.apply("younger", &source(file, "Observe")).await;
    scene.condition("younger", "AgentsReady", "Ready").await;
    scene.apply("older", &source(file, "Collapse")).await;
    let message = scene.condition("older", "Accepted", "PathOwned").await;
    assert!(message.contains("the policy younger, whose agents have it"), "{message}");
    scene.settle().await;
    assert!(document(&scene, "older").contains(elsewhere) && document(&scene, "younger").contains(file));
    scene.condition("younger", "Accepted", "Accepted").await;
    // It lets go.
    scene.apply("younger", &source("/var/log/v2ray/usage.log", "Observe")).await;
    scene.condition("older", "Accepted", "Accepted").await;
    scene.until("the older one has it", || document(&scene, "older").contains("Collapse")).await;
    scene.stop().await;
}

fn document(scene: &Scene, policy: &str) -> String {
    let map = scene.api.get(&scene.object("configmaps", &format!("waybill-{policy}"))).unwrap_or_default();
    map["data"]["policy.yaml"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_thousand_nodes_cost() {
    let scene = Scene::start(1000).await;
    scene.apply("quickstart", &json!({})).await;
    scene.condition("quickstart", "AgentsReady", "Ready").await;
    scene.settle().await;
    scene.api.forget_requests();
    let thrown = Instant::now();
    let switch = json!({"engaged": true, "reason": "leak", "requestedBy": "alice"});
    scene.apply("quickstart", &json!({"killSwitch": switch})).await;
    scene.until("all pods carry the switch", || scene.pods_with("\"engaged\":true") == 1000).await;
    let told = thrown.elapsed();
    scene.condition("quickstart", "KillSwitchEngaged", "Engaged").await;
    let acknowledged = thrown.elapsed();
    println!(
        "TOOK {:.2}s: a kill switch in the annotations of 1000 pods; acknowledged by all after {:.2}s; {} writes",
        told.as_secs_f64(),
        acknowledged.as_secs_f64(),
        scene.api.writes().len()
    );
    assert!(told < Duration::from_secs(10), "{told:?}");
    let pods = scene.api.count("PATCH", "/pods/");
    // One each, and one more for every two seconds that an agent does not acknowledge it.
    let most = 1000 * (1 + acknowledged.as_secs() as usize / 2);
    assert!((1000..=most.max(1500)).contains(&pods), "{pods} writes to pods in {acknowledged:?}");
    scene.settle().await;
    scene.api.forget_requests();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let writes = scene.api.writes();
    assert!(writes.iter().all(|write| write.contains("/leases/")), "{writes:#?}");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_told_whether_anyone_verifies_the_authors_of_switches() {
    let scene = Scene::start(1).await;
    scene.apply("quickstart", &json!({})).await;
    let told = || {
        let map = scene.api.get(&scene.object("configmaps", "waybill-quickstart")).unwrap_or_default();
        map["data"]["policy.yaml"]
            .as_str()
            .is_some_and(|text| text.contains("\"waybill.dev/switch-authors\": \"verified\""))
    };
    assert!(!told());
    let at = |kind: &str| format!("/apis/admissionregistration.k8s.io/v1/{kind}/waybill-killswitch");
    let (policy, binding) = (at("validatingadmissionpolicies"), at("validatingadmissionpolicybindings"));
    let spec = |actions: &[&str]| json!({"metadata": {"name": "waybill-killswitch"}, "spec": {"policyName": "waybill-killswitch", "validationActions": actions}});
    scene.api.put(&policy, json!({"metadata": {"name": "waybill-killswitch"}, "spec": {}}));
    // A binding that only warns holds no one to anything.
    scene.api.put(&binding, spec(&["Warn"]));
    scene.settle().await;
    assert!(!told());
    scene.api.put(&binding, spec(&["Deny"]));
    scene.until("the agents are told", told).await;
    scene.api.remove(&binding);
    scene.until("the agents are told that it is over", || !told()).await;
    scene.stop().await;
}
