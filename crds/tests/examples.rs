//! The policies that the documentation shows.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use waybill_crds::{
    ByteSize, Compression, Cycle, Document, Encoding, Envelope, Format, KillSwitchMode, MinFree, RotationMode,
    SinkType, SourceType, StartAt, read, validate,
};

const GATEWAYS: &str = include_str!("../examples/gateways.yaml");
const QUICKSTART: &str = include_str!("../examples/quickstart.yaml");

fn clean(text: &str) -> Document {
    let document = read(text);
    assert_eq!(
        document.findings,
        [],
        "{}",
        document.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    );
    document
}

#[test]
fn the_whole_contract_is_read() {
    let document = clean(GATEWAYS);
    assert_eq!(document.name, "gateways");
    let spec = document.spec.unwrap();
    assert_eq!(validate(&spec), []);
    let source = spec.source("v2ray-access").unwrap();
    assert_eq!(source.format, Format::V2RayAccess);
    assert_eq!(source.rotation.mode, RotationMode::Collapse);
    let retention = source.effective_retention().unwrap();
    assert_eq!(retention.max_total_size, Some(ByteSize::gib(5)));
    assert_eq!(retention.min_free, Some(MinFree::Percent(10)));
    let kinds: Vec<SinkType> = spec.sinks.iter().map(|sink| sink.kind).collect();
    assert_eq!(kinds, SinkType::ALL);
    assert!(spec.sink("stream").unwrap().takes("v2ray-access"));
    assert!(!spec.sink("stream").unwrap().takes("apiserver"));
    assert!(!spec.sink("siem").unwrap().is_required());
    assert!(spec.sink("archive").unwrap().is_required());
    assert!(!document.switches.any_engaged());
    assert_eq!(document.switches.policy, Some(spec.kill_switch));
}

#[test]
fn what_is_not_written_has_its_default() {
    let document = clean(QUICKSTART);
    let spec = document.spec.unwrap();
    assert!(!spec.kill_switch.engaged);
    assert_eq!(spec.kill_switch.mode, KillSwitchMode::Hold);
    assert_eq!(spec.limits.in_flight, ByteSize::mib(64));
    assert_eq!(spec.limits.line, ByteSize::mib(1));
    assert_eq!(spec.limits.open_files, 1024);
    assert_eq!(spec.limits.drain_seconds, 25);

    let source = &spec.sources[0];
    assert_eq!(source.kind, SourceType::File);
    assert!(source.keep_original);
    assert_eq!(source.rotation.mode, RotationMode::Observe);
    assert_eq!(source.effective_retention(), None);
    let file = source.file.as_ref().unwrap();
    assert_eq!((file.envelope, file.start_at), (Envelope::Cri, StartAt::Oldest));

    let sink = &spec.sinks[0];
    assert_eq!(sink.encoding, Encoding::Ecs);
    let file = sink.file.as_ref().unwrap();
    assert_eq!(file.rotation.max_size, ByteSize::mib(100));
    assert_eq!((file.rotation.cycle, file.rotation.compression), (Cycle::None, Compression::Gzip));
    assert_eq!((file.retention.max_age_days, file.retention.max_files), (90, 14));

    assert_eq!(spec.agent.tolerations[0].operator.as_deref(), Some("Exists"));
    assert_eq!(spec.agent.update_strategy.max_unavailable.to_string(), "10%");
    assert_eq!(spec.agent.resources.effective().limits["memory"].as_str(), "192Mi");
}

#[test]
fn json_is_read_as_well_and_nothing_is_lost_on_the_way() {
    let spec = clean(GATEWAYS).spec.unwrap();
    let json = serde_json::json!({
        "apiVersion": "waybill.dev/v1alpha1",
        "kind": "AuditPolicy",
        "metadata": {"name": "gateways", "generation": 3, "labels": {"a": "b"}},
        "spec": spec,
        "status": {"anything": true},
    });
    for text in [json.to_string(), serde_json::to_string_pretty(&json).unwrap()] {
        assert_eq!(clean(&text).spec.as_ref(), Some(&spec));
    }
}

#[test]
fn a_windows_editor_does_no_harm() {
    let text = format!("\u{feff}{}", QUICKSTART.replace('\n', "\r\n"));
    assert_eq!(clean(&text).spec, clean(QUICKSTART).spec);
}

#[test]
fn empty_documents_around_the_policy_do_no_harm() {
    clean(&format!("---\n{QUICKSTART}---\n"));
    clean(&format!("# nothing\n---\n{QUICKSTART}...\n"));
}
