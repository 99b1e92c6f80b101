//! Objects that the tests bring to the cluster themselves.

use serde_json::{Value, json};

use super::image;
use crate::policy::Policy;

/// A container of the image busybox that runs a shell script.
pub fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": image("busybox"), "imagePullPolicy": "Never", "args": [script]})
}

/// A `ConfigMap` that holds a policy.
pub fn config_map(name: &str, policy: &Policy) -> Value {
    config_map_text(name, &policy.text())
}

/// A `ConfigMap` that holds any text as `policy.yaml`.
pub fn config_map_text(name: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"policy.yaml": text}})
}

/// The agent as a plain `DaemonSet`, without an operator: it reads `/var/log`, keeps its state and File sinks under
/// `/var/lib/waybill/<name>`, and takes its policy from the `ConfigMap` of its own name.
pub fn agent(name: &str) -> Value {
    let home = format!("/var/lib/waybill/{name}");
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 30,
                    "automountServiceAccountToken": false,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [{
                        "name": "waybill", "image": image("waybill"), "imagePullPolicy": "Never",
                        "args": ["run", "-f", "/etc/waybill/policy.yaml", "--state-dir", format!("{home}/state"),
                            "--listen", "0.0.0.0:9464"],
                        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 9464}, "periodSeconds": 1},
                        "securityContext": {
                            "runAsUser": 0, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
                            "capabilities": {"drop": ["ALL"], "add": ["DAC_READ_SEARCH", "LEASE"]},
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "volumeMounts": [
                            {"name": "policy", "mountPath": "/etc/waybill", "readOnly": true},
                            {"name": "logs", "mountPath": "/var/log", "readOnly": true, "mountPropagation": "HostToContainer"},
                            {"name": "home", "mountPath": home},
                        ],
                    }],
                    "volumes": [
                        {"name": "policy", "configMap": {"name": name}},
                        {"name": "logs", "hostPath": {"path": "/var/log", "type": "Directory"}},
                        {"name": "home", "hostPath": {"path": home, "type": "DirectoryOrCreate"}},
                    ],
                },
            },
        },
    })
}
