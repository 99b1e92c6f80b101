//! The test cluster is a real one: what the other tests take for granted is there.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use waybill_tests::cluster::{Cluster, container, within};

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_nodes_are_ready_and_the_servers_are_of_one_release() -> Result<()> {
    let cluster = Cluster::here()?;
    let nodes = cluster.kubectl().list("nodes", "")?;
    let server = cluster.kubectl().json(&["version"])?["serverVersion"]["gitVersion"].clone();
    ensure!(nodes.len() >= 2, "{} nodes", nodes.len());
    for node in &nodes {
        let conditions = node["status"]["conditions"].as_array().context("a node has conditions")?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("a node says Ready")?;
        ensure!(ready["status"] == "True", "{}: {ready}", node["metadata"]["name"]);
        let info = &node["status"]["nodeInfo"];
        ensure!(info["kubeletVersion"] == server, "the kubelet is {}, the API server {server}", info["kubeletVersion"]);
        println!("{}: {} on {}", node["metadata"]["name"], info["kubeletVersion"], info["containerRuntimeVersion"]);
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_daemon_set_writes_to_each_nodes_own_disk() -> Result<()> {
    within("smoke-daemon-set", |site| {
        let script = "echo \"$NODE\" >/host/name; trap exit TERM; while :; do sleep 1 & wait; done";
        let mut writer = container("main", script);
        writer["env"] = json!([{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]);
        writer["volumeMounts"] = json!([{"name": "host", "mountPath": "/host"}]);
        writer["readinessProbe"] = json!({"exec": {"command": ["test", "-s", "/host/name"]}, "periodSeconds": 1});
        site.kubectl().apply(&json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "writer"},
            "spec": {"selector": {"matchLabels": {"app": "writer"}}, "template": {
                "metadata": {"labels": {"app": "writer"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [writer],
                    "volumes": [{"name": "host", "hostPath": {"path": "/var/log/smoke", "type": "DirectoryOrCreate"}}]},
            }},
        }))?;
        site.await_daemon_set("writer")?;
        for node in site.nodes() {
            let wrote = fs::read_to_string(node.path("/var/log/smoke/name"))?;
            ensure!(wrote.trim() == node.name(), "{} has the file of {wrote}", node.name());
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_service_is_reached_by_its_name() -> Result<()> {
    within("smoke-service", |site| {
        site.shell("server", "echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp")?;
        site.shell("client", "trap exit TERM; while :; do sleep 1 & wait; done")?;
        site.kubectl().run(&["expose", "pod", "server", "--port=80"])?;
        site.wait("the service answers by its name", || {
            let url = format!("http://server.{}.svc.cluster.local/", site.namespace());
            Ok(site.exec("client", &["wget", "-q", "-O", "-", &url]).is_ok_and(|text| text == "hello\n"))
        })
    })
}
