//! The lines of `testdata`, which the programs themselves wrote.

use serde_json::Value;

use super::tests::{frame, gateway, info, record};
use super::{Encoder, Frame, Kind, Outcome};

/// Encodes a file; answers the lines that did not parse, and the records.
fn read(kind: Kind, name: &str) -> (Vec<String>, Vec<Value>) {
    let path = format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).unwrap();
    let mut settings = gateway(kind);
    settings.outbounds.remove("api");
    let mut encoder = Encoder::new(&settings, &info()).unwrap();
    let (mut unparsed, mut records) = (Vec::new(), Vec::new());
    for (line, seq) in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).zip(1..) {
        let mut out = Vec::new();
        let verdict = encoder.encode(&Frame { seq, ..frame(line) }, &mut out);
        let record = record(&out);
        assert!(verdict.time.is_some());
        assert_eq!(record["waybill"]["outcome"].as_str(), verdict.outcome.map(Outcome::as_str));
        if verdict.parsed {
            records.push(record);
        } else {
            unparsed.push(String::from_utf8_lossy(line).into_owned());
        }
    }
    (unparsed, records)
}

const ACCESS: [&str; 6] = [
    "v2ray-4.34.0/access.log",
    "xray-26.3.27/access.log",
    "xray-26.3.27/access-mask-quarter.log",
    "xray-26.3.27/access-mask-half.log",
    "xray-26.3.27/access-mask-full.log",
    "xray-26.3.27/access-mask-1664.log",
];
const ERROR: [&str; 3] = ["v2ray-4.34.0/error.log", "xray-26.3.27/error.log", "xray-26.3.27/error-mask-full.log"];

/// The one line that a client forged, after the mask ate its time.
const FORGED: &str = "2026/01/01 Masked IPv6 from [Masked IPv4]:1 accepted tcp:forged.test:443 [in-socks >> direct] email: forged@example.org";

#[test]
fn every_line_parses_by_either_format() {
    for kind in [Kind::V2RayAccess, Kind::V2RayError] {
        for name in ACCESS.iter().chain(&ERROR) {
            let (unparsed, records) = read(kind, name);
            let known: &[&str] = if name.contains("mask-full") { &[FORGED] } else { &[] };
            assert_eq!(unparsed, known, "{name}");
            let access = ACCESS.contains(name);
            for record in records {
                let dataset = record["event"]["dataset"].as_str().unwrap();
                let forged = record["user"]["name"] == "forged@example.org";
                assert!(forged || access == (dataset != "v2ray.error"), "{name}: {record}");
            }
        }
    }
}

#[test]
fn access_lines_are_complete() {
    for name in ACCESS {
        let (_, records) = read(Kind::V2RayAccess, name);
        let mut seen = [0; 3];
        let mut suspected = 0;
        for record in &records {
            let forged = record["user"]["name"] == "forged@example.org";
            let suspect = record["waybill"]["suspect"].as_str();
            assert_eq!(forged, suspect.is_some_and(|reason| reason != "after-refused-name"), "{record}");
            suspected += usize::from(suspect.is_some());
            let outcome = record["waybill"]["outcome"].as_str().unwrap();
            match record["event"]["action"].as_str().unwrap() {
                "accepted" => {
                    seen[0] += 1;
                    assert!(record["destination"]["port"].is_u64(), "{record}");
                    let outbound = record["waybill"]["v2ray"]["outbound"].as_str().unwrap();
                    assert_eq!(outcome, if outbound == "blocked" { "deny" } else { "allow" });
                    assert_eq!(
                        forged || name.starts_with("xray"),
                        record["waybill"]["v2ray"]["route"].is_string(),
                        "{record}"
                    );
                }
                "rejected" => {
                    seen[1] += 1;
                    assert_eq!(outcome, "deny");
                    assert!(record["event"]["reason"].as_str().unwrap().contains('/'), "{record}");
                    assert!(record["source"]["port"].is_u64());
                }
                _ => {
                    seen[2] += 1;
                    assert!(!record["dns"]["question"]["name"].as_str().unwrap().contains(' '), "{record}");
                    assert!(
                        record["event"]["action"] == "dns-cache-hit" || record["event"]["duration"].is_u64(),
                        "{record}"
                    );
                }
            }
        }
        // Names were refused on purpose: what follows each can't be told.
        assert!(suspected < 10, "{name}: {suspected}");
        assert!(seen[0] > 0 && seen[1] > 0 && (name.starts_with("v2ray") || seen[2] > 0), "{name}: {seen:?}");
    }
}

#[test]
fn no_secret_leaves() {
    for name in ACCESS.iter().chain(&ERROR) {
        let (_, records) = read(Kind::V2RayAccess, name);
        for record in records {
            let text = record.to_string();
            assert!(!text.contains("user:secret@"), "{text}");
            assert!(!text.contains("4d53-ad4f"), "{text}");
        }
    }
}

#[test]
fn error_lines_name_their_ends() {
    let (_, records) = read(Kind::V2RayError, "xray-26.3.27/error.log");
    let of = |action: &str| {
        records.iter().find(|record| record["event"]["action"] == action).unwrap_or_else(|| panic!("{action}"))
    };
    assert!(of("dial")["destination"]["address"].is_string());
    assert!(of("request")["destination"]["port"].is_u64());
    assert_eq!(of("started")["service"]["version"], "26.3.27");
    assert!(of("dns-answer")["dns"]["question"]["type"].is_string());
    assert!(
        records
            .iter()
            .any(|record| record["rule"]["name"] == "block-ads" && record["waybill"]["v2ray"]["outbound"] == "blocked")
    );
    let refused: Vec<&Value> = records.iter().filter(|record| record["waybill"]["outcome"] == "deny").collect();
    assert!(refused.len() > 5);
    assert!(
        refused
            .iter()
            .all(|record| record["event"]["category"][0] == "authentication" || record["user"]["name"].is_string())
    );
    assert!(refused.iter().any(|record| record["source"]["ip"] == "127.0.0.1"));
}
