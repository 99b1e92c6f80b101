//! Odd documents: what the API server takes, `waybill check` takes on a laptop, and what the one refuses, the other does.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::agent::binary;
use waybill_tests::cluster::{Cluster, definition};
use waybill_tests::policy::{Policy, file, text, with};

/// Both take it. The API server also holds the author of a switch against the user, who is the tests' own.
const BOTH: &[(&str, &str)] = &[
    ("/spec/killSwitch", "null"),
    ("/spec/killSwitch", "{}"),
    ("/spec/killSwitch", r#"{"reason": "x"}"#),
    ("/spec/killSwitch", r#"{"mode": "Discard"}"#),
    ("/spec/killSwitch", r#"{"engaged": true, "reason": "é", "requestedBy": "tests"}"#),
    ("/spec/limits", "null"),
    ("/spec/limits", r#"{"line": "1Ki", "inFlight": 1048576}"#),
    ("/spec/limits", r#"{"line": 1048576, "inFlight": "2Mi"}"#),
    ("/spec/limits", r#"{"drainSeconds": 0}"#),
    ("/spec/sinks", "[]"),
    ("/spec/agent", "{}"),
    ("/spec/agent/tolerations", "[]"),
    ("/spec/agent/tolerations", r#"[{"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5}]"#),
    ("/spec/agent/updateStrategy", r#"{"maxUnavailable": 1}"#),
    ("/spec/agent/updateStrategy", r#"{"maxUnavailable": "1"}"#),
    ("/spec/agent/resources", r#"{"requests": {"cpu": 1, "memory": "0.5Gi"}}"#),
    ("/spec/sources/0/drop", "[]"),
    ("/spec/sources/0/rotation", "{}"),
    ("/spec/sources/0/retention", "{}"),
    ("/spec/sources/0/retention", r#"{"maxAgeDays": 0, "maxTotalSize": "1Mi", "minFree": 10}"#),
    ("/spec/sources/0/outbounds", r#"{"": "Deny"}"#),
    ("/spec/sources/0/timeZone", r#""Europe/Berlin""#),
    ("/spec/sources/0/name", r#""1""#),
    ("/spec/sources/0/file/paths", r#"["/**/x", "/var/log/a:b/[!a-z]?.log", "/var/log/ä/日本*.log", "/var/log/...x"]"#),
    ("/spec/sources/0/file/paths", r#"["/var/log/x", "/var/log/x"]"#),
    ("/spec/sinks/0/sources", r#"["app", "app"]"#),
    ("/spec/sinks/1/kafka/brokers", r#"["[::1]:9092", "k_.:09092", "1.2.3.4:1"]"#),
    ("/spec/sinks/1/kafka/tls", "{}"),
    ("/spec/sinks/2/elasticsearch/endpoints", r#"["http://es", "https://[::1]:9200/x"]"#),
];

/// Neither takes it.
const NEITHER: &[(&str, &str)] = &[
    ("/spec/sources", "null"),
    ("/spec/sources", "[]"),
    ("/spec/sources", "{}"),
    ("/spec/sources/0/file", "null"),
    ("/spec/sources/0/file/paths", "[]"),
    ("/spec/sources/0/file/paths", r#""/var/log/x""#),
    ("/spec/sources/0/file/paths", "[5]"),
    ("/spec/sources/0/file/paths", r#"["var/log/x"]"#),
    ("/spec/sources/0/file/paths", r#"["/var/log/../../etc/shadow"]"#),
    ("/spec/sources/0/file/paths", r#"["/var/log//x"]"#),
    ("/spec/sources/0/file/paths", r#"["/var/log/x/"]"#),
    ("/spec/sources/0/file/paths", r#"["/var/log/**"]"#),
    ("/spec/sources/0/file/paths", r#"["/var/log/a**/x"]"#),
    ("/spec/sources/0/file/paths", r#"["/var/log/a\nb"]"#),
    ("/spec/sources/0/name", r#""App""#),
    ("/spec/sources/0/name", "5"),
    ("/spec/sources/0/timeZone", r#""../etc/passwd""#),
    ("/spec/sources/0/json", r#"{"time": "$.t"}"#),
    ("/spec/sources/0/keepOriginal", r#""true""#),
    ("/spec/sources/0/rotation", r#"{"mode": "collapse"}"#),
    ("/spec/sources/0/rotation", r#"{"mode": "Rename"}"#),
    ("/spec/sources/0/rotation", r#"{"maxSize": "1Ki"}"#),
    ("/spec/sources/0/rotation", r#"{"folder": "archive"}"#),
    ("/spec/sources/0/retention", r#"{"maxAgeDays": 1.5}"#),
    ("/spec/sources/0/retention", r#"{"maxAgeDays": 36501}"#),
    ("/spec/sources/0/retention", r#"{"minFree": "010%"}"#),
    ("/spec/sources/0/retention", r#"{"minFree": -1}"#),
    ("/spec/sources/0/retention", r#"{"maxTotalSize": 0}"#),
    ("/spec/sources/0/drop", r#"[{"field": "source.port", "equals": 22}]"#),
    ("/spec/sources/0/drop", r#"[{"field": "a b", "equals": "x"}]"#),
    ("/spec/killSwitch", "[]"),
    ("/spec/killSwitch", r#"{"engaged": "true"}"#),
    ("/spec/killSwitch", r#"{"engaged": true, "reason": "x"}"#),
    ("/spec/killSwitch", r#"{"engaged": true, "reason": " ", "requestedBy": "me"}"#),
    ("/spec/killSwitch", r#"{"mode": "hold"}"#),
    ("/spec/limits", "[]"),
    ("/spec/limits", r#"{"drainSeconds": "25"}"#),
    ("/spec/limits", r#"{"drainSeconds": 99999999999999999999}"#),
    ("/spec/limits", r#"{"line": -1}"#),
    ("/spec/limits", r#"{"line": "1mi"}"#),
    ("/spec/limits", r#"{"line": "1.5Mi"}"#),
    ("/spec/limits", r#"{"inFlight": "1Mi"}"#),
    ("/spec/limits", r#"{"inFlight": 18253611008}"#),
    ("/spec/sinks", "{}"),
    ("/spec/sinks/0/sources", "[]"),
    ("/spec/sinks/0/sources", r#"["App"]"#),
    ("/spec/sinks/0/required", r#""yes""#),
    ("/spec/sinks/0/name", r#""stream""#),
    ("/spec/sinks/0/file", "null"),
    ("/spec/sinks/0/file/path", r#""audit.log""#),
    ("/spec/sinks/0/file/path", r#""/var/lib/waybill/odd/*.log""#),
    ("/spec/sinks/0/kafka", r#"{"brokers": ["k:1"], "topic": "t"}"#),
    ("/spec/sinks/1/kafka/brokers", r#"["k"]"#),
    ("/spec/sinks/1/kafka/brokers", r#"["k:65536"]"#),
    ("/spec/sinks/1/kafka/brokers", r#"["http://k:1"]"#),
    ("/spec/sinks/1/kafka/brokers", r#"["k:9092,l:9092"]"#),
    ("/spec/sinks/1/kafka/topic", r#""..""#),
    ("/spec/sinks/1/kafka/sasl", "{}"),
    ("/spec/sinks/1/kafka/sasl", r#"{"mechanism": "Plain", "username": "u", "password": "hunter2"}"#),
    (
        "/spec/sinks/1/kafka/sasl",
        r#"{"mechanism": "Plain", "username": "u", "password": {"secret": "../x", "key": "k"}}"#,
    ),
    (
        "/spec/sinks/1/kafka/sasl",
        r#"{"mechanism": "Plain", "username": "u", "password": {"secret": "a..b", "key": "k"}}"#,
    ),
    (
        "/spec/sinks/1/kafka/sasl",
        r#"{"mechanism": "Plain", "username": "u", "password": {"secret": "a", "key": ".."}}"#,
    ),
    ("/spec/sinks/2/elasticsearch/endpoints", r#"["es:9200"]"#),
    ("/spec/sinks/2/elasticsearch/endpoints", r#"["https://u:p@es"]"#),
    ("/spec/sinks/2/elasticsearch/dataStream", r#""Logs""#),
    ("/spec/agent/tolerations", "[{}]"),
    ("/spec/agent/tolerations", r#"[{"operator": "exists"}]"#),
    ("/spec/agent/updateStrategy", r#"{"maxUnavailable": 0}"#),
    ("/spec/agent/updateStrategy", r#"{"maxUnavailable": "101%"}"#),
    ("/spec/agent/resources", r#"{"requests": {"cpu": -1}}"#),
    ("/metadata/name", r#""a.b""#),
];

fn base() -> Value {
    let policy = Policy::new("odd").source(text("app", "/var/log/odd/*.log"));
    let kafka = json!({"name": "stream", "type": "Kafka", "kafka": {"brokers": ["k:9092"], "topic": "t"}});
    let search =
        json!({"name": "search", "type": "Elasticsearch", "elasticsearch": {"endpoints": ["https://es:9200"]}});
    let archive = file("archive", "/var/lib/waybill/odd/archive/audit.log".as_ref());
    let policy = policy.sink(archive).sink(kafka).sink(search).with("agent", json!({}));
    policy.value()
}

/// A case's document. Its name tells it from the others, unless the name is what is odd.
fn document(number: usize, pointer: &str, value: &str) -> Result<Value> {
    let value = serde_json::from_str(value).with_context(|| format!("{pointer}: {value}"))?;
    let named = with(base(), "/metadata/name", json!(format!("odd-{number}")));
    Ok(with(named, pointer, value))
}

fn takes_on_a_laptop(document: &Value) -> Result<(bool, String)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("policy.yaml");
    fs::write(&path, document.to_string())?;
    let done = Command::new(binary()?).arg("check").arg("-f").arg(&path).output().context("failed to start waybill")?;
    let said = [done.stdout, done.stderr].concat();
    Ok((done.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_cluster_and_a_laptop_take_the_same_documents() -> Result<()> {
    let cluster = Cluster::here()?;
    definition::install(cluster.kubectl())?;
    let folder = tempfile::tempdir()?;
    let cases: Vec<_> = BOTH.iter().map(|case| (case, true)).chain(NEITHER.iter().map(|case| (case, false))).collect();
    for (number, ((pointer, value), _)) in cases.iter().enumerate() {
        let path = folder.path().join(format!("{number:03}.json"));
        fs::write(path, document(number, pointer, value)?.to_string())?;
    }
    // One command judges all of them, and tells of each.
    let path = folder.path().to_string_lossy().into_owned();
    let words = ["apply", "--server-side", "--dry-run=server", "--output=name", "--filename", &path];
    let (said, complaints) = cluster.kubectl().told(&words)?;
    let taken: BTreeSet<&str> = said.lines().filter_map(|line| line.split('/').next_back()).collect();
    let mut wrong = Vec::new();
    for (number, ((pointer, value), expected)) in cases.iter().enumerate() {
        let document = document(number, pointer, value)?;
        let name = document["metadata"]["name"].as_str().unwrap_or_default();
        let (laptop, words) = takes_on_a_laptop(&document)?;
        let server = taken.contains(name);
        if (server, laptop) != (*expected, *expected) {
            wrong.push(format!("{name} {pointer} = {value}: the API server {server}, the laptop {laptop}: {words}"));
        }
    }
    ensure!(wrong.is_empty(), "{}\n{complaints}", wrong.join("\n"));
    println!("{} documents are judged alike", cases.len());
    Ok(())
}
