//! V2Ray and Xray: which of their grammars a line follows.
//!
//! Both logs begin with Go's date in local time. A program whose log path is empty writes both to its standard output, so either
//! source takes lines of either kind, and those of the resolver (`common/log/dns.go`), behind whatever a supervisor put before.

use super::record::{Field, Record};
use super::settings::Meaning;
use super::syslog;
use super::time::{Clock, Moment};
use super::{v2ray_access, v2ray_dns, v2ray_error, v2ray_panel};

/// How far into a line its date may begin.
const PREFIX: usize = 160;

/// Reads a line that has been cleaned of colours and secrets.
pub(super) fn parse<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    outbounds: &[(String, Meaning)],
    (clock, observed): (&mut Clock, i64),
    detail: &mut Vec<u8>,
) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if let Some((moment, message)) = dated(line, clock) {
        (record.time, record.ambiguous) = (Some(moment.time), moment.ambiguous);
        record.parsed = said(record, message, outbounds, clock, detail) || v2ray_error::untagged(record, message);
        return;
    }
    let message = behind_runtime(line).unwrap_or(line);
    record.parsed = v2ray_error::untagged(record, message)
        || v2ray_panel::parse(record, syslog::behind_container(message), detail)
        || logged(record, line, outbounds, (clock, observed), detail);
}

/// Takes what libraries print behind Go's date as a message. In an access log it is not expected.
pub(super) fn keep<'a>(record: &mut Record<'a>, line: &'a [u8], clock: &mut Clock) {
    if !record.parsed
        && let Some((_, message)) = dated_here(line.strip_suffix(b"\r").unwrap_or(line), clock)
    {
        record.parsed = true;
        record.dataset = "v2ray.error";
        (record.category, record.types) = ("\"process\"", "\"info\"");
        record.set(Field::Message, message);
    }
}

/// Reads what follows a date.
fn said<'a>(
    record: &mut Record<'a>,
    message: &'a [u8],
    outbounds: &[(String, Meaning)],
    clock: &mut Clock,
    detail: &mut Vec<u8>,
) -> bool {
    // A panel repeats the line of its program, with or without that line's own date.
    let message = match v2ray_panel::relayed(message) {
        Some(inside) => match dated_here(inside, clock) {
            Some((moment, inside)) => {
                (record.time, record.ambiguous) = (Some(moment.time), moment.ambiguous);
                inside
            }
            None => return v2ray_panel::parse(record, message, detail),
        },
        None => message,
    };
    v2ray_error::parse(record, message, detail)
        || v2ray_access::parse(record, message, outbounds, detail)
        || v2ray_dns::parse(record, message, detail)
        || v2ray_panel::parse(record, message, detail)
}

/// Reads a line that has a header of syslog and no date of Go's behind it: what the programs say without one, an access line whose
/// writer left it out, and what the supervisor says of them.
fn logged<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    outbounds: &[(String, Meaning)],
    (clock, observed): (&mut Clock, i64),
    detail: &mut Vec<u8>,
) -> bool {
    let Some(header) = syslog::parse(line, clock, observed).filter(|header| !header.program.is_empty()) else {
        return false;
    };
    if let Some(moment) = header.moment {
        (record.time, record.ambiguous) = (Some(moment.time), moment.ambiguous);
    }
    if let Some(host) = header.host {
        record.set(Field::SyslogHostname, host);
    }
    record.set(Field::SyslogAppname, header.program);
    if said(record, header.message, outbounds, clock, detail) || v2ray_error::untagged(record, header.message) {
        return true;
    }
    record.dataset = "syslog";
    record.set(Field::Message, header.message);
    true
}

/// What stands behind the time that a container's runtime prints, where a file has that and its source has no `envelope`:
/// `2026-01-27T14:46:57.123Z stdout F Xray 26.3.27 (…`
fn behind_runtime(line: &[u8]) -> Option<&[u8]> {
    let blank = memchr::memchr(b' ', line).filter(|end| (20..=40).contains(end))?;
    super::time::rfc3339(&line[..blank])?;
    let text = &line[blank + 1..];
    let marks: [&[u8]; 4] = [b"stdout F ", b"stderr F ", b"stdout P ", b"stderr P "];
    Some(marks.iter().find_map(|mark| text.strip_prefix(*mark)).unwrap_or(text))
}

/// The date and what follows it. Supervisors (journald's and Docker's text output) put something before the date.
fn dated<'a>(line: &'a [u8], clock: &mut Clock) -> Option<(Moment, &'a [u8])> {
    if let Some(found) = dated_here(line, clock) {
        return Some(found);
    }
    let head = &line[..line.len().min(PREFIX)];
    memchr::memchr_iter(b'/', head).find_map(|slash| {
        let start = slash.checked_sub(4)?;
        let before = line.get(start.checked_sub(1)?)?;
        (!before.is_ascii_alphanumeric()).then(|| dated_here(&line[start..], clock))?
    })
}

fn dated_here<'a>(line: &'a [u8], clock: &mut Clock) -> Option<(Moment, &'a [u8])> {
    let (moment, length) = clock.slashed(line)?;
    Some((moment, line[length..].strip_prefix(b" ")?))
}

/// The parts of an error chain: `common/errors` joins them by ` > `.
pub(super) fn chain(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(message);
    std::iter::from_fn(move || {
        let text = rest?;
        let (part, behind) = match memchr::memmem::find(text, b" > ") {
            Some(at) => (&text[..at], Some(&text[at + 3..])),
            None => (text, None),
        };
        rest = behind;
        Some(part)
    })
}

/// Splits `pkg/path: message`. The package may be printed twice (Xray's `common/drain`).
pub(super) fn component(part: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let Some((first, mut message)) = package(part) else { return (None, part) };
    while let Some((again, rest)) = package(message)
        && again == first
    {
        message = rest;
    }
    (Some(first), message)
}

/// A package path before `: `, without what older versions put in front of it.
fn package(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', part)?;
    let message = part[colon + 1..].strip_prefix(b" ")?;
    let name = &part[..colon];
    let known =
        name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'|' | b'_' | b'.' | b'-'))
            && (name == b"core" || name.iter().any(|byte| matches!(byte, b'/' | b'|')));
    known.then(|| (trimmed(name), message))
}

/// Takes off the repository: v2ray.com/core up to 4.34, github.com/v2fly/v2ray-core/v4 in 4.35 and 4.36.
fn trimmed(name: &[u8]) -> &[u8] {
    for prefix in [&b"v2ray.com/"[..], b"github.com/v2fly/v2ray-core/", b"github.com/xtls/xray-core/"] {
        if let Some(rest) = name.strip_prefix(prefix) {
            let rest = match rest {
                [b'v', digit, b'/', rest @ ..] if digit.is_ascii_digit() => rest,
                _ => rest,
            };
            return rest.strip_prefix(b"core/").unwrap_or(rest);
        }
    }
    name
}

/// Whether an error chain says that a credential was refused.
///
/// Only the beginnings of its parts are looked at, and nothing behind `invalid domain name: `, which a client can choose.
pub(super) fn refused_credential(reason: &[u8]) -> bool {
    const REFUSALS: [&[u8]; 11] = [
        b"invalid user",
        b"user do not exist",
        b"invalid request user id",
        b"invalid username or password",
        b"not a valid user",
        b"failed to find user",
        b"failed to match an user",
        b"invalid protocol or invalid user",
        b"no matching auth method",
        b"socks 4 is not allowed when auth is required",
        b"message authentication failed",
    ];
    for part in chain(reason) {
        let (_, message) = component(part);
        if message.starts_with(b"invalid domain name: ") {
            return false;
        }
        let message = message.strip_prefix(b"cipher: ").unwrap_or(message);
        if REFUSALS.iter().any(|refusal| message.starts_with(refusal)) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Libraries print through Go's own logger.
    #[test]
    fn what_libraries_print_is_kept_in_the_error_log() {
        use crate::format::Kind;
        use crate::format::tests::{encode, gateway};
        let line = b"2026/08/09 14:59:42.637899 Using existing driver 0.14";
        let (verdict, record) = encode(&gateway(Kind::V2RayError), line);
        assert!(verdict.parsed && verdict.outcome.is_none());
        assert_eq!(record.unwrap()["message"], "Using existing driver 0.14");
        assert!(!encode(&gateway(Kind::V2RayAccess), line).0.parsed);
        assert!(!encode(&gateway(Kind::V2RayError), b"Using existing driver 0.14").0.parsed);
    }

    #[test]
    fn packages_of_every_generation() {
        for (part, name, message) in [
            ("proxy/socks: no matching auth method", "proxy/socks", "no matching auth method"),
            ("v2ray.com/core/proxy/vmess: Not Found", "proxy/vmess", "Not Found"),
            ("v2ray.com/core: V2Ray 4.34.0 started", "core", "V2Ray 4.34.0 started"),
            ("github.com/v2fly/v2ray-core/v4/proxy/socks: x", "proxy/socks", "x"),
            ("Proxy|VMess|Encoding: invalid user", "Proxy|VMess|Encoding", "invalid user"),
            ("common/drain: common/drain: unable to drain connection", "common/drain", "unable to drain connection"),
        ] {
            let (found, rest) = component(part.as_bytes());
            assert_eq!((found, rest), (Some(name.as_bytes()), message.as_bytes()), "{part}");
        }
        for part in [
            "EOF",
            "cipher: message authentication failed",
            "accept tcp [::]:12345: accept4: too many open files",
            "io: closed",
        ] {
            assert_eq!(component(part.as_bytes()), (None, part.as_bytes()));
        }
    }

    #[test]
    fn credentials_are_told_from_what_a_client_writes() {
        assert!(refused_credential(b"Proxy|VMess|Encoding: invalid user"));
        assert!(refused_credential(
            b"proxy/shadowsocks: failed to read address > cipher: message authentication failed"
        ));
        assert!(refused_credential(
            b"common/drain: common/drain: unable to drain connection > EOF > proxy/vmess/encoding: invalid user > x"
        ));
        assert!(!refused_credential(
            b"proxy/socks: failed to read address > common/protocol: invalid domain name: x > invalid user"
        ));
        assert!(!refused_credential(b"proxy/vless/encoding: invalid request version"));
    }
}
