use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::made_up;
use crate::policy::Policy;

fn built(policy: &Policy, arguments: &[&str], secrets: &[&str]) -> Vec<Desired> {
    let settings = made_up::settings(arguments);
    let secrets: BTreeSet<String> = secrets.iter().map(|name| (*name).to_owned()).collect();
    let spec = policy.document.spec.as_ref().unwrap();
    let input = Input {
        settings: &settings,
        policy: &policy.name,
        uid: &policy.uid,
        text: &policy.text,
        spec,
        secrets: &secrets,
    };
    build(&input).unwrap()
}

fn template(policy: &Policy, arguments: &[&str], secrets: &[&str]) -> Value {
    let desired = built(policy, arguments, secrets);
    let daemon_set = desired.iter().find(|desired| desired.kind == Kind::DaemonSet).unwrap();
    daemon_set.object["spec"]["template"].clone()
}

/// The example with everything, as the crate of the contract has it.
fn gateways() -> Policy {
    let document = waybill_crds::read(include_str!("../../../crds/examples/gateways.yaml"));
    made_up::policy("gateways", &serde_json::to_string(&document.spec.unwrap()).unwrap())
}

fn shown(desired: &[Desired]) -> String {
    let text = |desired: &Desired| format!("--- {}/{}\n{:#}\n", desired.kind.name(), desired.name, desired.object);
    desired.iter().map(text).collect()
}

#[test]
fn the_objects_of_the_quickstart() {
    insta::assert_snapshot!(shown(&built(&made_up::policy("quickstart", made_up::QUICKSTART), &[], &[])));
}

#[test]
fn the_objects_of_a_policy_that_rotates_and_protects_with_every_argument() {
    let arguments = [
        "--agents-namespace=audit",
        "--image=registry.test/waybill:1",
        "--image-pull-policy=Always",
        "--image-pull-secrets=pull",
        "--read-roots=/var/log,/srv/logs",
        "--write-roots=/var/lib/waybill,/var/log/v2ray",
        "--state-root=/data/waybill",
        "--priority-class=high",
        "--selinux-type=spc_t",
        "--agents-listen=0.0.0.0:9000",
    ];
    insta::assert_snapshot!(shown(&built(&gateways(), &arguments, &["es", "kafka-ca", "kafka-client"])));
}

#[test]
fn rights_follow_what_the_policy_does() {
    let rights = |source: Value| {
        let mut object = made_up::object("quickstart", made_up::QUICKSTART);
        object.data["spec"]["sources"][0].as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        let template = template(&Policy::new(&object), &[], &[]);
        let context = &template["spec"]["containers"][0]["securityContext"];
        (context["capabilities"].clone(), template["spec"]["hostPID"].clone(), context["appArmorProfile"].clone())
    };
    let kept = |names: &[&str]| json!({"drop": ["ALL"], "add": names});
    let always = ["DAC_READ_SEARCH", "LEASE"];
    assert_eq!(rights(json!({})), (kept(&always), Value::Null, Value::Null));
    let managed = ["DAC_READ_SEARCH", "LEASE", "DAC_OVERRIDE", "FOWNER", "CHOWN"];
    assert_eq!(rights(json!({"retention": {}})).0, kept(&managed));
    let protects = [&managed[..], &["LINUX_IMMUTABLE"]].concat();
    assert_eq!(rights(json!({"protect": {"archives": true}})).0, kept(&protects));
    let by_signal = json!({"type": "Signal", "signal": "USR1", "process": {"executable": "/usr/sbin/x"}});
    let (capabilities, host_pid, profile) = rights(json!({"rotation": {"mode": "Rename", "reopen": by_signal}}));
    assert_eq!(capabilities, kept(&[&managed[..], &["KILL"]].concat()));
    assert_eq!((host_pid, &profile["type"]), (json!(true), &json!("Unconfined")));
    let by_api = json!({"type": "V2RayApi", "address": "127.0.0.1:10085"});
    assert_eq!(
        rights(json!({"rotation": {"mode": "Rename", "reopen": by_api}})),
        (kept(&managed), Value::Null, Value::Null)
    );
}

#[test]
fn edits_roll_no_pod_but_those_that_must() {
    let base = gateways();
    let changed = |change: &dyn Fn(&mut Value)| {
        let document = waybill_crds::read(include_str!("../../../crds/examples/gateways.yaml"));
        let mut object = made_up::object("gateways", &serde_json::to_string(&document.spec.unwrap()).unwrap());
        object.metadata.generation = Some(9);
        change(&mut object.data["spec"]);
        let policy = Policy::new(&object);
        assert!(policy.document.spec.is_some(), "{:?}", policy.document.findings);
        template(&policy, &[], &["es"])
    };
    let before = template(&base, &[], &["es"]);
    let quiet: [&dyn Fn(&mut Value); 8] = [
        &|spec| spec["killSwitch"] = json!({"engaged": true, "reason": "leak", "requestedBy": "me"}),
        &|spec| spec["limits"]["drainSeconds"] = json!(600),
        &|spec| spec["sources"][0]["retention"]["maxAgeDays"] = json!(1),
        &|spec| spec["sources"][1]["file"]["paths"] = json!(["/var/log/elsewhere/*.log"]),
        &|spec| drop(spec["sinks"].as_array_mut().unwrap().remove(0)),
        &|spec| spec["sinks"].as_array_mut().unwrap().push(json!({"name": "another", "type": "Stdout"})),
        &|spec| spec["agent"]["updateStrategy"] = json!({"maxUnavailable": 1}),
        &|spec| spec["agent"]["serviceAccountAnnotations"] = json!({"eks.amazonaws.com/role-arn": "x"}),
    ];
    for (index, change) in quiet.iter().enumerate() {
        assert_eq!(changed(change), before, "{index}");
    }
    assert_ne!(changed(&|spec| spec["agent"]["resources"] = json!({"limits": {"memory": "1Gi"}})), before);
    assert_ne!(template(&base, &[], &["es", "kafka-ca"]), before);
    assert_ne!(template(&base, &["--image", "waybill:next"], &["es"]), before);
}

#[test]
fn no_pod_has_a_token_or_a_writable_path_that_its_policy_does_not_need() {
    let template = template(&made_up::policy("quickstart", made_up::QUICKSTART), &[], &[]);
    let pod = &template["spec"];
    assert_eq!(pod["automountServiceAccountToken"], json!(false));
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let writable = mounts.iter().filter(|mount| mount["readOnly"] != json!(true));
    let writable: Vec<&str> = writable.filter_map(|mount| mount["mountPath"].as_str()).collect();
    assert_eq!(writable, ["/var/lib/waybill/quickstart"]);
}

#[test]
fn mounted_secrets_are_found_again() {
    let desired = built(&gateways(), &[], &["es", "kafka-ca"]);
    let daemon_set = desired.iter().find(|desired| desired.kind == Kind::DaemonSet).unwrap();
    assert_eq!(mounted_secrets(&daemon_set.object), ["es".to_owned(), "kafka-ca".to_owned()].into());
}
