//! What holds for every format, tried on genuine and on hostile lines.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::*;

/// The processor time of this thread so far. Unlike the time on the wall it says nothing of what else the machine does.
pub(super) fn processor_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec.unsigned_abs() as u32)
}

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

#[test]
fn a_log_that_says_that_it_is_incomplete_is_an_alert() {
    for (kind, line) in [
        (
            Kind::QurlConnector,
            r#"{"time":"2026-05-26T12:00:00.1Z","level":"WARN","msg":"audit: buffer-full drops observed","dropped_total":7}"#,
        ),
        (
            Kind::SoftEtherServer,
            r#"2026-11-21 22:43:13.000 The free disk space is now less then 100.00 MBytes so the old file "/var/log/softether/x.log" has been automatically deleted. The amount of free disk space that determines when to start deletion can be modified by changing the "AutoDeleteCheckDiskFreeSpaceMin" item in the configuration file."#,
        ),
        (
            Kind::LinuxAudit,
            "2026-11-22T06:00:00+00:00 gw kernel: audit: audit_lost=152 audit_rate_limit=0 audit_backlog_limit=64",
        ),
        (
            Kind::LinuxAudit,
            "2026-11-22T06:00:00+00:00 gw auditd[501]: Audit daemon is suspending logging due to no space left on logging partition.",
        ),
    ] {
        let (verdict, record) = encode(&gateway(kind), line.as_bytes());
        let record = record.unwrap();
        assert!(verdict.incomplete && verdict.outcome == Some(Outcome::Error), "{line}");
        assert_eq!(record["event"]["kind"], "alert", "{line}");
        assert!(record["waybill"]["integrity"].is_string(), "{line}");
    }
    let (verdict, _) = encode(
        &gateway(Kind::LinuxAudit),
        b"type=DAEMON_ROTATE msg=audit(1364475353.159:24316): op=rotate-logs res=success",
    );
    assert!(!verdict.incomplete);
}
