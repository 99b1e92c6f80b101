//! What the kernel logs of packets that a rule of the firewall told it to log (`nf_log_syslog.c`), as UFW's rules do:
//!
//! ```text
//! [UFW BLOCK] IN=eth0 OUT= MAC=… SRC=192.0.2.7 DST=198.51.100.4 LEN=40 … PROTO=TCP SPT=55555 DPT=22 …
//! ```
//!
//! Whether the packet passed is not said; what stands in front is free text of whoever wrote the rule, and names it as a rule.

use super::super::address::{Endpoint, Version, is_port};
use super::super::object::Object;
use super::super::record::{Field, Record, Side};
use super::super::settings::Outcome;
use super::super::sshd::split;

/// Words of prefixes, and what they say.
const WORDS: [(&[u8], Outcome); 9] = [
    (b"BLOCK", Outcome::Deny),
    (b"DROP", Outcome::Deny),
    (b"DENY", Outcome::Deny),
    (b"DENIED", Outcome::Deny),
    (b"REJECT", Outcome::Deny),
    (b"ALLOW", Outcome::Allow),
    (b"ACCEPT", Outcome::Allow),
    (b"PASS", Outcome::Allow),
    (b"PERMIT", Outcome::Allow),
];

/// Reads a message of the kernel. False, and nothing set, if it is no packet.
pub(super) fn parse<'a>(record: &mut Record<'a>, message: &'a [u8], detail: &mut Vec<u8>) -> bool {
    let Some(at) = memchr::memmem::find(message, b"IN=").filter(|at| *at == 0 || message[at - 1] == b' ') else {
        return false;
    };
    let (prefix, rest) = (message[..at].trim_ascii(), &message[at..]);
    let value = |name: &[u8]| {
        let (_, rest) = rest.split_at(name_at(rest, name)?);
        Some(&rest[..memchr::memchr(b' ', rest).unwrap_or(rest.len())])
    };
    let (Some(_), Some(from), Some(to)) = (value(b"OUT="), value(b"SRC="), value(b"DST=")) else { return false };
    if Version::of(from).is_none() || Version::of(to).is_none() {
        return false;
    }
    record.parsed = true;
    record.dataset = "kernel.netfilter";
    record.category = "\"network\"";
    record.types = "\"connection\"";
    record.name(Field::EventAction, "packet-logged");
    record.set(Field::Message, message);
    ends(record, (from, value(b"SPT=")), (to, value(b"DPT=")));
    transport(record, value(b"PROTO="));
    if let Some(bytes) = value(b"LEN=") {
        record.set_checked(Field::NetworkBytes, bytes);
    }
    for (field, name) in [(Field::ObserverIngress, &b"IN="[..]), (Field::ObserverEgress, b"OUT=")] {
        if let Some(interface) = value(name).filter(|interface| !interface.is_empty()) {
            record.set(field, interface);
        }
    }
    let rule = prefix.strip_prefix(b"[").and_then(|inside| split(inside, b"]")).map_or(prefix, |(inside, _)| inside);
    let rule = rule.strip_suffix(b":").unwrap_or(rule).trim_ascii();
    if !rule.is_empty() {
        record.set(Field::RuleName, rule);
    }
    let words = || rule.split(|byte| !byte.is_ascii_alphabetic());
    record.outcome = words()
        .rev()
        .find_map(|word| WORDS.iter().find(|(known, _)| word.len() <= known.len() + 3 && starts(word, known)))
        .map(|(_, outcome)| *outcome);
    if let Some(mark) = value(b"MARK=") {
        Object::member_after(detail, "netfilter").text("mark", mark);
    }
    true
}

/// Sets the ends of a packet, each an address and its port.
pub(super) fn ends<'a>(record: &mut Record<'a>, from: (&'a [u8], Option<&'a [u8]>), to: (&'a [u8], Option<&'a [u8]>)) {
    for (side, (host, port)) in [(Side::Source, from), (Side::Destination, to)] {
        let port = port.filter(|port| is_port(port));
        record.endpoint(side, &Endpoint { transport: None, host, port, version: Version::of(host) });
    }
}

/// Sets the transport from a protocol's name or number.
pub(super) fn transport(record: &mut Record<'_>, protocol: Option<&[u8]>) {
    let name = match protocol {
        Some(b"TCP" | b"tcp" | b"6") => "tcp",
        Some(b"UDP" | b"udp" | b"17") => "udp",
        Some(b"ICMP" | b"icmp" | b"1") => "icmp",
        Some(b"ICMPv6" | b"ipv6-icmp" | b"58") => "ipv6-icmp",
        Some(b"SCTP" | b"sctp" | b"132") => "sctp",
        _ => return,
    };
    record.name(Field::NetworkTransport, name);
}

fn starts(word: &[u8], known: &[u8]) -> bool {
    word.get(..known.len()).is_some_and(|head| head.eq_ignore_ascii_case(known))
}

/// Where the value of `NAME=` begins: at the front, or behind a blank.
fn name_at(text: &[u8], name: &[u8]) -> Option<usize> {
    let mut finds = memchr::memmem::find_iter(text, name);
    finds.find(|at| *at == 0 || text[at - 1] == b' ').map(|at| at + name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Option<Outcome>, String)> {
        let mut detail = Vec::new();
        let mut record = Record::new("auditd", "");
        parse(&mut record, text.as_bytes(), &mut detail).then(|| {
            let fields = [
                Field::RuleName,
                Field::SourceIp,
                Field::SourcePort,
                Field::DestinationIp,
                Field::DestinationPort,
                Field::NetworkTransport,
            ];
            let texts = fields.map(|field| String::from_utf8_lossy(record.get(field).unwrap_or(b"-")).into_owned());
            (record.outcome, texts.join("|"))
        })
    }

    #[test]
    fn packets_of_a_firewall() {
        use Outcome::{Allow, Deny};
        for (text, outcome, fields) in [
            (
                "[UFW BLOCK] IN=eth0 OUT= MAC=00:11 SRC=192.0.2.7 DST=198.51.100.4 LEN=40 TTL=244 PROTO=TCP SPT=55555 DPT=22 SYN URGP=0",
                Some(Deny),
                "UFW BLOCK|192.0.2.7|55555|198.51.100.4|22|tcp",
            ),
            (
                "[UFW ALLOW] IN=eth0 OUT= SRC=2001:db8::7 DST=2001:db8::1 LEN=76 PROTO=UDP SPT=5 DPT=53 LEN=36",
                Some(Allow),
                "UFW ALLOW|2001:db8::7|5|2001:db8::1|53|udp",
            ),
            (
                "[UFW AUDIT] IN= OUT=lo SRC=127.0.0.1 DST=127.0.0.1 LEN=60 PROTO=ICMP TYPE=8 CODE=0",
                None,
                "UFW AUDIT|127.0.0.1|-|127.0.0.1|-|icmp",
            ),
            (
                "iptables-dropped: IN=eth0 OUT=eth1 SRC=192.0.2.7 DST=198.51.100.4 LEN=40 PROTO=47",
                Some(Deny),
                "iptables-dropped|192.0.2.7|-|198.51.100.4|-|-",
            ),
            (
                "FINAL_REJECT: IN=ens3 OUT= SRC=192.0.2.7 DST=198.51.100.4 PROTO=TCP SPT=1 DPT=2",
                Some(Deny),
                "FINAL_REJECT|192.0.2.7|1|198.51.100.4|2|tcp",
            ),
            (
                "IN=eth0 OUT= SRC=192.0.2.7 DST=198.51.100.4 PROTO=TCP SPT=x DPT=99999",
                None,
                "-|192.0.2.7|-|198.51.100.4|-|tcp",
            ),
        ] {
            assert_eq!(read(text), Some((outcome, fields.to_owned())), "{text}");
        }
        for text in
            ["", "IN=", "usb 1-1: new device", "IN=eth0 OUT= SRC=x DST=y", "BEGIN=1 OUT= SRC=192.0.2.7 DST=192.0.2.8"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
