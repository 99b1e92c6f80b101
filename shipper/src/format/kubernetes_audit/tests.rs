use serde_json::{Value, json};

use crate::format::tests::{encode, gateway, info};
use crate::format::{Encoder, Frame, Kind, Kubernetes, StreamInfo};

fn event() -> Value {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse",
        "auditID": "136c8f56-e41b-4c6e-bd05-6fc3b7948f0e", "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/prod/secrets?fieldManager=kubectl&dryRun=All", "verb": "create",
        "user": {"username": "alice@example.org", "uid": "u-1", "groups": ["dev", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=ab"]}},
        "impersonatedUser": {"username": "system:admin", "groups": ["system:masters"]},
        "sourceIPs": ["198.51.100.9", "192.0.2.7"], "userAgent": "kubectl/v1.34.0",
        "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "prod", "name": "web", "apiGroup": "apps", "apiVersion": "v1", "uid": "o-1"},
        "responseStatus": {"metadata": {}, "code": 201},
        "requestObject": {"data": {"password": "c2VjcmV0"}}, "responseObject": {"data": {"password": "c2VjcmV0"}},
        "requestReceivedTimestamp": "2026-11-21T22:45:14.046993Z", "stageTimestamp": "2026-11-21T22:45:14.050257Z",
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "RBAC: allowed", "x.io/y": "z"},
    })
}

fn read(event: &Value) -> Value {
    let (verdict, record) = encode(&gateway(Kind::KubernetesAudit), event.to_string().as_bytes());
    assert!(verdict.parsed, "{event}");
    record.unwrap()
}

#[test]
fn a_request() {
    let record = read(&event());
    assert_eq!(record["@timestamp"], "2026-11-21T22:45:14.050257Z");
    assert_eq!(record["event"]["duration"], 3_264_000);
    assert_eq!(
        (&record["event"]["id"], &record["event"]["action"]),
        (&json!("136c8f56-e41b-4c6e-bd05-6fc3b7948f0e"), &json!("create"))
    );
    assert_eq!(
        record["user"],
        json!({"id": "u-1", "name": "alice@example.org", "effective": {"name": "system:admin"}})
    );
    assert_eq!(record["source"], json!({"address": "192.0.2.7", "ip": "192.0.2.7"}));
    assert_eq!(record["url"]["path"], "/api/v1/namespaces/prod/secrets");
    assert_eq!(record["url"]["query"], "fieldManager=kubectl&dryRun=All");
    assert_eq!(record["http"]["response"]["status_code"], 201);
    assert_eq!(record["user_agent"]["original"], "kubectl/v1.34.0");
    assert_eq!(
        record["orchestrator"],
        json!({
            "type": "kubernetes", "api_version": "apps/v1", "namespace": "prod",
            "resource": {"type": "pods/exec", "name": "web", "id": "o-1"},
        })
    );
    assert_eq!(record["waybill"]["outcome"], "allow");
    let detail = &record["waybill"]["kubernetes_audit"];
    assert_eq!(detail["source_ips"], json!(["198.51.100.9", "192.0.2.7"]));
    assert_eq!(detail["groups"], json!(["dev", "system:authenticated"]));
    assert_eq!(detail["user_extra"], json!(["authentication.kubernetes.io/credential-id=X509SHA256=ab"]));
    assert_eq!((&detail["stage"], &detail["authorization"]), (&json!("ResponseComplete"), &json!("allow")));
    // The bodies are in the line alone.
    let mut without = record.clone();
    without["event"]["original"] = Value::Null;
    assert!(!without.to_string().contains("c2VjcmV0"));
    let mut settings = gateway(Kind::KubernetesAudit);
    settings.keep_original = false;
    let (_, record) = encode(&settings, event().to_string().as_bytes());
    assert!(!record.unwrap().to_string().contains("c2VjcmV0"));
}

#[test]
fn outcomes() {
    let with = |stage: &str, decision: Option<&str>, status: Value| {
        let mut event = event();
        event["stage"] = json!(stage);
        event["responseStatus"] = status;
        event["annotations"] =
            decision.map_or(Value::Null, |decision| json!({"authorization.k8s.io/decision": decision}));
        read(&event)["waybill"]["outcome"].clone()
    };
    let code = |code: u16| json!({"code": code});
    assert_eq!(with("ResponseComplete", Some("allow"), code(200)), "allow");
    assert_eq!(with("ResponseStarted", Some("allow"), code(101)), "allow");
    assert_eq!(with("ResponseComplete", Some("forbid"), code(403)), "deny");
    assert_eq!(with("ResponseComplete", None, code(401)), "deny");
    assert_eq!(with("ResponseComplete", Some("allow"), code(403)), "deny");
    assert_eq!(with("ResponseComplete", Some("allow"), code(404)), "error");
    assert_eq!(with("ResponseComplete", Some("allow"), code(500)), "error");
    assert_eq!(with("Panic", Some("allow"), code(500)), "error");
    assert_eq!(with("ResponseComplete", Some("allow"), json!({"status": "Failure"})), "error");
    assert_eq!(with("RequestReceived", None, Value::Null), Value::Null);
    assert_eq!(with("ResponseComplete", Some("allow"), Value::Null), "allow");
}

#[test]
fn admission_that_refuses() {
    let with = |code: u16, message: &str| {
        let mut event = event();
        event["responseStatus"] = json!({"status": "Failure", "message": message, "code": code});
        read(&event)["waybill"]["outcome"].clone()
    };
    assert_eq!(with(400, "admission webhook \"v.x\" denied the request: no"), "deny");
    let policy = "pods \"web\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
    assert_eq!(with(422, policy), "deny");
    assert_eq!(with(422, &format!("Pod \"{policy}\" is invalid")), "error");
    assert_eq!(with(500, "admission webhook \"v.x\" denied the request: no"), "error");
}

#[test]
fn logins_to_openshift() {
    let with = |decision: &str, user: Value| {
        let mut event = event();
        event["user"] = user;
        event["responseStatus"] = json!({"code": 302});
        event["annotations"] = json!({
            "authentication.openshift.io/decision": decision, "authentication.openshift.io/username": "alice",
        });
        let record = read(&event);
        (record["waybill"]["outcome"].clone(), record["user"]["name"].clone(), record["event"]["category"].clone())
    };
    let login = |outcome: &str, name: &str| (json!(outcome), json!(name), json!(["authentication"]));
    assert_eq!(with("deny", json!({})), login("deny", "alice"));
    assert_eq!(with("error", json!({"username": "system:anonymous"})), login("error", "alice"));
    assert_eq!(with("allow", json!({"username": "bob"})), login("allow", "bob"));
}

#[test]
fn the_pod_that_wrote_the_log_is_not_what_it_is_about() {
    let pod = Kubernetes {
        namespace: "kube-system".into(),
        pod: "kube-apiserver-a".into(),
        uid: "p".into(),
        container: "c".into(),
    };
    let info = StreamInfo { kubernetes: Some(pod), ..info() };
    let mut encoder = Encoder::new(&gateway(Kind::KubernetesAudit), &info).unwrap();
    let line = event().to_string();
    let mut out = Vec::new();
    encoder.encode(&Frame { ..crate::format::tests::frame(line.as_bytes()) }, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches("\"orchestrator\":").count(), 1);
    let record: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&record["orchestrator"]["namespace"], &record["kubernetes"]["pod"]["name"]),
        (&json!("prod"), &json!("kube-apiserver-a"))
    );
}

#[test]
fn old_versions_and_what_is_no_event() {
    let old = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1beta1","metadata":{"creationTimestamp":null},"level":"Metadata","timestamp":"2017-09-05T10:04:55Z","auditID":"77e58433","stage":"RequestReceived","requestURI":"/apis/x","verb":"list","user":{"username":"kubecfg"},"sourceIPs":["172.16.116.128"],"objectRef":{"resource":"roles","apiGroup":"rbac.authorization.k8s.io","apiVersion":"v1"}}"#;
    let (verdict, record) = encode(&gateway(Kind::KubernetesAudit), old.as_bytes());
    assert!(verdict.parsed);
    assert_eq!(record.unwrap()["@timestamp"], "2017-09-05T10:04:55.000Z");
    for line in [
        "",
        "{}",
        "[]",
        r#"{"kind":"Event","apiVersion":"v1"}"#,
        r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":{}}"#,
        "{\"kind\":\"Event\"",
    ] {
        assert!(!encode(&gateway(Kind::KubernetesAudit), line.as_bytes()).0.parsed, "{line}");
    }
}

/// Every part of another type, twice, or missing.
#[test]
fn odd_events_give_one_valid_record() {
    let names: Vec<String> = event().as_object().unwrap().keys().cloned().collect();
    for name in &names {
        for odd in [
            json!(null),
            json!(7),
            json!("x"),
            json!([]),
            json!([{"a": 1}, 7, "y"]),
            json!({}),
            json!({"a": {"b": []}, "code": "x", "username": 7}),
        ] {
            let mut event = event();
            event[name] = odd;
            encode(&gateway(Kind::KubernetesAudit), event.to_string().as_bytes());
        }
        let text = event().to_string();
        let twice = format!("{{\"{name}\":{},{}", event()[name], &text[1..]);
        encode(&gateway(Kind::KubernetesAudit), twice.as_bytes());
    }
    let annotation = r#""authorization.k8s.io/reason":"a","authorization.k8s.io/reason":"b","authorization.k8s.io/decision":"allow","authorization.k8s.io/decision":"forbid""#;
    let line = format!(r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","annotations":{{{annotation}}}}}"#);
    let (_, record) = encode(&gateway(Kind::KubernetesAudit), line.as_bytes());
    assert_eq!(record.unwrap()["waybill"]["outcome"], "deny");
}

/// Lines that the API server of a test cluster wrote.
#[test]
fn every_genuine_line_parses() {
    let path = format!("{}/testdata/kubernetes-1.36.4/audit.log", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut seen = [0; 3];
    for line in text.lines() {
        let (verdict, record) = encode(&gateway(Kind::KubernetesAudit), line.as_bytes());
        assert!(verdict.parsed, "{line}");
        let (record, event): (Value, Value) = (record.unwrap(), serde_json::from_str(line).unwrap());
        let (code, outcome) = (event["responseStatus"]["code"].as_u64(), record["waybill"]["outcome"].as_str());
        let expected = match code {
            Some(401 | 403) => Some("deny"),
            Some(100..=399) => Some("allow"),
            Some(_) => Some("error"),
            None => None,
        };
        if event["stage"] != "RequestReceived" {
            assert_eq!(outcome, expected, "{line}");
        }
        seen[usize::from(outcome == Some("deny")) + 2 * usize::from(outcome == Some("error"))] += 1;
        for (ours, theirs) in [
            ("/user/name", "/user/username"),
            ("/event/id", "/auditID"),
            ("/event/action", "/verb"),
            ("/url/original", "/requestURI"),
            ("/user_agent/original", "/userAgent"),
            ("/orchestrator/namespace", "/objectRef/namespace"),
            ("/orchestrator/resource/name", "/objectRef/name"),
            ("/http/response/status_code", "/responseStatus/code"),
            ("/source/ip", "/sourceIPs/0"),
        ] {
            assert_eq!(record.pointer(ours), event.pointer(theirs), "{ours} of {line}");
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}
