//! What the resolver of Xray and V2Ray answers: lines of Xray's access log (`common/log/dns.go`) and messages of both error logs.
//!
//! ```text
//! server SP ( "got answer:" | "got answere:" | "cache HIT" [ ":" ] | "cache OPTIMISTE:" ) SP name [ SP "Type" type ] " -> [" ips "]" …
//! ips = ip { ( ", " | SP ) ip }                       ip may stand in brackets of its own
//! … = [ SP duration ] [ SP "<" error ">" ]  |  ", rtt: " duration ", lock: " duration
//! ```

use super::address::Endpoint;
use super::object::Object;
use super::record::{Field, Record, Side};
use super::settings::Outcome;

const MARKS: [(&[u8], &str); 5] = [
    (b" got answer: ", "dns-answer"),
    // V2Ray 4.21 and 4.22.
    (b" got answere: ", "dns-answer"),
    (b" cache HIT: ", "dns-cache-hit"),
    (b" cache HIT ", "dns-cache-hit"),
    (b" cache OPTIMISTE: ", "dns-cache-optimistic"),
];

/// Reads what follows the date. False, and nothing set, if it is no line of the resolver.
pub(super) fn parse<'a>(record: &mut Record<'a>, message: &'a [u8], detail: &mut Vec<u8>) -> bool {
    let Some(server) = fill(record, message) else { return false };
    record.dataset = "v2ray.dns";
    Object::member_after(detail, "v2ray").text("server", server);
    true
}

/// Sets what an answer says. Answers the server as it is printed.
pub(super) fn fill<'a>(record: &mut Record<'a>, message: &'a [u8]) -> Option<&'a [u8]> {
    // The server has a blank inside if it is masked.
    let (at, mark, action) = memchr::memchr_iter(b' ', message).take(2).find_map(|blank| {
        let (mark, action) = MARKS.iter().find(|(mark, _)| message[blank..].starts_with(mark))?;
        Some((blank, mark.len(), *action))
    })?;
    let server = &message[..at];
    let answer = &message[at + mark..];
    // The last one: the name is a client's.
    let list = memchr::memmem::rfind(answer, b" -> [")?;
    let (addresses, rest) = bracketed(&answer[list + 5..])?;
    let (name, kind) = match memchr::memmem::rfind(&answer[..list], b" Type") {
        Some(blank) if answer[blank + 5..list].iter().all(u8::is_ascii_alphanumeric) => {
            (&answer[..blank], Some(&answer[blank + 5..list]))
        }
        _ => (&answer[..list], None),
    };
    record.category = "\"network\"";
    record.types = "\"protocol\",\"info\"";
    record.outcome = Some(Outcome::Success);
    record.name(Field::EventAction, action);
    record.name(Field::NetworkProtocol, "dns");
    record.set(Field::DnsQuestionName, name.strip_suffix(b".").unwrap_or(name));
    if let Some(kind) = kind {
        record.set(Field::DnsQuestionType, kind);
    }
    if !addresses.is_empty() {
        record.set(Field::DnsResolvedIp, addresses);
    }
    resolver(record, server);
    let rest = rest.strip_prefix(b", rtt:").unwrap_or(rest).trim_ascii();
    let end = rest.iter().position(|byte| matches!(byte, b' ' | b',')).unwrap_or(rest.len());
    record.duration = duration(&rest[..end]);
    if let Some(start) = memchr::memchr(b'<', rest) {
        failure(record, rest[start + 1..].strip_suffix(b">").unwrap_or(&rest[start + 1..]));
    }
    Some(server)
}

/// What is inside a bracket and what is behind it. Masked addresses have brackets of their own.
fn bracketed(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut depth = 1;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

/// `UDP:127.0.0.1:53`, `TCP//127.0.0.1:53`, `TCPL//127.0.0.1:53`, or a name such as `localhost`.
fn resolver<'a>(record: &mut Record<'a>, server: &'a [u8]) {
    let (transport, address) = match server {
        [b'U', b'D', b'P', b':', rest @ ..] => ("udp", rest),
        [b'T', b'C', b'P', b'/', b'/', rest @ ..] | [b'T', b'C', b'P', b'L', b'/', b'/', rest @ ..] => ("tcp", rest),
        _ => return,
    };
    record.name(Field::NetworkTransport, transport);
    record.endpoint(Side::Destination, &Endpoint::parse(address));
}

/// A name that does not exist is an answer; anything else that goes wrong is an error.
fn failure<'a>(record: &mut Record<'a>, error: &'a [u8]) {
    record.set(Field::EventReason, error);
    let code = match error.strip_prefix(b"rcode: ") {
        Some(b"1") => "FORMERR",
        Some(b"2") => "SERVFAIL",
        Some(b"3") => "NXDOMAIN",
        Some(b"4") => "NOTIMP",
        Some(b"5") => "REFUSED",
        _ => "",
    };
    if !code.is_empty() {
        record.name(Field::DnsResponseCode, code);
    }
    if code != "NXDOMAIN" {
        record.outcome = Some(Outcome::Error);
    }
}

/// Nanoseconds of what Go's `time.Duration` prints: `4.000179582s`, `830.712µs`, `1m2.5s`.
fn duration(mut text: &[u8]) -> Option<u64> {
    let mut total = 0u64;
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
        let (number, rest) = text.split_at(digits);
        let (unit, length) = match rest {
            [b'n', b's', ..] => (1, 2),
            [0xc2, 0xb5, b's', ..] => (1_000, 3),
            [b'u', b's', ..] => (1_000, 2),
            [b'm', b's', ..] => (1_000_000, 2),
            [b's', ..] => (1_000_000_000, 1),
            [b'm', ..] => (60_000_000_000, 1),
            [b'h', ..] => (3_600_000_000_000, 1),
            _ => return None,
        };
        let mut parts = number.splitn(2, |byte| *byte == b'.');
        let whole = parts.next().filter(|whole| !whole.is_empty() && whole.len() < 10)?;
        let whole = whole.iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        let mut scale: u64 = unit;
        let fraction = parts.next().unwrap_or_default().iter().fold(0u64, |value, digit| {
            scale /= 10;
            value + u64::from(digit.wrapping_sub(b'0') % 10) * scale
        });
        total = total.checked_add(whole.checked_mul(unit)?)?.checked_add(fraction)?;
        text = &rest[length..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_all_versions() {
        for (message, name, addresses) in [
            (
                "DOH//dns.google got answer: a.test. TypeA -> [13.107.42.12 13.107.42.13] 308.8ms",
                "a.test",
                "13.107.42.12 13.107.42.13",
            ),
            (
                "DOH//dns.google got answer: a.test. TypeAAAA -> [[2404:6800:4005:80f::2004]] 308.8ms",
                "a.test",
                "[2404:6800:4005:80f::2004]",
            ),
            ("UDP:1.1.1.1:53 got answere: a.test. TypeA -> [192.0.2.1] 1.1s", "a.test", "192.0.2.1"),
            ("UDP:1.1.1.1:53 cache HIT a.test -> [192.0.2.1 192.0.2.2]", "a.test", "192.0.2.1 192.0.2.2"),
            ("UDP:1.1.1.1:53 cache HIT: a.test -> [192.0.2.1, 192.0.2.2]", "a.test", "192.0.2.1, 192.0.2.2"),
        ] {
            let mut record = Record::new("v2ray", "");
            assert!(fill(&mut record, message.as_bytes()).is_some(), "{message}");
            let text = |field| record.get(field).map(|text| std::str::from_utf8(text).unwrap());
            assert_eq!(
                (text(Field::DnsQuestionName), text(Field::DnsResolvedIp)),
                (Some(name), Some(addresses)),
                "{message}"
            );
        }
    }

    #[test]
    fn durations_of_go() {
        for (text, expected) in [
            ("4.000179582s", Some(4_000_179_582)),
            ("830.712µs", Some(830_712)),
            ("967ns", Some(967)),
            ("1.81753ms", Some(1_817_530)),
            ("1m2.5s", Some(62_500_000_000)),
            ("0s", Some(0)),
            ("", None),
            ("<rcode:", None),
            ("5", None),
            (".s", None),
            ("99999999999999h", None),
            ("999999999h", None),
        ] {
            assert_eq!(duration(text.as_bytes()), expected, "{text}");
        }
    }
}
