//! Packet logs: a row of 17, 18 or 20 columns between commas, without quotes (`PacketLogParseProc` in `src/Cedar/Logging.c`).

use super::super::address::{Endpoint, Url, Version, is_port};
use super::super::base::is_decimal;
use super::super::object::Object;
use super::super::record::{Field, Record, Side};
use super::Head;
use super::text;
use crate::format::settings::Outcome;

/// Columns behind date and time.
const MOST: usize = 18;

/// Kinds of packets: how the ninth column begins, `event.action`, `network.transport` and `network.protocol`.
const TYPES: [(&str, &str, &str, &str); 13] = [
    ("TCP_CONNECT", "tcp-connect", "tcp", ""),
    ("TCP_DATA", "tcp-data", "tcp", ""),
    ("DHCP", "dhcp", "udp", "dhcp"),
    ("DNS", "dns", "udp", "dns"),
    ("OPENVPN_CONNECT", "openvpn-connect", "udp", "openvpn"),
    ("IKE_CONNECT", "ike-connect", "udp", "ike"),
    ("UDP", "udp", "udp", ""),
    ("ICMPv4", "icmp", "icmp", ""),
    ("ICMPv6", "icmp", "ipv6-icmp", ""),
    ("ARP", "arp", "", "arp"),
    ("IPv4_Fragment", "ip-fragment", "", ""),
    ("IPv6_Fragment", "ip-fragment", "", ""),
    ("IPv", "ip", "", ""),
];

/// Reads what follows the time. False, and nothing set, if it is no row.
pub(super) fn parse<'a>(record: &mut Record<'a>, head: &Head<'a>, hub: &'a [u8], detail: &mut Vec<u8>) -> bool {
    let mut columns: [&[u8]; MOST] = [b"-"; MOST];
    let mut count = 0;
    for column in head.rest.split(|byte| *byte == b',') {
        if let Some(place) = columns.get_mut(count) {
            *place = column;
        }
        count += 1;
    }
    if !matches!(count, 15 | 16 | 18) || !is_decimal(columns[5]) {
        return false;
    }
    let present = |index: usize| columns.get(index).copied().filter(|text| !matches!(*text, b"-" | b""));
    record.dataset = "softether.packet";
    record.category = "\"network\"";
    record.types = "\"info\"";
    let mut waybill = Object::member_after(detail, "softether");
    waybill.text("log", b"packet");
    if let Some(machine) = head.machine {
        waybill.text("machine", machine);
    }
    if let Some(hub) = head.hub.or(Some(hub)).filter(|hub| !hub.is_empty()) {
        waybill.text("hub", hub);
    }
    for (name, index) in
        [("session", 0), ("destination_session", 1), ("ether_type", 4), ("flags", 7), ("detail", 14), ("payload", 15)]
    {
        if let Some(text) = present(index) {
            waybill.text(name, text.trim_ascii_end());
        }
    }
    for (name, index) in [("tcp_sequence", 12), ("tcp_acknowledgement", 13)] {
        if let Some(text) = present(index).filter(|text| is_decimal(text)) {
            waybill.value(name).extend_from_slice(text);
        }
    }
    for (name, index) in [("source_client", 16), ("destination_client", 17)] {
        // The stable edition writes "ip(port=n)".
        if let Some(text) = present(index) {
            let end = memchr::memchr(b'(', text).unwrap_or(text.len());
            waybill.text(name, &text[..end]);
        }
    }
    if let Some(user) = present(0).and_then(session_user) {
        waybill.text("session_user", user);
    }
    record.set_checked(Field::SourceMac, columns[2]);
    record.set_checked(Field::DestinationMac, columns[3]);
    record.set_checked(Field::NetworkBytes, columns[5]);
    for (side, address, port) in [(Side::Source, 8, 9), (Side::Destination, 10, 11)] {
        if let Some(host) = present(address) {
            let port = present(port).map(number).filter(|port| is_port(port));
            record.endpoint(side, &Endpoint { port, ..Endpoint::host_only(host) });
        }
    }
    kind(record, columns[6]);
    if let Some(detail) = present(14) {
        details(record, columns[6], detail);
    }
    true
}

/// `http(80)` or `80`.
fn number(port: &[u8]) -> &[u8] {
    match (port.strip_suffix(b")"), memchr::memchr(b'(', port)) {
        (Some(inside), Some(open)) => &inside[open + 1..],
        _ => port,
    }
}

/// `SID-<user>-7`, `SID-<user>-[L2TP]-7`: the user, in capitals. Sessions of the program's own parts have none.
fn session_user(session: &[u8]) -> Option<&[u8]> {
    let body = session.strip_prefix(b"SID-")?;
    let end = memchr::memrchr(b'-', body)?;
    let name = &body[..end];
    let name = match name.strip_suffix(b"]").and_then(|_| memchr::memmem::rfind(name, b"-[")) {
        Some(bracket) => &name[..bracket],
        None => name,
    };
    (!matches!(name, b"" | b"SECURENAT" | b"BRIDGE" | b"LOCALBRIDGE" | b"L3")).then_some(name)
}

/// What the type of a packet says.
fn kind<'a>(record: &mut Record<'a>, kind: &'a [u8]) {
    // Where the law forbids a packet log, a sentence stands in place of the type.
    if !kind.iter().all(u8::is_ascii_graphic)
        && let Some(found) = text::find(kind, false, &mut 0)
    {
        record.set(Field::EventCode, found.meaning.key.as_bytes());
        record.set(Field::EventAction, found.meaning.action.as_bytes());
        super::integrity(record, found.meaning.key);
        record.outcome = Some(Outcome::Error);
        return;
    }
    record.set(Field::EventCode, kind);
    let known = TYPES.iter().find(|(begins, ..)| kind.starts_with(begins.as_bytes()));
    let (_, action, transport, protocol) = known.unwrap_or(&("", "ethernet", "", ""));
    record.name(Field::EventAction, action);
    if !transport.is_empty() {
        record.name(Field::NetworkTransport, transport);
    }
    if !protocol.is_empty() {
        record.name(Field::NetworkProtocol, protocol);
    }
    if matches!(*action, "tcp-connect" | "openvpn-connect" | "ike-connect") {
        record.types = "\"connection\"";
    }
    // Packets without addresses still say which protocol they are of.
    let version = if kind.ends_with(b"v6") || kind.starts_with(b"IPv6") {
        Some(Version::V6)
    } else if kind.ends_with(b"v4") || kind.starts_with(b"IPv4") {
        Some(Version::V4)
    } else {
        None
    };
    if let (Some(version), None) = (version, record.get(Field::NetworkType)) {
        record.name(Field::NetworkType, version.network_type());
    }
}

/// What the seventeenth column says of HTTP and DNS.
fn details<'a>(record: &mut Record<'a>, kind: &[u8], detail: &'a [u8]) {
    if kind.starts_with(b"DNS") {
        record.set(Field::DnsQuestionName, detail);
        return;
    }
    if !kind.starts_with(b"TCP_") {
        return;
    }
    for (key, field) in [
        (&b"HttpMethod="[..], Field::HttpMethod),
        (b"HttpUrl=", Field::UrlOriginal),
        (b"HttpReferer=", Field::HttpReferrer),
        (b"HttpUserAgent=", Field::UserAgent),
    ] {
        if let Some(value) = value(detail, key).filter(|value| !value.is_empty()) {
            record.set(field, value);
        }
    }
    if let Some(url) = record.get(Field::UrlOriginal).and_then(Url::parse) {
        record.set(Field::UrlDomain, url.endpoint.host);
        for (field, part) in [(Field::UrlScheme, url.scheme), (Field::UrlPath, url.path), (Field::UrlQuery, url.query)]
        {
            if !part.is_empty() {
                record.set(field, part);
            }
        }
        match url.scheme {
            b"http" => record.name(Field::NetworkProtocol, "http"),
            b"https" => record.name(Field::NetworkProtocol, "https"),
            _ => {}
        }
    }
}

/// The value of a key; it ends before the next key of its family, since blanks survive in URLs.
fn value<'a>(detail: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let start = if detail.starts_with(key) {
        key.len()
    } else {
        memchr::memmem::find_iter(detail, key).find(|at| *at > 0 && detail[at - 1] == b' ')? + key.len()
    };
    let rest = &detail[start..];
    let end = memchr::memmem::find_iter(rest, b" Http")
        .find(|at| rest[at + 5..].iter().take(16).find(|byte| !byte.is_ascii_alphabetic()) == Some(&b'='));
    Some(rest[..end.unwrap_or(rest.len())].trim_ascii_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_sessions() {
        for (session, user) in [
            ("SID-ALICE-3", Some("ALICE")),
            ("SID-BOB-2-2", Some("BOB-2")),
            ("SID-BOB-[L2TP]-2", Some("BOB")),
            ("SID-SECURENAT-1", None),
            ("SID-LOCALBRIDGE-1", None),
            ("SID-", None),
            ("RPC-1", None),
        ] {
            assert_eq!(session_user(session.as_bytes()), user.map(str::as_bytes), "{session}");
        }
    }

    #[test]
    fn values_of_http() {
        let detail = b"WindowSize=64240 HttpMethod=GET HttpUrl=http://a/b c HttpProtocol=HTTP/1.1 HttpUserAgent=UA_v1";
        assert_eq!(value(detail, b"HttpUrl="), Some(&b"http://a/b c"[..]));
        assert_eq!(value(detail, b"HttpUserAgent="), Some(&b"UA_v1"[..]));
        assert_eq!(value(detail, b"HttpReferer="), None);
        assert_eq!(number(b"http-alt(8080)"), b"8080");
    }
}
