//! Documents with a mistake, and what is said about it.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fmt::Write as _;

use waybill_crds::{Severity, read};

/// A whole policy, of which each case replaces a part.
const BASE: &str = "\
apiVersion: waybill.dev/v1alpha1
kind: AuditPolicy
metadata:
  name: gateways
spec:
  limits: {inFlight: 64Mi}
  sources:
    - name: access
      format: V2RayAccess
      file:
        paths: [\"/var/log/v2ray/access.log\"]
    - name: json
      format: Json
      json: {time: \"$.ts\"}
      file:
        paths: [\"/var/log/app.log\"]
      timeZone: Europe/Berlin
      drop: [{field: source.ip, equals: x}]
  sinks:
    - name: stream
      type: Kafka
      kafka:
        brokers: [\"kafka-0:9093\"]
        topic: audit
    - name: archive
      type: File
      sources: [access]
      file: {path: /var/lib/waybill/a.log}
";

/// What is replaced, by what, and the findings: severity, line, path, a part of the text.
type Case = (&'static str, &'static str, &'static [(Severity, usize, &'static str, &'static str)]);

use Severity::{Error, Skipped, Warning};

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Around the spec.
    ("v1alpha1", "v9", &[(Error, 1, "apiVersion", "write apiVersion: waybill.dev/v1alpha1")]),
    ("kind: AuditPolicy\n", "", &[(Error, 1, "kind", "write kind: AuditPolicy")]),
    ("name: gateways", "name: Gate_Ways", &[(Error, 4, "metadata.name", "lower-case letters")]),
    ("metadata:\n  name: gateways\n", "", &[(Error, 1, "metadata.name", "missing")]),
    ("kind: AuditPolicy", "kind: AuditPolicy\nextra: 1", &[(Warning, 3, "extra", "not known to this release, ignored")]),
    // Types.
    ("inFlight: 64Mi", "inFlight: 1.5Gi", &[(Error, 6, "spec.limits.inFlight", "64Mi, 5Gi or 100M")]),
    ("inFlight: 64Mi", "inFlight: [1]", &[(Error, 6, "spec.limits.inFlight", "this is a list, and should be a quantity")]),
    ("inFlight: 64Mi", "openFiles: \"64\"", &[(Error, 6, "spec.limits.openFiles", "write 64 without quotes")]),
    ("inFlight: 64Mi", "openFiles: 2.5", &[(Error, 6, "spec.limits.openFiles", "not a whole number")]),
    ("inFlight: 64Mi", "openFiles: 3", &[(Error, 6, "spec.limits.openFiles", "from 16 to 8192")]),
    ("inFlight: 64Mi", "inFlight: 1Mi", &[(Error, 6, "spec.limits.inFlight", "at least twice limits.line")]),
    // On a host and on a cluster alike.
    ("drop: [{field: source.ip, equals: x}]", "drop:", &[(Warning, 18, "spec.sources[1].drop", "an API server refuses it")]),
    ("timeZone: Europe/Berlin", "retention: {minFree: 010%}", &[(Error, 17, "spec.sources[1].retention.minFree", "from 1% to 99%")]),
    ("inFlight: 64Mi", "inFlight: 64Ti", &[(Error, 6, "spec.limits.inFlight", "from 1Mi to 16Gi")]),
    ("{inFlight: 64Mi}", "none", &[(Error, 6, "spec.limits", "this is \"none\", and should be an object")]),
    ("topic: audit", "topic: 5", &[(Error, 24, "spec.sinks[0].kafka.topic", "put it in quotes: \"5\"")]),
    ("[\"/var/log/app.log\"]", "/var/log/app.log", &[(Error, 16, "spec.sources[1].file.paths", "should be a list")]),
    ("name: json", "name: json\n      keepOriginal: yes", &[(Error, 13, "spec.sources[1].keepOriginal", "write true, without quotes")]),
    // What is not known.
    ("      drop:", "      shard: 3\n      drop:", &[(Warning, 18, "spec.sources[1].shard", "not known to this release, ignored")]),
    ("timeZone:", "timezone:", &[(Warning, 17, "spec.sources[1].timezone", "did you mean timeZone?")]),
    ("format: Json", "format: Xml", &[(Skipped, 13, "spec.sources[1].format", "the entry is left out, the others run")]),
    ("format: V2RayAccess", "format: V2rayAcess", &[(Skipped, 9, "spec.sources[0].format", "did you mean V2RayAccess?")]),
    ("type: Kafka", "type: Pulsar", &[(Skipped, 21, "spec.sinks[0].type", "\"Pulsar\" is not known to this release")]),
    ("topic: audit", "topic: audit\n        compression: Brotli", &[(Error, 25, "spec.sinks[0].kafka.compression", "None, Gzip, Snappy, Lz4 or Zstd")]),
    // What is missing, empty or there twice.
    ("      format: V2RayAccess\n", "", &[(Error, 8, "spec.sources[0].format", "write format: V2RayAccess")]),
    ("        topic: audit\n", "", &[(Error, 22, "spec.sinks[0].kafka.topic", "missing")]),
    ("[\"/var/log/app.log\"]", "[]", &[(Error, 16, "spec.sources[1].file.paths", "at least 1")]),
    ("name: json", "name: access", &[(Error, 12, "spec.sources[1].name", "\"access\" is the name of spec.sources[0] too")]),
    ("name: archive", "name: stream", &[(Error, 25, "spec.sinks[1].name", "is the name of spec.sinks[0] too")]),
    ("topic: audit", "topic: audit\n        topic: audit2", &[(Error, 25, "spec.sinks[0].kafka.topic", "twice")]),
    ("name: json", "name: Json!", &[(Error, 12, "spec.sources[1].name", "lower-case letters")]),
    ("name: json", "name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &[(Error, 12, "spec.sources[1].name", "at most 40")]),
    // What does not go together.
    ("format: Json", "format: Text", &[(Error, 14, "spec.sources[1].json", "write format: Json, or leave json out")]),
    ("type: File\n", "type: Stdout\n", &[(Error, 28, "spec.sinks[1].file", "leave it out, or write type: File")]),
    ("file: {path: /var/lib/waybill/a.log}", "encoding: Ecs", &[(Error, 25, "spec.sinks[1].file", "missing")]),
    ("sources: [access]", "sources: []", &[(Error, 27, "spec.sinks[1].sources", "leave sources out for all of them")]),
    ("sources: [access]", "sources: [acess]", &[(Error, 27, "spec.sinks[1].sources[0]", "no source is named \"acess\"")]),
    ("name: json", "name: json\n      rotation: {mode: Rename}", &[(Error, 13, "spec.sources[1].rotation.reopen", "mode: Collapse")]),
    ("name: json", "name: json\n      rotation: {mode: Rename, reopen: {type: Signal, signal: USR1}}", &[(Error, 13, "spec.sources[1].rotation.reopen.process", "executable")]),
    ("name: json", "name: json\n      rotation: {reopen: {type: V2RayApi, address: \"127.0.0.1:10085\"}}", &[(Error, 13, "spec.sources[1].rotation.reopen", "reopen is for mode Rename")]),
    ("name: json", "name: json\n      killSwitch: {engaged: true, requestedBy: me}", &[(Error, 13, "spec.sources[1].killSwitch.reason", "in a few words")]),
    // What the texts say.
    ("/var/log/app.log", "log/app.log", &[(Error, 16, "spec.sources[1].file.paths[0]", "begin with a slash")]),
    ("/var/log/app.log", "/var/../app.log", &[(Error, 16, "spec.sources[1].file.paths[0]", "..")]),
    ("/var/log/app.log", "/var/log/v2ray/access.log", &[(Warning, 16, "spec.sources[1].file.paths[0]", "same pattern")]),
    ("Europe/Berlin", "Europe/Atlantis", &[(Error, 17, "spec.sources[1].timeZone", "IANA")]),
    ("$.ts", "ts", &[(Error, 14, "spec.sources[1].json.time", "$.user.name")]),
    ("source.ip", "source ip", &[(Error, 18, "spec.sources[1].drop[0].field", "dotted name")]),
    ("kafka-0:9093", "kafka-0", &[(Error, 23, "spec.sinks[0].kafka.brokers[0]", "host:port")]),
    ("/var/lib/waybill/a.log", "/var/lib/*.log", &[(Error, 28, "spec.sinks[1].file.path", "pattern")]),
    // YAML.
    ("kind: AuditPolicy", "kind: AuditPolicy\n---\na: 1", &[(Error, 1, "metadata.name", ""), (Error, 1, "spec", ""), (Error, 3, "", "a second document begins here")]),
    ("name: gateways", "name: [gateways", &[(Error, 5, "", "")]),
    ("{inFlight: 64Mi}", "{? [a, b] : c}", &[(Error, 6, "spec.limits", "no key")]),
    ("inFlight: 64Mi", "<<: {line: 1Mi}", &[(Error, 6, "spec.limits", "merge keys are not read"), (Warning, 6, "spec.limits", "")]),
];

#[test]
fn each_mistake_is_named_with_its_place() {
    let mut wrong = String::new();
    for (from, to, expected) in CASES {
        assert!(BASE.contains(from), "{from:?} is not in the policy");
        let text = BASE.replacen(from, to, 1);
        let document = read(&text);
        let matches = document.findings.len() == expected.len()
            && document.findings.iter().zip(*expected).all(|(found, (severity, line, path, part))| {
                found.severity == *severity
                    && found.line == Some(*line)
                    && found.path.starts_with(path)
                    && found.to_string().contains(part)
            });
        let broken = expected.iter().any(|(severity, ..)| *severity == Error);
        if !matches || document.spec.is_none() != broken {
            let _ = writeln!(wrong, "{from:?} -> {to:?}:");
            for finding in &document.findings {
                let _ = writeln!(wrong, "    {finding}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_base_is_clean() {
    assert_eq!(read(BASE).findings, []);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = BASE
        .replace("64Mi", "lots")
        .replace("$.ts", "ts")
        .replace("kafka-0:9093", "kafka-0")
        .replace("topic: audit", "topic: 5")
        .replace("/var/lib/waybill/a.log", "a.log")
        .replace("Europe/Berlin", "Nowhere");
    let document = read(&text);
    let paths: Vec<&str> = document.findings.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.limits.inFlight",
            "spec.sources[1].json.time",
            "spec.sources[1].timeZone",
            "spec.sinks[0].kafka.topic",
            "spec.sinks[1].file.path",
        ],
    );
    assert!(document.spec.is_none());
}

#[test]
fn what_is_skipped_is_left_out_and_the_rest_keeps_its_place() {
    let text = BASE.replace("format: V2RayAccess", "format: NextYear").replace("$.ts", "ts");
    let document = read(&text);
    assert_eq!(document.findings[0].severity, Skipped);
    assert_eq!(document.findings[1].path, "spec.sources[1].json.time");
    assert_eq!(document.findings.len(), 2);

    let document = read(&BASE.replace("format: V2RayAccess", "format: NextYear"));
    let spec = document.spec.unwrap();
    assert_eq!(spec.sources.len(), 1);
    assert_eq!(spec.sinks.len(), 2, "a sink may name a source that was left out");
}

#[test]
fn a_finding_reads_as_one_line() {
    let document = read(&BASE.replace("kafka-0:9093", "kafka\\n-0"));
    assert_eq!(
        document.findings[0].to_string(),
        "line 23: error: spec.sinks[0].kafka.brokers[0]: \"kafka\\n-0\" is not a host with a port; \
         write host:port, such as kafka-0:9093"
    );
}
