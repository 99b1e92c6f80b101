//! kube-apiserver's audit log: one `Event` of `audit.k8s.io` a line (`staging/src/k8s.io/apiserver/pkg/apis/audit`).
//!
//! A request gives one event a stage; `event.id` is the same for all of them. Request and response bodies are never taken into
//! fields: they are in `event.original`, and gone if the source does not keep it.
//!
//! What others make of the events (lists, Azure's exports, Google's records) is read in [`hosted`].
//!
//! The entries of `sourceIPs` but the last are what the client claimed (`X-Forwarded-For`), so the last one is the source.

use super::address::{Endpoint, Version};
use super::members::{Members, elements, pairs};
use super::object::Object;
use super::record::{Field, Record, Side};
use super::scan::{Type, Value};
use super::settings::Outcome::{self, Allow, Deny, Error};
use super::time::rfc3339;

mod admission;
mod hosted;

/// So many groups, claimed addresses and annotations of one request are taken.
const MOST: usize = 64;

/// What `responseStatus` says.
#[derive(Default)]
struct Status<'a> {
    code: Option<&'a [u8]>,
    failed: bool,
    /// Still escaped.
    message: &'a [u8],
}

/// What the annotations say that decides something.
#[derive(Default)]
struct Annotated<'a> {
    /// The authoriser's decision.
    decision: Option<&'a [u8]>,
    /// `OpenShift`'s decision about a login, and who wanted to log in.
    login: Option<&'a [u8]>,
    account: Option<&'a [u8]>,
}

/// Reads a line.
pub(super) fn parse<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    members: &mut Members,
    scratch: &'a mut Vec<u8>,
    objects: &mut Vec<u8>,
    detail: &mut Vec<u8>,
) {
    record.escaped = true;
    record.parsed = fill(record, line, members, scratch, objects, detail).is_some();
}

fn fill<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    members: &mut Members,
    scratch: &'a mut Vec<u8>,
    objects: &mut Vec<u8>,
    detail: &mut Vec<u8>,
) -> Option<()> {
    members.read(line)?;
    if let Some(list) = hosted::list(line, members) {
        return match list {
            hosted::List::One(item) => event(record, &line[item.span], members, objects, detail),
            hosted::List::Many(count) => hosted::many(record, line, members, count, detail),
        };
    }
    if hosted::google(record, line, members, detail).is_some() {
        return Some(());
    }
    if hosted::azure(line, members, &mut *scratch) {
        let inside: &'a [u8] = scratch;
        return event(record, inside, members, objects, detail);
    }
    event(record, line, members, objects, detail)
}

/// Reads one event.
fn event<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    members: &mut Members,
    objects: &mut Vec<u8>,
    detail: &mut Vec<u8>,
) -> Option<()> {
    members.read(line)?;
    match (members.take_text(line, b"kind"), members.take_text(line, b"apiVersion")) {
        (Some(b"Event"), Some(version)) if version.starts_with(b"audit.k8s.io/") => {}
        // What was an item of a list says neither.
        (None, None)
            if [&b"auditID"[..], b"stage", b"requestURI"].iter().all(|name| members.get(line, name).is_some()) => {}
        _ => return None,
    }
    record.types = "\"info\"";
    record.category = "\"configuration\"";
    let mut text = |name: &[u8]| members.take_text(line, name);
    let verb = text(b"verb").unwrap_or_default();
    if !verb.is_empty() {
        record.set(Field::EventAction, verb);
    }
    if let Some(id) = text(b"auditID") {
        record.set(Field::EventId, id);
    }
    let stage = text(b"stage").unwrap_or_default();
    let received = text(b"requestReceivedTimestamp").and_then(rfc3339);
    // v1alpha1 and early v1beta1 had one time.
    record.time = text(b"stageTimestamp").or_else(|| text(b"timestamp")).and_then(rfc3339).or(received);
    if let (Some(time), Some(received)) = (record.time, received) {
        record.duration = u64::try_from(time.saturating_sub(received)).ok().filter(|nanos| *nanos > 0);
    }
    if let Some(agent) = text(b"userAgent") {
        record.set(Field::UserAgent, agent);
    }
    let level = text(b"level");
    if let Some(uri) = text(b"requestURI") {
        self::uri(record, uri);
    }
    let mut waybill = Object::member_after(detail, "kubernetes_audit");
    for (name, value) in [("level", level), ("stage", Some(stage))] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            inner(waybill.value(name), value);
        }
    }
    let object = |members: &mut Members, name: &[u8]| {
        members.get(line, name).cloned().filter(|value| value.kind == Type::Object)
    };
    if let Some(value) = object(members, b"user") {
        user(record, line, &value, false, &mut waybill);
    }
    if let Some(value) = object(members, b"impersonatedUser") {
        user(record, line, &value, true, &mut waybill);
    }
    if let Some(value) = members.get(line, b"sourceIPs").cloned().filter(|value| value.kind == Type::Array) {
        addresses(record, line, &value, &mut waybill);
    }
    orchestrator(record, line, object(members, b"objectRef"), objects);
    let status = object(members, b"responseStatus").map(|value| status(record, line, &value)).unwrap_or_default();
    let said = object(members, b"annotations").map(|value| annotations(line, &value, &mut waybill)).unwrap_or_default();
    record.outcome = outcome(stage, &said, &status);
    if said.login.is_some() {
        record.category = "\"authentication\"";
        let nobody = matches!(record.get(Field::UserName), None | Some(b"" | b"system:anonymous"));
        if let Some(account) = said.account.filter(|account| nobody && !account.is_empty()) {
            record.set(Field::UserName, account);
        }
    }
    if record.outcome == Some(Deny) && said.decision == Some(b"forbid") {
        record.category = "\"authentication\",\"configuration\"";
    }
    let changes = matches!(verb, b"create" | b"update" | b"patch" | b"delete" | b"deletecollection");
    record.types = match verb {
        b"create" => "\"creation\"",
        b"delete" | b"deletecollection" => "\"deletion\"",
        _ if changes => "\"change\"",
        b"get" | b"list" | b"watch" => "\"access\"",
        _ => "\"info\"",
    };
    Some(())
}

/// The text of a member that is a string.
fn string_of<'a>(line: &'a [u8], value: &Value) -> Option<&'a [u8]> {
    (value.kind == Type::String).then(|| value.inner(line))
}

fn inner(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    super::escape::inner(out, text);
    out.push(b'"');
}

/// Writes the elements of a list that are strings.
fn strings(out: &mut Vec<u8>, line: &[u8], list: &Value) {
    out.push(b'[');
    let texts = elements(line, list.span.start).take(MOST);
    let mut first = true;
    for text in texts.filter(|value| value.kind == Type::String) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        inner(out, text.inner(line));
    }
    out.push(b']');
}

fn uri<'a>(record: &mut Record<'a>, uri: &'a [u8]) {
    record.set(Field::UrlOriginal, uri);
    let (path, query) = match memchr::memchr(b'?', uri) {
        Some(mark) => (&uri[..mark], &uri[mark + 1..]),
        None => (uri, &uri[..0]),
    };
    record.set(Field::UrlPath, path);
    if !query.is_empty() {
        record.set(Field::UrlQuery, query);
    }
}

/// Who asked, or in whose name.
fn user<'a>(record: &mut Record<'a>, line: &'a [u8], value: &Value, impersonated: bool, waybill: &mut Object<'_>) {
    let (name_field, id_field, groups) = if impersonated {
        (Field::UserEffectiveName, Field::UserEffectiveId, "impersonated_groups")
    } else {
        (Field::UserName, Field::UserId, "groups")
    };
    let (mut list, mut extra) = (None, None);
    for (name, member) in pairs(line, value.span.start) {
        match (&line[name], string_of(line, &member)) {
            (b"username", Some(text)) => record.set(name_field, text),
            (b"uid", Some(text)) => record.set(id_field, text),
            (b"groups", None) if member.kind == Type::Array => list = Some(member),
            (b"extra", None) if member.kind == Type::Object => extra = Some(member),
            _ => {}
        }
    }
    if let Some(list) = list {
        strings(waybill.value(groups), line, &list);
    }
    if let Some(extra) = extra.filter(|_| !impersonated) {
        let out = waybill.value("user_extra");
        named_values(out, line, &extra);
    }
}

/// Writes the members of an object as a list of `name=value`, because their names have dots and are anyone's: text as it is, of
/// lists the elements.
fn named_values(out: &mut Vec<u8>, line: &[u8], object: &Value) {
    out.push(b'[');
    let mut first = true;
    for (name, member) in pairs(line, object.span.start).take(MOST) {
        let name = &line[name];
        let mut one = |text: &[u8]| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.push(b'"');
            super::escape::inner(out, name);
            out.push(b'=');
            super::escape::inner(out, text);
            out.push(b'"');
        };
        match member.kind {
            Type::String => one(member.inner(line)),
            Type::Array => elements(line, member.span.start)
                .take(MOST)
                .filter(|value| value.kind == Type::String)
                .for_each(|value| one(value.inner(line))),
            _ => {}
        }
    }
    out.push(b']');
}

/// The last address is the peer's; the others are claims.
fn addresses<'a>(record: &mut Record<'a>, line: &'a [u8], list: &Value, waybill: &mut Object<'_>) {
    let last = elements(line, list.span.start).filter(|value| value.kind == Type::String).last();
    let Some(last) = last else { return };
    let host = last.inner(line);
    record.endpoint(Side::Source, &Endpoint { transport: None, host, port: None, version: Version::of(host) });
    if elements(line, list.span.start).nth(1).is_some() {
        strings(waybill.value("source_ips"), line, list);
    }
}

/// What it is about: `orchestrator`, in the place of that of the pod that wrote the log.
fn orchestrator<'a>(record: &mut Record<'a>, line: &'a [u8], reference: Option<Value>, objects: &mut Vec<u8>) {
    let mut orchestrator = Object::member_after(objects, "orchestrator");
    inner(orchestrator.value("type"), b"kubernetes");
    let Some(reference) = reference else { return };
    let [mut resource, mut subresource, mut namespace, mut name, mut uid, mut group, mut version] = [None::<&[u8]>; 7];
    for (member, value) in pairs(line, reference.span.start) {
        let place = match &line[member] {
            b"resource" => &mut resource,
            b"subresource" => &mut subresource,
            b"namespace" => &mut namespace,
            b"name" => &mut name,
            b"uid" => &mut uid,
            b"apiGroup" => &mut group,
            b"apiVersion" => &mut version,
            _ => continue,
        };
        *place = string_of(line, &value);
    }
    if let Some(version) = version {
        let out = orchestrator.value("api_version");
        out.push(b'"');
        if let Some(group) = group {
            super::escape::inner(out, group);
            out.push(b'/');
        }
        super::escape::inner(out, version);
        out.push(b'"');
    }
    if let Some(namespace) = namespace {
        inner(orchestrator.value("namespace"), namespace);
    }
    let mut object = orchestrator.object("resource");
    if let Some(resource) = resource {
        let out = object.value("type");
        out.push(b'"');
        super::escape::inner(out, resource);
        if let Some(subresource) = subresource {
            out.push(b'/');
            super::escape::inner(out, subresource);
        }
        out.push(b'"');
        if matches!(
            resource,
            b"secrets"
                | b"configmaps"
                | b"serviceaccounts"
                | b"roles"
                | b"rolebindings"
                | b"clusterroles"
                | b"clusterrolebindings"
        ) {
            record.category = "\"configuration\",\"iam\"";
        }
    }
    if let Some(name) = name {
        inner(object.value("name"), name);
    }
    if let Some(uid) = uid {
        inner(object.value("id"), uid);
    }
}

fn status<'a>(record: &mut Record<'a>, line: &'a [u8], value: &Value) -> Status<'a> {
    let mut status = Status::default();
    for (name, member) in pairs(line, value.span.start) {
        match (&line[name], member.kind) {
            (b"code", Type::Number) => {
                let digits = member.inner(line);
                if record.set_checked(Field::HttpStatus, digits) {
                    status.code = Some(digits);
                }
            }
            (b"status", Type::String) => status.failed = member.inner(line) == b"Failure",
            (b"reason", Type::String) => record.set(Field::EventReason, member.inner(line)),
            (b"message", Type::String) => {
                status.message = member.inner(line);
                record.set(Field::ErrorMessage, status.message);
            }
            _ => {}
        }
    }
    status
}

/// Keeps the annotations; answers what they decide.
fn annotations<'a>(line: &'a [u8], value: &Value, waybill: &mut Object<'_>) -> Annotated<'a> {
    let (mut said, mut reason) = (Annotated::default(), None);
    for (name, member) in pairs(line, value.span.start) {
        let Some(text) = string_of(line, &member) else { continue };
        match &line[name] {
            b"authorization.k8s.io/decision" => said.decision = Some(text),
            b"authentication.openshift.io/decision" => said.login = Some(text),
            b"authentication.openshift.io/username" => said.account = Some(text),
            b"authorization.k8s.io/reason" => reason = Some(text),
            _ => {}
        }
    }
    for (name, text) in [("authorization", said.decision), ("authorization_reason", reason)] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            inner(waybill.value(name), text);
        }
    }
    named_values(waybill.value("annotations"), line, value);
    said
}

/// Who was let through and who was not: the authoriser's word, `OpenShift`'s about a login (which it answers by sending the browser
/// elsewhere), admission's, then the answer's code. A request that was only received has none.
fn outcome(stage: &[u8], said: &Annotated<'_>, status: &Status<'_>) -> Option<Outcome> {
    if said.decision == Some(b"forbid") {
        return Some(Deny);
    }
    if stage == b"RequestReceived" {
        return None;
    }
    match said.login {
        Some(b"deny") => return Some(Deny),
        Some(b"error") => return Some(Error),
        _ => {}
    }
    if stage == b"Panic" {
        return Some(Error);
    }
    match status.code {
        Some(b"401" | b"403") => Some(Deny),
        Some([b'1' | b'2' | b'3', _, _]) => Some(Allow),
        Some([b'4', _, _]) if admission::refused(status.message) => Some(Deny),
        Some(_) => Some(Error),
        None if status.failed => Some(Error),
        None if said.decision == Some(b"allow") => Some(Allow),
        None => None,
    }
}

#[cfg(test)]
mod tests;
