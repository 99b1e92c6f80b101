//! How others pass the API server's events on: several in one list, as a webhook gets them; as text inside of another object, as
//! Azure exports them; rewritten into Google's own audit record.

use super::super::address::{Endpoint, Version};
use super::super::escape::decoded;
use super::super::members::{Members, elements, member};
use super::super::object::Object;
use super::super::record::{Field, Record, Side};
use super::super::scan::{Type, Value};
use super::super::settings::Outcome::{self, Allow, Deny, Error};
use super::super::time::rfc3339;
use super::inner;

/// So many events of one list are looked into.
const MOST: usize = 1024;

/// The text of a member of the line itself.
fn text_of<'a>(line: &'a [u8], members: &Members, name: &[u8]) -> Option<&'a [u8]> {
    members.get(line, name).filter(|value| value.kind == Type::String).map(|value| value.inner(line))
}

/// The text of a member deep inside an object.
fn deep<'a>(line: &'a [u8], object: &Value, path: &[&[u8]]) -> Option<&'a [u8]> {
    let mut value = object.clone();
    for name in path {
        value = member(line, value.span.start, name)?;
    }
    (value.kind == Type::String).then(|| value.inner(line))
}

/// Decodes the event in an export of Azure: `{"category":"kube-audit","properties":{"log":"{\"kind\":\"Event\",…"}}`. False if it is
/// none.
pub(super) fn azure(line: &[u8], members: &Members, scratch: &mut Vec<u8>) -> bool {
    if !text_of(line, members, b"category").is_some_and(|category| category.starts_with(b"kube-audit")) {
        return false;
    }
    let properties = members.get(line, b"properties").filter(|value| value.kind == Type::Object);
    let Some(log) = properties.and_then(|properties| deep(line, properties, &[b"log"])) else { return false };
    scratch.clear();
    scratch.extend(decoded(log));
    true
}

/// Where the one event of a list stands, or how many there are.
pub(super) enum List {
    One(Value),
    Many(usize),
}

/// Reads `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[…]}`.
pub(super) fn list(line: &[u8], members: &Members) -> Option<List> {
    if text_of(line, members, b"kind") != Some(b"EventList")
        || !text_of(line, members, b"apiVersion")?.starts_with(b"audit.k8s.io/")
    {
        return None;
    }
    let items = members.get(line, b"items").filter(|value| value.kind == Type::Array)?;
    let mut events = elements(line, items.span.start).filter(|value| value.kind == Type::Object);
    let first = events.next();
    match (first, events.count()) {
        (Some(first), 0) => Some(List::One(first)),
        (first, others) => Some(List::Many(others + usize::from(first.is_some()))),
    }
}

/// Writes what a list of several events says: how many, whose, and the worst of their outcomes.
pub(super) fn many<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    members: &mut Members,
    count: usize,
    detail: &mut Vec<u8>,
) -> Option<()> {
    let items = members.get(line, b"items").cloned()?;
    let mut ids = Vec::new();
    let mut worst = None;
    let (mut objects, mut inside) = (Vec::new(), Vec::new());
    for value in elements(line, items.span.start).filter(|value| value.kind == Type::Object).take(MOST) {
        objects.clear();
        inside.clear();
        let mut event = Record::new("kubernetes", "kubernetes.audit");
        event.escaped = true;
        super::event(&mut event, &line[value.span.clone()], members, &mut objects, &mut inside)?;
        record.time = record.time.or(event.time);
        worst = worse(worst, event.outcome);
        ids.extend(event.get(Field::EventId));
    }
    record.name(Field::EventAction, "event-list");
    record.category = "\"configuration\"";
    record.types = "\"info\"";
    record.outcome = worst;
    let mut waybill = Object::member_after(detail, "kubernetes_audit");
    waybill.value("items").extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    let out = waybill.value("audit_ids");
    out.push(b'[');
    for (index, id) in ids.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        inner(out, id);
    }
    out.push(b']');
    Some(())
}

/// Denied before failed before let through.
fn worse(one: Option<Outcome>, other: Option<Outcome>) -> Option<Outcome> {
    let rank = |outcome: Option<Outcome>| match outcome {
        Some(Deny) => 3,
        Some(Error) => 2,
        Some(_) => 1,
        None => 0,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// Reads Google's record of an API server: `{"protoPayload":{"serviceName":"k8s.io",…},"timestamp":…}`.
pub(super) fn google<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    members: &Members,
    detail: &mut Vec<u8>,
) -> Option<()> {
    let payload = members.get(line, b"protoPayload").filter(|value| value.kind == Type::Object)?;
    let text = |path: &[&[u8]]| deep(line, payload, path);
    if text(&[b"serviceName"]) != Some(b"k8s.io") {
        return None;
    }
    record.types = "\"info\"";
    record.category = "\"configuration\"";
    record.time = text_of(line, members, b"timestamp").and_then(rfc3339);
    if let Some(id) = text_of(line, members, b"insertId") {
        record.set(Field::EventId, id);
    }
    // "io.k8s.core.v1.pods.create"
    let method = text(&[b"methodName"])?;
    record.set(Field::EventAction, memchr::memrchr(b'.', method).map_or(method, |dot| &method[dot + 1..]));
    for (field, path) in [
        (Field::UserName, [&b"authenticationInfo"[..], b"principalEmail"]),
        (Field::UserAgent, [&b"requestMetadata"[..], b"callerSuppliedUserAgent"]),
        (Field::ErrorMessage, [&b"status"[..], b"message"]),
    ] {
        if let Some(text) = text(&path) {
            record.set(field, text);
        }
    }
    if let Some(host) = text(&[b"requestMetadata", b"callerIp"]) {
        record.endpoint(Side::Source, &Endpoint { transport: None, host, port: None, version: Version::of(host) });
    }
    let decision = members
        .get(line, b"labels")
        .filter(|value| value.kind == Type::Object)
        .and_then(|labels| deep(line, labels, &[b"authorization.k8s.io/decision"]));
    let code = member(line, payload.span.start, b"status")
        .filter(|value| value.kind == Type::Object)
        .and_then(|status| member(line, status.span.start, b"code"))
        .map(|code| code.inner(line));
    // Codes of gRPC: 7 is PERMISSION_DENIED, 16 UNAUTHENTICATED.
    record.outcome = match (decision, code) {
        (Some(b"forbid"), _) | (_, Some(b"7" | b"16")) => Some(Deny),
        (_, None | Some(b"0")) => Some(Allow),
        _ => Some(Error),
    };
    let mut waybill = Object::member_after(detail, "kubernetes_audit");
    for (name, value) in [("method", Some(method)), ("resource", text(&[b"resourceName"])), ("authorization", decision)]
    {
        if let Some(value) = value {
            inner(waybill.value(name), value);
        }
    }
    Some(())
}
