//! What an author of policies, or whoever writes the logs, must not get: each is refused with a sentence.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use waybill_tests::cluster::{Kubectl, PATIENCE, PolicyScene, Site, chart, within};
use waybill_tests::policy::{Policy, file, text, with};
use waybill_tests::scene::SOON;
use waybill_tests::wait::{await_condition, await_true, holds_for};

/// Applies a policy that must be refused, by the API server or by the operator, and gives back the sentence.
fn refusal(site: &Site, policy: &Value) -> Result<String> {
    let kubectl = site.kubectl();
    let name = policy["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    kubectl.delete("auditpolicies", &name)?;
    if let Err(error) = kubectl.apply(policy) {
        return Ok(format!("{error:#}"));
    }
    let sentence = await_condition(&format!("{policy} is judged"), PATIENCE, || {
        let policy = kubectl.json(&["get", "auditpolicies", &name])?;
        let conditions = policy["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let accepted = conditions.iter().find(|condition| condition["type"] == "Accepted");
        Ok(accepted.map(|said| (said["status"] == "False", said["message"].as_str().unwrap_or_default().to_owned())))
    });
    let agents = site.cluster().kubectl().namespace(chart::AGENTS);
    let made = agents.find("daemonset", &format!("waybill-{name}"))?;
    kubectl.delete("auditpolicies", &name)?;
    let (refused, sentence) = sentence?;
    ensure!(refused, "it was accepted: {policy}");
    ensure!(made.is_none(), "agents were made of a refused policy: {policy}");
    Ok(sentence)
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn policies_that_reach_too_far_are_refused_with_a_sentence() -> Result<()> {
    within("attacks-policies", |site| {
        let elder = PolicyScene::begin(site, "attacks-elder")?;
        let base = || {
            let sink = file("archive", "/var/lib/waybill/attacks/archive/audit.log".as_ref());
            Policy::new("attacks").source(text("app", "/var/log/attacks/*.log")).sink(sink).value()
        };
        let paths = "/spec/sources/0/file/paths";
        let sink = "/spec/sinks/0/file/path";
        let many: Vec<_> = (0..100).map(|at| text(&format!("s{at}"), &format!("/var/log/{at}"))).collect();
        // Each field is within its bounds, and the whole is more than a ConfigMap holds.
        let long: Vec<_> = (0..64)
            .map(|source| {
                let paths: Vec<_> = (0..32).map(|at| format!("/var/log/{}{source}-{at}", "p".repeat(495))).collect();
                with(text(&format!("s{source}"), "/var/log/x"), "/file/paths", json!(paths))
            })
            .collect();
        let elders = with(text("app", "/var/lib/waybill/attacks-elder/archive/audit.log"), "/format", json!("Text"));
        let cases = [
            ("/etc/shadow", with(base(), paths, json!(["/etc/shadow"])), "/etc/shadow"),
            ("a way up", with(base(), paths, json!(["/var/log/../../etc/shadow"])), ".."),
            ("a wildcard for the root", with(base(), paths, json!(["/var/*/shadow"])), "/var/log"),
            (
                "a File sink on /etc/cron.d",
                with(base(), sink, json!("/etc/cron.d/job")),
                "must lie below /var/lib/waybill",
            ),
            ("another policy's state", with(base(), sink, json!("/var/lib/waybill/attacks-elder/x")), "attacks-elder"),
            ("the state root", with(base(), sink, json!("/var/lib/waybill/audit.log")), "/var/lib/waybill"),
            ("a name of 253 characters", with(base(), "/metadata/name", json!("n".repeat(253))), "at most 40"),
            ("100 sources", with(base(), "/spec/sources", json!(many)), "at most 64"),
            ("more than 1 MiB", with(base(), "/spec/sources", json!(long)), "split the policy"),
            ("a secret of another namespace", with(base(), "/spec/sinks/0", kafka("kube-system/token")), "secret"),
            ("what another policy writes", with(base(), "/spec/sources/0", elders), "/var/log"),
        ];
        for (what, policy, expected) in cases {
            let sentence = refusal(site, &policy)?;
            ensure!(sentence.contains(expected), "{what}: {sentence}");
            println!("{what}: {}", sentence.lines().next_back().unwrap_or_default());
        }
        elder.remove()
    })
}

fn kafka(secret: &str) -> Value {
    json!({"name": "archive", "type": "Kafka", "kafka": {"brokers": ["10.89.0.1:9092"], "topic": "audit",
        "sasl": {"mechanism": "ScramSha512", "username": "waybill", "password": {"secret": secret, "key": "password"}}}})
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_younger_of_two_policies_does_not_get_the_elders_files() -> Result<()> {
    within("attacks-owner", |site| {
        let mut elder = PolicyScene::begin(site, "attacks-owner")?;
        let sink = file("archive", "/var/lib/waybill/attacks-owner/archive/audit.log".as_ref());
        let younger = Policy::new("attacks-younger").source(text("app", "/var/log/younger/*.log")).sink(sink).value();
        let sentence = refusal(site, &younger)?;
        ensure!(sentence.contains("attacks-owner"), "{sentence}");
        println!("{sentence}");
        elder.flow(100)?;
        elder.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_secret_without_the_label_is_not_mounted() -> Result<()> {
    within("attacks-secret", |site| {
        let mut scene = PolicyScene::begin(site, "attacks-secret")?;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "attacks-other"},
            "stringData": {"password": "not for you"}});
        scene.agents().apply(&secret)?;
        let policy = scene.plain().sink(with(kafka("attacks-other"), "/name", json!("stream")));
        scene.put(&policy.with("limits", json!({"drainSeconds": 1})))?;
        let said = await_condition("the Secret's label is missed", PATIENCE, || {
            let said = scene.condition("SecretsResolved")?;
            Ok((said["status"] == "False").then(|| said["message"].as_str().unwrap_or_default().to_owned()))
        })?;
        ensure!(said.contains("attacks-other") && said.contains("waybill.dev/policy=attacks-secret"), "{said}");
        println!("{said}");
        for pod in scene.pods()? {
            ensure!(!pod["spec"]["volumes"].to_string().contains("attacks-other"), "{}", pod["spec"]["volumes"]);
        }
        // The sink says what it waits for, and the other one does not suffer.
        await_true("the sink awaits a restart", PATIENCE, || {
            let sinks = scene.policy()?["status"]["sinks"].as_array().cloned().unwrap_or_default();
            Ok(sinks.iter().any(|sink| sink["name"] == "stream" && sink["state"] == "AwaitingRestart"))
        })?;
        scene.flow(200)?;
        scene.untouched()?;
        // With the label the pods are made anew, and mount it.
        scene.agents().run(&["label", "secret", "attacks-other", "waybill.dev/policy=attacks-secret"])?;
        await_true("the pods mount the Secret", PATIENCE, || {
            let pods = scene.pods()?;
            Ok(pods.iter().all(|pod| pod["spec"]["volumes"].to_string().contains("attacks-other")))
        })?;
        ensure!(scene.untouched().is_err(), "the pods were not made anew");
        scene.flow(200)?;
        scene.agents().delete("secret", "attacks-other")?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn links_lead_nowhere() -> Result<()> {
    within("attacks-links", |site| {
        let mut scene = PolicyScene::begin(site, "attacks-links")?;
        scene.flow(50)?;
        // Inside the pod the first two exist.
        let targets = [
            "/etc/waybill/policy/policy.yaml",
            "/waybill",
            "/etc/shadow",
            "../../../../../etc/passwd",
            "/proc/self/environ",
        ];
        for writer in &scene.writers {
            for (number, target) in targets.iter().enumerate() {
                symlink(target, writer.folder().join(format!("link-{number}.log")))?;
            }
            // A log that is there and read is replaced.
            let replaced = writer.folder().join("replaced.log");
            fs::write(&replaced, "an honest line\n")?;
        }
        let honest = |scene: &PolicyScene<'_>| scene.records().map(|all| all.iter().all(|records| *records == 51));
        await_true("the honest line comes", SOON, || honest(&scene))?;
        for writer in &scene.writers {
            let fresh = writer.folder().join("fresh");
            symlink("/etc/waybill/policy/policy.yaml", &fresh)?;
            fs::rename(&fresh, writer.folder().join("replaced.log"))?;
        }
        scene.write(10)?;
        let more = |scene: &PolicyScene<'_>| scene.records().map(|all| all.iter().all(|records| *records == 61));
        await_true("other files go on", SOON, || more(&scene))?;
        holds_for("nothing is read through a link", std::time::Duration::from_secs(3), || more(&scene))?;
        for writer in &scene.writers {
            let entries = writer.output()?.entries;
            let told = entries.iter().filter(|entry| entry.details.to_string().contains("link-"));
            ensure!(
                told.count() > 0,
                "no entry tells of the links: {:?}",
                entries.iter().map(|e| &e.action).collect::<Vec<_>>()
            );
        }
        scene.untouched()?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn each_role_may_do_what_it_says_and_no_more() -> Result<()> {
    within("attacks-roles", |site| {
        chart::install(site.cluster())?;
        let administrator = site.cluster().kubectl();
        for role in ["viewer", "editor", "killswitch"] {
            let group = "rbac.authorization.k8s.io";
            administrator.apply(&json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding",
                "metadata": {"name": format!("test-{role}")},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": format!("waybill-{role}")},
                "subjects": [{"apiGroup": group, "kind": "User", "name": format!("test-{role}")}]}))?;
        }
        let policies = "auditpolicies.waybill.dev";
        let operator = "system:serviceaccount:waybill-system:waybill-operator";
        let agent = "system:serviceaccount:waybill-agents:default";
        let cases: [(&str, &str, &str, &str, bool); 27] = [
            ("test-viewer", "get", policies, "", true),
            ("test-viewer", "delete", policies, "", false),
            ("test-editor", "delete", policies, "", true),
            ("test-killswitch", "patch", policies, "", true),
            ("test-killswitch", "delete", policies, "", false),
            ("test-killswitch", "get", "secrets", chart::AGENTS, false),
            (operator, "delete", policies, "", false),
            (operator, "delete", "nodes", "", false),
            (operator, "patch", "validatingadmissionpolicies.admissionregistration.k8s.io", "", false),
            ("test-viewer", "patch", policies, "", false),
            ("test-viewer", "killswitch", policies, "", false),
            ("test-viewer", "get", "secrets", chart::AGENTS, false),
            ("test-editor", "patch", policies, "", true),
            ("test-editor", "killswitch", policies, "", false),
            ("test-editor", "patch", "auditpolicies.waybill.dev/status", "", false),
            ("test-killswitch", "killswitch", policies, "", true),
            ("test-killswitch", "create", policies, "", false),
            (operator, "patch", "auditpolicies.waybill.dev/status", "", true),
            (operator, "patch", policies, "", false),
            (operator, "create", "daemonsets.apps", chart::AGENTS, true),
            (operator, "create", "daemonsets.apps", "kube-system", false),
            (operator, "list", "secrets", "kube-system", false),
            (operator, "get", "secrets", chart::AGENTS, false),
            (operator, "create", "pods", chart::AGENTS, false),
            (operator, "create", "clusterrolebindings.rbac.authorization.k8s.io", "", false),
            (agent, "get", policies, "", false),
            (agent, "list", "pods", chart::AGENTS, false),
        ];
        for (user, verb, resource, namespace, may) in cases {
            let asked = can(&administrator.user(user), verb, resource, namespace);
            ensure!(asked == may, "{user} {verb} {resource} {namespace}: {asked}");
        }
        Ok(())
    })
}

fn can(kubectl: &Kubectl, verb: &str, resource: &str, namespace: &str) -> bool {
    let kubectl = if namespace.is_empty() { kubectl.clone() } else { kubectl.namespace(namespace) };
    let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
    kubectl.run(&["auth", "can-i", verb, resource, "--quiet", &format!("--subresource={part}")]).is_ok()
}
