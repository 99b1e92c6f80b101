//! The hot path: once its buffers have grown, encoding a record allocates nothing.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use waybill::format::{Encoder, Frame, JsonMap, Kind, Meaning, Settings, StreamInfo, record_hash};

const QURL: &str = r#"{"ts":"2026-08-26T12:00:00.5Z","event":"qurl.connector.login.deny","outcome":"deny","subject":"al\u0022ice","source_ip":"203.0.113.77","source_port":51544,"target":"10.0.0.5:8443","latency_ms":12.345,"nested":{"a":[1,2]},"":0,"x":1,"x":2}"#;
const JSON: &str = r#"{"ts":"2026-08-26T12:00:00.5Z","who":"alice","result":"denied","client":{"ip":"203.0.113.77"}}"#;

fn lines(kind: Kind) -> Vec<Vec<u8>> {
    let file = |name: &str| std::fs::read(format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let text = match kind {
        Kind::V2RayAccess | Kind::Text => [file("xray-26.3.27/access.log"), file("v2ray-4.34.0/access.log")].concat(),
        Kind::V2RayError => [file("xray-26.3.27/error.log"), file("v2ray-4.34.0/error.log")].concat(),
        Kind::QurlConnector => QURL.as_bytes().to_vec(),
        Kind::Sshd | Kind::Sudo => [file("sshd-9.2p1/auth.log"), file("sshd-9.2p1/sshd-E.log")].concat(),
        Kind::Json => JSON.as_bytes().to_vec(),
    };
    text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn encoding_does_not_allocate() {
    for kind in Kind::ALL {
        let fields = [("user.name", "$.who"), ("source.ip", "$.client.ip"), ("labels.result", "$.result")];
        let settings = Settings {
            time_zone: jiff::tz::TimeZone::get("Europe/Berlin").unwrap(),
            outbounds: [("blocked".to_owned(), Meaning::Deny)].into(),
            json: Some(JsonMap {
                time: Some("$.ts".to_owned()),
                outcome: Some("$.result".to_owned()),
                fields: fields.into_iter().map(|(name, path)| (name.to_owned(), path.to_owned())).collect(),
            }),
            ..Settings::new(kind)
        };
        let mut encoder = Encoder::new(&settings, &StreamInfo::default()).unwrap();
        let lines = lines(kind);
        let mut out = Vec::with_capacity(1 << 20);
        let mut pass = || {
            for line in &lines {
                let frame = Frame {
                    text: line,
                    seq: 1,
                    offset: 0,
                    hash: record_hash(line),
                    observed: 0,
                    envelope: None,
                    fragment: None,
                    partial: false,
                };
                out.clear();
                encoder.encode(&frame, &mut out);
            }
        };
        pass();
        let info = allocation_counter::measure(pass);
        assert_eq!(info.count_total, 0, "{kind}: {info:?}");
    }
}
