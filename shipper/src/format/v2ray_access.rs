//! The access log of V2Ray and Xray, all versions: `AccessMessage.String()` in their `common/log/access.go`.
//!
//! ```text
//! [ "from " ] from SP ( "accepted" | "rejected" ) SP to [ " [" detour "]" ] [ SP reason ] [ " email: " email ]
//! ```
//!
//! `to` may be a name that a client sent, and `email` is free text of the operator; neither is quoted. A line is therefore read
//! from its end: the e-mail is what follows the last `] email:`, the detour is the last ` [` … `]` before it. Where a second
//! reading is possible the record is marked as suspect.

use super::address::{Endpoint, Url};
use super::object::Object;
use super::record::{Field, Record, Side};
use super::settings::{Meaning, Outcome};
use super::v2ray::{chain, refused_credential};

/// How Xray chose the outbound: the arrow in the detour. V2Ray prints none.
const ROUTES: [(&[u8], &str); 3] = [(b" >> ", "default"), (b" -> ", "rule"), (b" ==> ", "forced")];

/// What an outbound that refuses is called in the programs' own examples and by their panels, whatever its case. It means what the
/// source says it means, if that says anything.
const BLOCKS: [&[u8]; 5] = [b"block", b"blocked", b"blackhole", b"reject", b"deny"];

/// What the program's own resolver calls itself; Xray up to 1.5 named the protocol.
const RESOLVERS: [&[u8]; 4] = [b"DNS", b"DoH", b"DoQ", b"DoT"];

/// Whether an address was made unreadable by whoever passed the line on: `xxx.xxx.xx.xx:xxxxx`, `1.2.*.*`.
fn is_overwritten(from: &[u8]) -> bool {
    let from = [&b"tcp:"[..], b"udp:"].iter().find_map(|prefix| from.strip_prefix(*prefix)).unwrap_or(from);
    from.split(|byte| *byte == b'.').count() == 4
        && from.iter().all(|byte| byte.is_ascii_hexdigit() || b".:*xX#".contains(byte))
}

/// Reads what follows the date. False, and nothing set, if it is no access line.
pub(super) fn parse<'a>(
    record: &mut Record<'a>,
    message: &'a [u8],
    outbounds: &[(String, Meaning)],
    detail: &mut Vec<u8>,
) -> bool {
    let Some((from, accepted, rest)) = status(message.strip_prefix(b"from ").unwrap_or(message)) else { return false };
    let internal = RESOLVERS.contains(&from);
    if !internal {
        let endpoint = Endpoint::parse(from);
        let named = endpoint.port.is_some() || matches!(endpoint.host, [b'@' | b'/', ..]);
        if !from.is_empty() && !named && !is_overwritten(from) {
            return false;
        }
        record.endpoint(Side::Source, &endpoint);
    }
    record.dataset = "v2ray.access";
    record.category = "\"network\"";
    record.types = "\"connection\"";
    let mut waybill = Object::member_after(detail, "v2ray");
    if internal {
        waybill.flag("internal");
    }
    if accepted {
        self::accepted(record, rest, outbounds, &mut waybill);
    } else {
        rejected(record, rest, &mut waybill);
    }
    true
}

/// Finds the status; answers what is before it, whether it is "accepted", and what is behind it.
fn status(body: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let at = |space: usize| {
        let (from, rest) = (&body[..space], &body[space + 1..]);
        match rest.strip_prefix(b"accepted ") {
            Some(rest) => Some((from, true, rest)),
            None => rest.strip_prefix(b"rejected ").map(|rest| (from, false, rest)),
        }
    };
    let mut spaces = memchr::memchr_iter(b' ', body);
    // Only a masked address has a blank inside: "[Masked IPv4]".
    spaces.next().and_then(at).or_else(|| {
        let space = spaces.next().filter(|_| memchr::memmem::find(body, b"Masked ").is_some())?;
        at(space)
    })
}

fn accepted<'a>(record: &mut Record<'a>, rest: &'a [u8], outbounds: &[(String, Meaning)], waybill: &mut Object<'_>) {
    record.name(Field::EventAction, "accepted");
    record.outcome = Some(Outcome::Allow);
    let parts = Parts::split(rest.trim_ascii_end());
    record.suspect = parts.suspect.then_some("ambiguous");
    if let Some(email) = parts.email {
        record.set(Field::UserName, email);
    }
    destination(record, parts.to);
    let Some(detour) = parts.detour else { return };
    let (inbound, outbound) = match route(detour) {
        Some((inbound, outbound, route)) => {
            waybill.text("inbound", inbound);
            waybill.text("route", route.as_bytes());
            (Some(inbound), outbound)
        }
        None => (None, detour),
    };
    waybill.text("outbound", outbound);
    if let Some(inbound) = inbound {
        record.set(Field::ObserverIngress, inbound);
    }
    record.set(Field::ObserverEgress, outbound);
    match outbounds.iter().find(|(tag, _)| tag.as_bytes() == outbound).map(|(_, meaning)| meaning) {
        Some(Meaning::Deny) => record.outcome = Some(Outcome::Deny),
        Some(Meaning::Drop) => record.noise = true,
        None if BLOCKS.iter().any(|name| outbound.eq_ignore_ascii_case(name)) => record.outcome = Some(Outcome::Deny),
        Some(Meaning::Allow) | None => {}
    }
}

/// The first arrow of a detour divides it: tags are the operator's.
fn route(detour: &[u8]) -> Option<(&[u8], &[u8], &'static str)> {
    memchr::memchr_iter(b' ', detour).find_map(|space| {
        let (arrow, route) = ROUTES.iter().find(|(arrow, _)| detour[space..].starts_with(arrow))?;
        Some((&detour[..space], &detour[space + arrow.len()..], *route))
    })
}

struct Parts<'a> {
    to: &'a [u8],
    detour: Option<&'a [u8]>,
    email: Option<&'a [u8]>,
    suspect: bool,
}

impl<'a> Parts<'a> {
    fn split(rest: &'a [u8]) -> Self {
        if let Some(bracket) = memchr::memrchr_iter(b']', rest).find(|at| rest[at + 1..].starts_with(b" email:")) {
            let parts = Self::routed(&rest[..=bracket], Some(blank_stripped(&rest[bracket + 8..])));
            if parts.detour.is_some() {
                return parts;
            }
        }
        if rest.ends_with(b"]") {
            let parts = Self::routed(rest, None);
            if parts.detour.is_some() && memchr::memmem::find(parts.to, b" email:").is_none() {
                return parts;
            }
        }
        match memchr::memmem::find(rest, b" email:") {
            Some(at) => {
                let email = blank_stripped(&rest[at + 7..]);
                Self { to: &rest[..at], detour: None, email: Some(email), suspect: is_foreign(&rest[..at]) }
            }
            None => Self { to: rest, detour: None, email: None, suspect: is_foreign(rest) },
        }
    }

    /// Divides `to [detour]`.
    fn routed(text: &'a [u8], email: Option<&'a [u8]>) -> Self {
        let bracket = memchr::memrchr_iter(b'[', text).find(|at| *at > 0 && text[at - 1] == b' ');
        let (to, detour) = match bracket {
            Some(at) => (&text[..at - 1], Some(&text[at + 1..text.len() - 1])),
            None => (text, None),
        };
        let forged = email.is_some_and(|email| email.ends_with(b"]") && memchr::memmem::find(email, b" [").is_some());
        Self { to, detour, email, suspect: forged || is_foreign(to) }
    }
}

/// Since 4.34 there is a blank behind the colon.
fn blank_stripped(text: &[u8]) -> &[u8] {
    text.strip_prefix(b" ").unwrap_or(text)
}

/// A destination has no blank, unless it is masked.
fn is_foreign(to: &[u8]) -> bool {
    memchr::memchr(b' ', to).is_some() && memchr::memmem::find(to, b"Masked IPv").is_none()
}

fn destination<'a>(record: &mut Record<'a>, to: &'a [u8]) {
    if memchr::memchr(b'/', to).is_some()
        && let Some(url) = Url::parse(to)
    {
        record.endpoint(Side::Destination, &url.endpoint);
        record.set(Field::UrlOriginal, to);
        record.set(Field::UrlDomain, url.endpoint.host);
        for (field, part) in [(Field::UrlScheme, url.scheme), (Field::UrlPath, url.path), (Field::UrlQuery, url.query)]
        {
            if !part.is_empty() {
                record.set(field, part);
            }
        }
        if let Some(port) = url.endpoint.port {
            record.set(Field::UrlPort, port);
        }
        match url.scheme {
            // What an HTTP client asks for with CONNECT has no scheme.
            b"" => record.name(Field::HttpMethod, "CONNECT"),
            b"http" => record.name(Field::NetworkProtocol, "http"),
            b"https" => record.name(Field::NetworkProtocol, "https"),
            _ => {}
        }
        return;
    }
    let endpoint = Endpoint::parse(to);
    record.endpoint(Side::Destination, &endpoint);
    if let Some(transport) = endpoint.transport {
        record.name(Field::NetworkTransport, transport);
    }
}

fn rejected<'a>(record: &mut Record<'a>, rest: &'a [u8], waybill: &mut Object<'_>) {
    record.name(Field::EventAction, "rejected");
    record.outcome = Some(Outcome::Deny);
    let mut reason = rest.trim_ascii();
    // The one refusal that knows its user (`proxy/vmess/inbound`); 4.21 to 4.33 put no blank before "email:".
    if let Some(behind) = reason.strip_prefix(b"Insecure encryption")
        && let Some(email) = blank_stripped(behind).strip_prefix(b"email:")
    {
        record.set(Field::UserName, blank_stripped(email));
        reason = &reason[..reason.len() - behind.len()];
    }
    if reason.is_empty() {
        return;
    }
    record.set(Field::EventReason, reason);
    if chain(reason).nth(1).is_some() {
        waybill.texts("chain", chain(reason));
    }
    if refused_credential(reason) {
        record.category = "\"authentication\",\"network\"";
        record.types = "\"connection\",\"start\"";
    }
}

#[cfg(test)]
mod tests;
