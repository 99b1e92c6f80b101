//! Who may throw and lift kill switches: the chart's admission policy, judged by the API server itself.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use waybill_tests::cluster::{Cluster, Kubectl, PATIENCE, PolicyScene, chart, policy_scene, within};
use waybill_tests::face;
use waybill_tests::policy::{Policy, file, text, with};
use waybill_tests::wait::await_true;

/// May edit policies.
const EDITOR: &str = "waybill-test-editor";
/// May edit policies and has the verb `killswitch`.
const OFFICER: &str = "waybill-test-officer";

/// What puts the chart's admission policy in force.
const BINDING: &str = "validatingadmissionpolicybindings";

fn role(name: &str, user: &str, verbs: &[&str]) -> [Value; 2] {
    let group = "rbac.authorization.k8s.io";
    [
        json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [{"apiGroups": ["waybill.dev"], "resources": ["auditpolicies"], "verbs": verbs}]}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}]}),
    ]
}

fn thrown(by: &str, reason: &str) -> Value {
    json!({"engaged": true, "mode": "Hold", "reason": reason, "requestedBy": by})
}

fn lifted(by: &str) -> Value {
    json!({"engaged": false, "mode": "Hold", "reason": "mended", "requestedBy": by})
}

/// A policy of two sources, and three users with three kinds of right.
struct Scene {
    name: &'static str,
    administrator: Kubectl,
    editor: Kubectl,
    officer: Kubectl,
}

/// What an editor may do with policies.
const EDIT: [&str; 6] = ["get", "list", "create", "update", "patch", "delete"];

impl Scene {
    fn new(name: &'static str) -> Result<Self> {
        let cluster = Cluster::here()?;
        let administrator = cluster.kubectl().clone();
        chart::install(&cluster)?;
        for object in [role(EDITOR, EDITOR, &EDIT), role(OFFICER, OFFICER, &[&EDIT[..], &["killswitch"]].concat())] {
            object.iter().try_for_each(|object| administrator.apply(object))?;
        }
        administrator.delete("auditpolicies", name)?;
        let (editor, officer) = (administrator.user(EDITOR), administrator.user(OFFICER));
        let scene = Self { name, administrator, editor, officer };
        // The policy of admission takes a moment to be in force.
        await_true("a throw without the verb is refused", PATIENCE, || {
            let throw = scene.with("/spec/killSwitch", thrown(EDITOR, "a trial"));
            Ok(scene.editor.objection(&throw).is_ok_and(|why| why.contains("needs the verb killswitch")))
        })?;
        Ok(scene)
    }

    fn calm(&self) -> Value {
        // Outside of what the operator lets policies read: no agents are made of them.
        let sink = file("archive", "/var/lib/waybill/admission/archive/audit.log".as_ref());
        let (one, two) = (text("one", "/srv/one"), text("two", "/srv/two"));
        Policy::new(self.name).source(one).source(two).sink(sink).value()
    }

    fn with(&self, pointer: &str, value: Value) -> Value {
        with(self.calm(), pointer, value)
    }

    fn end(&self) -> Result<()> {
        self.administrator.delete("auditpolicies", self.name)
    }
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_switch_needs_the_verb_and_the_users_own_name() -> Result<()> {
    let scene = Scene::new("admission-verb")?;
    scene.administrator.apply(&scene.calm())?;
    for pointer in ["/spec/killSwitch", "/spec/sources/1/killSwitch", "/spec/sinks/0/killSwitch"] {
        let why = scene.editor.unappliable(&scene.with(pointer, thrown(EDITOR, "a leak")))?;
        ensure!(why.contains("needs the verb killswitch"), "{pointer}: {why}");
        let why = scene.officer.unappliable(&scene.with(pointer, thrown(EDITOR, "a leak")))?;
        ensure!(why.contains(&format!("write requestedBy: {OFFICER}")), "{pointer}: {why}");
        scene.officer.apply(&scene.with(pointer, thrown(OFFICER, "a leak")))?;
        // Engaged, it stays as it is: no other reason, no other name, no other mode.
        let why = scene.editor.unappliable(&scene.with(pointer, thrown(EDITOR, "a leak")))?;
        ensure!(why.contains("needs the verb killswitch"), "{pointer}: {why}");
        let why = scene.editor.unappliable(&scene.with(pointer, thrown(OFFICER, "nothing of importance")))?;
        ensure!(why.contains("needs the verb killswitch"), "{pointer}: {why}");
        let why = scene.editor.unappliable(&scene.with(pointer, lifted(EDITOR)))?;
        ensure!(why.contains("needs the verb killswitch"), "{pointer}: {why}");
        let why = scene.officer.unappliable(&scene.with(pointer, lifted(EDITOR)))?;
        ensure!(why.contains(&format!("write requestedBy: {OFFICER}")), "{pointer}: {why}");
        // Everything else may still be edited.
        let edited = with(scene.with(pointer, thrown(OFFICER, "a leak")), "/spec/limits", json!({"line": "2Mi"}));
        scene.editor.apply(&edited)?;
        scene.officer.apply(&scene.with(pointer, lifted(OFFICER)))?;
    }
    scene.end()
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn an_older_document_lifts_nothing() -> Result<()> {
    let scene = Scene::new("admission-older")?;
    let pointer = "/spec/sources/1/killSwitch";
    scene.officer.apply(&scene.with(pointer, thrown(OFFICER, "a leak")))?;
    // What a tool that keeps the cluster as its repository says would do: replace the whole by what it has.
    let replace = |user: &Kubectl, document: &Value| user.unreplaceable(document);
    let why = replace(&scene.editor, &scene.calm())?;
    ensure!(why.contains("whoever throws or lifts a kill switch says so"), "{why}");
    let why = replace(&scene.editor, &scene.with(pointer, lifted(OFFICER)))?;
    ensure!(why.contains("needs the verb killswitch"), "{why}");
    let mut without = scene.calm();
    without["spec"]["sources"] = json!([text("one", "/srv/one")]);
    for user in [&scene.editor, &scene.officer] {
        let why = replace(user, &without)?;
        ensure!(why.contains("lift the kill switch of source two before you remove it"), "{why}");
    }
    scene.end()
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn creating_engaged_and_deleting_need_the_verb() -> Result<()> {
    let scene = Scene::new("admission-delete")?;
    let engaged = scene.with("/spec/sinks/0/killSwitch", thrown(EDITOR, "from the start"));
    let why = scene.editor.unappliable(&engaged)?;
    ensure!(why.contains("needs the verb killswitch"), "{why}");
    scene.editor.apply(&scene.calm())?;
    let why = scene.editor.refused(&["delete", "auditpolicies", scene.name])?;
    ensure!(why.contains("deleting an AuditPolicy stops its agents"), "{why}");
    scene.officer.run(&["delete", "auditpolicies", scene.name])?;
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_ledger_says_whether_anyone_verified_the_author() -> Result<()> {
    within("admission-author", |site| {
        let scene = PolicyScene::begin(site, "admission-author")?;
        let said = |reason: &str, words: &str| -> Result<bool> {
            scene.writers.iter().try_fold(true, |all, writer| {
                let output = writer.output()?;
                let mut entries = output.actions(face::SWITCH);
                Ok(all
                    && entries.any(|entry| [reason, words].iter().all(|part| entry.details.to_string().contains(part))))
            })
        };
        let throw = |reason: &str| scene.plain().with("killSwitch", policy_scene::thrown("Hold", reason));
        let lift = || scene.plain().with("killSwitch", policy_scene::lifted("over"));
        scene.edit("a switch is thrown", &throw("with the policy"), || said("with the policy", "\"verified\":true"))?;
        scene.edit("it is lifted", &lift(), || said("over", "\"verified\":true"))?;
        site.kubectl().delete(BINDING, "waybill-killswitch")?;
        let unverified = (|| {
            let maps = || scene.agents().run(&["get", "configmap", "waybill-admission-author", "--output=yaml"]);
            await_true("the agents are told", PATIENCE, || Ok(!maps()?.contains("switch-authors")))?;
            scene.put(&throw("without the policy"))?;
            await_true("the entry says it", PATIENCE, || said("without the policy", "\"verified\":false"))
        })();
        // Helm brings back what is missing.
        let back = chart::install_again(site.cluster());
        unverified.and(back)?;
        scene.put(&lift())?;
        scene.await_condition("KillSwitchEngaged", "False", "NotEngaged")?;
        scene.untouched()?;
        scene.remove()
    })
}
