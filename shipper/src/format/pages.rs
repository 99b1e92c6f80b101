//! Holds the examples of the documentation against the code: a page has blocks of `text`, each followed by one of `json`, which is
//! the record of the block's last line without what every record has.

use serde_json::Value;

use super::tests::{frame, gateway, info, record};
use super::{Encoder, Frame, Kind};

/// 2026-11-22T06:00:00Z
const OBSERVED: i64 = 1_795_327_200_000_000_000;

/// What is the same in all records of a stream, or says where the record lies.
const COMMON: [&str; 9] = [
    "/ecs",
    "/host",
    "/log/file",
    "/waybill/policy",
    "/waybill/source",
    "/waybill/stream",
    "/waybill/id",
    "/waybill/seq",
    "/waybill/offset",
];

fn without_common(mut record: Value) -> Value {
    for path in COMMON.iter().chain(&["/event/original", "/log"]) {
        let (parent, name) = path.rsplit_once('/').unwrap();
        if let Some(Value::Object(members)) = record.pointer_mut(parent)
            && (*path != "/log" || members["log"].as_object().is_some_and(serde_json::Map::is_empty))
        {
            members.remove(name);
        }
    }
    record
}

/// The blocks of a page: language and text.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    page.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect()
}

#[test]
fn examples_are_what_the_code_does() {
    let mut wrong = String::new();
    for kind in [Kind::Sshd, Kind::Sudo, Kind::LinuxAudit, Kind::KubernetesAudit] {
        let path = format!("{}/docs/formats/{kind}.md", env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let blocks = blocks(&page);
        let examples = blocks.windows(2).filter(|pair| pair[0].0 == "text" && pair[1].0 == "json");
        let mut count = 0;
        for pair in examples {
            count += 1;
            let mut settings = gateway(kind);
            settings.time_zone = jiff::tz::TimeZone::UTC;
            let mut encoder = Encoder::new(&settings, &info()).unwrap();
            let mut out = Vec::new();
            for (index, line) in pair[0].1.lines().enumerate() {
                out.clear();
                // The page shows the separator of enriched lines as a blank.
                let line = line.replace('␝', "\u{1d}");
                encoder.encode(&Frame { offset: index as u64, observed: OBSERVED, ..frame(line.as_bytes()) }, &mut out);
            }
            let found = without_common(record(&out));
            if serde_json::from_str::<Value>(pair[1].1).ok().as_ref() != Some(&found) {
                wrong = format!("{wrong}=== {kind} {count}\n{}\n", serde_json::to_string_pretty(&found).unwrap());
            }
        }
        assert!(count > 0, "{path} has no example");
    }
    assert!(wrong.is_empty(), "{wrong}");
}
