//! Addresses as V2Ray, Xray and the qURL Connector print them.

use std::net::Ipv6Addr;

/// Which protocol an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

impl Version {
    /// The protocol of a textual address; `None` for a name, a masked address or a network.
    pub(super) fn of(host: &[u8]) -> Option<Self> {
        if host.first().is_some_and(u8::is_ascii_digit) && is_v4(host) {
            return Some(Self::V4);
        }
        if host.len() > 45 || memchr::memchr(b':', host).is_none() {
            return None;
        }
        std::str::from_utf8(host).ok()?.parse::<Ipv6Addr>().ok().map(|_| Self::V6)
    }

    /// The value of `network.type`.
    pub(super) fn network_type(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

/// Four numbers up to 255 without leading zeros, which some readers would take as octal.
fn is_v4(host: &[u8]) -> bool {
    if host.len() > 15 || host.len() < 7 {
        return false;
    }
    let (mut dots, mut value, mut digits) = (0, 0u32, 0);
    for byte in host {
        match byte {
            b'0'..=b'9' => {
                if digits > 0 && value == 0 {
                    return false;
                }
                value = value * 10 + u32::from(byte - b'0');
                digits += 1;
                if value > 255 {
                    return false;
                }
            }
            b'.' if digits > 0 => {
                dots += 1;
                (value, digits) = (0, 0);
            }
            _ => return false,
        }
    }
    dots == 3 && digits > 0
}

/// Whether these are the digits of a port, as a JSON number.
pub(super) fn is_port(digits: &[u8]) -> bool {
    match digits {
        [b'0'] => true,
        [b'0', ..] | [] => false,
        _ => {
            let mut value = 0u32;
            for digit in digits {
                if !digit.is_ascii_digit() || digits.len() > 5 {
                    return false;
                }
                value = value * 10 + u32::from(digit - b'0');
            }
            value <= 65535
        }
    }
}

/// One end of a connection: `[network ":"] host [":" port]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Endpoint<'a> {
    /// `tcp`, `udp`, `unix` or `unknown`, if printed.
    pub(super) transport: Option<&'static str>,
    /// Without the brackets of an IPv6 or masked address.
    pub(super) host: &'a [u8],
    /// Digits.
    pub(super) port: Option<&'a [u8]>,
    /// Set if the host is an address.
    pub(super) version: Option<Version>,
}

impl<'a> Endpoint<'a> {
    /// Reads what `net.Addr` and `net.Destination` print, masked or not.
    pub(super) fn parse(token: &'a [u8]) -> Self {
        let (transport, rest) = transport(token);
        Self { transport, ..Self::host_port(rest) }
    }

    /// Takes a host that is printed without a port.
    pub(super) fn host_only(host: &'a [u8]) -> Self {
        Self { transport: None, host, port: None, version: Version::of(host) }
    }

    fn host_port(token: &'a [u8]) -> Self {
        let Some((host, port)) = split_port(token) else { return Self::host_only(unbracketed(token)) };
        // An IPv6 address without brackets has no port.
        if host.first() != Some(&b'[') && memchr::memchr(b':', host).is_some() && Version::of(token).is_some() {
            return Self::host_only(token);
        }
        Self { port: Some(port), ..Self::host_only(unbracketed(host)) }
    }

    /// Whether the host is a name: not an address, masked or not, and not a socket's path.
    pub(super) fn is_domain(&self) -> bool {
        self.version.is_none()
            && !matches!(self.host.first(), None | Some(b'@' | b'/'))
            && !self.host.iter().any(|byte| matches!(byte, b'*' | b':' | b' ' | b'/'))
    }
}

fn unbracketed(host: &[u8]) -> &[u8] {
    match host {
        [b'[', inside @ .., b']'] => inside,
        _ => host,
    }
}

/// Divides at the colon before the digits at the end.
fn split_port(token: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = token.iter().rev().take(6).position(|byte| *byte == b':')?;
    let (host, port) = token.split_at(token.len() - digits);
    is_port(port).then(|| (&host[..host.len() - 1], port))
}

/// Takes the network off the front. `common/net/network.go` has these names.
fn transport(token: &[u8]) -> (Option<&'static str>, &[u8]) {
    match token {
        [b't', b'c', b'p', b':', rest @ ..] => (Some("tcp"), rest),
        [b'u', b'd', b'p', b':', rest @ ..] => (Some("udp"), rest),
        [b'u', b'n', b'i', b'x', b':', rest @ ..] => (Some("unix"), rest),
        _ => match token.strip_prefix(b"unknown:") {
            Some(rest) => (Some("unknown"), rest),
            None => (None, token),
        },
    }
}

/// The parts of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Url<'a> {
    /// Empty for the `//host:port` of a CONNECT.
    pub(super) scheme: &'a [u8],
    pub(super) endpoint: Endpoint<'a>,
    pub(super) path: &'a [u8],
    pub(super) query: &'a [u8],
}

impl<'a> Url<'a> {
    /// Reads `[scheme ":"] "//" [userinfo "@"] host [":" port] [path] ["?" query]`.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let slashes = memchr::memmem::find(text, b"//")?;
        let scheme = match &text[..slashes] {
            [] => &text[..0],
            [scheme @ .., b':']
                if !scheme.is_empty()
                    && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)) =>
            {
                scheme
            }
            _ => return None,
        };
        let rest = &text[slashes + 2..];
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let host = memchr::memrchr(b'@', authority).map_or(authority, |at| &authority[at + 1..]);
        let (path, query) = match memchr::memchr(b'?', tail) {
            Some(mark) => (&tail[..mark], &tail[mark + 1..]),
            None => (tail, &tail[..0]),
        };
        (!host.is_empty()).then(|| Self { scheme, endpoint: Endpoint::host_port(host), path, query })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(token: &str) -> (Option<&'static str>, &str, Option<&str>, Option<Version>, bool) {
        let endpoint = Endpoint::parse(token.as_bytes());
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        (endpoint.transport, text(endpoint.host), endpoint.port.map(text), endpoint.version, endpoint.is_domain())
    }

    #[test]
    fn every_printed_form_is_read() {
        use Version::{V4, V6};
        for (token, expected) in [
            ("127.0.0.1:58988", (None, "127.0.0.1", Some("58988"), Some(V4), false)),
            ("tcp:h0.ok.test:43145", (Some("tcp"), "h0.ok.test", Some("43145"), None, true)),
            ("udp:[2001:db8::1]:53", (Some("udp"), "2001:db8::1", Some("53"), Some(V6), false)),
            ("[::1]:40996", (None, "::1", Some("40996"), Some(V6), false)),
            ("2001:db8::1", (None, "2001:db8::1", None, Some(V6), false)),
            ("203.0.113.77:0", (None, "203.0.113.77", Some("0"), Some(V4), false)),
            ("127.0.*.*:48860", (None, "127.0.*.*", Some("48860"), None, false)),
            ("[::/32]:42122", (None, "::/32", Some("42122"), None, false)),
            ("tcp:[Masked IPv4]:34434", (Some("tcp"), "Masked IPv4", Some("34434"), None, false)),
            ("[Masked IPv6]:59598", (None, "Masked IPv6", Some("59598"), None, false)),
            ("@", (None, "@", None, None, false)),
            ("unix:/run/x.sock", (Some("unix"), "/run/x.sock", None, None, false)),
            ("www.youtube.com:443", (None, "www.youtube.com", Some("443"), None, true)),
            ("010.0.0.1:1", (None, "010.0.0.1", Some("1"), None, true)),
            ("host:70000", (None, "host:70000", None, None, false)),
            ("tcpMasked IPv6", (None, "tcpMasked IPv6", None, None, false)),
            ("", (None, "", None, None, false)),
        ] {
            assert_eq!(parts(token), expected, "{token}");
        }
    }

    #[test]
    fn urls_lose_their_userinfo() {
        let url = Url::parse(b"http://user:***@plain.ok.test:34467/a[1]?q=[in->out]&u=x").unwrap();
        assert_eq!(url.scheme, b"http");
        assert_eq!(url.endpoint.host, b"plain.ok.test");
        assert_eq!(url.endpoint.port, Some(&b"34467"[..]));
        assert_eq!((url.path, url.query), (&b"/a[1]"[..], &b"q=[in->out]&u=x"[..]));
        assert_eq!(Url::parse(b"//connect.ok.test:443").unwrap().scheme, b"");
        assert!(Url::parse(b"tcp:host:443").is_none());
        assert!(Url::parse(b"http://").is_none());
    }
}
