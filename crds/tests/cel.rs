//! The rules of the definition, evaluated as an API server does, on the same mistakes that the validation finds.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use kube::core::cel::Validator;
use serde_json::{Value, json};
use waybill_crds::{AuditPolicySpec, crd, read, validate};

const GATEWAYS: &str = include_str!("../examples/gateways.yaml");

fn object() -> Value {
    let spec = read(GATEWAYS).spec.unwrap();
    json!({"apiVersion": "waybill.dev/v1alpha1", "kind": "AuditPolicy", "metadata": {"name": "gateways"}, "spec": spec})
}

/// The messages of the rules that a change from `old` to `new` breaks.
fn broken(new: &Value, old: Option<&Value>) -> Vec<String> {
    let crd = serde_json::to_value(crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    match Validator::new().validate(schema, new, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
    }
}

#[test]
fn a_whole_policy_breaks_no_rule() {
    let object = object();
    assert_eq!(broken(&object, None), [""; 0]);
    assert_eq!(broken(&object, Some(&object)), [""; 0]);
}

#[test]
#[allow(clippy::too_many_lines, reason = "it is one table")]
fn rules_and_validation_find_the_same_mistakes() {
    let cases = [
        ("/spec/sources/0/file", json!(null), "type File needs the object file"),
        ("/spec/sources/0/syslog", json!({"listen": "0.0.0.0:5514"}), "type Syslog needs the object syslog"),
        ("/spec/sources/0/json", json!({"time": "$.ts"}), "json is for format Json"),
        ("/spec/sources/0/rotation/mode", json!("Rename"), "mode Rename needs reopen"),
        (
            "/spec/sources/0/rotation/reopen",
            json!({"type": "V2RayApi", "address": "127.0.0.1:10085"}),
            "reopen is for mode Rename",
        ),
        (
            "/spec/sources/0/rotation",
            json!({"mode": "Rename", "reopen": {"type": "Signal", "signal": "USR1"}}),
            "type Signal needs both",
        ),
        (
            "/spec/sources/0/rotation",
            json!({"mode": "Rename", "reopen": {"type": "V2RayApi", "address": "a:1", "signal": "USR1"}}),
            "signal and process are for type Signal",
        ),
        (
            "/spec/sources/0/rotation",
            json!({"mode": "Rename", "reopen": {"type": "V2RayApi"}}),
            "type V2RayApi needs address",
        ),
        ("/spec/killSwitch/engaged", json!(true), "an engaged kill switch needs a reason"),
        ("/spec/sources/0/killSwitch/engaged", json!(true), "an engaged kill switch needs a reason"),
        ("/spec/sinks/0/killSwitch/engaged", json!(true), "an engaged kill switch needs a reason"),
        ("/spec/sinks/0/kafka", json!(null), "type Kafka needs the object kafka"),
        ("/spec/sinks/1/elasticsearch", json!(null), "type Elasticsearch needs the object"),
        ("/spec/sinks/2/cloudWatch", json!(null), "type CloudWatch needs the object"),
        ("/spec/sinks/3/syslog", json!(null), "type Syslog needs the object"),
        ("/spec/sinks/4/file", json!(null), "type File needs the object"),
        ("/spec/sinks/5/file", json!({"path": "/a"}), "type File needs the object"),
        ("/spec/sinks/0/sources", json!([]), "an empty list of sources"),
        ("/spec/sinks/0/sources", json!(["nobody"]), "a sink names a source that does not exist"),
        ("/spec/sinks/0/kafka/tls", json!({"certificate": {"secret": "a", "key": "b"}}), "certificate and privateKey"),
        ("/spec/sinks/1/elasticsearch/auth", json!({}), "either apiKey, or username"),
        ("/spec/sinks/1/elasticsearch/auth", json!({"username": "a"}), "username and password go together"),
        ("/spec/sinks/2/cloudWatch/retentionDays", json!(100), "CloudWatch keeps logs for 1, 3, 5"),
        ("/spec/sinks/3/syslog/transport", json!("Tcp"), "tls is for transport Tls"),
    ];
    for (pointer, value, message) in cases {
        let mut object = object();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = object.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
        if value.is_null() {
            parent.remove(field);
        } else {
            parent.insert(field.to_owned(), value.clone());
        }
        // The API server fills in defaults before it judges; so does reading the spec.
        let spec: AuditPolicySpec = serde_json::from_value(object["spec"].clone()).unwrap();
        object["spec"] = serde_json::to_value(&spec).unwrap();
        let messages = broken(&object, None);
        assert!(messages.iter().any(|found| found.contains(message)), "{pointer} {value}: {messages:?}");
        assert!(!validate(&spec).is_empty(), "{pointer} {value}");
    }
}

#[test]
fn a_socket_has_no_files() {
    let mut object = object();
    object["spec"]["sources"][1] = json!({
        "name": "socket", "type": "Syslog", "syslog": {"listen": "0.0.0.0:5514", "transport": "Udp"}, "format": "SoftEtherServer",
        "protect": {"archives": true},
    });
    let spec: AuditPolicySpec = serde_json::from_value(object["spec"].clone()).unwrap();
    object["spec"] = serde_json::to_value(&spec).unwrap();
    assert!(broken(&object, None).iter().any(|message| message.contains("are for type File")));
    assert_eq!(validate(&spec)[0].path, "spec.sources[1].protect");
}

#[test]
fn lifting_a_switch_needs_a_name() {
    let calm = object();
    let mut thrown = calm.clone();
    thrown["spec"]["killSwitch"] = json!({"engaged": true, "mode": "Hold", "reason": "leak", "requestedBy": "me"});
    assert_eq!(broken(&thrown, Some(&calm)), [""; 0]);
    assert!(broken(&calm, Some(&thrown)).iter().any(|message| message.contains("whoever throws or lifts")));
    let mut lifted = calm;
    lifted["spec"]["killSwitch"]["requestedBy"] = json!("me");
    assert_eq!(broken(&lifted, Some(&thrown)), [""; 0]);
}

#[test]
fn the_name_is_bounded() {
    for (name, usable) in
        [("gateways", true), ("a-1", true), ("1a", false), ("a.b", false), ("a".repeat(41).as_str(), false)]
    {
        let mut object = object();
        object["metadata"]["name"] = json!(name);
        assert_eq!(broken(&object, None).is_empty(), usable, "{name}");
    }
}

/// What a person may write at a place; null leaves it out.
fn choices() -> Vec<(&'static str, Vec<Value>)> {
    let key = json!({"secret": "a", "key": "b"});
    let switch =
        |engaged: bool, reason: &str, by: &str| json!({"engaged": engaged, "reason": reason, "requestedBy": by});
    let switches = vec![
        switch(false, "", ""),
        switch(true, "", ""),
        switch(true, "leak", ""),
        switch(true, "", "me"),
        switch(true, "leak", "me"),
    ];
    let signal = json!({"type": "Signal", "signal": "USR1", "process": {"executable": "/usr/sbin/x"}});
    let api = json!({"type": "V2RayApi", "address": "127.0.0.1:10085"});
    let both = json!({"type": "Signal", "signal": "USR1", "process": {"executable": "/a"}, "address": "127.0.0.1:1"});
    let half = json!({"type": "Signal", "signal": "USR1"});
    let none = Value::Null;
    let file = json!({"paths": ["/var/log/a.log"]});
    let syslog = json!({"address": "siem:6514", "transport": "Tls"});
    let types = ["Kafka", "Elasticsearch", "CloudWatch", "Syslog", "File", "Stdout"].map(Value::from).to_vec();
    vec![
        ("/spec/killSwitch", switches.clone()),
        ("/spec/sources/0/killSwitch", switches.clone()),
        ("/spec/sinks/0/killSwitch", switches),
        ("/spec/sources/0/type", vec![json!("File"), json!("Syslog")]),
        ("/spec/sources/0/file", vec![none.clone(), file.clone()]),
        ("/spec/sources/0/syslog", vec![none.clone(), json!({"listen": "0.0.0.0:5514"})]),
        ("/spec/sources/0/format", vec![json!("Json"), json!("Text"), json!("V2RayAccess")]),
        ("/spec/sources/0/json", vec![none.clone(), json!({"time": "$.t"})]),
        ("/spec/sources/0/rotation/mode", vec![json!("Observe"), json!("Rename"), json!("Collapse")]),
        ("/spec/sources/0/rotation/reopen", vec![none.clone(), signal, api, both, half]),
        ("/spec/sources/0/retention", vec![none.clone(), json!({})]),
        ("/spec/sources/0/protect", vec![json!({}), json!({"archives": true}), json!({"live": true})]),
        ("/spec/sinks/0/type", types),
        ("/spec/sinks/0/kafka", vec![none.clone(), json!({"brokers": ["a:1"], "topic": "t"})]),
        ("/spec/sinks/0/file", vec![none.clone(), json!({"path": "/var/lib/waybill/a/b"})]),
        ("/spec/sinks/0/syslog", vec![none.clone(), syslog]),
        ("/spec/sinks/0/sources", vec![none.clone(), json!([]), json!(["nobody"]), json!(["apiserver"])]),
        (
            "/spec/sinks/1/elasticsearch/tls",
            vec![none.clone(), json!({"certificate": key}), json!({"certificate": key, "privateKey": key})],
        ),
        (
            "/spec/sinks/1/elasticsearch/auth",
            vec![
                none.clone(),
                json!({}),
                json!({"apiKey": key}),
                json!({"username": "u"}),
                json!({"username": "u", "password": key}),
                json!({"apiKey": key, "username": "u", "password": key}),
                json!({"password": key}),
            ],
        ),
        ("/spec/sinks/2/cloudWatch/retentionDays", vec![none, json!(1), json!(2), json!(400), json!(3653)]),
        ("/spec/sinks/3/syslog/transport", vec![json!("Udp"), json!("Tcp"), json!("Tls")]),
    ]
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..proptest::prelude::ProptestConfig::with_cases(300) })]

    #[test]
    fn rules_and_validation_agree(
        edits in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<proptest::sample::Index>()), 0..5),
    ) {
        let mut object = object();
        let choices = choices();
        for (place, value) in edits {
            let (pointer, values) = &choices[place.index(choices.len())];
            let value = &values[value.index(values.len())];
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            // What holds the place may have been left out by an edit before.
            if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
                if value.is_null() { parent.remove(field); } else { parent.insert(field.to_owned(), value.clone()); }
            }
        }
        let spec: AuditPolicySpec = serde_json::from_value(object["spec"].clone()).unwrap();
        object["spec"] = serde_json::to_value(&spec).unwrap();
        let rules = broken(&object, None);
        let found: Vec<String> = validate(&spec)
            .iter()
            .filter(|finding| finding.severity == waybill_crds::Severity::Error)
            .map(ToString::to_string)
            .collect();
        proptest::prop_assert_eq!(rules.is_empty(), found.is_empty(), "{:?} {:?}", rules, found);
    }
}
