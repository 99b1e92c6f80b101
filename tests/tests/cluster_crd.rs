//! The `CustomResourceDefinition` as a real API server sees it: only there the cost of its rules is judged, and what `kubectl`
//! makes of it.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::cluster::{Cluster, PATIENCE, definition, repository};
use waybill_tests::policy::{Policy, file, switch, text, with};
use waybill_tests::wait::await_true;

const CRD: &str = definition::NAME;
/// Outside of what an operator lets policies read: should one be there, it makes no agents of these policies.
const ELSEWHERE: &str = "/srv/app/*.log";

fn installed() -> Result<Cluster> {
    let cluster = Cluster::here()?;
    definition::install(cluster.kubectl())?;
    Ok(cluster)
}

fn document(path: &str) -> Result<Value> {
    let path = repository(path);
    let path = path.to_str().context("the path is UTF-8")?;
    Cluster::here()?.kubectl().json(&["create", "--dry-run=client", "--validate=false", "--filename", path])
}

fn plain() -> Value {
    let sink = json!({"name": "archive", "type": "File", "file": {"path": "/var/lib/waybill/crd/archive/audit.log"}});
    Policy::new("crd").source(text("app", ELSEWHERE)).sink(sink).value()
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn it_is_taken_client_side_and_server_side() -> Result<()> {
    let cluster = Cluster::here()?;
    let kubectl = cluster.kubectl();
    let path = definition::path();
    let path = path.to_str().context("the path is UTF-8")?;
    for server_side in ["--server-side=false", "--server-side=true"] {
        kubectl.delete("crd", CRD)?;
        // A warning would be printed to people at every apply.
        let said = kubectl.run(&["apply", server_side, "--warnings-as-errors", "--filename", path])?;
        definition::await_served(kubectl)?;
        println!("{server_side}: {}", said.trim());
        let again = kubectl.run(&["apply", server_side, "--filename", path])?;
        ensure!(again.contains("unchanged") || again.contains("serverside-applied"), "{again}");
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn explain_reads_like_documentation() -> Result<()> {
    let cluster = installed()?;
    await_true("the API server has published the type's documentation", PATIENCE, || {
        Ok(cluster.kubectl().run(&["explain", "auditpolicies.spec"]).is_ok_and(|text| text.contains("sources")))
    })?;
    for (path, expected) in [
        ("auditpolicies", "AuditPolicy"),
        ("auditpolicies.spec", "killSwitch"),
        ("auditpolicies.spec.sources", "format"),
        ("auditpolicies.spec.sources.rotation", "maxSize"),
        ("auditpolicies.spec.sources.retention", "onPressure"),
        ("auditpolicies.spec.sinks.kafka", "brokers"),
        ("auditpolicies.spec.sinks.elasticsearch", "dataStream"),
        ("auditpolicies.spec.sinks.cloudWatch", "logGroup"),
        ("auditpolicies.spec.killSwitch", "requestedBy"),
        ("auditpolicies.status", "conditions"),
    ] {
        let text = cluster.kubectl().run(&["explain", path])?;
        ensure!(text.contains(expected), "{path} does not tell of {expected}:\n{text}");
        let silent: Vec<_> = text.lines().filter(|line| line.contains("<no description>")).collect();
        // `kind`, `apiVersion` and `metadata` are described by Kubernetes, everything else by us.
        ensure!(silent.is_empty(), "{path} has fields without a word:\n{text}");
    }
    let all = cluster.kubectl().run(&["explain", "auditpolicies", "--recursive"])?;
    ensure!(all.contains("enum: "), "no field names its values:\n{all}");
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_examples_are_valid_to_the_last_field() -> Result<()> {
    let cluster = installed()?;
    for entry in fs::read_dir(repository("crds/examples"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let path = path.to_str().context("the path is UTF-8")?;
        cluster.kubectl().run(&["create", "--dry-run=server", "--validate=strict", "--filename", path])?;
        println!("valid: {path}");
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_largest_policy_is_within_the_budget_of_its_rules() -> Result<()> {
    let cluster = installed()?;
    let mut policy = document("crds/examples/gateways.yaml")?;
    let (source, sink) = (policy["spec"]["sources"][0].clone(), policy["spec"]["sinks"][0].clone());
    let many = |value: &Value, count: usize| -> Vec<Value> {
        (0..count).map(|at| with(value.clone(), "/name", json!(format!("{}{at}", "n".repeat(38))))).collect()
    };
    let sources: Vec<Value> = many(&source, 64)
        .into_iter()
        .map(|source| {
            let paths: Vec<_> = (0..32).map(|at| format!("/var/log/{}{at:02}", "p".repeat(500))).collect();
            with(source, "/file/paths", json!(paths))
        })
        .collect();
    let names: Vec<_> = sources.iter().map(|source| source["name"].clone()).collect();
    policy["spec"]["sinks"] = many(&sink, 16).into_iter().map(|sink| with(sink, "/sources", json!(names))).collect();
    policy["spec"]["sources"] = Value::Array(sources);
    let judged = cluster.kubectl().judge(&policy)?;
    println!("{} bytes as YAML", judged.len());
    let mut one_more = policy.clone();
    let extra = with(source, "/name", json!("one-more"));
    one_more["spec"]["sources"].as_array_mut().context("a list")?.push(extra);
    let objection = cluster.kubectl().objection(&one_more)?;
    ensure!(objection.contains("must have at most 64 items"), "{objection}");
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn mistakes_are_refused_with_a_sentence() -> Result<()> {
    let cluster = installed()?;
    cluster.kubectl().judge(&plain())?;
    let two = json!([text("app", "/var/log/a"), text("app", "/var/log/b")]);
    let cases = [
        ("/metadata/name", json!("n".repeat(253)), "the name is part of names of objects and folders"),
        ("/metadata/name", json!("1st"), "the name is part of names of objects and folders"),
        ("/spec/sources/0/fiel", json!({}), "unknown field \"spec.sources[0].fiel\""),
        ("/spec/sources/0/format", json!("V2Ray"), "Unsupported value: \"V2Ray\""),
        ("/spec/sources", two, "Duplicate value"),
        ("/spec/sources/0/json", json!({"time": "$.ts"}), "json is for format Json"),
        ("/spec/sources/0/file/paths", json!([]), "spec.sources[0].file.paths"),
        ("/spec/sources/0/rotation", json!({"mode": "Rename"}), "mode Rename needs reopen"),
        ("/spec/sinks/0/sources", json!([]), "an empty list of sources would deliver nothing"),
        ("/spec/sinks/0/sources", json!(["nobody"]), "a sink names a source that does not exist"),
        ("/spec/sinks/0/type", json!("Kafka"), "type Kafka needs the object kafka"),
        ("/spec/killSwitch", json!({"engaged": true}), "an engaged kill switch needs a reason and requestedBy"),
        ("/spec/limits", json!({"inFlight": "many"}), "spec.limits.inFlight"),
    ];
    for (pointer, value, message) in cases {
        let objection = cluster.kubectl().objection(&with(plain(), pointer, value))?;
        ensure!(objection.contains(message), "{pointer}: {objection}");
        println!("{}", objection.trim());
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_switch_is_not_lifted_without_a_name() -> Result<()> {
    let cluster = installed()?;
    let kubectl = cluster.kubectl();
    let name = "crd-switch";
    let calm = with(plain(), "/metadata/name", json!(name));
    kubectl.delete("auditpolicies", name)?;
    kubectl.apply(&with(calm.clone(), "/spec/killSwitch", switch(true, "Hold", "a leak")))?;
    let patch = json!({"spec": {"killSwitch": {"engaged": false, "reason": "", "requestedBy": ""}}}).to_string();
    let objection = kubectl.refused(&["patch", "auditpolicies", name, "--type=merge", "--patch", &patch])?;
    ensure!(objection.contains("whoever throws or lifts a kill switch says so"), "{objection}");
    kubectl.apply(&with(calm, "/spec/killSwitch", switch(false, "Hold", "mended")))?;
    kubectl.delete("auditpolicies", name)
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn one_entry_is_thrown_by_a_single_small_apply() -> Result<()> {
    let cluster = installed()?;
    let kubectl = cluster.kubectl();
    let name = "crd-one-entry";
    kubectl.delete("auditpolicies", name)?;
    let two = with(plain(), "/metadata/name", json!(name));
    let two = with(two, "/spec/sources", json!([text("app", "/srv/a"), text("other", "/srv/b")]));
    kubectl.apply(&two)?;
    // The command for three in the morning: it names the one entry and nothing else, and takes the rest along as it is.
    let entry = json!({
        "apiVersion": "waybill.dev/v1alpha1", "kind": "AuditPolicy", "metadata": {"name": name},
        "spec": {"sources": [{"name": "other", "killSwitch": switch(true, "Hold", "a leak")}]},
    });
    let applied = kubectl.apply_as("night", &entry);
    let after = kubectl.json(&["get", "auditpolicies", name])?;
    kubectl.delete("auditpolicies", name)?;
    applied?;
    let sources = &after["spec"]["sources"];
    ensure!(sources.as_array().is_some_and(|list| list.len() == 2), "{sources}");
    ensure!(sources[1]["killSwitch"]["engaged"] == true && sources[1]["file"]["paths"][0] == "/srv/b", "{sources}");
    ensure!(sources[0]["killSwitch"]["engaged"] != true, "{sources}");
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_table_tells_at_a_glance() -> Result<()> {
    let cluster = installed()?;
    let kubectl = cluster.kubectl();
    let name = "crd-table";
    kubectl.apply(&with(with(plain(), "/metadata/name", json!(name)), "/spec/sinks/0", file_sink()))?;
    let table = kubectl.run(&["get", "ap"]);
    kubectl.delete("auditpolicies", name)?;
    let table = table?;
    let header = table.lines().next().unwrap_or_default();
    for column in ["NAME", "DESIRED", "READY", "UP-TO-DATE", "DELIVERING", "WORST-LAG", "KILL-SWITCH", "AGE"] {
        ensure!(header.contains(column), "{column} is missing: {header}");
    }
    ensure!(kubectl.run(&["api-resources", "--categories=waybill"])?.contains(CRD.split('.').next().unwrap_or(CRD)));
    Ok(())
}

fn file_sink() -> Value {
    file("archive", "/var/lib/waybill/crd-table/archive/audit.log".as_ref())
}
