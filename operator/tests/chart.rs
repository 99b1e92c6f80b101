//! The chart as Helm renders it, its schema, its alerts, and what in it must agree with the code.
//!
//! Helm and promtool are looked for on the PATH, Helm also in the program that `make test-cluster` builds. Without them a test says so
//! and counts as skipped.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ALL: [&str; 9] = [
    "podMonitor.enabled=true",
    "prometheusRule.enabled=true",
    "dashboard.enabled=true",
    "openshift.scc=privileged",
    "agents.seLinuxType=spc_t",
    "agents.retentionFloorDays=365",
    "agents.writeRoots={/var/lib/waybill,/var/log/v2ray}",
    "imagePullSecrets={pull}",
    "networkPolicy.metricsNamespaceLabels.team=monitoring",
];
const LEAST: [&str; 6] = [
    "agents.serviceAccountAnnotationKeys=null",
    "agents.createNamespace=false",
    "admission.enabled=false",
    "podDisruptionBudget.enabled=false",
    "networkPolicy.enabled=false",
    "rbac.aggregate=false",
];

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/waybill")
}

fn skip(test: &str, why: &str) {
    println!("SKIPPED: {test}: {why}");
    if let Some(path) = std::env::var_os("WAYBILL_SKIPS") {
        let mut list = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(list, "{test}: {why}").unwrap();
    }
}

/// Helm with the words that come before its own.
fn helm() -> Option<Command> {
    if Command::new("helm").arg("version").output().is_ok_and(|output| output.status.success()) {
        return Some(Command::new("helm"));
    }
    let cache = std::env::var_os("CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/waybill")))?;
    let built = std::fs::read_dir(cache.join("kubernetes")).ok()?;
    let program =
        built.filter_map(|entry| Some(entry.ok()?.path().join("kubernetes"))).find(|program| program.is_file())?;
    let mut command = Command::new(program);
    command.arg("helm");
    Some(command)
}

fn rendered(values: &[&str]) -> Option<Output> {
    let mut helm = helm()?;
    helm.args(["template", "waybill"]).arg(chart()).args(["--namespace", "waybill-system", "--kube-version", "1.36.0"]);
    values.iter().for_each(|value| {
        helm.args(["--set", *value]);
    });
    Some(helm.output().unwrap())
}

#[test]
fn the_rendered_objects_in_the_usual_variants() {
    for (name, values) in [("default", &[][..]), ("everything", &ALL[..]), ("least", &LEAST[..])] {
        let Some(output) = rendered(values) else {
            return skip("the_rendered_objects_in_the_usual_variants", "there is no helm");
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        insta::assert_snapshot!(name, String::from_utf8(output.stdout).unwrap());
    }
}

#[test]
fn a_value_that_does_not_exist_is_refused() {
    for (value, part) in [
        ("operator.replica=2", "replica"),
        ("agents.readRoots={var/log}", "readRoots"),
        ("operator.replicas=0", "replicas"),
        ("agents.namespace=Not_A_Name", "namespace"),
    ] {
        let Some(output) = rendered(&[value]) else {
            return skip("a_value_that_does_not_exist_is_refused", "there is no helm");
        };
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(part), "{value}: {error}");
    }
}

#[test]
fn secrets_may_have_any_name_that_the_cluster_allows() {
    for (name, allowed) in [("regcred", true), ("registry.example.com", true), ("Reg", false), ("a..b", false)] {
        let Some(output) = rendered(&[&format!("imagePullSecrets={{{name}}}")]) else {
            return skip("secrets_may_have_any_name_that_the_cluster_allows", "there is no helm");
        };
        assert_eq!(output.status.success(), allowed, "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_charts_definition_is_the_contracts() {
    let packed = std::fs::read_to_string(chart().join("crds/auditpolicies.waybill.dev.yaml")).unwrap();
    assert!(packed == waybill_crds::crd_yaml(), "cp crds/auditpolicies.waybill.dev.yaml charts/waybill/crds/");
}

#[test]
fn the_charts_arguments_are_the_operators() {
    use clap::CommandFactory as _;
    let command = waybill_operator::settings::Settings::command();
    let known: Vec<String> =
        command.get_arguments().filter_map(|argument| Some(format!("--{}", argument.get_long()?))).collect();
    let template = std::fs::read_to_string(chart().join("templates/deployment.yaml")).unwrap();
    let given = template
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- --")?.split('=').next().map(|name| format!("--{name}")));
    for argument in given {
        assert!(known.contains(&argument), "{argument}");
    }
}

#[test]
fn every_value_is_in_the_schema() {
    let schema: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(chart().join("values.schema.json")).unwrap()).unwrap();
    let values = std::fs::read_to_string(chart().join("values.yaml")).unwrap();
    for line in values.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase())) {
        let name = line.split(':').next().unwrap();
        assert!(schema["properties"].get(name).is_some(), "{name}");
    }
}

#[test]
fn the_alerts_ring_when_they_should() {
    let promtool = Command::new("promtool").args(["test", "rules"]).arg(chart().join("alerts.test.yaml")).output();
    let Ok(output) = promtool else { return skip("the_alerts_ring_when_they_should", "there is no promtool") };
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn alerts_and_dashboard_name_metrics_that_there_are() {
    let documented = [
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("METRICS.md")).unwrap(),
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../shipper/METRICS.md")).unwrap(),
    ]
    .concat();
    for file in ["alerts.yaml", "dashboards/waybill.json"] {
        let text = std::fs::read_to_string(chart().join(file)).unwrap();
        for word in text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_') {
            if word.starts_with("waybill_") || word.starts_with("process_") {
                assert!(documented.contains(&format!("`{word}`")), "{file}: {word}");
            }
        }
    }
}
