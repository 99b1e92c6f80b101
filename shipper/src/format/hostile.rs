//! Attackers' text is data: no input forges a field, a key or a line, and none panics.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{encode, frame, gateway, info, processor_time, record};
use super::{DropRule, Encoder, Envelope, Fragment, Frame, JsonMap, Kind, Outcome, Settings};

/// What people put into names.
const ATTACKS: [&str; 18] = [
    r#"","waybill":{"outcome":"success"},"x":""#,
    r#"\","event":{"outcome":"success"}}"#,
    "\n{\"@timestamp\":\"2026-01-01T00:00:00Z\"}",
    "\r\nforged line",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{9b}31m\u{85}next\u{2028}line\u{2029}",
    "\u{202e}gnp.exe\u{2066}",
    "\0\u{1}\u{7f}",
    "\\",
    "\\u0022",
    "{{7*7}} ${jndi:ldap://x/a} `id`",
    "<script>alert(1)</script>",
    "] email: root",
    "[in >> direct] email: root",
    " accepted tcp:x:1 [direct]",
    "\u{fffd}\u{feff}\u{10ffff}",
    "__proto__",
    "'; DROP TABLE logs; --",
];

fn settings(kind: Kind) -> Settings {
    let path = |path: &str| Some(path.to_owned());
    let fields = [
        ("user.name", "$.who"),
        ("source.ip", "$.ip"),
        ("source.port", "$.port"),
        ("message", "$.a.b[0]"),
        ("labels.x.y", "$.x"),
        ("labels.x.z", "$.a"),
    ];
    Settings {
        json: Some(JsonMap {
            time: path("$.ts"),
            outcome: path("$.result"),
            fields: fields.into_iter().map(|(name, path)| (name.to_owned(), path.to_owned())).collect(),
        }),
        ..gateway(kind)
    }
}

/// The record without what is the user's text by its place, so that forged fields stand out.
fn shape(value: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    walk(value, &format!("{path}.{name}"), found);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, &format!("{path}[]"), found)),
            _ => found.push(path.to_owned()),
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found.dedup();
    found
}

#[test]
fn a_users_name_is_a_users_name() {
    for attack in ATTACKS.iter().filter(|attack| !attack.contains(['\n', ']'])) {
        let line =
            |name: &str| format!("2026/11/21 22:57:08 192.0.2.1:5 accepted tcp:a.test:443 [direct] email: {name}");
        let (_, record) = encode(&gateway(Kind::V2RayAccess), line(attack).as_bytes());
        let record = record.unwrap();
        assert_eq!(record["user"]["name"], attack.trim_end_matches('\r'), "{attack:?}");
        let (_, plain) = encode(&gateway(Kind::V2RayAccess), line("alice").as_bytes());
        assert_eq!(shape(&record), shape(&plain.unwrap()), "{attack:?}");
    }
}

#[test]
fn a_name_that_a_client_sent_stays_in_the_reason() {
    for attack in ATTACKS {
        let line = format!(
            "2026/11/21 22:57:08 from tcp:192.0.2.1:5 rejected  proxy/socks: x > common/protocol: invalid domain name: {attack}"
        );
        let (_, record) = encode(&gateway(Kind::V2RayAccess), line.as_bytes());
        let record = record.unwrap();
        assert_eq!(
            (&record["waybill"]["outcome"], &record["source"]["ip"]),
            (&json!("deny"), &json!("192.0.2.1")),
            "{attack:?}"
        );
        assert_eq!(
            (&record["user"], &record["destination"], &record["observer"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
    }
}

#[test]
fn json_values_and_keys_stay_where_they_are() {
    for attack in ATTACKS {
        let line = json!({"ts": "2026-01-01T00:00:00Z", "event": "qurl.connector.login.deny", "subject": attack, attack: "value", "nested": {attack: attack}});
        let (verdict, record) = encode(&settings(Kind::QurlConnector), line.to_string().as_bytes());
        assert!(verdict.parsed, "{attack:?}");
        let record = record.unwrap();
        assert_eq!((&record["user"]["name"], &record["waybill"]["outcome"]), (&json!(attack), &json!("deny")));
        let line = json!({"who": attack, "result": "denied", attack: [attack], "x": {attack: attack}});
        let (_, record) = encode(&settings(Kind::Json), line.to_string().as_bytes());
        let record = record.unwrap();
        assert_eq!((&record["user"]["name"], &record["waybill"]["outcome"]), (&json!(attack), &json!("deny")));
    }
}

#[test]
fn of_duplicate_keys_the_last_one_counts() {
    let line = br#"{"event":"tunnel.login.success","outcome":"success","outcome":"deny","x":1,"\u0078":2}"#;
    let (_, record) = encode(&settings(Kind::QurlConnector), line);
    let record = record.unwrap();
    assert_eq!(record["waybill"]["outcome"], "deny");
    assert_eq!(record["waybill"]["qurl"]["x"], 2);
    assert_eq!(record["waybill"]["qurl"]["duplicate_keys"], true);
}

#[test]
fn names_that_an_index_refuses_are_kept_as_text() {
    let line = r#"{"event":"tunnel.teardown","":1,"a..b":2,".c":3,"é":4,"resource":5,"deep":{"a":1,"a":2},"big":1e999,"long":12345678901234567890123}"#;
    let (_, record) = encode(&settings(Kind::QurlConnector), line.as_bytes());
    let qurl = &record.unwrap()["waybill"]["qurl"];
    assert_eq!(qurl["unnamed"], json!(["\"\":1", "\"a..b\":2", "\".c\":3", "\"é\":4", "\"resource\":5"]));
    assert_eq!(qurl["deep"], r#"{"a":1,"a":2}"#);
    assert_eq!((&qurl["big"], &qurl["long"]), (&json!("1e999"), &json!("12345678901234567890123")));
}

#[test]
fn what_is_not_utf8_is_kept_exactly() {
    let (_, record) = encode(&gateway(Kind::Text), b"caf\xe9 \xff");
    let record = record.unwrap();
    assert_eq!(record["event"]["original"], "caf\u{fffd} \u{fffd}");
    assert_eq!(record["waybill"]["original_base64"], "Y2Fm6SD/");
}

#[test]
fn pieces_are_not_taken_for_lines() {
    let line = b"2026/11/21 22:57:08 192.0.2.1:5 accepted tcp:a.test:443 [direct]";
    let mut encoder = Encoder::new(&gateway(Kind::V2RayAccess), &info()).unwrap();
    let whole = frame(line);
    for piece in [
        Frame { partial: true, ..whole },
        Frame { fragment: Some(Fragment { line: 9, index: 1, last: true }), ..whole },
    ] {
        let mut out = Vec::new();
        let verdict = encoder.encode(&piece, &mut out);
        let record = record(&out);
        assert!(!verdict.parsed && verdict.outcome.is_none());
        assert_eq!((&record["source"], &record["event"]["kind"]), (&Value::Null, &json!("event")));
        assert_eq!(record["event"]["original"].as_str().unwrap().as_bytes(), line);
        if piece.partial {
            assert_eq!(record["waybill"]["partial"], true);
        } else {
            assert_eq!(record["waybill"]["fragment"], json!({"line": 9, "index": 1, "last": true}));
        }
    }
}

#[test]
fn the_time_is_the_lines_then_the_envelopes_then_ours() {
    let mut encoder = Encoder::new(&gateway(Kind::Text), &info()).unwrap();
    let mut time = |envelope: Option<&str>| {
        let envelope = envelope.map(|time| Envelope { time: time.as_bytes(), output: b"stderr" });
        let mut out = Vec::new();
        encoder.encode(&Frame { envelope, ..frame(b"text") }, &mut out);
        record(&out)["@timestamp"].as_str().unwrap().to_owned()
    };
    assert_eq!(time(Some("2026-11-21T23:57:08.5+02:00")), "2026-11-21T21:57:08.500Z");
    assert_eq!(time(Some("nonsense")), "1970-01-01T00:00:01.000Z");
    assert_eq!(time(None), "1970-01-01T00:00:01.000Z");
}

#[test]
fn rules_drop_records_of_any_format() {
    for (kind, field, equals, line) in [
        (
            Kind::V2RayAccess,
            "source.ip",
            "192.0.2.1",
            "2026/11/21 22:57:08 192.0.2.1:5 accepted tcp:a.test:443 [direct]",
        ),
        (
            Kind::V2RayAccess,
            "event.outcome",
            "success",
            "2026/11/21 22:57:08 192.0.2.1:5 accepted tcp:a.test:443 [direct]",
        ),
        (Kind::QurlConnector, "user.name", "al\"ice", r#"{"event":"tunnel.teardown","subject":"al\u0022ice"}"#),
        (Kind::QurlConnector, "waybill.qurl.run_id", "7", r#"{"event":"tunnel.teardown","run_id":7}"#),
        (Kind::Text, "message", "noise", "noise"),
    ] {
        let rule = |equals: &str| Settings {
            drop: vec![DropRule { field: field.to_owned(), equals: equals.to_owned() }],
            ..settings(kind)
        };
        assert!(encode(&rule(equals), line.as_bytes()).0.dropped, "{field}");
        assert!(!encode(&rule("other"), line.as_bytes()).0.dropped, "{field}");
    }
}

/// Bytes near the grammars, so that the deeper branches are reached.
fn near() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "2026/11/21 22:57:08",
        "2026/01/01",
        " ",
        "from ",
        "tcp:",
        "127.0.0.1:5",
        "[::1]:7",
        "[Masked IPv4]:1",
        " accepted ",
        " rejected  ",
        " [in >> out]",
        " [",
        "]",
        " email: ",
        "UDP:",
        " got answer: ",
        "a.test.",
        " -> [",
        "] 1.5ms",
        " <rcode: 3>",
        "[Info] ",
        "[123] ",
        "proxy/socks: ",
        " > ",
        "http://u:p@h/p?q",
        "//",
        "request user id: ",
        "\u{1b}[31m",
        "\r",
        "{",
        "}",
        "\"event\":",
        "\"tunnel.",
        "\"",
        ":",
        ",",
        "\\u",
        "d83d",
        "\\",
        "[1,",
        "\"ts\":\"2026-01-01T00:00:00Z\"",
        "1e9",
        "-",
        "null",
        "\"who\":\"x\"",
        "\"a\":{\"b\":[",
        "panic: ",
        "µs",
        "TypeA",
        "taking detour [",
        "] for [",
        "request to Method [",
        "] Host [",
        "] with URL [",
        "Hit route rule: [",
        "Nov 21 22:45:14 vm sshd[1]: ",
        "<38>1 2026-11-21T22:45:14Z vm sudo 1 - - ",
        "message repeated 2 times: [ ",
        "Failed password for ",
        "Accepted publickey for ",
        "Connection closed by ",
        "Disconnecting ",
        "invalid user ",
        " from 192.0.2.1 port 5",
        " ssh2",
        ": RSA SHA256:x",
        " ID ",
        " (serial 0) CA RSA SHA256:y",
        " [preauth]",
        "pam_unix(sshd:auth): authentication failure; rhost=",
        "session opened for user ",
        "a : ",
        " ; TTY=x ; PWD=/ ; USER=",
        " ; COMMAND=/bin/x",
        " ; EXIT=0",
        "type=SYSCALL msg=audit(1.000:1): ",
        "type=EXECVE msg=audit(1.000:1): ",
        "type=PROCTITLE msg=audit(1.000:1): proctitle=41004200",
        "node=n type=NETFILTER_CFG msg=audit(1.000:1): table=x:1 ",
        "pid=7 comm=\"x\" success=yes ",
        "a0=\"x\" a1_len=3 a1[0]=4141 ",
        "acct=\"x\" saddr=0200 ",
        "msg='op=x ",
        "'",
        "\u{1d}AUID=\"alice\" SADDR={ ",
        "'UID=\"a\" AUID=\"b\"",
        "res=1UID=\"a\"",
        "key=41AUID=",
        "\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\"",
        "\"user\":{\"username\":",
        "\"objectRef\":{\"resource\":",
        "\"annotations\":{\"authorization.k8s.io/decision\":\"forbid\"",
        "\"sourceIPs\":[\"192.0.2.1\"]",
        "2026-11-21 22:57:08.123 ",
        "2026-11-21,22:57:08.123,",
        "[vm/VPN/",
        "] (2026-11-21 22:57:08.123) <SECURITY_LOG>: ",
        "[HUB \"CORP\"] ",
        "Connection \"CID-1\": ",
        "Successfully authenticated as user \"",
        "Administration mode [RPC-1] (Virtual Hub \"",
        "\"): User \"",
        "\" has been created.",
        "SID-A-1,-,5EAC3D2CCAE4,5EAC3D2CCAE4,0x0800,60,TCP_DATAv4,ACK,192.0.2.1,echo(7),192.0.2.2,53,1,2,",
        "HttpUrl=",
        ",-,-,-",
    ];
    let piece = prop_oneof![
        8 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
        1 => prop::sample::select(ATTACKS.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

#[test]
fn a_name_that_a_client_sent_to_sshd_is_a_name() {
    for attack in ATTACKS.iter().filter(|attack| !attack.contains(['\n', '\\'])) {
        let line = |name: &str| {
            format!(
                "<38>1 2026-11-21T22:45:14Z vm sshd 1 - - Failed password for invalid user {name} from 192.0.2.1 port 5 ssh2"
            )
        };
        let (_, record) = encode(&gateway(Kind::Sshd), line(attack).as_bytes());
        let record = record.unwrap();
        assert_eq!(
            (&record["user"]["name"], &record["source"]["ip"]),
            (&json!(attack), &json!("192.0.2.1")),
            "{attack:?}"
        );
        let (_, plain) = encode(&gateway(Kind::Sshd), line("alice").as_bytes());
        assert_eq!(shape(&record), shape(&plain.unwrap()), "{attack:?}");
    }
}

#[test]
fn a_value_of_the_audit_log_is_a_value() {
    for attack in ATTACKS {
        let hex = attack.bytes().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().concat();
        let line = |name: &str| {
            format!(
                "type=USER_LOGIN msg=audit(1795301771.517:5): pid=1 uid=0 auid=4294967295 msg='op=login acct={name} addr=192.0.2.1 res=failed'"
            )
        };
        let (_, record) = encode(&gateway(Kind::LinuxAudit), line(&hex).as_bytes());
        let record = record.unwrap();
        assert_eq!(
            (&record["user"]["name"], &record["waybill"]["outcome"]),
            (&json!(attack), &json!("deny")),
            "{attack:?}"
        );
        let (_, plain) = encode(&gateway(Kind::LinuxAudit), line("\"alice\"").as_bytes());
        assert_eq!(shape(&record), shape(&plain.unwrap()), "{attack:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_give_one_valid_line(text in prop_oneof![near(), prop::collection::vec(any::<u8>(), 0..80)], keep in any::<bool>()) {
        for kind in Kind::ALL {
            let mut settings = Settings { keep_original: keep, ..settings(kind) };
            settings.outbounds.clear();
            let (verdict, record) = encode(&settings, &text);
            let record = record.unwrap();
            prop_assert!(verdict.time.is_some());
            prop_assert_eq!(record["waybill"]["parsed"] == json!(false), !verdict.parsed);
            if (keep || !verdict.parsed) && record["waybill"]["redacted"].is_null() {
                prop_assert_eq!(record["event"]["original"].as_str().unwrap(), String::from_utf8_lossy(&text));
            }
            // Nothing that a line says reaches the fields that Waybill vouches for.
            prop_assert_eq!(&record["waybill"]["policy"], "gateways");
            prop_assert_eq!(&record["host"]["hostname"], "node-1");
            prop_assert_eq!(&record["waybill"]["seq"], &json!(1));
            prop_assert!(record["source"]["ip"].is_null() || record["source"]["ip"].as_str().unwrap().parse::<std::net::IpAddr>().is_ok());
            prop_assert!(record["network"]["bytes"].is_null() || record["network"]["bytes"].is_u64());
            prop_assert!(record["source"]["port"].is_null() || record["source"]["port"].as_u64().unwrap() <= 65535);
        }
    }

    #[test]
    fn any_json_keeps_its_strings(name in any::<String>(), value in any::<String>()) {
        let line = json!({"event": "tunnel.teardown", "subject": value, name.clone(): value}).to_string();
        let (verdict, record) = encode(&settings(Kind::QurlConnector), line.as_bytes());
        prop_assert!(verdict.parsed);
        if name != "subject" {
            prop_assert_eq!(&record.unwrap()["user"]["name"], &json!(value));
        }
    }
}

/// A client chooses its name, and a user name may be anything: neither becomes an address, a hub or an outcome.
#[test]
fn a_name_in_a_vpn_log_is_a_name() {
    for attack in ATTACKS.iter().filter(|attack| !attack.contains(['\n', '\r'])) {
        let line = |name: &str| {
            format!(
                "2026-11-21 22:57:08.123 Connection \"CID-1\": User authentication failed. The user name that has been provided was \"{name}\", from 192.0.2.1."
            )
        };
        let (_, record) = encode(&settings(Kind::SoftEtherSecurity), line(attack).as_bytes());
        let (_, plain) = encode(&settings(Kind::SoftEtherSecurity), line("alice").as_bytes());
        let (record, plain) = (record.unwrap(), plain.unwrap());
        assert_eq!(record["user"]["name"], *attack);
        assert_eq!(shape(&record), shape(&plain), "{attack:?}");
        for path in ["/source", "/waybill/outcome", "/waybill/softether", "/event/code"] {
            assert_eq!(record.pointer(path), plain.pointer(path), "{attack:?}");
        }
    }
}

/// Changes a line as an attacker, a torn disk or another version of the program would.
fn mutate(line: &mut Vec<u8>, others: &[Vec<u8>], random: &mut impl FnMut() -> usize) {
    for _ in 0..=random() % 4 {
        let at = random() % (line.len() + 1);
        let end = (at + random() % 24).min(line.len());
        match random() % 9 {
            0 => line.truncate(at),
            1 => drop(line.drain(at..end)),
            2 => line.insert(at, random() as u8),
            3 if at < line.len() => line[at] ^= 1 << (random() % 8),
            4 => {
                let piece = line[at..end].to_vec();
                for _ in 0..random() % 40 {
                    line.splice(at..at, piece.iter().copied());
                }
            }
            5 => {
                let other = &others[random() % others.len()];
                let from = random() % (other.len() + 1);
                line.splice(at..end, other[from..].iter().copied());
            }
            6 => drop(line.splice(at..end, ATTACKS[random() % ATTACKS.len()].bytes())),
            7 => drop(line.splice(at..end, [random() as u8; 3])),
            _ => drop(line.splice(at..end, b"0123456789 []{}\"\\=:;,'/%\x1d\r"[random() % 20..].iter().copied())),
        }
        line.truncate(8192);
    }
}

/// Mutates the lines of `testdata`, format by format, for `WAYBILL_FUZZ_SECONDS` (1 unless said) of processor time, the same way for the
/// same `WAYBILL_FUZZ_SEED`: nothing panics, each line gives one valid record, and none takes long.
#[test]
fn mutated_lines_give_valid_records() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("WAYBILL_FUZZ_SECONDS").unwrap_or(1);
    let mut state = number("WAYBILL_FUZZ_SEED").unwrap_or(0x9e37_79b9_7f4a_7c15);
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize
    };
    let mut lines = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read(&path).unwrap();
                lines.extend(text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
            }
        }
    }
    let share = std::time::Duration::from_secs(seconds) / Kind::ALL.len() as u32;
    for kind in Kind::ALL {
        let mut encoder = Encoder::new(&settings(kind), &info()).unwrap();
        let (mut seq, mut count, mut slowest) = (0, 0u64, std::time::Duration::ZERO);
        let until = processor_time() + share;
        let mut out = Vec::new();
        while processor_time() < until {
            let mut line = lines[random() % lines.len()].clone();
            mutate(&mut line, &lines, &mut random);
            line.retain(|byte| *byte != b'\n');
            (seq, count) = (seq + 1, count + 1);
            // Now and then reading goes back.
            if random() % 64 == 0 {
                seq = random() as u64 % 64;
            }
            out.clear();
            let begun = processor_time();
            let verdict = encoder.encode(&Frame { seq, offset: seq * 10, ..frame(&line) }, &mut out);
            slowest = slowest.max(processor_time().saturating_sub(begun));
            if verdict.dropped {
                assert!(out.is_empty());
                continue;
            }
            assert_eq!(memchr::memchr_iter(b'\n', &out).count(), 1, "{kind}: {}", String::from_utf8_lossy(&line));
            let read: Value = serde_json::from_slice(&out)
                .unwrap_or_else(|error| panic!("{kind}: {error}: {}", String::from_utf8_lossy(&line)));
            assert_eq!(read["waybill"]["outcome"].as_str(), verdict.outcome.map(Outcome::as_str));
        }
        println!("{kind}: {count} lines, slowest {slowest:?}");
        assert!(slowest < std::time::Duration::from_secs(2), "{kind}: a line took {slowest:?}");
    }
}
