//! What framing, parsing and encoding cost, per record and per byte, and that encoding allocates nothing.
//!
//! The lines are those of `testdata`, repeated, with a second of the clock passing every few hundred lines.

#![expect(clippy::panic, reason = "a bench that cannot set up has nothing to measure")]

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use waybill::format::{Encoder, Frame, JsonMap, Kind, Meaning, Settings, StreamInfo, record_hash};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const QURL: &str = concat!(
    r#"{"ts":"2026-08-26T12:00:00.123456789Z","event":"qurl.connector.login.success","outcome":"success","#,
    r#""actor":"0198f3a2-7c11-7000-8000-1f2e3d4c5b6a","trace_id":"9f8e7d6c5b4a3210","session_id":"s-0192","#,
    r#""resource_public_key":"pk_5Q2xW8mR7tYv","route_id":"r-7","subject":"alice@example.org","#,
    r#""source_ip":"203.0.113.77","source_port":51544,"target":"10.0.0.5:8443","latency_ms":12.345,"#,
    r#""bytes_sent":5120,"bytes_received":90210,"machine_id":"m-42","proxy_version":"0.12.0","run_id":"9f8e7d6c5b4a3210"}"#,
);
const JSON: &str = concat!(
    r#"{"ts":"2026-08-26T12:00:00.123Z","who":"alice@example.org","result":"denied","client":{"ip":"203.0.113.77","port":51544},"#,
    r#""request":{"method":"GET","path":"/admin/users?page=2","agent":"Mozilla/5.0 (X11; Linux x86_64)"},"note":"a \"quoted\" word"}"#,
);

/// Output is handed on in pieces of this size.
const PIECE: usize = 256 * 1024;

fn main() {
    divan::main();
}

/// A block of lines, about 1 MiB.
fn block(kind: &str) -> Vec<u8> {
    let lines: Vec<Vec<u8>> = match kind {
        "V2RayAccess" => file("xray-26.3.27/access.log").into_iter().chain(file("v2ray-4.34.0/access.log")).collect(),
        // Only lines of connections, which are what a busy gateway writes.
        "V2RayAccessConnections" => file("xray-26.3.27/access.log")
            .into_iter()
            .filter(|line| memchr::memmem::find(line, b" from ").is_some())
            .collect(),
        "V2RayError" => file("xray-26.3.27/error.log"),
        "Sshd" | "Sudo" => file("sshd-9.2p1/auth-iso.log"),
        "LinuxAudit" => file("auditd-3.0.9/enriched.log"),
        "KubernetesAudit" => file("kubernetes-1.36.4/audit.log"),
        "SoftEtherServer" => file("softether-5.01.9674/server.log"),
        "SoftEtherSecurity" => file("softether-5.01.9674/security-CORP.log"),
        "SoftEtherPacket" => file("softether-5.01.9674/packet-CORP.log"),
        "QurlConnector" => vec![QURL.as_bytes().to_vec()],
        "Json" => vec![JSON.as_bytes().to_vec()],
        _ => file("xray-26.3.27/access.log"),
    };
    let mut block = Vec::new();
    while block.len() < 1 << 20 {
        for line in &lines {
            block.extend_from_slice(line);
            block.push(b'\n');
        }
    }
    block
}

fn file(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

fn settings(kind: &str) -> Settings {
    let format = match kind {
        "V2RayAccessConnections" => Kind::V2RayAccess,
        name => Kind::named(name).unwrap_or(Kind::Text),
    };
    let outbounds = [("blocked", Meaning::Deny), ("direct", Meaning::Allow), ("api", Meaning::Drop)];
    let path = |path: &str| Some(path.to_owned());
    let fields = [
        ("user.name", "$.who"),
        ("source.ip", "$.client.ip"),
        ("source.port", "$.client.port"),
        ("url.path", "$.request.path"),
    ];
    Settings {
        time_zone: jiff::tz::TimeZone::get("Europe/Berlin").unwrap_or(jiff::tz::TimeZone::UTC),
        outbounds: outbounds.into_iter().map(|(tag, meaning)| (tag.to_owned(), meaning)).collect(),
        json: Some(JsonMap {
            time: path("$.ts"),
            outcome: path("$.result"),
            fields: fields.into_iter().map(|(name, path)| (name.to_owned(), path.to_owned())).collect(),
        }),
        ..Settings::new(format)
    }
}

fn info() -> StreamInfo {
    StreamInfo {
        stream: [7; 16],
        policy: "gateways".to_owned(),
        source: "v2ray-access".to_owned(),
        path: b"/var/log/v2ray/access.log".to_vec(),
        host: "node-1.example.org".to_owned(),
        ..StreamInfo::default()
    }
}

/// Finding the newlines.
#[divan::bench]
fn framing(bencher: Bencher<'_, '_>) {
    let block = block("V2RayAccess");
    bencher.counter(BytesCount::new(block.len())).bench(|| memchr::memchr_iter(b'\n', black_box(&block)).count());
}

/// Finding the newlines and hashing the lines, as a record id needs it.
#[divan::bench]
fn framing_and_hash(bencher: Bencher<'_, '_>) {
    let block = block("V2RayAccess");
    bencher
        .counter(BytesCount::new(block.len()))
        .bench(|| black_box(&block).split(|byte| *byte == b'\n').fold(0, |sum: u64, line| sum ^ record_hash(line)));
}

/// From framed lines to ECS.
#[divan::bench(args = ["V2RayAccessConnections", "V2RayAccess", "V2RayError", "SoftEtherServer", "SoftEtherSecurity", "SoftEtherPacket", "QurlConnector", "Sshd", "Sudo", "LinuxAudit", "KubernetesAudit", "Json", "Text"])]
fn encode(bencher: Bencher<'_, '_>, kind: &str) {
    let block = block(kind);
    let lines: Vec<&[u8]> = block.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let frames: Vec<Frame<'_>> = lines
        .iter()
        .enumerate()
        .map(|(index, line)| Frame {
            text: line,
            seq: index as u64 + 1,
            offset: index as u64 * 100,
            hash: record_hash(line),
            observed: 1_795_298_229_000_000_000 + index as i64,
            envelope: None,
            fragment: None,
            partial: false,
        })
        .collect();
    let mut encoder = Encoder::new(&settings(kind), &info()).unwrap_or_else(|error| panic!("{error}"));
    let mut out = Vec::with_capacity(2 * PIECE);
    bencher.counter(BytesCount::new(block.len())).counter(ItemsCount::new(frames.len())).bench_local(|| {
        out.clear();
        for frame in &frames {
            black_box(encoder.encode(frame, &mut out));
            if out.len() > PIECE {
                black_box(&out);
                out.clear();
            }
        }
        out.len()
    });
}

/// Lines that are made to take long: pieces of the grammar that almost match, over and over. Time must grow with the length and
/// no faster, so the bytes a second of the longer line must be those of the shorter.
#[divan::bench(args = [64, 1024], consts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])]
fn adversarial<const HOSTILE: usize>(bencher: Bencher<'_, '_>, kibibytes: usize) {
    let (kind, begins, piece, ends) = [
        (Kind::V2RayAccess, "2026/11/21 22:57:08 192.0.2.1:5 accepted tcp:", "] email: [a -> b", ""),
        (Kind::V2RayAccess, "2026/11/21 22:57:08 ", "Masked [//u:p@request user id: ", ""),
        (Kind::V2RayError, "2026/11/21 22:57:08 [Info] [7] ", "a/b: taking detour [x] for [ > ", ""),
        (
            Kind::SoftEtherServer,
            "2026-11-21 22:57:08.123 The connection \"CID-1\"",
            " (IP address: , Host name: ) is attempting provided is \"",
            "",
        ),
        (Kind::SoftEtherSecurity, "2026-11-21 22:57:08.123 Connection \"", "\": User auth provided was \", from ", ""),
        (
            Kind::SoftEtherPacket,
            "2026-11-21,22:57:08.123,SID-A-1,-,5EAC3D2CCAE4,5EAC3D2CCAE4,0x0800,60,TCP_DATAv4,-,-,-,-,-,1,2,",
            " HttpUrl= Http",
            "",
        ),
        (Kind::QurlConnector, "{\"event\":\"x\"", ",\"a\":[{}]", ""),
        (
            Kind::Sshd,
            "<38>1 2026-11-21T22:45:14Z vm sshd 1 - - Failed publickey for invalid user ",
            " from 192.0.2.1 port 5 ssh2: RSA-CERT SHA256:x ID ",
            " (serial 0) CA RSA SHA256:y",
        ),
        (Kind::Sudo, "<38>1 2026-11-21T22:45:14Z vm sudo 1 - - a : ", " ; USER=x ; COMMAND= ; EXIT=", "0"),
        (Kind::LinuxAudit, "type=EXECVE msg=audit(1795301771.517:5): argc=9 ", "a1[1]=41414141 x=\"y\" msg='", ""),
        (
            Kind::KubernetesAudit,
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","user":{"username":"x","extra":{"a":["#,
            r#""x","#,
            r#""x"]}},"annotations":{}}"#,
        ),
    ][HOSTILE];
    let mut line = begins.as_bytes().to_vec();
    while line.len() < kibibytes * 1024 {
        line.extend_from_slice(piece.as_bytes());
    }
    line.extend_from_slice(ends.as_bytes());
    let mut encoder = Encoder::new(&Settings::new(kind), &info()).unwrap_or_else(|error| panic!("{error}"));
    let mut out = Vec::with_capacity(8 * line.len());
    let frame =
        Frame { text: &line, seq: 1, offset: 0, hash: 0, observed: 0, envelope: None, fragment: None, partial: false };
    bencher.counter(BytesCount::new(line.len())).bench_local(|| {
        out.clear();
        black_box(encoder.encode(&frame, &mut out))
    });
}

/// From bytes to ECS: framing, hash, parsing, encoding.
#[divan::bench(args = ["V2RayAccessConnections", "QurlConnector", "Text"])]
fn bytes_to_ecs(bencher: Bencher<'_, '_>, kind: &str) {
    let block = block(kind);
    let records = memchr::memchr_iter(b'\n', &block).count();
    let mut encoder = Encoder::new(&settings(kind), &info()).unwrap_or_else(|error| panic!("{error}"));
    let mut out = Vec::with_capacity(2 * PIECE);
    bencher.counter(BytesCount::new(block.len())).counter(ItemsCount::new(records)).bench_local(|| {
        out.clear();
        let mut start = 0;
        for (seq, end) in memchr::memchr_iter(b'\n', black_box(&block)).enumerate() {
            let text = &block[start..end];
            let frame = Frame {
                text,
                seq: seq as u64 + 1,
                offset: start as u64,
                hash: record_hash(text),
                observed: 0,
                envelope: None,
                fragment: None,
                partial: false,
            };
            black_box(encoder.encode(&frame, &mut out));
            if out.len() > PIECE {
                black_box(&out);
                out.clear();
            }
            start = end + 1;
        }
        out.len()
    });
}
