//! What a person would look at first when a test fails.

use super::{Cluster, Kubectl};

/// How much of each pod's log is shown.
const TAIL: &str = "--tail=40";

/// Prints objects, events and logs. What can't be had is said; the test's own error is what counts.
pub(super) fn all(cluster: &Cluster) {
    let kubectl = cluster.kubectl();
    println!("=== dump ===");
    for words in [
        &["get", "nodes,pods,daemonsets,deployments,leases", "--all-namespaces", "--output=wide"][..],
        &["get", "events", "--all-namespaces", "--sort-by=.metadata.creationTimestamp"],
        &["get", "auditpolicies", "--output=yaml", "--ignore-not-found"],
    ] {
        show(kubectl, words);
    }
    logs(kubectl);
    println!("=== end of the dump ===");
}

fn logs(kubectl: &Kubectl) {
    let names = "--output=jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}";
    let Ok(pods) = kubectl.run(&["get", "pods", "--all-namespaces", names]) else { return };
    for (namespace, pod) in pods.lines().filter_map(|line| line.split_once('/')) {
        let kubectl = kubectl.namespace(namespace);
        show(&kubectl, &["logs", pod, "--all-containers", TAIL]);
        // A pod that was restarted has more to tell.
        if let Ok(previous) = kubectl.run(&["logs", pod, "--previous", TAIL]) {
            println!("--- {pod} before its restart\n{previous}");
        }
    }
}

fn show(kubectl: &Kubectl, words: &[&str]) {
    println!("--- kubectl {}", words.join(" "));
    match kubectl.run(words) {
        Ok(text) => println!("{text}"),
        Err(error) => println!("{error:#}"),
    }
}
