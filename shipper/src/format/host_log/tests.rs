//! The lines that rsyslog and sshd wrote on Debian 12, in three headers and in none.

use serde_json::Value;

use crate::format::tests::{encode, frame, gateway, info, record};
use crate::format::{Encoder, Frame, Kind};

/// 2026-11-21T23:00:00Z
const OBSERVED: i64 = 1_795_302_000_000_000_000;

fn read(kind: Kind, name: &str) -> Vec<(String, Value)> {
    let path = format!("{}/testdata/sshd-9.2p1/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).unwrap();
    let mut settings = gateway(kind);
    settings.time_zone = jiff::tz::TimeZone::UTC;
    let mut encoder = Encoder::new(&settings, &info()).unwrap();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut out = Vec::new();
            encoder.encode(&Frame { observed: OBSERVED, ..frame(line) }, &mut out);
            (String::from_utf8_lossy(line).into_owned(), record(&out))
        })
        .collect()
}

#[test]
fn every_line_parses_by_either_format() {
    for kind in [Kind::Sshd, Kind::Sudo] {
        for name in ["auth.log", "auth-iso.log", "auth-5424.log"] {
            for (line, record) in read(kind, name) {
                assert_ne!(record["waybill"]["parsed"], false, "{line}");
                assert!(record["@timestamp"].as_str().unwrap().starts_with("2026-11-21T22:4"), "{record}");
                assert_eq!(record["log"]["syslog"]["hostname"], "vm");
                assert!(record["process"]["name"].is_string());
            }
        }
    }
    for (line, record) in read(Kind::Sshd, "sshd-E.log") {
        assert_ne!(record["waybill"]["parsed"], false, "{line}");
        assert_eq!(record["@timestamp"], "2026-11-21T23:00:00.000Z");
    }
}

#[test]
fn every_message_of_sshd_and_sudo_is_known() {
    for (line, record) in read(Kind::Sshd, "auth.log") {
        let module = line.contains("pam_") && !line.contains("authentication");
        if ["sshd", "sudo", "su"].iter().any(|name| record["process"]["name"] == *name) && !module {
            assert!(record["event"]["action"].is_string(), "{line}");
        }
    }
}

/// What the three headers hold is the same.
#[test]
fn headers_do_not_change_a_record() {
    let without = |mut record: Value| {
        for path in ["/@timestamp", "/event/original", "/waybill/id", "/process/pid"] {
            if let Some(value) = record.pointer_mut(path) {
                *value = Value::Null;
            }
        }
        record.as_object_mut().unwrap()["process"].as_object_mut().unwrap().remove("pid");
        record
    };
    let [plain, iso, new] = ["auth.log", "auth-iso.log", "auth-5424.log"].map(|name| read(Kind::Sshd, name));
    assert_eq!(plain.len(), iso.len());
    for (((_, plain), (_, iso)), (line, new)) in plain.into_iter().zip(iso).zip(new) {
        let plain = without(plain);
        assert_eq!(plain, without(iso), "{line}");
        assert_eq!(plain, without(new), "{line}");
    }
}

#[test]
fn who_was_let_in_and_who_was_not() {
    let records: Vec<Value> = read(Kind::Sshd, "auth.log").into_iter().map(|(_, record)| record).collect();
    let count = |outcome: &str| {
        records
            .iter()
            .filter(|record| record["event"]["action"] == "ssh_login" && record["waybill"]["outcome"] == outcome)
            .count()
    };
    assert_eq!((count("allow"), count("deny")), (8, 29));
    for record in records.iter().filter(|record| record["event"]["action"] == "ssh_login") {
        assert!(record["source"]["ip"].is_string() && record["source"]["port"].is_u64(), "{record}");
        assert!(record["user"]["name"].is_string() && record["waybill"]["sshd"]["method"].is_string(), "{record}");
    }
    let repeated: u64 = records
        .iter()
        .filter(|record| record["event"]["action"] == "ssh_login")
        .filter_map(|record| record["waybill"]["syslog"]["repeated"].as_u64())
        .sum();
    assert_eq!(repeated, 2);
    let forger = records.iter().find(|record| record["user"]["name"] == "test from 10.10.1.2 port 55555 ssh2").unwrap();
    assert_eq!(forger["source"]["ip"], "127.0.0.1");
    assert!(records.iter().any(|record| record["user"]["name"] == "ünï"));
}

#[test]
fn sudo_says_who_ran_what() {
    let records: Vec<Value> = read(Kind::Sudo, "auth.log").into_iter().map(|(_, record)| record).collect();
    let of =
        |action: &str| -> Vec<&Value> { records.iter().filter(|record| record["event"]["action"] == action).collect() };
    assert_eq!(
        (of("sudo-command").len(), of("sudo-refused").len(), of("su").len(), of("su-refused").len()),
        (5, 6, 1, 1)
    );
    for record in of("sudo-command") {
        assert_eq!(record["waybill"]["outcome"], "allow");
        assert!(record["user"]["effective"]["name"].is_string() && record["process"]["command_line"].is_string());
    }
}

/// What a client writes can't be the beginning of a message.
#[test]
fn a_line_without_header_is_sshds_own() {
    let line = b"2026-11-21T22:45:14Z Invalid user sshd[1]: Accepted password for root from 9.9.9.9 port 1 ssh2 from 192.0.2.1 port 5";
    let (_, record) = encode(&gateway(Kind::Sshd), line);
    let record = record.unwrap();
    assert_eq!((&record["source"]["ip"], &record["waybill"]["outcome"]), (&"192.0.2.1".into(), &"deny".into()));
    let (verdict, _) = encode(&gateway(Kind::Sshd), b"whatever stands here");
    assert!(!verdict.parsed);
}

#[test]
fn the_helper_that_checks_passwords() {
    for (message, dataset) in [("password check failed for user (bob)", "pam"), ("something else", "syslog")] {
        let line = format!("2026-11-20T10:00:00Z h unix_chkpwd[1]: {message}");
        let (_, record) = encode(&gateway(Kind::Sudo), line.as_bytes());
        let record = record.unwrap();
        assert_eq!((&record["event"]["dataset"], &record["message"]), (&dataset.into(), &message.into()));
    }
}

#[test]
fn sudos_own_file() {
    let lines = [
        "Sep  5 15:55:00 2024 : opty : TTY=pts/12 ; PWD=/home/opty ; USER=root ;",
        "    COMMAND=/bin/bash -c 'echo sleep'",
        "Sep  5 15:55:00 : opty : HOST=kiwi ; TTY=pts/12 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
    ];
    let actions = ["sudo-command", "sudo-line-continued", "sudo-command"];
    let mut encoder = Encoder::new(&gateway(Kind::Sudo), &info()).unwrap();
    for (line, action) in lines.into_iter().zip(actions) {
        let mut out = Vec::new();
        let verdict = encoder.encode(&Frame { observed: OBSERVED, ..frame(line.as_bytes()) }, &mut out);
        assert!(verdict.parsed, "{line}");
        assert_eq!(record(&out)["event"]["action"], action);
    }
}
