//! The qURL Connector's audit log: JSONL (`pkg/audit/entry.go` of layervai/qurl-connector), and its mirror on the runtime log.
//!
//! Events are called `qurl.connector.…`, before 0.8 `tunnel.…`; `event.action` is what follows, the full name is
//! `waybill.qurl.event`. The resource was `resource_id` and is `resource_public_key`; it becomes `waybill.qurl.resource`. What
//! has no place in ECS stays under its own name in `waybill.qurl`. The mirror has the event as `msg` of a `slog` record; other
//! `slog` records of the same output are kept as messages, and those that report dropped entries as events of their own.

use super::address::{Endpoint, Url};
use super::members::Members;
use super::object::Object;
use super::record::{Field, Record, Side};
use super::scan::{Scanner, Type};
use super::settings::{Kind, Outcome};
use super::time::{Clock, Moment};

/// Whether a piece of text is a whole record: a piece that is must not be joined with another one.
pub fn parses_alone(kind: Kind, text: &[u8]) -> bool {
    if !super::joins(kind) {
        return true;
    }
    let mut scanner = Scanner::new(text);
    scanner.value().is_some_and(|value| value.kind == Type::Object) && scanner.finished()
}

/// Reads a line.
pub(super) fn parse<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    clock: &mut Clock,
    members: &mut Members,
    detail: &mut Vec<u8>,
) {
    record.escaped = true;
    record.parsed = fill(record, line, clock, members, detail).is_some();
}

fn fill<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    clock: &mut Clock,
    members: &mut Members,
    detail: &mut Vec<u8>,
) -> Option<()> {
    members.read(line)?;
    let mut waybill = Object::member_after(detail, "qurl");
    let mut event = members.take_text(line, b"event");
    if event.is_none() {
        let message = members.take_text(line, b"msg")?;
        level(record, line, members);
        if suffix(message).is_some() {
            event = Some(message);
        } else {
            runtime(record, message);
        }
    }
    if let Some(event) = event {
        let action = suffix(event).unwrap_or(event);
        record.set(Field::EventAction, action);
        inner(waybill.value("event"), event);
        classify(record, action);
        record.outcome = outcome(line, members, action);
    }
    if let Some(moment) = time(line, clock, members) {
        (record.time, record.ambiguous) = (Some(moment.time), moment.ambiguous);
    }
    connection(record, line, members);
    for (name, field) in [
        (&b"trace_id"[..], Field::TraceId),
        (b"subject", Field::UserName),
        (b"reason", Field::EventReason),
        (b"error", Field::ErrorMessage),
    ] {
        if let Some(text) = members.take_text(line, name) {
            record.set(field, text);
        }
    }
    for name in [&b"resource_public_key"[..], b"resource_id"] {
        if members.get(line, b"resource").is_none()
            && let Some(text) = members.take_text(line, name)
        {
            inner(waybill.value("resource"), text);
            break;
        }
    }
    let first = waybill.is_empty();
    members.write_unknown(waybill.rest(), line, first);
    Some(())
}

/// Reads a line of the reverse proxy inside of the connector, on the same output: `2026-05-26 12:00:00.123 [I] [client/x.go:9] …`
pub(super) fn proxy<'a>(record: &mut Record<'a>, line: &'a [u8], clock: &mut Clock) {
    let Some((date, rest)) = line.split_at_checked(23) else { return };
    let Some(moment) = clock.rfc3339(date) else { return };
    let Some((level, rest)) = rest.strip_prefix(b" [").and_then(|rest| rest.split_at_checked(1)) else { return };
    let Some((place, text)) = rest.strip_prefix(b"] [").and_then(|rest| super::sshd::split(rest, b"] ")) else {
        return;
    };
    let level = match level {
        b"T" => "trace",
        b"D" => "debug",
        b"I" => "info",
        b"W" => "warn",
        b"E" => "error",
        _ => return,
    };
    record.escaped = false;
    record.parsed = true;
    (record.time, record.ambiguous) = (Some(moment.time), moment.ambiguous);
    record.name(Field::LogLevel, level);
    record.set(Field::LogLogger, place);
    record.set(Field::Message, text);
}

/// What follows `qurl.connector.` or `tunnel.`.
fn suffix(event: &[u8]) -> Option<&[u8]> {
    event.strip_prefix(b"qurl.connector.").or_else(|| event.strip_prefix(b"tunnel."))
}

/// The level of a record of the runtime log.
fn level<'a>(record: &mut Record<'a>, line: &'a [u8], members: &mut Members) {
    if let Some(level) = members.take_text(line, b"level") {
        match level {
            b"DEBUG" => record.name(Field::LogLevel, "debug"),
            b"INFO" => record.name(Field::LogLevel, "info"),
            b"WARN" => record.name(Field::LogLevel, "warn"),
            b"ERROR" => record.name(Field::LogLevel, "error"),
            other => record.set(Field::LogLevel, other),
        }
    }
}

/// A record of the runtime log that mirrors no event.
fn runtime<'a>(record: &mut Record<'a>, message: &'a [u8]) {
    record.set(Field::Message, message);
    for (begins, action, integrity) in [
        (&b"audit: buffer-full drops"[..], "audit-entries-dropped", "entries-dropped"),
        (b"audit: encode/write failed", "audit-write-failed", "write-failed"),
    ] {
        if message.starts_with(begins) {
            record.name(Field::EventAction, action);
            record.category = "\"process\"";
            record.outcome = Some(Outcome::Error);
            record.kind = "alert";
            record.integrity = Some(integrity);
        }
    }
}

fn classify(record: &mut Record<'_>, action: &[u8]) {
    let subject = action.split(|byte| *byte == b'.').next().unwrap_or_default();
    (record.category, record.types) = match subject {
        b"bootstrap" => ("\"configuration\"", "\"info\""),
        b"login" => ("\"authentication\"", "\"start\""),
        b"knock" | b"proxy" => ("\"network\"", "\"connection\""),
        b"teardown" => ("\"network\"", "\"connection\",\"end\""),
        _ => ("", ""),
    };
}

/// The outcome; before there was one, the legacy action; else what the event's name says.
fn outcome(line: &[u8], members: &mut Members, action: &[u8]) -> Option<Outcome> {
    if let Some(outcome) = members.take_text(line, b"outcome") {
        if let Some(outcome) = Outcome::from_name(outcome) {
            return Some(outcome);
        }
        members.give_back(line, b"outcome");
    }
    let legacy = members
        .get(line, b"action")
        .map(|value| value.inner(line))
        .and_then(|legacy| if legacy.starts_with(b"deny_") { Some(Outcome::Deny) } else { Outcome::from_name(legacy) });
    legacy.or_else(|| match action {
        b"teardown" => Some(Outcome::Success),
        _ => Outcome::from_name(action.rsplit(|byte| *byte == b'.').next()?),
    })
}

/// The entry's time; on the runtime log also when it was logged, which counts if there is nothing else.
fn time(line: &[u8], clock: &mut Clock, members: &mut Members) -> Option<Moment> {
    let mut found = None;
    for name in [&b"ts"[..], b"time"] {
        if let Some(text) = members.take_text(line, name) {
            match clock.rfc3339(text) {
                Some(moment) if found.is_none() => found = Some(moment),
                _ => members.give_back(line, name),
            }
        }
    }
    found
}

fn connection<'a>(record: &mut Record<'a>, line: &'a [u8], members: &mut Members) {
    if let Some(address) = members.take_text(line, b"source_ip") {
        record.endpoint(Side::Source, &Endpoint::host_only(address));
    }
    if let Some((_, port)) = members.take(line, b"source_port")
        && !record.set_checked(Field::SourcePort, port)
    {
        members.give_back(line, b"source_port");
    }
    if let Some(target) = members.take_text(line, b"target") {
        match Url::parse(target) {
            Some(url) => {
                record.endpoint(Side::Destination, &url.endpoint);
                record.set(Field::UrlOriginal, target);
            }
            None => record.endpoint(Side::Destination, &Endpoint::parse(target)),
        }
    }
    if let Some((kind, latency)) = members.take(line, b"latency_ms") {
        match nanoseconds(latency).filter(|_| kind == Type::Number) {
            Some(nanos) => record.duration = Some(nanos),
            None => members.give_back(line, b"latency_ms"),
        }
    }
}

/// Milliseconds as Go writes a float.
fn nanoseconds(milliseconds: &[u8]) -> Option<u64> {
    let value: f64 = std::str::from_utf8(milliseconds).ok()?.parse().ok()?;
    let nanos = (value * 1e6).round();
    (0.0..9e18).contains(&nanos).then_some(nanos as u64)
}

fn inner(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    super::escape::inner(out, text);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
