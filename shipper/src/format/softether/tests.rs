use serde_json::{Value, json};

use crate::format::tests::{encode, frame, gateway, info, record};
use crate::format::{Encoder, Kind, StreamInfo};

/// Encodes lines of one stream.
fn read_as(kind: Kind, info: &StreamInfo, lines: &[&[u8]]) -> Vec<Value> {
    let mut encoder = Encoder::new(&gateway(kind), info).unwrap();
    let frames = lines.iter().zip(1..).map(|(line, seq)| crate::format::Frame { seq, ..frame(line) });
    frames
        .map(|frame| {
            let mut out = Vec::new();
            encoder.encode(&frame, &mut out);
            record(&out)
        })
        .collect()
}

fn hub(name: &str) -> StreamInfo {
    StreamInfo { captures: vec![("hub".to_owned(), name.to_owned())], ..info() }
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/testdata/softether-5.01.9674/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect()
}

fn genuine(kind: Kind, info: &StreamInfo, name: &str) -> Vec<Value> {
    read_as(kind, info, &lines(&file(name)))
}

#[test]
fn every_genuine_line_is_recognised() {
    for (kind, name) in [
        (Kind::SoftEtherServer, "server.log"),
        (Kind::SoftEtherServer, "server-2.log"),
        (Kind::SoftEtherServer, "syslog.log"),
        (Kind::SoftEtherSecurity, "security-CORP.log"),
        (Kind::SoftEtherSecurity, "security-CAFE-2.log"),
        (Kind::SoftEtherSecurity, "security-DEFAULT.log"),
        (Kind::SoftEtherPacket, "packet-CORP.log"),
        (Kind::SoftEtherPacket, "syslog.log"),
    ] {
        let records = genuine(kind, &info(), name);
        assert!(!records.is_empty());
        for record in records {
            assert_eq!(record["waybill"]["parsed"], Value::Null, "{name}: {record}");
            assert!(record["event"]["code"].is_string(), "{name}: {record}");
            assert!(record["event"]["action"].is_string(), "{name}: {record}");
        }
    }
}

#[test]
fn a_hubs_event_is_the_same_event_in_both_logs() {
    let server = genuine(Kind::SoftEtherServer, &info(), "server.log");
    let copies: Vec<&Value> = server.iter().filter(|record| record["waybill"]["softether"]["copy"] == true).collect();
    for name in ["CORP", "CAFE-2", "DEFAULT"] {
        let own = genuine(Kind::SoftEtherSecurity, &hub(name), &format!("security-{name}.log"));
        assert!(!own.is_empty());
        for event in own {
            let copy = copies.iter().find(|copy| copy["event"]["id"] == event["event"]["id"]);
            let copy = copy.unwrap_or_else(|| panic!("no copy of {event}"));
            for path in [
                "/@timestamp",
                "/event/dataset",
                "/event/code",
                "/message",
                "/waybill/softether/hub",
                "/waybill/outcome",
            ] {
                assert_eq!(copy.pointer(path), event.pointer(path), "{path}: {event}");
            }
            assert_eq!(event["waybill"]["softether"]["copy"], Value::Null);
        }
    }
    let of_hubs = server.iter().filter(|record| record["event"]["dataset"] == "softether.security").count();
    assert_eq!(of_hubs, copies.len());
    assert!(copies.iter().any(|copy| copy["waybill"]["softether"]["hub"] == "CAFE-2"));
}

#[test]
fn a_login_is_followed_along_its_connection_and_session() {
    let records = genuine(Kind::SoftEtherServer, &info(), "server.log");
    let of = |code: &str| -> Vec<&Value> { records.iter().filter(|record| record["event"]["code"] == code).collect() };
    for record in of("LH_AUTH_OK").into_iter().chain(of("LH_END_SESSION")).chain(of("LH_SET_SESSION")) {
        assert!(record["source"]["ip"].is_string(), "{record}");
        assert!(record["source"]["port"].is_u64(), "{record}");
        assert!(record["user"]["name"].is_string(), "{record}");
        assert!(
            record["waybill"]["softether"]["joined"].as_array().unwrap().contains(&json!("source.address")),
            "{record}"
        );
    }
    for record in of("LA_CREATE_USER").into_iter().chain(of("LA_OK")) {
        assert_eq!(record["source"]["ip"], "127.0.0.1", "{record}");
    }
    let failed = of("LH_AUTH_NG");
    assert!(failed.iter().any(|record| record["user"]["name"] == "qu\"ote,"), "{failed:?}");
    assert!(failed.iter().all(|record| record["waybill"]["outcome"] == "deny"));
    assert!(records.iter().all(|record| record["waybill"]["suspect"].is_null()));
    let ended = of("LH_END_SESSION")[0];
    assert!(ended["waybill"]["softether"]["bytes_in"].is_u64(), "{ended}");
}

/// The program calls every end of a connection an error.
#[test]
fn why_a_connection_ended() {
    for (code, outcome) in [
        (1, json!("error")),
        (3, Value::Null),
        (6, Value::Null),
        (11, Value::Null),
        (9, json!("deny")),
        (12, json!("deny")),
        (13, json!("error")),
        (109, json!("deny")),
    ] {
        let line = format!(
            "2026-11-21 22:43:13.000 Connection \"CID-88\" terminated by the cause \"The VPN session has been deleted.\" (code {code})."
        );
        let record = &read_as(Kind::SoftEtherServer, &info(), &[line.as_bytes()])[0];
        assert_eq!(record["event"]["action"], "connection-error", "{record}");
        assert_eq!((&record["waybill"]["outcome"], &record["error"]["code"]), (&outcome, &json!(code.to_string())));
    }
    let line = b"2026-11-21 22:43:13.000 L2TP PPP Session [192.0.2.7:1701]: The PPP session is disconnected.";
    assert_eq!(read_as(Kind::SoftEtherServer, &info(), &[line])[0]["waybill"]["softether"]["ppp_postfix"], "L2TP");
}

/// The stable edition does not print the address where a login fails.
#[test]
fn a_failed_login_gets_its_address_from_the_line_before() {
    let lines: [&[u8]; 3] = [
        b"2020-09-18 12:54:32.696 The connection \"CID-8616\" (IP address: 192.0.2.205, Host name: pool.example.net, Port number: 1701, Client name: \"L2TP VPN Client\", Version: 5.01, Build: 9672) is attempting to connect to the Virtual Hub. The auth type provided is \"External server authentication\" and the user name is \"alice\".\r",
        b"2020-09-18 12:54:32.696 Connection \"CID-8616\": User authentication failed. The user name that has been provided was \"alice\".\r",
        b"2020-09-18 12:54:33.000 Connection \"CID-9\": User authentication failed. The user name that has been provided was \"bob\".\r",
    ];
    let records = read_as(Kind::SoftEtherSecurity, &hub("VPN"), &lines);
    assert_eq!(records[0]["source"]["domain"], "pool.example.net");
    let failed = &records[1];
    assert_eq!(failed["event"]["code"], "LH_AUTH_NG");
    assert_eq!((&failed["source"]["ip"], &failed["source"]["port"]), (&json!("192.0.2.205"), &json!(1701)));
    assert_eq!(failed["waybill"]["softether"]["joined"], json!(["source.address", "source.port"]));
    assert_eq!((&failed["user"]["name"], &failed["waybill"]["softether"]["hub"]), (&json!("alice"), &json!("VPN")));
    assert_eq!((&records[2]["source"], &records[2]["user"]["name"]), (&Value::Null, &json!("bob")));
}

#[test]
fn what_was_said_before_a_restart_is_recalled() {
    let text = file("security-CORP.log");
    let lines = lines(&text);
    let login =
        lines.iter().position(|line| memchr::memmem::find(line, b"Successfully authenticated").is_some()).unwrap();
    let mut encoder = Encoder::new(&gateway(Kind::SoftEtherSecurity), &hub("CORP")).unwrap();
    let next = login as u64 + 1;
    assert!(encoder.reach(next) > 0);
    encoder.recall_before(next);
    assert_eq!(encoder.reach(next), 0);
    lines[..login].iter().for_each(|line| encoder.recall(line, 0));
    let mut out = Vec::new();
    encoder.encode(&crate::format::Frame { seq: next, ..frame(lines[login]) }, &mut out);
    let recalled = record(&out);
    assert_eq!(recalled, read_as(Kind::SoftEtherSecurity, &hub("CORP"), &lines)[login]);
    assert!(recalled["source"]["ip"].is_string(), "{recalled}");
}

#[test]
fn other_languages_and_mixed_ones() {
    for (line, code, user) in [
        (
            "2021-08-08 12:44:48.000 コネクション \"CID-5\": ユーザー \"田中\" として正しく認証されました。",
            "LH_AUTH_OK",
            "田中",
        ),
        ("2021-08-08 12:44:48.000 连接 \"CID-5\": 成功认证为用户 \"王\"。", "LH_AUTH_OK", "王"),
        (
            "2021-08-08 12:44:48.000 Connection \"CID-5\": User authentication failed. The user name that has been provided was \"王\", from 192.0.2.7.",
            "LH_AUTH_NG",
            "王",
        ),
    ] {
        let records = read_as(Kind::SoftEtherSecurity, &hub("VPN"), &[line.as_bytes()]);
        assert_eq!((&records[0]["event"]["code"], &records[0]["user"]["name"]), (&json!(code), &json!(user)), "{line}");
        assert_eq!(records[0]["waybill"]["softether"]["connection"], "CID-5");
    }
}

#[test]
fn a_packet_in_all_its_columns() {
    let row = b"2026-11-21,22:43:13.000,SID-ALICE-3,-,5EAC3D2CCAE4,FFFFFFFFFFFF,0x0800,328,TCP_DATAv4,PSH+ACK,192.168.30.10,48866,10.88.0.1,http-alt(8080),3894805527,17,WindowSize=64240 HttpMethod=GET HttpUrl=http://u:secret@10.88.0.1:8080/p.q?q=1 HttpProtocol=HTTP/1.1 HttpReferer=http://ref.example/a.b HttpUserAgent=UA_v1 ,5E2B,203.0.113.9(port=5),-\r";
    let record = &read_as(Kind::SoftEtherPacket, &hub("CORP"), &[row])[0];
    assert_eq!(record["@timestamp"], "2026-11-21T21:43:13.000Z");
    assert_eq!(
        record["source"],
        json!({"address": "192.168.30.10", "ip": "192.168.30.10", "port": 48866, "mac": "5E-AC-3D-2C-CA-E4"})
    );
    assert_eq!(record["destination"]["port"], 8080);
    assert_eq!(record["network"], json!({"transport": "tcp", "protocol": "http", "type": "ipv4", "bytes": 328}));
    assert_eq!((&record["event"]["code"], &record["event"]["action"]), (&json!("TCP_DATAv4"), &json!("tcp-data")));
    assert_eq!(record["url"]["original"], "http://u:***@10.88.0.1:8080/p.q?q=1");
    assert_eq!(
        (&record["user_agent"]["original"], &record["http"]["request"]["referrer"]),
        (&json!("UA_v1"), &json!("http://ref.example/a.b"))
    );
    let detail = &record["waybill"]["softether"];
    assert_eq!(detail["hub"], "CORP");
    assert_eq!((&detail["session"], &detail["session_user"]), (&json!("SID-ALICE-3"), &json!("ALICE")));
    assert_eq!((&detail["tcp_sequence"], &detail["payload"]), (&json!(3_894_805_527u64), &json!("5E2B")));
    assert_eq!((&detail["source_client"], &detail["destination_client"]), (&json!("203.0.113.9"), &Value::Null));
    assert!(!record.to_string().contains("secret"));
}

#[test]
fn rows_of_17_18_and_20_columns_and_no_others() {
    let row = |behind: usize| {
        let rest = ",-".repeat(behind);
        format!(
            "2026-11-21,22:43:13.000,SID-A-3,SID-B-1,5EAC3D2CCAE4,FFFFFFFFFFFF,0x0800,60,UDPv4,-,192.0.2.1,echo(7),192.0.2.2,53{rest}"
        )
    };
    for behind in 0..8 {
        let record = &read_as(Kind::SoftEtherPacket, &hub("CORP"), &[row(behind).as_bytes()])[0];
        let expected = matches!(behind, 3 | 4 | 6);
        assert_eq!(record["waybill"]["parsed"].is_null(), expected, "{behind}");
        if expected {
            assert_eq!((&record["source"]["port"], &record["destination"]["ip"]), (&json!(7), &json!("192.0.2.2")));
        }
    }
}

#[test]
fn the_eraser_is_an_integrity_event() {
    let line = b"2026-11-21 22:43:13.000 The free disk space is now less then 100.00 MBytes so the old file \"/var/log/softether/security_log/CORP/sec_20261101.log\" has been automatically deleted. The amount of free disk space that determines when to start deletion can be modified by changing the \"AutoDeleteCheckDiskFreeSpaceMin\" item in the configuration file.";
    let record = &read_as(Kind::SoftEtherServer, &info(), &[line])[0];
    assert_eq!((&record["event"]["code"], &record["event"]["kind"]), (&json!("LE_DELETE"), &json!("alert")));
    assert_eq!(
        (&record["waybill"]["integrity"], &record["waybill"]["outcome"]),
        (&json!("log-deleted"), &json!("error"))
    );
    assert_eq!(record["file"]["path"], "/var/log/softether/security_log/CORP/sec_20261101.log");
}

#[test]
fn a_name_that_looks_like_a_message_is_only_a_name() {
    let (_, record) = encode(
        &gateway(Kind::SoftEtherSecurity),
        b"2026-11-21 22:43:13.000 Connection \"CID-1\": User authentication failed. The user name that has been provided was \"x\", from 192.0.2.66.\", from 10.77.2.2.",
    );
    let record = record.unwrap();
    assert_eq!((&record["source"]["ip"], &record["waybill"]["suspect"]), (&json!("10.77.2.2"), &json!("ambiguous")));
    assert_eq!(record["user"]["name"], "x\", from 192.0.2.66.");
    let client = "2026-11-21 22:43:13.000 The connection \"CID-1\" (IP address: 10.77.2.2, Host name: 10.77.2.2, Port number: 5, Client name: \"a\", Version: 1.0, Build: 1) is attempting to connect to the Virtual Hub. The auth type provided is \"p\" and the user name is \"root\", Version: 4.38, Build: 9760) is attempting to connect to the Virtual Hub. The auth type provided is \"Password authentication\" and the user name is \"alice\".";
    let (_, record) = encode(&gateway(Kind::SoftEtherSecurity), client.as_bytes());
    assert_eq!(record.unwrap()["waybill"]["suspect"], "ambiguous");
}

#[test]
fn what_the_program_sends_by_syslog() {
    let relayed = b"2020-05-13T10:53:19 localhost  [myserver.com/VPN/defaultvpn] (2020-05-13 10:53:19.591) <SECURITY_LOG>: Connection \"CID-594\": User authentication failed. The user name that has been provided was \"alice\", from 192.0.2.13.";
    for (line, hub, time, code) in [
        (&relayed[..], json!("defaultvpn"), "2020-05-13T08:53:19.591Z", "LH_AUTH_NG"),
        (
            b"[vm/VPN] (2026-11-21T22:45:43.295+9:00) <SERVER_LOG>: Connection \"CID-45\" has been terminated.",
            Value::Null,
            "2026-11-21T13:45:43.295Z",
            "LS_CONNECTION_END_1",
        ),
        (
            b"[vm/VPN/CORP] (2026-11-21 22:45:43.752) <PACKET_LOG>: SID-ALICE-5,-,5EAC3D2CCAE4,333300000016,0x86DD,110,ICMPv6,Type=143,::,-,ff02::16,-,-,-,-,-,10.77.1.2,-",
            json!("CORP"),
            "2026-11-21T21:45:43.752Z",
            "ICMPv6",
        ),
    ] {
        let (verdict, record) = encode(&gateway(Kind::SoftEtherServer), line);
        let record = record.unwrap();
        assert!(verdict.parsed);
        assert_eq!(record["waybill"]["softether"]["hub"], hub);
        assert_eq!((&record["@timestamp"], &record["event"]["code"]), (&json!(time), &json!(code)), "{record}");
    }
}

#[test]
fn what_is_no_line_of_a_log_ships_raw() {
    for line in
        ["", "hello", "2026-11-21", "2026-11-21 22:43", "2026-11-21,22:43:13.000,a,b", "2026/11/21 22:43:13.000 x"]
    {
        for kind in [Kind::SoftEtherServer, Kind::SoftEtherSecurity, Kind::SoftEtherPacket] {
            assert!(!encode(&gateway(kind), line.as_bytes()).0.parsed, "{line}");
        }
    }
    let (verdict, record) =
        encode(&gateway(Kind::SoftEtherServer), "2026-11-21 22:43:13.000 Yeni \"SID-A-1\" oturumu".as_bytes());
    assert!(verdict.parsed);
    let record = record.unwrap();
    assert_eq!(
        (&record["event"]["code"], &record["waybill"]["softether"]["session"]),
        (&Value::Null, &json!("SID-A-1"))
    );
}
