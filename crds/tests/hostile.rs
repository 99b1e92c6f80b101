//! Documents that mean harm, or mean nothing.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use waybill_crds::{Document, read};

const GATEWAYS: &str = include_str!("../examples/gateways.yaml");

fn timed(text: &str) -> Document {
    let start = Instant::now();
    let document = read(text);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    document
}

fn refused(text: &str, message: &str) {
    let document = timed(text);
    assert!(document.spec.is_none());
    assert!(
        document.findings.iter().any(|finding| finding.message.contains(message)),
        "{:?}",
        document.findings.first()
    );
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let before = format!("*a{}", level - 1);
        let _ = writeln!(text, "a{level}: &a{level} [{}]", vec![before; 10].join(", "));
    }
    refused(&text, "too many values");
}

#[test]
fn an_alias_within_its_own_anchor_is_refused() {
    let document = timed("a: &a [*a]\n");
    assert!(document.spec.is_none() && !document.findings.is_empty());
}

#[test]
fn an_alias_is_read_where_it_is_harmless() {
    let text = "apiVersion: waybill.dev/v1alpha1
kind: AuditPolicy
metadata: {name: a}
spec:
  sources:
    - {name: one, format: Text, file: &file {paths: [/var/log/x]}}
    - {name: two, format: Sshd, file: *file}
";
    let spec = timed(text).spec.unwrap();
    assert_eq!(spec.sources[0].file, spec.sources[1].file);
}

#[test]
fn depth_is_bounded() {
    refused(&"[".repeat(100), "nested too deeply");
    refused(&"a: {".repeat(100), "nested too deeply");
    refused(&"- ".repeat(100), "nested too deeply");
}

#[test]
fn depth_beyond_what_the_parser_bears_is_an_error_too() {
    for unit in ["[", "a: {", "- ", "{a: [", "? ", "? - "] {
        let document = timed(&unit.repeat(10_000));
        assert!(document.spec.is_none() && !document.findings.is_empty());
    }
}

#[test]
fn size_is_bounded() {
    refused(&"a".repeat(2_000_000), "bytes");
    refused(&"ä".repeat(1_000_000), "bytes");
    refused(&"- x\n".repeat(100_000), "too many values");
    let mut keys = String::new();
    for key in 0..60_000 {
        let _ = writeln!(keys, "k{key}: 1");
    }
    refused(&keys, "too many values");
}

#[test]
fn nothing_takes_long() {
    for unit in [
        "{",
        "? ",
        "a: ",
        "\"",
        "'",
        "&a ",
        "*a ",
        "!t ",
        "|\n",
        "- [",
        "%YAML 1.2\n",
        "---\n",
        "a:\n b",
        "\t",
        "#",
        "\\",
        "[]: ",
        "{}\n",
    ] {
        timed(&unit.repeat(1_000_000 / unit.len()));
    }
}

#[test]
fn what_is_repeated_in_a_message_is_short_and_harmless() {
    let long = "x".repeat(100_000);
    let text = GATEWAYS.replacen("gateways", &format!("\"\\e[31m{long}\""), 1);
    for finding in timed(&text).findings {
        let shown = finding.to_string();
        assert!(shown.len() < 1000 && !shown.contains('\u{1b}'), "{shown}");
    }
}

#[test]
fn every_prefix_of_a_policy_is_read() {
    for end in (0..GATEWAYS.len()).filter(|end| GATEWAYS.is_char_boundary(*end)).step_by(7) {
        read(&GATEWAYS[..end]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_text_is_read(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn anything_that_looks_like_yaml_is_read(text in "[-a-c:{}\\[\\],?&*!|>'\"%@`# \n\t0-9~.<\u{feff}\\\\]{0,120}") {
        read(&text);
    }

    #[test]
    fn a_mutated_policy_is_read(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..12_usize, "[-a-zA-Z0-9:{}\\[\\],?&*!|>'\"%#~ \n\t]{0,6}"),
            1..8,
        ),
    ) {
        let mut chars: Vec<char> = GATEWAYS.chars().collect();
        for (index, cut, insert) in edits {
            let start = index.index(chars.len());
            let end = (start + cut).min(chars.len());
            chars.splice(start..end, insert.chars());
        }
        let document = read(&chars.into_iter().collect::<String>());
        prop_assert_eq!(document.spec.is_none(), document.is_broken());
    }

    #[test]
    fn what_is_read_is_written_and_read_again(flow in any::<bool>(), port in 1..65535_u16, days in 0..4000_u32) {
        let text = GATEWAYS.replace("9093", &port.to_string()).replacen("maxAgeDays: 90", &format!("maxAgeDays: {days}"), 1);
        let spec = read(&text).spec.unwrap();
        let object = serde_json::json!({
            "apiVersion": "waybill.dev/v1alpha1", "kind": "AuditPolicy", "metadata": {"name": "a"}, "spec": spec,
        });
        let text = if flow { object.to_string() } else { serde_json::to_string_pretty(&object).unwrap() };
        prop_assert_eq!(read(&text).spec, Some(spec));
    }
}
