//! A namespace of a test's own.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Cluster, Kubectl, Node, PATIENCE, dump};
use crate::wait::{await_condition, await_true};

/// A test's namespace in the cluster.
#[derive(Debug)]
pub struct Site {
    cluster: Cluster,
    kubectl: Kubectl,
    namespace: String,
}

/// Runs a test in a namespace of its own; where it fails, what the cluster knows about it is printed.
pub fn within(name: &str, test: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    let began = Instant::now();
    let site = Site::new(name)?;
    let verdict = test(&site).with_context(|| format!("{name}: see the dump above"));
    if verdict.is_err() {
        dump::all(&site.cluster);
        // The next test is not to share the nodes with what this one left.
        if let Err(error) = site.cluster.kubectl().run(&["delete", "auditpolicies", "--all", "--wait=false"]) {
            println!("failed to remove what the test left: {error:#}");
        }
    }
    // What was too slow is no reason to judge nothing else.
    let slow = std::mem::take(&mut *SLOW.lock().unwrap_or_else(PoisonError::into_inner));
    let verdict = verdict.and_then(|()| {
        ensure!(slow.is_empty(), "{name}: too slow: {}", slow.join("; "));
        Ok(())
    });
    let gone = site.cluster.kubectl().run(&["delete", "namespace", &site.namespace, "--wait=false"]);
    println!("SPENT {:.0}s: {name}", began.elapsed().as_secs_f64());
    verdict.and(gone.map(|_| ()))
}

impl Site {
    fn new(name: &str) -> Result<Self> {
        let cluster = Cluster::here()?;
        // An earlier run of the same test may still be on its way out.
        cluster.kubectl().delete("namespace", name)?;
        cluster.kubectl().run(&["create", "namespace", name])?;
        let kubectl = cluster.kubectl().namespace(name);
        let site = Self { cluster, kubectl, namespace: name.to_owned() };
        site.wait("the namespace has its ServiceAccount", || Ok(site.kubectl.find("sa", "default")?.is_some()))?;
        Ok(site)
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The cluster's nodes.
    pub fn nodes(&self) -> &[Node] {
        self.cluster.nodes()
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The administrator's `kubectl` in this namespace.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Waits for a condition.
    pub fn wait(&self, what: &str, probe: impl FnMut() -> Result<bool>) -> Result<()> {
        await_true(what, PATIENCE, probe)
    }

    /// Waits until a `DaemonSet` has a ready pod of its newest template on every node, and gives back the pods.
    pub fn await_daemon_set(&self, name: &str) -> Result<Vec<Value>> {
        daemon_set_pods(&self.kubectl, name, self.nodes().len())
    }

    /// Starts a pod of the image busybox that runs a shell script, and waits until it is ready.
    pub fn shell(&self, name: &str, script: &str) -> Result<()> {
        self.kubectl.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [super::container("main", script)]},
        }))?;
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        self.kubectl.run(&["wait", "--for=condition=Ready", "pod", name, &timeout])?;
        Ok(())
    }

    /// Runs a program in a pod and gives back what it printed.
    pub fn exec(&self, pod: &str, words: &[&str]) -> Result<String> {
        self.kubectl.run(&[&["exec", pod, "--"], words].concat())
    }
}

/// Waits until a `DaemonSet` has a ready pod of its newest template on each of so many nodes, and no other, and gives back the pods.
pub fn daemon_set_pods(kubectl: &Kubectl, name: &str, nodes: usize) -> Result<Vec<Value>> {
    let timeout = format!("--timeout={}s", PATIENCE.as_secs());
    kubectl.run(&["rollout", "status", "daemonset", name, &timeout])?;
    let set = kubectl.json(&["get", "daemonset", name])?;
    let labels = set["spec"]["selector"]["matchLabels"].as_object().context("it selects by labels")?;
    let pair = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    let selector = labels.iter().map(pair).collect::<Vec<_>>().join(",");
    await_condition("one pod a node", PATIENCE, || {
        let pods = kubectl.list("pods", &selector)?;
        let staying = pods.iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        Ok((staying && pods.len() == nodes).then_some(pods))
    })
}

/// When each container of these pods was started, with the pod's uid: the same again means that nothing was restarted.
pub fn starts(pods: &[Value]) -> Result<Vec<String>> {
    let mut starts = Vec::new();
    for pod in pods {
        let uid = pod["metadata"]["uid"].as_str().context("a pod has a uid")?;
        let containers = pod["status"]["containerStatuses"].as_array().context("a pod has containers")?;
        for container in containers {
            let since = container["state"]["running"]["startedAt"].as_str();
            ensure!(since.is_some(), "a container does not run: {}", container["state"]);
            starts.push(format!("{uid} {}", since.unwrap_or_default()));
        }
    }
    starts.sort();
    Ok(starts)
}

/// What took too long in the test that runs.
static SLOW: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Prints how long something took. If that was too long, the test fails in the end, after all else was judged.
pub fn within_bar(what: &str, took: Duration, bar: Duration) {
    println!("TOOK {:.2}s: {what} (bar {:.0}s)", took.as_secs_f64(), bar.as_secs_f64());
    if took > bar {
        SLOW.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{what} took {:.2}s", took.as_secs_f64()));
    }
}
