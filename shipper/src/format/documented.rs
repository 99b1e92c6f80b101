//! The pages of `docs/formats`: their examples are what the code makes of those lines.
//!
//! With `WAYBILL_BLESS=1` the records of the pages are written anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::tests::{frame, gateway, record};
use super::{Encoder, Frame, JsonMap, Kind, Settings, StreamInfo};

/// The pages with such examples.
const KINDS: [Kind; 8] = [
    Kind::V2RayAccess,
    Kind::V2RayError,
    Kind::SoftEtherServer,
    Kind::SoftEtherSecurity,
    Kind::SoftEtherPacket,
    Kind::QurlConnector,
    Kind::Json,
    Kind::Text,
];
const LINE: &str = "```log\n";
const RECORD: &str = "```json\n";
const END: &str = "\n```";

fn page(kind: Kind) -> PathBuf {
    PathBuf::from(format!("{}/docs/formats/{kind}.md", env!("CARGO_MANIFEST_DIR")))
}

fn encoder(kind: Kind) -> Encoder {
    let path = |path: &str| Some(path.to_owned());
    let fields = [("user.name", "$.who"), ("source.ip", "$.client.ip")];
    let settings = Settings {
        time_zone: TimeZone::UTC,
        json: Some(JsonMap {
            time: path("$.ts"),
            outcome: path("$.result"),
            fields: fields.into_iter().map(|(name, path)| (name.to_owned(), path.to_owned())).collect(),
        }),
        ..gateway(kind)
    };
    let of_hub = matches!(kind, Kind::SoftEtherSecurity | Kind::SoftEtherPacket);
    let info = StreamInfo {
        stream: [0x5a; 16],
        policy: "gateways".to_owned(),
        source: "example".to_owned(),
        path: b"/var/log/example/example.log".to_vec(),
        captures: of_hub.then(|| ("hub".to_owned(), "CORP".to_owned())).into_iter().collect(),
        host: "node-1".to_owned(),
        kubernetes: None,
    };
    Encoder::new(&settings, &info).unwrap()
}

/// The page with the records that the code makes of its lines.
fn rendered(kind: Kind, page: &str) -> String {
    let mut encoder = encoder(kind);
    let (mut out, mut rest, mut seq, mut offset) = (String::new(), page, 0, 0);
    while let Some(at) = rest.find(LINE) {
        let start = at + LINE.len();
        let end = start + rest[start..].find(END).expect("an example ends");
        let line = &rest[start..end];
        let behind = &rest[end + END.len()..];
        let open = behind.find(RECORD).expect("a record follows each line") + RECORD.len();
        let close = open + behind[open..].find(END).expect("a record ends");
        assert!(!behind[..open].contains(LINE), "a record follows each line");
        seq += 1;
        let mut json = Vec::new();
        let verdict = encoder.encode(&Frame { seq, offset, ..frame(line.as_bytes()) }, &mut json);
        assert!(verdict.parsed, "{line}");
        offset += line.len() as u64 + 1;
        let written: Value = record(&json);
        let _ = write!(out, "{}{}{written:#}", &rest[..end + END.len()], &behind[..open]);
        rest = &behind[close..];
    }
    assert!(seq > 0, "{kind} has no example");
    out + rest
}

#[test]
fn the_pages_show_what_the_code_does() {
    let renew = std::env::var_os("WAYBILL_BLESS").is_some();
    for kind in KINDS {
        let path = page(kind);
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = rendered(kind, &text);
        if renew {
            std::fs::write(&path, &expected).unwrap();
        }
        assert!(renew || text == expected, "{} is out of date: WAYBILL_BLESS=1 renews it", path.display());
    }
}
