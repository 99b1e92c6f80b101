//! The error log of V2Ray and Xray, all versions: `common/log/log.go` and `common/errors/errors.go`.
//!
//! ```text
//! "[" level "]" [ SP ] [ "[" session "] " ] package ": " message { " > " inner }
//! ```
//!
//! Levels differ between versions for the same message, so the outcome is taken from what is said, unless the level is "error". Only the beginning of each
//! part is looked at: what a client sends stands behind it.

use super::address::{Endpoint, Url};
use super::object::Object;
use super::record::{Field, Record, Side};
use super::settings::Outcome;
use super::v2ray::{chain, component, refused_credential};
use super::{go_stack, v2ray_dns};

const LEVELS: [(&[u8], &str); 5] = [
    (b"[Info]", "info"),
    (b"[Warning]", "warning"),
    (b"[Error]", "error"),
    (b"[Debug]", "debug"),
    (b"[Unknown]", "unknown"),
];

/// Messages that name an address: how they begin, what that is, and which end it is.
const ADDRESSES: [(&[u8], &str, Side); 31] = [
    (b"received request for ", "request", Side::Destination),
    (b"tunnelling request to ", "request", Side::Destination),
    (b"tunneling request to ", "request", Side::Destination),
    (b"dispatching request to ", "request", Side::Destination),
    (b"UDP Connect request to ", "request", Side::Destination),
    (b"failed to dispatch request to ", "dial-failed", Side::Destination),
    (b"failed to dial to ", "dial-failed", Side::Destination),
    (b"TCP Connect request to ", "request", Side::Destination),
    (b"handling DNS traffic to ", "request", Side::Destination),
    (b"default route for ", "route", Side::Destination),
    (b"sniffed domain: ", "sniff", Side::Destination),
    (b"dialing TCP to ", "dial", Side::Destination),
    (b"dialing to to ", "dial", Side::Destination),
    (b"dialing to ", "dial", Side::Destination),
    (b"opening connection to ", "dial", Side::Destination),
    (b"establishing new connection for ", "dial", Side::Destination),
    (b"connection opened to ", "connected", Side::Destination),
    (b"XHTTP is dialing to ", "dial", Side::Destination),
    (b"failed to open connection to ", "dial-failed", Side::Destination),
    (b"failed to retrieve response for ", "lookup-failed", Side::Destination),
    (b"processing from ", "request", Side::Source),
    (b"processing connection from: ", "request", Side::Source),
    (b"Received request for ", "request", Side::Destination),
    (b"failed to read response from ", "response-failed", Side::Destination),
    (b"failed to get IP address for domain ", "lookup-failed", Side::Destination),
    (b"failed to lookup ip for domain ", "lookup-failed", Side::Destination),
    (b"invalid request from ", "invalid-request", Side::Source),
    (b"failed to create request from: ", "invalid-request", Side::Source),
    (DROPPED, "invalid-request", Side::Source),
    (b"failed to parse UDP request from ", "invalid-request", Side::Source),
    (b"client UDP connection from ", "request", Side::Source),
];

/// A packet of Shadowsocks that no user's key opens.
const DROPPED: &[u8] = b"dropping invalid UDP packet from: ";

/// Messages without an address that are worth a name.
const ACTIONS: [(&[u8], &str); 11] = [
    (b"REALITY: failed to dial dest", "dial-failed"),
    (b"listening ", "listen"),
    (b"failed to accepted raw connections", "accept-failed"),
    (b"failed to accept raw connections", "accept-failed"),
    (b"non existing tag", "outbound-missing"),
    (b"non existing outTag", "outbound-missing"),
    (b"fallback starts", "fallback"),
    (b"failed to process outbound traffic", "outbound-failed"),
    (b"failed to validate path", "invalid-path"),
    (b"failed to read http request", "invalid-request"),
    (b"connection ends", "connection-end"),
];

/// What the system says when something runs out, at the very end of a message.
const RESOURCES: [(&[u8], &str); 6] = [
    (b"too many open files", "resource-file-descriptors"),
    (b"too many open files in system", "resource-file-descriptors"),
    (b"cannot allocate memory", "resource-memory"),
    (b"no buffer space available", "resource-memory"),
    (b"no space left on device", "resource-disk"),
    (b"disk quota exceeded", "resource-disk"),
];

/// How a chain ends if one of the two ends closed the connection.
const CLOSED: [&[u8]; 4] =
    [b"EOF", b"context canceled", b"io: read/write on closed pipe", b"read/write on closed pipe"];

/// Reads what follows the date. False, and nothing set, if it does not begin with a level.
pub(super) fn parse<'a>(record: &mut Record<'a>, message: &'a [u8], detail: &mut Vec<u8>) -> bool {
    if message.first() != Some(&b'[') {
        return false;
    }
    let level = LEVELS.iter().find_map(|(prefix, name)| Some((*name, message.strip_prefix(*prefix)?)));
    let Some((level, rest)) = level else { return false };
    // Up to 2017 there was no blank.
    self::message(record, level, rest.strip_prefix(b" ").unwrap_or(rest), detail);
    true
}

/// Reads what follows the level.
pub(super) fn message<'a>(record: &mut Record<'a>, level: &'static str, rest: &'a [u8], detail: &mut Vec<u8>) {
    let (session, rest) = session(rest);
    let (logger, text) = component(rest);
    record.dataset = "v2ray.error";
    record.category = "\"network\"";
    record.types = "\"info\"";
    record.name(Field::LogLevel, level);
    record.set(Field::Message, text);
    let mut waybill = Object::member_after(detail, "v2ray");
    if let Some(session) = session {
        waybill.value("session").extend_from_slice(session);
    }
    if let Some(logger) = logger {
        record.set(Field::LogLogger, logger);
        if logger == b"app/dns"
            && let Some(server) = v2ray_dns::fill(record, text)
        {
            waybill.text("server", server);
            return;
        }
        if logger == b"core" {
            started(record, text);
        }
    }
    let mut last = text;
    let (mut failed, mut ended) = (false, false);
    for (index, part) in chain(rest).enumerate() {
        let (_, message) = component(part);
        last = message;
        failed |= message.strip_prefix(b"REALITY: ").unwrap_or(message).starts_with(b"failed to ");
        ended |= message.starts_with(b"connection ends");
        describe(record, message, index > 0, &mut waybill);
    }
    // A connection that someone closed has not failed, whatever had to stop for it.
    let closed = ended && CLOSED.contains(&last);
    if last.len() < text.len() {
        waybill.texts("chain", chain(rest));
        record.set(Field::ErrorMessage, last);
    }
    if level == "error" || (level != "debug" && failed && !closed) {
        record.outcome = record.outcome.or(Some(Outcome::Error));
    }
    if refused_credential(rest) {
        record.outcome = Some(Outcome::Deny);
        record.category = "\"authentication\",\"network\"";
        record.types = "\"connection\",\"start\"";
    }
    resource(record, last);
}

/// The number that one connection's messages share; the access log does not have it.
fn session(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let found = text.strip_prefix(b"[").and_then(|inside| {
        let end = memchr::memchr(b']', inside)?;
        let (digits, rest) = inside.split_at(end);
        let number = digits.len() <= 10 && digits.iter().all(u8::is_ascii_digit) && !matches!(digits, [] | [b'0', ..]);
        number.then_some((digits, rest.strip_prefix(b"] ")?))
    });
    found.map_or((None, text), |(digits, rest)| (Some(digits), rest))
}

/// `V2Ray 4.34.0 started`
fn started<'a>(record: &mut Record<'a>, text: &'a [u8]) {
    if let Some(program) = text.strip_suffix(b" started") {
        record.name(Field::EventAction, "started");
        record.category = "\"process\"";
        record.types = "\"start\"";
        record.outcome = Some(Outcome::Success);
        if let Some(blank) = memchr::memchr(b' ', program) {
            record.set(Field::ServiceVersion, &program[blank + 1..]);
        }
    }
}

/// Takes what one part of a chain says.
fn describe<'a>(record: &mut Record<'a>, message: &'a [u8], inner: bool, waybill: &mut Object<'_>) {
    if let Some((prefix, action, side)) = ADDRESSES.iter().find(|(prefix, ..)| message.starts_with(prefix)) {
        let rest = &message[prefix.len()..];
        // Some go on: "…, local endpoint …", "… at server UDP:…".
        let end = [&b", "[..], b" at server ", b" via ", b" to "]
            .iter()
            .filter_map(|mark| memchr::memmem::find(rest, mark))
            .min();
        if *prefix == DROPPED {
            record.outcome = Some(Outcome::Deny);
            record.types = "\"connection\",\"denied\"";
        }
        let endpoint = Endpoint::parse(&rest[..end.unwrap_or(rest.len())]);
        record.endpoint(*side, &endpoint);
        if let (Some(transport), Side::Destination) = (endpoint.transport, side) {
            record.name(Field::NetworkTransport, transport);
        }
        if !inner || record.get(Field::EventAction) != Some(b"request") {
            record.name(Field::EventAction, action);
        }
    } else if let Some(rest) = message.strip_prefix(b"REALITY: processed invalid connection") {
        probe(record, rest);
    } else if let Some(rest) = message.strip_prefix(b"Hit route rule: [") {
        if let Some(at) = memchr::memmem::find(rest, b"] so taking detour [") {
            record.set(Field::RuleName, &rest[..at]);
            detour(record, &rest[at + 20..], waybill);
        }
    } else if let Some(rest) = [&b"taking detour ["[..], b"taking platform initialized detour ["]
        .iter()
        .find_map(|begin| message.strip_prefix(*begin))
    {
        detour(record, rest, waybill);
    } else if let Some(rest) = message.strip_prefix(b"request to Method [") {
        http(record, rest);
    } else if let Some((_, action)) = ACTIONS.iter().find(|(prefix, _)| message.starts_with(prefix))
        && (!inner || *action != "connection-end")
    {
        record.name(Field::EventAction, action);
    }
}

/// ` from A:port: what was wrong with it`; older versions leave that out. Whoever knows the key is not shown another server.
fn probe<'a>(record: &mut Record<'a>, text: &'a [u8]) {
    record.name(Field::EventAction, "probe");
    record.outcome = Some(Outcome::Deny);
    record.category = "\"intrusion_detection\",\"network\"";
    record.types = "\"connection\",\"denied\"";
    let Some(rest) = text.strip_prefix(b" from ") else { return };
    let end = memchr::memmem::find(rest, b": ").unwrap_or(rest.len());
    record.endpoint(Side::Source, &Endpoint::parse(&rest[..end]));
    if let Some(reason) = rest.get(end + 2..) {
        record.set(Field::EventReason, reason);
    }
}

/// `blocked] for [tcp:ad3.blocked.test:46933]`
fn detour<'a>(record: &mut Record<'a>, text: &'a [u8], waybill: &mut Object<'_>) {
    let Some(at) = memchr::memmem::find(text, b"] for [") else { return };
    let endpoint = Endpoint::parse(text[at + 7..].strip_suffix(b"]").unwrap_or(&text[at + 7..]));
    record.endpoint(Side::Destination, &endpoint);
    if let Some(transport) = endpoint.transport {
        record.name(Field::NetworkTransport, transport);
    }
    record.name(Field::EventAction, "route");
    record.set(Field::ObserverEgress, &text[..at]);
    waybill.text("outbound", &text[..at]);
}

/// `GET] Host [plain.ok.test:80] with URL [http://plain.ok.test:80/]`
fn http<'a>(record: &mut Record<'a>, text: &'a [u8]) {
    let Some(host) = memchr::memmem::find(text, b"] Host [") else { return };
    let Some(url) = memchr::memmem::find(&text[host..], b"] with URL [") else { return };
    record.name(Field::EventAction, "request");
    record.name(Field::NetworkProtocol, "http");
    record.set(Field::HttpMethod, &text[..host]);
    record.endpoint(Side::Destination, &Endpoint::parse(&text[host + 8..host + url]));
    let original = &text[host + url + 12..];
    let original = original.strip_suffix(b"]").unwrap_or(original);
    record.set(Field::UrlOriginal, original);
    if let Some(url) = Url::parse(original) {
        record.set(Field::UrlDomain, url.endpoint.host);
        for (field, part) in [(Field::UrlScheme, url.scheme), (Field::UrlPath, url.path), (Field::UrlQuery, url.query)]
        {
            if !part.is_empty() {
                record.set(field, part);
            }
        }
    }
}

/// Recognises that the machine ran out of something.
fn resource(record: &mut Record<'_>, last: &[u8]) {
    let end = memchr::memmem::find(last, b"; retrying in ").unwrap_or(last.len());
    let said = &last[..end];
    if said.starts_with(b"invalid domain name: ") {
        return;
    }
    if let Some((_, action)) = RESOURCES.iter().find(|(text, _)| said.ends_with(text)) {
        record.name(Field::EventAction, action);
        record.category = "\"host\"";
        record.types = "";
        record.outcome = Some(Outcome::Error);
    }
}

/// What Go's packages and those of others put before what they log themselves.
const GO: [&[u8]; 7] = [b"http2: ", b"tls: ", b"net/http: ", b"quic-go: ", b"quic: ", b"websocket: ", b"httputil: "];

/// What is printed without a level: Go's own messages, a panic with its stack, the banner.
pub(super) fn untagged<'a>(record: &mut Record<'a>, line: &'a [u8]) -> bool {
    let begins = |prefixes: &[&[u8]]| prefixes.iter().any(|prefix| line.starts_with(prefix));
    let end = memchr::memchr(b'\n', line).unwrap_or(line.len());
    let (first, below) = (line[..end].trim_ascii_end(), line[end..].trim_ascii());
    if go_stack::is_death(first) || begins(&[b"[signal "]) {
        record.name(Field::EventAction, "panic");
        record.category = "\"process\"";
        record.types = "\"end\"";
        record.outcome = Some(Outcome::Error);
        record.kind = "alert";
        record.set(Field::ErrorMessage, first);
        if !below.is_empty() {
            record.set(Field::ErrorStackTrace, below);
        }
        if first == b"fatal error: out of memory" || memchr::memmem::find(first, b"runtime: out of memory").is_some() {
            record.name(Field::EventAction, "resource-memory");
        }
    } else if begins(&[b"Failed to start: ", b"main: failed ", b"Failed to run: "]) {
        record.name(Field::EventAction, "start-failed");
        record.category = "\"process\"";
        record.types = "\"start\"";
        record.outcome = Some(Outcome::Error);
        let reason = line.strip_prefix(b"Failed to start: ").unwrap_or(line);
        record.set(Field::ErrorMessage, chain(reason).last().unwrap_or(reason));
        resource(record, chain(reason).last().unwrap_or(reason));
    } else if begins(&[b"Configuration OK", b"Using confdir from ", b"Using config from ", b"Reading config: "]) {
        record.name(Field::EventAction, "configuration");
        record.category = "\"configuration\"";
        record.types = "\"info\"";
    } else if begins(&[b"exit status "]) {
        record.name(Field::EventAction, "stopped");
        record.category = "\"process\"";
        record.types = "\"end\"";
    } else if go_stack::is_stack(line) {
        record.name(Field::EventAction, "panic-stack");
        record.category = "\"process\"";
        record.types = "\"info\"";
    } else if go_stack::is_banner(first) || begins(&[go_stack::SLOGAN]) {
        record.name(Field::EventAction, "banner");
        record.category = "\"process\"";
        record.types = "\"start\"";
        if let Some(version) = first.split(|byte| *byte == b' ').nth(1).filter(|_| !begins(&[go_stack::SLOGAN])) {
            record.set(Field::ServiceVersion, version);
        }
    } else if begins(&GO) || begins(&[b"REALITY "]) {
        record.types = "\"info\"";
        record.category = "\"network\"";
    } else if let Some(message) = line.strip_prefix(b"http: ") {
        record.category = "\"network\"";
        record.outcome = Some(Outcome::Error);
        record.name(Field::EventAction, "http-server-error");
        if let Some(rest) = message.strip_prefix(b"TLS handshake error from ")
            && let Some(end) = memchr::memmem::find(rest, b": ")
        {
            record.endpoint(Side::Source, &Endpoint::parse(&rest[..end]));
        }
        resource(record, message);
    } else {
        return false;
    }
    record.dataset = "v2ray.error";
    record.set(Field::Message, first);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str) -> (String, Option<Outcome>) {
        let mut detail = Vec::new();
        let mut record = Record::new("v2ray", "");
        let message = message.as_bytes();
        assert!(parse(&mut record, message, &mut detail) || untagged(&mut record, message));
        let action = record.get(Field::EventAction).map(|action| String::from_utf8_lossy(action).into_owned());
        (action.unwrap_or_default(), record.outcome)
    }

    #[test]
    fn resources_are_recognised_and_cannot_be_forged() {
        let resource = |action: &str| (action.to_owned(), Some(Outcome::Error));
        for (message, action) in [
            (
                "[Warning] v2ray.com/core/transport/internet/tcp: failed to accepted raw connections > accept tcp [::]:12345: accept4: too many open files",
                "resource-file-descriptors",
            ),
            ("[Info] transport/internet/tcp: failed to create fd > too many open files", "resource-file-descriptors"),
            (
                "http: Accept error: accept tcp [::]:443: accept4: too many open files; retrying in 5ms",
                "resource-file-descriptors",
            ),
            ("[Error] app/log: failed to write > write /var/log/x: no space left on device", "resource-disk"),
            ("[Warning] proxy/freedom: x > fork/exec: cannot allocate memory", "resource-memory"),
        ] {
            assert_eq!(read(message), resource(action), "{message}");
        }
        let forged = "[Info] [7] proxy/socks: failed to read address > common/protocol: invalid domain name: too many open files";
        assert_eq!(read(forged), (String::new(), Some(Outcome::Error)));
    }

    /// Of one message versions differ in the level.
    #[test]
    fn what_failed_and_what_was_refused() {
        let (error, deny) = (Some(Outcome::Error), Some(Outcome::Deny));
        for (message, action, outcome) in [
            (
                "[Info] [7] app/proxyman/outbound: failed to process outbound traffic > proxy/freedom: connection ends > read tcp 192.0.2.1:5->192.0.2.2:443: read: connection reset by peer",
                "outbound-failed",
                error,
            ),
            (
                "[Info] [7] app/proxyman/outbound: failed to process outbound traffic > proxy/freedom: connection ends > context canceled",
                "outbound-failed",
                None,
            ),
            (
                "[Info] app/dns: failed to lookup ip for domain a.test at server UDP:1.1.1.1:53 > x",
                "lookup-failed",
                error,
            ),
            ("[Info] transport/internet/tcp: REALITY: processed invalid connection", "probe", deny),
            (
                "[Info] transport/internet/tcp: REALITY: processed invalid connection from 192.0.2.7:5: handshake did not complete",
                "probe",
                deny,
            ),
            (
                "[Info] transport/internet/tcp: REALITY: failed to dial dest: dial tcp 192.0.2.7:443: connect: connection refused",
                "dial-failed",
                error,
            ),
            (
                "[Warning] proxy/shadowsocks: dropping invalid UDP packet from: udp:192.0.2.7:5 > proxy/shadowsocks: Not Found",
                "invalid-request",
                deny,
            ),
            (
                "[Info] proxy/shadowsocks: failed to parse UDP request from 192.0.2.7:5 > cipher: message authentication failed",
                "invalid-request",
                deny,
            ),
            ("[Info] proxy/socks: TCP Connect request to tcp:a.test:443", "request", None),
            ("[Debug] app/x: failed to y", "", None),
        ] {
            assert_eq!(read(message), (action.to_owned(), outcome), "{message}");
        }
    }

    #[test]
    fn what_go_prints_itself() {
        for (line, action, outcome) in [
            ("panic: runtime error: index out of range", "panic", Some(Outcome::Error)),
            ("goroutine 17 [running]:", "panic-stack", None),
            ("\t/go/src/x.go:12 +0x1a", "panic-stack", None),
            ("github.com/xtls/xray-core/proxy/vless.(*Client).Process(0xc0000)", "panic-stack", None),
            ("Xray 26.3.27 (Xray, Penetrates Everything.) Custom (go1.26 linux/amd64)", "banner", None),
            ("http: TLS handshake error from 192.0.2.7:1: EOF", "http-server-error", Some(Outcome::Error)),
        ] {
            assert_eq!(read(line), (action.to_owned(), outcome), "{line}");
        }
        assert!(!untagged(&mut Record::new("", ""), b"hello (world)"));
        assert!(!untagged(&mut Record::new("", ""), b""));
    }
}
