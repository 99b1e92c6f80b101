//! sudo's log in JSON (`log_format = json`, since 1.9.4): `@cee:{"sudo":{"accept":{…}}}` in syslog, the bare object in a file.

use super::members::{elements, member, pairs};
use super::object::Object;
use super::record::{Field, Record};
use super::scan::{Scanner, Type, Value};
use super::settings::Outcome::{Allow, Deny, Error};

/// So many arguments of a command are taken.
const MOST: usize = 256;

/// Members of an event that go to `waybill.sudo`, and their names there.
const NAMES: [(&[u8], &str); 6] = [
    (b"uuid", "uuid"),
    (b"submithost", "host"),
    (b"ttyname", "tty"),
    (b"rungroup", "group"),
    (b"runchroot", "chroot"),
    (b"signal", "signal"),
];

/// Reads a message. False, and nothing set, if it is no such object.
pub(super) fn parse<'a>(
    record: &mut Record<'a>,
    message: &'a [u8],
    scratch: &'a mut Vec<u8>,
    detail: &mut Vec<u8>,
) -> bool {
    let text = message.trim_ascii();
    let text = text.strip_prefix(b"@cee:").unwrap_or(text).trim_ascii_start();
    text.starts_with(b"{") && fill(record, text, scratch, detail).is_some()
}

fn fill<'a>(record: &mut Record<'a>, text: &'a [u8], scratch: &'a mut Vec<u8>, detail: &mut Vec<u8>) -> Option<()> {
    let mut scanner = Scanner::new(text);
    let whole = scanner.value().filter(|_| scanner.finished())?;
    let sudo = member(text, whole.span.start, b"sudo").filter(is_object)?;
    let (verb, event) = pairs(text, sudo.span.start).next().filter(|(_, value)| is_object(value))?;
    let (action, outcome, types) = match &text[verb] {
        b"accept" => ("sudo-command", Some(Allow), "\"start\""),
        b"reject" => ("sudo-refused", Some(Deny), "\"start\""),
        b"alert" => ("sudo-alert", Some(Error), "\"info\""),
        b"exit" => ("sudo-command-ended", None, "\"end\""),
        _ => return None,
    };
    record.escaped = true;
    record.dataset = "sudo";
    record.category = "\"process\"";
    record.types = types;
    record.outcome = outcome;
    record.name(Field::EventAction, action);
    let of = |name: &[u8]| member(text, event.span.start, name);
    let string = |name: &[u8]| of(name).filter(|value| value.kind == Type::String).map(|value| value.inner(text));
    for (name, field) in [
        (&b"submituser"[..], Field::UserName),
        (b"runuser", Field::UserEffectiveName),
        (b"command", Field::ProcessExecutable),
        (b"runcwd", Field::ProcessWorkingDirectory),
        (b"submitcwd", Field::ProcessWorkingDirectory),
        (b"reason", Field::EventReason),
        (b"alert", Field::EventReason),
    ] {
        if let Some(value) = string(name).filter(|_| record.get(field).is_none()) {
            record.set(field, value);
        }
    }
    if record.get(Field::EventReason).is_some_and(|reason| memchr::memmem::find(reason, b"password").is_some()) {
        record.category = "\"authentication\",\"process\"";
    }
    if action == "sudo-alert" && memchr::memmem::find(string(b"alert").unwrap_or_default(), b"password").is_some() {
        record.outcome = Some(Deny);
    }
    let mut waybill = Object::member_after(detail, "sudo");
    for (name, ours) in NAMES {
        if let Some(value) = string(name).filter(|value| !value.is_empty()) {
            let out = waybill.value(ours);
            out.push(b'"');
            super::escape::inner(out, value);
            out.push(b'"');
        }
    }
    let digits = |value: Value| Some(value.inner(text)).filter(|digits| super::base::is_decimal(digits));
    if let Some(code) = of(b"exit_value").and_then(digits) {
        waybill.value("exit").extend_from_slice(code);
        record.outcome = Some(if code == b"0" { Allow } else { Error });
    }
    if record.time.is_none() {
        record.time = of(b"server_time").filter(is_object).and_then(|time| {
            let number = |name: &[u8]| -> Option<i64> {
                std::str::from_utf8(member(text, time.span.start, name)?.inner(text)).ok()?.parse().ok()
            };
            number(b"seconds")?.checked_mul(1_000_000_000)?.checked_add(number(b"nanoseconds").unwrap_or_default())
        });
    }
    if let Some(arguments) = of(b"runargv").filter(|value| value.kind == Type::Array) {
        scratch.clear();
        for argument in elements(text, arguments.span.start).take(MOST).filter(|value| value.kind == Type::String) {
            if !scratch.is_empty() {
                scratch.push(b' ');
            }
            scratch.extend_from_slice(argument.inner(text));
        }
        record.set(Field::ProcessCommandLine, scratch);
    }
    Some(())
}

fn is_object(value: &Value) -> bool {
    value.kind == Type::Object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::format::Kind;
    use crate::format::tests::{encode, gateway};

    #[test]
    fn events_of_sudo() {
        let event = r#"{"sudo":{"reject":{"uuid":"u-1","reason":"command not allowed","server_time":{"seconds":1795327307,"nanoseconds":5},"submituser":"al\"ice","command":"/bin/cat","runuser":"root","ttyname":"/dev/pts/0","submitcwd":"/home/alice","runargv":["cat","/etc/sh\u0061dow"]}}}"#;
        for line in [event.to_owned(), format!("2026-11-22T06:01:48Z deb sudo: @cee:{event}")] {
            let record = encode(&gateway(Kind::Sudo), line.as_bytes()).1.unwrap();
            assert_eq!(record["waybill"]["outcome"], "deny", "{record}");
            assert_eq!(record["user"]["name"], "al\"ice");
            assert_eq!(record["process"]["command_line"], "cat /etc/shadow");
            assert_eq!(record["process"]["working_directory"], "/home/alice");
            assert_eq!(record["waybill"]["sudo"], json!({"uuid": "u-1", "tty": "/dev/pts/0"}));
        }
        for broken in [r#"{"sudo":{"reject":{}}"#, r#"{"sudo":7}"#, r#"{"sudo":{"else":{}}}"#, "{"] {
            let verdict = encode(&gateway(Kind::Sudo), broken.as_bytes()).0;
            assert!(!verdict.parsed, "{broken}");
        }
    }
}
