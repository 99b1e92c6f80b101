//! The pages of `docs/formats`: the lines that they show are understood.

use jiff::tz::TimeZone;

use super::tests::{frame, gateway, info};
use super::{Encoder, Frame, Kind, Settings};

const BEGINS: &str = "```log\n";
const END: &str = "\n```";
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

#[test]
fn the_lines_of_the_pages_are_understood() {
    for kind in KINDS {
        let path = format!("{}/docs/formats/{kind}.md", env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let settings = Settings { time_zone: TimeZone::UTC, ..gateway(kind) };
        let mut encoder = Encoder::new(&settings, &info()).unwrap();
        let mut seq = 0;
        for example in page.split(BEGINS).skip(1) {
            let line = &example[..example.find(END).expect("an example ends")];
            seq += 1;
            let mut out = Vec::new();
            let verdict = encoder.encode(&Frame { seq, ..frame(line.as_bytes()) }, &mut out);
            assert!(verdict.parsed && !verdict.dropped, "{kind}: {line}");
        }
        assert!(seq > 0, "{path} shows no line");
    }
}
