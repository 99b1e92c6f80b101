//! What PAM's modules log under the name of the program that called them: `module(service:type): text`, or, of old modules,
//! `(module) text`.
//!
//! Values are not quoted. `ruser=`, `rhost=` and `user=` are read from the front, in the order in which the modules print them,
//! so that a name at the end can't bring another host.

use super::object::Object;
use super::peer::{is_host, source};
use super::record::{Field, Record};
use super::settings::Outcome::{self, Allow, Deny, Error, Success};
use super::sshd::{AUTHENTICATION, rsplit, split};

const SESSION: &str = "\"session\"";
const IAM: &str = "\"iam\"";

/// A message that is told by a part of it: the part, whether it must stand in front, what happened.
type Row = (&'static [u8], bool, &'static str, Option<Outcome>, &'static str);

const ROWS: &[Row] = &[
    (b"authentication success", true, "pam-authentication", Some(Allow), AUTHENTICATION),
    (b"check pass; user unknown", true, "pam-unknown-user", None, AUTHENTICATION),
    (b"bad username [", true, "pam-unknown-user", Some(Deny), AUTHENTICATION),
    (b"auth could not identify password for [", true, "pam-authentication", Some(Deny), AUTHENTICATION),
    (b"conversation failed", true, "pam-conversation-failed", Some(Error), AUTHENTICATION),
    (b"account ", true, "pam-account", Some(Deny), AUTHENTICATION),
    (b"expired password for user ", true, "pam-password-expired", Some(Deny), AUTHENTICATION),
    (b"Consecutive login failures for user ", true, "pam-locked", Some(Deny), AUTHENTICATION),
    (b"User unknown", true, "pam-unknown-user", Some(Deny), AUTHENTICATION),
    (b"user unknown", true, "pam-unknown-user", Some(Deny), AUTHENTICATION),
    (b"access denied for user ", true, "pam-access-denied", Some(Deny), AUTHENTICATION),
    (b"Refused user ", true, "pam-access-denied", Some(Deny), AUTHENTICATION),
    (b"access denied: tty", true, "pam-access-denied", Some(Deny), AUTHENTICATION),
    (b"password check failed for user (", true, "pam-authentication", Some(Deny), AUTHENTICATION),
    (b"inappropriate use of Unix helper binary", true, "pam-helper-misused", Some(Deny), AUTHENTICATION),
    (b"password changed for ", true, "password-changed", Some(Success), IAM),
    (b"Access denied for user ", true, "pam-access-denied", Some(Deny), AUTHENTICATION),
    (b"Authentication failure", true, "pam-authentication", Some(Deny), AUTHENTICATION),
    (b"error trying to bind as user ", true, "pam-authentication", Some(Deny), AUTHENTICATION),
    (b"request wbcLogonUser failed: WBC_ERR_AUTH_ERROR", true, "pam-authentication", Some(Deny), AUTHENTICATION),
    (b"Invalid verification code for ", true, "pam-authentication", Some(Deny), AUTHENTICATION),
    (b"Invalid verification code", true, "pam-authentication", Some(Deny), AUTHENTICATION),
    (b"Accepted google_authenticator for ", true, "pam-authentication", Some(Allow), AUTHENTICATION),
    (b"Accepted google_authenticator", true, "pam-authentication", Some(Allow), AUTHENTICATION),
    (b" authenticated as ", false, "pam-authentication", Some(Allow), AUTHENTICATION),
    (b"granted access", false, "pam-authentication", Some(Allow), AUTHENTICATION),
    (b"denied access", false, "pam-access-denied", Some(Deny), AUTHENTICATION),
    (b"deny ", false, "pam-locked", Some(Deny), AUTHENTICATION),
];

/// Reads a message. False, and nothing set, if no module wrote it.
pub(super) fn parse<'a>(record: &mut Record<'a>, program: &'a [u8], message: &'a [u8], detail: &mut Vec<u8>) -> bool {
    if let Some(text) = message.strip_prefix(b"PAM ")
        && more_failures(text).is_some()
    {
        let mut waybill = Object::member_after(detail, "pam");
        self::text(record, text, &mut waybill);
        record.set(Field::Message, message);
        record.dataset = "pam";
        return true;
    }
    let Some([module, service, kind, text]) = module(program, message) else { return false };
    record.set(Field::Message, message);
    record.dataset = "pam";
    let mut waybill = Object::member_after(detail, "pam");
    waybill.text("module", module);
    if !service.is_empty() {
        waybill.text("service", service);
    }
    if !kind.is_empty() {
        waybill.text("type", kind);
    }
    self::text(record, text, &mut waybill);
    true
}

/// Reads a message of `unix_chkpwd`, which checks passwords for `pam_unix`. False, and nothing set, if it is another one.
pub(super) fn helper<'a>(record: &mut Record<'a>, message: &'a [u8], detail: &mut Vec<u8>) -> bool {
    const TEXTS: [&[u8]; 3] =
        [b"password check failed for user (", b"check pass; user unknown", b"inappropriate use of Unix helper binary"];
    if !TEXTS.iter().any(|text| message.starts_with(text)) {
        return false;
    }
    record.set(Field::Message, message);
    record.dataset = "pam";
    let mut waybill = Object::member_after(detail, "pam");
    waybill.text("module", b"pam_unix");
    text(record, message, &mut waybill);
    true
}

/// `2 more authentication failures; logname=…`: behind `PAM ` what the library says for modules that count, else the module.
fn more_failures(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = split(text, b" more authentication failure")?;
    let rest = rest.strip_prefix(b"s").unwrap_or(rest).strip_prefix(b";")?;
    super::base::is_decimal(count).then_some((count, rest))
}

/// Module, service, type and text.
type Parts<'a> = [&'a [u8]; 4];

fn module<'a>(program: &'a [u8], message: &'a [u8]) -> Option<Parts<'a>> {
    let none = &message[..0];
    // "sshd(pam_unix)[123]: text" and "(pam_unix) text", up to Linux-PAM 0.99
    if let Some((service, rest)) = split(program, b"(pam_") {
        let name = &program[service.len() + 1..program.len() - 1];
        return rest.ends_with(b")").then_some([name, service, none, message]);
    }
    if let Some(rest) = message.strip_prefix(b"(pam_") {
        let (name, text) = split(rest, b") ")?;
        return is_name(name).then_some([&message[1..5 + name.len()], none, none, text]);
    }
    if !message.starts_with(b"pam_") {
        return None;
    }
    let open = message.iter().take(64).position(|byte| matches!(byte, b'(' | b':' | b' ' | b'['))?;
    let (name, rest) = message.split_at(open);
    // "pam_krb5[812]: text"
    let rest = rest
        .strip_prefix(b"[")
        .and_then(|inside| split(inside, b"]"))
        .map_or(rest, |(pid, behind)| if super::base::is_decimal(pid) { behind } else { rest });
    if let Some(inside) = rest.strip_prefix(b"(") {
        let (place, text) = split(inside, b"): ")?;
        let (service, kind) = split(place, b":").unwrap_or((place, none));
        return Some([name, service, kind, text]);
    }
    Some([name, none, none, rest.strip_prefix(b": ")?])
}

fn is_name(text: &[u8]) -> bool {
    !text.is_empty() && text.len() <= 32 && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn says(
    record: &mut Record<'_>,
    action: &'static str,
    outcome: Option<Outcome>,
    category: &'static str,
    types: &'static str,
) {
    record.name(Field::EventAction, action);
    (record.outcome, record.category, record.types) = (outcome, category, types);
}

fn text<'a>(record: &mut Record<'a>, text: &'a [u8], waybill: &mut Object<'_>) {
    for (begins, action, types) in [
        (&b"session opened for user "[..], "session-opened", "\"start\""),
        (b"session closed for user ", "session-closed", "\"end\""),
    ] {
        if let Some(rest) = text.strip_prefix(begins) {
            says(record, action, Some(Success), SESSION, types);
            session(record, rest.trim_ascii_end(), waybill);
            return;
        }
    }
    if let Some(rest) = text.strip_prefix(b"authentication failure;") {
        says(record, "pam-authentication", Some(Deny), AUTHENTICATION, "\"start\"");
        pairs(record, rest, waybill);
        return;
    }
    if let Some((count, rest)) = more_failures(text) {
        waybill.value("failures").extend_from_slice(count);
        says(record, "pam-authentication", Some(Deny), AUTHENTICATION, "\"start\"");
        pairs(record, rest, waybill);
        return;
    }
    if let Some((action, outcome, name, rest)) = named_apart(text) {
        says(record, action, Some(outcome), AUTHENTICATION, "\"start\"");
        set_name(record, name);
        record.suspect = memchr::memmem::find(rest, APART).map(|_| "ambiguous");
        return;
    }
    // pam_wheel: "Access denied to 'bob' for 'root'": bob would become root.
    if let Some((verb, rest)) = text.strip_prefix(b"Access ").and_then(|rest| split(rest, b" to '"))
        && let (Some((by, target)), Some(outcome)) = (
            rest.strip_suffix(b"'").and_then(|names| rsplit(names, b"' for '")),
            match verb {
                b"granted" => Some(Allow),
                b"denied" => Some(Deny),
                _ => None,
            },
        )
    {
        let action = if outcome == Allow { "pam-access-granted" } else { "pam-access-denied" };
        says(record, action, Some(outcome), AUTHENTICATION, "\"info\"");
        set_name(record, by);
        record.set(Field::UserEffectiveName, target);
        return;
    }
    // pam_sss, pam_ldap, pam_krb5: "received for user alice: 7 (Authentication failure)"
    if let Some((name, reason)) = text.strip_prefix(b"received for user ").and_then(|rest| rsplit(rest, b": ")) {
        says(record, "pam-authentication", Some(Deny), AUTHENTICATION, "\"start\"");
        record.set(Field::UserName, name);
        record.set(Field::EventReason, reason);
        return;
    }
    // pam_access: "access denied for user `bob' from `192.0.2.1'"
    if let Some((name, host)) =
        text.strip_prefix(b"access denied for user `").and_then(|rest| rsplit(rest, b"' from `"))
    {
        says(record, "pam-access-denied", Some(Deny), AUTHENTICATION, "\"start\"");
        record.set(Field::UserName, name);
        let host = host.strip_suffix(b"'").unwrap_or(host);
        if is_host(host) {
            source(record, host, None);
        }
        return;
    }
    // Duo: "Failed Duo login for 'alice' from 192.0.2.1"
    if let Some((verb, rest)) = split(text, b" Duo login for '") {
        let outcome = match verb {
            b"Successful" | b"Skipped" => Allow,
            b"Failed" | b"Denied" => Deny,
            b"Aborted" => Error,
            _ => return,
        };
        says(record, "pam-authentication", Some(outcome), AUTHENTICATION, "\"start\"");
        if let Some((name, host)) = rsplit(rest, b"' from ") {
            record.set(Field::UserName, name);
            let host = &host[..host.iter().position(|byte| matches!(byte, b' ' | b',')).unwrap_or(host.len())];
            let host = host.strip_suffix(b":").unwrap_or(host);
            if is_host(host) {
                source(record, host, None);
            }
        }
        return;
    }
    if text.starts_with(b"requirement \"") {
        let (outcome, name) = match rsplit(text, b"\" not met by user ") {
            Some((_, name)) => (Some(Deny), name),
            None => (None, rsplit(text, b" was met by user ").map_or(&text[..0], |(_, name)| name)),
        };
        says(record, "pam-requirement", outcome, AUTHENTICATION, "\"info\"");
        set_name(record, quoted(name).unwrap_or(name));
        return;
    }
    for (part, front, action, outcome, category) in ROWS {
        let Some(at) = memchr::memmem::find(text, part).filter(|at| *at == 0 || !front) else { continue };
        says(record, action, *outcome, category, "\"info\"");
        let rest = &text[at + part.len()..];
        if let Some(fields) = rest.strip_prefix(b";").filter(|_| *front) {
            pairs(record, fields, waybill);
        } else {
            let name = if *front { Some(rest) } else { split(text, b"user ").map(|(_, rest)| rest) };
            set_name(record, name.map_or(b"", |rest| first_name(rest, part.last())));
        }
        return;
    }
    record.types = "\"info\"";
}

/// What `pam_krb5` prints behind a name.
const APART: &[u8] = b"' (";

/// Messages in which something of the module's own stands between or behind the user's name and its own words.
/// Answers the action, the outcome, the name and what stands behind it.
fn named_apart<'a>(text: &'a [u8]) -> Option<(&'static str, Outcome, &'a [u8], &'a [u8])> {
    let authentication =
        |outcome: Outcome, (name, rest): (&'a [u8], &'a [u8])| Some(("pam-authentication", outcome, name, rest));
    // pam_unix: "user [bob] has blank password; authenticated without it"
    if let Some(found) = text.strip_prefix(b"user [").and_then(|rest| rsplit(rest, b"] has blank password; auth")) {
        return authentication(Allow, found);
    }
    // pam_krb5: "authentication fails for 'bob' (bob@REALM): Authentication failure (…)"
    for (begins, outcome) in [(&b"authentication fails for '"[..], Deny), (b"authentication succeeds for '", Allow)] {
        if let Some(found) = text.strip_prefix(begins).and_then(|rest| split(rest, APART)) {
            return authentication(outcome, found);
        }
    }
    // pam_limits: "Too many logins (max 2) for bob"
    let (_, name) = split(text.strip_prefix(b"Too many logins (max ")?, b") for ")?;
    Some(("pam-too-many-logins", Deny, name, b""))
}

fn set_name<'a>(record: &mut Record<'a>, name: &'a [u8]) {
    if !name.is_empty() {
        record.set(Field::UserName, name);
    }
}

/// The name with which a text begins: in brackets, quoted, or one word. `before` is the byte before it.
fn first_name<'a>(text: &'a [u8], before: Option<&u8>) -> &'a [u8] {
    let close: &[u8] = match before {
        Some(b'[') => b"]",
        Some(b'(') => b")",
        _ => b"",
    };
    if !close.is_empty() {
        return text.trim_ascii_end().strip_suffix(close).unwrap_or_default();
    }
    quoted(text).unwrap_or_else(|| {
        let word = &text[..memchr::memchr(b' ', text).unwrap_or(text.len())];
        if word.contains(&b'=') || word.starts_with(b",") {
            &text[..0]
        } else {
            word.strip_suffix(b":").unwrap_or(word)
        }
    })
}

/// What stands in quotes up to the last one.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let close = match text.first()? {
        b'\'' | b'`' => b'\'',
        b'"' => b'"',
        _ => return None,
    };
    let end = memchr::memrchr(close, &text[1..])?;
    Some(&text[1..=end])
}

/// `alice(uid=1000) by bob(uid=0)`, older `alice by (uid=0)` and `alice`.
fn session<'a>(record: &mut Record<'a>, text: &'a [u8], waybill: &mut Object<'_>) {
    let (user, by) = rsplit(text, b" by ").unwrap_or((text, b""));
    let (name, id) = identity(user);
    record.set(Field::UserName, name);
    if let Some(id) = id {
        record.set(Field::UserId, id);
    }
    let (name, id) = identity(by);
    if !name.is_empty() {
        waybill.text("by", name);
    }
    if let Some(id) = id {
        waybill.text("by_uid", id);
    }
}

/// `alice(uid=1000)`: name and number.
fn identity(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let found = text.strip_suffix(b")").and_then(|text| rsplit(text, b"(uid="));
    match found {
        Some((name, id)) if super::base::is_decimal(id) => (name, Some(id)),
        _ => (text, None),
    }
}

/// `logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root`
fn pairs<'a>(record: &mut Record<'a>, text: &'a [u8], waybill: &mut Object<'_>) {
    let mut rest = text.trim_ascii_start();
    for key in [&b"logname"[..], b"uid", b"euid", b"tty", b"ruser", b"rhost"] {
        let Some(behind) = rest.strip_prefix(key).and_then(|rest| rest.strip_prefix(b"=")) else { continue };
        let end = match key {
            // What a client calls himself may hold a host of its own: the last one in front of the user counts.
            b"ruser" => ruser_end(record, behind),
            _ => memchr::memchr(b' ', behind).unwrap_or(behind.len()),
        };
        let (value, behind) = behind.split_at(end);
        rest = behind.trim_ascii_start();
        match key {
            _ if value.is_empty() => {}
            b"rhost" if is_host(value) => source(record, value, None),
            b"rhost" => waybill.text("rhost", value),
            b"ruser" => waybill.text("ruser", value),
            b"tty" => waybill.text("tty", value),
            b"uid" => waybill.text("uid", value),
            _ => {}
        }
    }
    if let Some(name) = rest.strip_prefix(b"user=") {
        record.set(Field::UserName, name.trim_ascii_end());
    }
}

/// Where the value of `ruser=` ends: before the last ` rhost=` in front of ` user=`. Several of them are ambiguous.
fn ruser_end(record: &mut Record<'_>, text: &[u8]) -> usize {
    let front = split(text, b" user=").map_or(text, |(front, _)| front);
    let first = memchr::memmem::find(front, b" rhost=");
    let last = memchr::memmem::rfind(front, b" rhost=");
    if first != last {
        record.suspect = Some("ambiguous");
    }
    last.or_else(|| memchr::memchr(b' ', text)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests;
