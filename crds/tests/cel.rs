//! The rules of the definition, evaluated as an API server does, on the same mistakes that the validation finds.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use proptest::strategy::Strategy as _;
use serde_json::{Value, json};
use waybill_crds::{AuditPolicySpec, crd, read, validate};

const GATEWAYS: &str = include_str!("../examples/gateways.yaml");

fn object() -> Value {
    let spec = read(GATEWAYS).spec.unwrap();
    json!({"apiVersion": "waybill.dev/v1alpha1", "kind": "AuditPolicy", "metadata": {"name": "gateways"}, "spec": spec})
}

/// Writes a value at a place; null leaves it out. What holds the place may have been left out before: then nothing happens.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
    if value.is_null() {
        parent.remove(field);
    } else {
        parent.insert(field.to_owned(), value);
    }
}

/// The messages of the rules that a change from `old` to `new` breaks.
fn broken(new: &Value, old: Option<&Value>) -> Vec<String> {
    thread_local! {
        static RULES: CompiledSchema = {
            let crd = serde_json::to_value(crd()).unwrap();
            compile_schema(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        };
    }
    match RULES.with(|rules| Validator::new().validate_compiled(rules, new, old)) {
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
        ("/spec/sources/0/file/paths", json!(["/var/log/a", "var/log/b"]), "write absolute paths"),
        ("/spec/sources/0/file/paths", json!(["/var/log/../../etc/shadow"]), "write absolute paths"),
        ("/spec/sources/0/file/paths", json!(["/var/log/"]), "write absolute paths"),
        ("/spec/sources/0/file/exclude", json!(["*.gz"]), "write absolute paths"),
        ("/spec/sources/0/timeZone", json!("Europe Berlin"), "write an IANA name"),
        ("/spec/sources/0/drop", json!([{"field": "source..ip", "equals": "x"}]), "write a dotted name"),
        ("/spec/sources/0/usage", json!({"fanOut": 3}), "write 10 to 200"),
        ("/spec/sources/0/usage", json!({"hosts": ["*.example"]}), "write names alone"),
        ("/spec/sources/0/rotation/maxSize", json!("63Ki"), "write a size from 64Ki to 64Gi"),
        ("/spec/sources/0/rotation/maxSize", json!(1000), "write a size from 64Ki to 64Gi"),
        ("/spec/sources/0/rotation/folder", json!("archive"), "write the absolute path of one folder"),
        ("/spec/sources/0/retention", json!({"maxTotalSize": "1000k"}), "write at least 1Mi"),
        ("/spec/limits", json!({"line": "65Mi", "inFlight": "1Gi"}), "write a size from 1Ki to 64Mi"),
        ("/spec/limits", json!({"inFlight": "17Gi"}), "write a size from 1Mi to 16Gi"),
        ("/spec/limits", json!({"line": "33Mi"}), "at least twice limits.line"),
        ("/spec/sinks/0/kafka/brokers", json!(["kafka-0:9093", "kafka-1"]), "write each as host:port"),
        ("/spec/sinks/0/kafka/topic", json!("audit logs"), "write letters, digits, dots"),
        ("/spec/sinks/0/kafka/topic", json!(".."), "write letters, digits, dots"),
        ("/spec/sinks/1/elasticsearch/endpoints", json!(["es-0:9200"]), "write each as a URL"),
        ("/spec/sinks/1/elasticsearch/endpoints", json!(["https://u:p@es-0:9200"]), "write each as a URL"),
        ("/spec/sinks/1/elasticsearch/dataStream", json!("Logs"), "write lower-case letters"),
        ("/spec/sinks/2/cloudWatch/region", json!("Frankfurt"), "write a region"),
        ("/spec/sinks/2/cloudWatch/endpoint", json!("logs.example"), "write a URL"),
        ("/spec/sinks/2/cloudWatch/logGroup", json!("a group"), "write letters, digits, and any of"),
        ("/spec/sinks/2/cloudWatch/logStream", json!("{node}:{pod}"), "write it without"),
        ("/spec/sinks/3/syslog/address", json!("siem:0"), "write host:port"),
        ("/spec/sinks/4/file/path", json!("/var/lib/waybill/*/audit.log"), "write the absolute path of one file"),
        ("/spec/sinks/4/file/path", json!("/var/lib/waybill/a/"), "write the absolute path of one file"),
        ("/spec/sources/0/file/paths", json!(["/var/log/a**/b"]), "write ** only between"),
        ("/spec/sources/0/file/paths", json!(["/var/log/**"]), "write ** only between"),
        ("/spec/sources/0/file/paths", json!(["/var/log/a\nb"]), "write absolute paths"),
        ("/spec/agent/tolerations", json!([{"operator": "exists"}]), "write Equal, Exists"),
        ("/spec/agent/tolerations", json!([{"operator": "Exists", "effect": "Never"}]), "write NoSchedule"),
        ("/spec/agent/tolerations", json!([{"effect": "NoSchedule"}]), "write the taint's key"),
        ("/spec/agent/tolerations", json!([{"operator": "Exists", "value": "x"}]), "operator Exists takes no value"),
    ];
    for (pointer, value, message) in cases {
        let mut object = object();
        set(&mut object, pointer, value.clone());
        // The API server fills in defaults before it judges; so does reading the spec.
        let spec: AuditPolicySpec = serde_json::from_value(object["spec"].clone()).unwrap();
        object["spec"] = serde_json::to_value(&spec).unwrap();
        let messages = broken(&object, None);
        assert!(messages.iter().any(|found| found.contains(message)), "{pointer} {value}: {messages:?}");
        assert!(!validate(&spec).is_empty(), "{pointer} {value}");
    }
}

#[test]
fn two_sinks_need_two_files() {
    let mut object = object();
    let mut twin = object["spec"]["sinks"][4].clone();
    twin["name"] = json!("twin");
    object["spec"]["sinks"].as_array_mut().unwrap().push(twin);
    let spec: AuditPolicySpec = serde_json::from_value(object["spec"].clone()).unwrap();
    assert!(broken(&object, None).iter().any(|message| message.contains("two sinks write to the same file")));
    assert!(!validate(&spec).is_empty());
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
        switch(true, " ", "me"),
        switch(true, "leak", "\u{2003}"),
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

/// Texts that are nearly what a place takes.
fn texts() -> [(&'static str, bool, &'static str); 14] {
    let pattern = "[/]?([a-z.*?{}\\[\\]!-]|[.][.]|\\*\\*|/|//|\\\\|[0-9 ]){0,12}";
    let path = "/?([a-z.*]|[.][.]|/|//|[{}]){1,12}";
    let host = "(\\[::1\\]|[a-zA-Z0-9._-]{0,6}|10[.]0[.]0[.]1|\\[fe80::%1\\])(:?[0-9+]{0,6})";
    [
        ("/spec/sources/0/file/paths", true, pattern),
        ("/spec/sources/0/file/exclude", true, pattern),
        ("/spec/sources/0/rotation/folder", false, path),
        ("/spec/sources/0/timeZone", false, "[A-Za-z0-9/_+ -]{1,8}|Europe/Berlin|UTC"),
        ("/spec/sources/0/rotation/maxSize", false, "[0-9]{1,5}(Ki|Mi|Gi|k|M|G|)"),
        ("/spec/limits/line", false, "[0-9]{1,5}(Ki|Mi|Gi|k|M|G|)"),
        ("/spec/limits/inFlight", false, "[0-9]{1,5}(Ki|Mi|Gi|Ti|k|M|G|T|)"),
        ("/spec/sinks/0/kafka/brokers", true, host),
        ("/spec/sinks/0/kafka/topic", false, "[a-zA-Z0-9._ -]{1,4}"),
        ("/spec/sinks/1/elasticsearch/dataStream", false, "[a-zA-Z0-9._ -]{1,4}"),
        (
            "/spec/sinks/1/elasticsearch/endpoints",
            true,
            "(https?|ftp)://([a-z0-9._-]{0,6}|\\[::1\\])(:[0-9]{0,6})?(/[!-~]{0,4})?",
        ),
        ("/spec/sinks/2/cloudWatch/logStream", false, "([a-z:*/]|[{]node[}]|[{]source[}]|[{]|[}]){1,6}"),
        ("/spec/sinks/3/syslog/address", false, host),
        ("/spec/sinks/4/file/path", false, path),
    ]
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..proptest::prelude::ProptestConfig::with_cases(600) })]

    #[test]
    fn rules_refuse_nothing_that_the_validation_takes(
        (pointer, in_list, text) in proptest::sample::select(texts().to_vec())
            .prop_flat_map(|(pointer, in_list, expression)| {
                (proptest::prelude::Just(pointer), proptest::prelude::Just(in_list), proptest::string::string_regex(expression).unwrap())
            }),
    ) {
        let mut object = object();
        set(&mut object, pointer, if in_list { json!([text]) } else { json!(text) });
        let rules = broken(&object, None);
        let Ok(spec) = serde_json::from_value::<AuditPolicySpec>(object["spec"].clone()) else { return Ok(()) };
        let found = validate(&spec);
        let errors = found.iter().filter(|finding| finding.severity == waybill_crds::Severity::Error).count();
        proptest::prop_assert!(rules.is_empty() || errors > 0, "{pointer} {text:?}: {rules:?}");
    }
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
            set(&mut object, pointer, value.clone());
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
