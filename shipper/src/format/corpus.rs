//! Lines as programs of many versions and distributions print them, with what must be found in each: `testdata/corpus`.
//!
//! A file has lines of a log, each followed by `=> outcome action name=value …`; a line of `##` says what the next ones are. What
//! stands behind `=>` is everything that the names below stand for, so that a field too many is found as well as one too few.
//! `WAYBILL_BLESS=1` writes what the code finds now: read the difference before it is committed.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::tests::{frame, gateway, info, record};
use super::{Encoder, Frame, Kind, Settings};

/// 2026-11-22T07:00:00Z
const OBSERVED: i64 = 1_795_330_800_000_000_000;

/// The names of fields in the files.
const NAMES: [(&str, &str); 41] = [
    ("suspect", "/waybill/suspect"),
    ("integrity", "/waybill/integrity"),
    ("code", "/event/code"),
    ("reason", "/event/reason"),
    ("error", "/error/message"),
    ("user", "/user/name"),
    ("uid", "/user/id"),
    ("as", "/user/effective/name"),
    ("target", "/user/target/name"),
    ("from", "/source/address"),
    ("port", "/source/port"),
    ("to", "/destination/address"),
    ("toport", "/destination/port"),
    ("transport", "/network/transport"),
    ("url", "/url/original"),
    ("status", "/http/response/status_code"),
    ("method", "/waybill/sshd/method"),
    ("key", "/waybill/sshd/fingerprint"),
    ("times", "/waybill/syslog/repeated"),
    ("module", "/waybill/pam/module"),
    ("exe", "/process/executable"),
    ("command", "/process/command_line"),
    ("folder", "/process/working_directory"),
    ("in", "/waybill/v2ray/inbound"),
    ("out", "/waybill/v2ray/outbound"),
    ("route", "/waybill/v2ray/route"),
    ("session", "/waybill/v2ray/session"),
    ("usage", "/waybill/usage/reasons"),
    ("dns", "/dns/question/name"),
    ("hub", "/waybill/softether/hub"),
    ("cid", "/waybill/softether/connection"),
    ("sid", "/waybill/softether/session"),
    ("joined", "/waybill/softether/joined"),
    ("joins", "/waybill/sshd/joined"),
    ("type", "/waybill/softether/type"),
    ("table", "/waybill/audit/netfilter/table"),
    ("repeats", "/waybill/audit/netfilter/repeats"),
    ("lost", "/waybill/audit/lost"),
    ("resource", "/orchestrator/resource/type"),
    ("name", "/orchestrator/resource/name"),
    ("dropped", "/waybill/qurl/dropped_total"),
];

/// What a record says, in the words of the files.
fn summary(record: &Value) -> String {
    let word = |path: &str| record.pointer(path).and_then(Value::as_str).unwrap_or("-");
    let mut out = format!("{} {}", word("/waybill/outcome"), word("/event/action"));
    if record["event"]["kind"] == "pipeline_error" {
        out.push_str(" unparsed");
    }
    for (name, path) in NAMES {
        match record.pointer(path) {
            None => {}
            Some(Value::String(text)) if !text.is_empty() && !text.contains([' ', '"', '=']) => {
                let _ = write!(out, " {name}={text}");
            }
            Some(value) => {
                let _ = write!(out, " {name}={value}");
            }
        }
    }
    out
}

fn settings(kind: Kind) -> Settings {
    let mut settings = Settings { time_zone: TimeZone::UTC, ..gateway(kind) };
    settings.outbounds.clear();
    settings
}

/// Reads a file; answers it anew, with what is found now.
fn found(kind: Kind, text: &str) -> (String, usize) {
    let mut encoder = Encoder::new(&settings(kind), &info()).unwrap();
    let (mut out, mut seq) = (String::new(), 0);
    for line in text.lines().filter(|line| !line.starts_with("=> ")) {
        let _ = writeln!(out, "{line}");
        if line.starts_with("##") {
            continue;
        }
        seq += 1;
        let mut json = Vec::new();
        // The files show the separator of enriched lines, and the ends of lines, as signs.
        let raw = line.replace('␝', "\u{1d}").replace('␍', "\r").replace('␊', "\n").replace('␉', "\t");
        let next = Frame { seq, offset: seq * 1000, observed: OBSERVED, ..frame(raw.as_bytes()) };
        encoder.encode(&next, &mut json);
        let shown = if json.is_empty() { "dropped".to_owned() } else { summary(&record(&json)) };
        let _ = writeln!(out, "=> {shown}");
    }
    (out, seq as usize)
}

#[test]
fn lines_of_others_are_understood() {
    let bless = std::env::var_os("WAYBILL_BLESS").is_some();
    let mut wrong = String::new();
    for kind in Kind::ALL {
        let path = format!("{}/testdata/corpus/{kind}.txt", env!("CARGO_MANIFEST_DIR"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            assert!(matches!(kind, Kind::Json | Kind::Text), "{path} is not there");
            continue;
        };
        let (found, count) = found(kind, &text);
        assert!(count > 10, "{path}: {count} lines");
        if bless {
            std::fs::write(&path, &found).unwrap();
        }
        let mut line = "";
        for (now, expected) in found.lines().zip(text.lines()).filter(|_| !bless) {
            if !now.starts_with("=> ") {
                line = now;
            }
            if now != expected {
                let _ = writeln!(wrong, "{kind}: {line}\n  expected {expected}\n  found    {now}");
                break;
            }
        }
        if found.lines().count() != text.lines().count() && !bless && wrong.is_empty() {
            let _ = writeln!(wrong, "{kind}: lines without what must be found in them");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
