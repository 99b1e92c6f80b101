//! Holds the examples of the documentation against the code: each block of `log` in a page of `docs/formats` is followed by one of
//! `json`, which is the record of the block's last line without what every record has. `WAYBILL_BLESS=1` writes those blocks anew.

use std::fmt::Write as _;

use serde_json::Value;

use super::tests::{frame, gateway, info, record};
use super::{Encoder, Frame, JsonMap, Kind, Settings, StreamInfo};

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

const LINES: &str = "```log\n";
const RECORD: &str = "\n\n```json\n";
const END: &str = "\n```";

/// The record of the last of some lines, as a page shows it.
fn shown(kind: Kind, lines: &str) -> Value {
    let settings = Settings { time_zone: jiff::tz::TimeZone::UTC, json: mapping(kind), ..gateway(kind) };
    let is_hub = matches!(kind, Kind::SoftEtherSecurity | Kind::SoftEtherPacket);
    let captures = is_hub.then(|| ("hub".to_owned(), "CORP".to_owned())).into_iter().collect();
    let mut encoder = Encoder::new(&settings, &StreamInfo { captures, ..info() }).unwrap();
    let mut out = Vec::new();
    // A stack is one record.
    let whole = lines.starts_with("panic: ");
    let parts: Vec<&str> = if whole { vec![lines] } else { lines.lines().collect() };
    for (index, line) in parts.into_iter().enumerate() {
        out.clear();
        // The page shows the separator of enriched lines as a sign.
        let line = line.replace('␝', "\u{1d}");
        let place = Frame { seq: index as u64 + 1, offset: index as u64, observed: OBSERVED, ..frame(line.as_bytes()) };
        let verdict = encoder.encode(&place, &mut out);
        assert!(verdict.parsed && !verdict.dropped, "{kind}: {line}");
    }
    without_common(record(&out))
}

/// The field map that the page of `Json` shows.
fn mapping(kind: Kind) -> Option<JsonMap> {
    (kind == Kind::Json).then(|| JsonMap {
        time: Some("$.ts".to_owned()),
        outcome: Some("$.result".to_owned()),
        fields: [("user.name".to_owned(), "$.who".to_owned()), ("source.ip".to_owned(), "$.client.ip".to_owned())]
            .into(),
    })
}

#[test]
fn examples_are_what_the_code_does() {
    let bless = std::env::var_os("WAYBILL_BLESS").is_some();
    let mut wrong = String::new();
    for kind in Kind::ALL {
        let path = format!("{}/docs/formats/{kind}.md", env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut parts = page.split(LINES);
        let mut anew = parts.next().unwrap_or_default().to_owned();
        let mut count = 0;
        for part in parts {
            count += 1;
            let (lines, behind) = part.split_once(END).expect("an example ends");
            let found = shown(kind, lines);
            let (said, rest) = match behind.strip_prefix(RECORD).and_then(|json| json.split_once(END)) {
                Some((said, rest)) => (serde_json::from_str(said).unwrap_or_default(), rest),
                None => (Value::Null, behind),
            };
            if said != found {
                wrong = format!("{wrong}=== {kind} {count}\n{}\n", serde_json::to_string_pretty(&found).unwrap());
            }
            let text = if said == found { &behind[RECORD.len()..behind.len() - rest.len() - END.len()] } else { "" };
            let text = if text.is_empty() { serde_json::to_string_pretty(&found).unwrap() } else { text.to_owned() };
            let _ = write!(anew, "{LINES}{lines}{END}{RECORD}{text}{END}{rest}");
        }
        assert!(count > 0, "{path} has no example");
        if bless {
            std::fs::write(&path, anew).unwrap();
        }
    }
    assert!(bless || wrong.is_empty(), "{wrong}");
}
