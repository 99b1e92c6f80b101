use serde_json::{Value, json};

use super::*;
use crate::format::tests::encode;
use crate::format::{Settings, Verdict};

fn read(line: &str) -> (Verdict, Value) {
    let (verdict, record) = encode(&Settings::new(Kind::QurlConnector), line.as_bytes());
    (verdict, record.unwrap())
}

#[test]
fn an_entry_of_today() {
    let (verdict, record) = read(concat!(
        r#"{"ts":"2026-08-26T12:00:00.1234567Z","event":"qurl.connector.login.deny","outcome":"deny","actor":"0198f3a2","#,
        r#""trace_id":"9f8e7d6c5b4a3210","reason":"bad_pubkey","session_id":"s-1","resource_public_key":"pk\u003c1","#,
        r#""subject":"alice","source_ip":"2001:db8::7","source_port":51544,"target":"10.0.0.5:8443","latency_ms":12.345,"#,
        r#""bytes_sent":5120,"error":"refused","run_id":"9f8e7d6c5b4a3210","new_field":{"a":[1,"x"]}}"#,
    ));
    assert_eq!((verdict.outcome, verdict.parsed), (Some(Outcome::Deny), true));
    assert_eq!(record["@timestamp"], "2026-08-26T12:00:00.123456700Z");
    assert_eq!(record["event"]["action"], "login.deny");
    assert_eq!(record["event"]["category"], json!(["authentication"]));
    assert_eq!(record["event"]["type"], json!(["start", "denied"]));
    assert_eq!((&record["event"]["reason"], &record["event"]["duration"]), (&json!("bad_pubkey"), &json!(12_345_000)));
    assert_eq!(record["source"], json!({"address": "2001:db8::7", "ip": "2001:db8::7", "port": 51544}));
    assert_eq!(record["destination"], json!({"address": "10.0.0.5", "ip": "10.0.0.5", "port": 8443}));
    assert_eq!((&record["user"]["name"], &record["error"]["message"]), (&json!("alice"), &json!("refused")));
    assert_eq!(record["trace"]["id"], "9f8e7d6c5b4a3210");
    assert_eq!(
        record["waybill"]["qurl"],
        json!({
            "event": "qurl.connector.login.deny", "resource": "pk<1", "actor": "0198f3a2", "session_id": "s-1", "bytes_sent": 5120,
            "run_id": "9f8e7d6c5b4a3210", "new_field": {"a": [1, "x"]},
        })
    );
}

#[test]
fn outcomes_of_every_age() {
    for (line, action, outcome) in [
        (
            r#"{"ts":"2026-01-01T00:00:00Z","event":"tunnel.login.success","outcome":"success"}"#,
            "login.success",
            Outcome::Success,
        ),
        (
            r#"{"ts":"2026-01-01T00:00:00Z","event":"tunnel.proxy.allow","action":"allow","resource_id":"r"}"#,
            "proxy.allow",
            Outcome::Allow,
        ),
        (r#"{"ts":"2026-01-01T00:00:00Z","event":"access","action":"deny_expired"}"#, "access", Outcome::Deny),
        (r#"{"ts":"2026-01-01T00:00:00Z","event":"qurl.connector.knock.error"}"#, "knock.error", Outcome::Error),
        (r#"{"ts":"2026-01-01T00:00:00Z","event":"qurl.connector.teardown"}"#, "teardown", Outcome::Success),
        (r#"{"event":"qurl.connector.proxy.deny","outcome":"unheard-of"}"#, "proxy.deny", Outcome::Deny),
    ] {
        let (verdict, record) = read(line);
        assert_eq!((verdict.outcome, &record["event"]["action"]), (Some(outcome), &json!(action)), "{line}");
    }
    let (_, record) = read(r#"{"event":"tunnel.proxy.allow","action":"allow","resource_id":"r","outcome":"odd"}"#);
    let expected = json!({"event": "tunnel.proxy.allow", "resource": "r", "action": "allow", "outcome": "odd"});
    assert_eq!(record["waybill"]["qurl"], expected);
}

#[test]
fn the_mirror_on_the_runtime_log() {
    let (verdict, record) = read(
        r#"{"time":"2026-08-26T12:00:01Z","level":"INFO","msg":"qurl.connector.knock.success","ts":"2026-08-26T12:00:00Z","outcome":"success"}"#,
    );
    assert_eq!((verdict.outcome, &record["event"]["action"]), (Some(Outcome::Success), &json!("knock.success")));
    assert_eq!((&record["@timestamp"], &record["log"]["level"]), (&json!("2026-08-26T12:00:00.000Z"), &json!("info")));
    assert_eq!(record["waybill"]["qurl"]["time"], "2026-08-26T12:00:01Z");
    let (_, record) = read(
        r#"{"time":"2026-08-26T12:00:01Z","level":"WARN","msg":"audit: buffer-full drops observed","dropped_total":12}"#,
    );
    assert_eq!(
        (&record["event"]["action"], &record["waybill"]["outcome"]),
        (&json!("audit-entries-dropped"), &json!("error"))
    );
    assert_eq!(
        (&record["waybill"]["integrity"], &record["event"]["kind"]),
        (&json!("entries-dropped"), &json!("alert"))
    );
    assert_eq!((&record["waybill"]["qurl"]["dropped_total"], &record["log"]["level"]), (&json!(12), &json!("warn")));
    let (verdict, record) = read(r#"{"time":"2026-08-26T12:00:01Z","level":"INFO","msg":"listening"}"#);
    assert_eq!((verdict.parsed, verdict.outcome, &record["message"]), (true, None, &json!("listening")));
}

#[test]
fn what_is_no_entry_ships_raw() {
    for line in
        ["", "{}", "[]", "{\"event\":\"x\"", "{\"event\":7}", "text", "{\"event\":\"x\"} {}", "{\"event\":\"\t\"}"]
    {
        let (verdict, record) = read(line);
        assert!(!verdict.parsed, "{line}");
        assert_eq!(record["event"]["original"], line);
        assert_eq!(record["waybill"]["qurl"], Value::Null);
    }
}

#[test]
fn odd_values_are_kept_where_they_do_not_fit() {
    let (_, record) = read(
        r#"{"ts":"yesterday","event":"tunnel.teardown","source_ip":"nowhere","source_port":"x","latency_ms":"fast","error":{"a":1}}"#,
    );
    assert_eq!(record["source"], json!({"address": "nowhere", "domain": "nowhere"}));
    let expected = json!({"event": "tunnel.teardown", "ts": "yesterday", "source_port": "x", "latency_ms": "fast", "error": {"a": 1}});
    assert_eq!(record["waybill"]["qurl"], expected);
}

#[test]
fn pieces_are_told_from_records() {
    let line = br#"{"ts":"2026-05-26T12:00:00Z","event":"tunnel.login.success"}"#;
    assert!(parses_alone(Kind::QurlConnector, line));
    for cut in 1..line.len() {
        assert!(!parses_alone(Kind::QurlConnector, &line[..cut]));
        assert!(!parses_alone(Kind::QurlConnector, &line[cut..]));
    }
    assert!(!parses_alone(Kind::QurlConnector, b"17"));
    assert!(parses_alone(Kind::Text, b"anything"));
}

#[test]
fn latencies() {
    assert_eq!(nanoseconds(b"12.345"), Some(12_345_000));
    assert_eq!(nanoseconds(b"1e-05"), Some(10));
    assert_eq!(nanoseconds(b"-1"), None);
    assert_eq!(nanoseconds(b"1e300"), None);
}
