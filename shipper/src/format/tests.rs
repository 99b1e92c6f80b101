//! What holds for every format, tried on genuine and on hostile lines.

use jiff::tz::TimeZone;
use serde_json::Value;

use super::*;

/// Encodes one line and reads it back. Checks what holds for every record.
pub(super) fn encode(settings: &Settings, text: &[u8]) -> (Verdict, Option<Value>) {
    let mut encoder = Encoder::new(settings, &info()).unwrap();
    let mut out = b"before\n".to_vec();
    let verdict = encoder.encode(&frame(text), &mut out);
    let line = out.strip_prefix(b"before\n").unwrap();
    if verdict.dropped {
        assert!(line.is_empty());
        return (verdict, None);
    }
    (verdict, Some(record(line)))
}

/// Reads one written line.
pub(super) fn record(line: &[u8]) -> Value {
    let line =
        std::str::from_utf8(line).expect("a record is UTF-8").strip_suffix('\n').expect("a record ends in a newline");
    assert!(
        !line.contains(|character: char| character.is_control() || "\u{2028}\u{2029}\u{202e}".contains(character)),
        "{line}"
    );
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

pub(super) fn frame(text: &[u8]) -> Frame<'_> {
    Frame {
        text,
        seq: 1,
        offset: 0,
        hash: record_hash(text),
        observed: 1_000_000_000,
        envelope: None,
        fragment: None,
        partial: false,
    }
}

pub(super) fn info() -> StreamInfo {
    StreamInfo {
        stream: [0x5a; 16],
        policy: "gateways".to_owned(),
        source: "access".to_owned(),
        path: b"/var/log/v2ray/access.log".to_vec(),
        captures: Vec::new(),
        host: "node-1".to_owned(),
        kubernetes: None,
    }
}

/// Settings as a gateway has them.
pub(super) fn gateway(format: Kind) -> Settings {
    let outbounds = [("blocked", Meaning::Deny), ("direct", Meaning::Allow), ("api", Meaning::Drop)];
    Settings {
        time_zone: TimeZone::get("Europe/Berlin").unwrap(),
        outbounds: outbounds.into_iter().map(|(tag, meaning)| (tag.to_owned(), meaning)).collect(),
        ..Settings::new(format)
    }
}
