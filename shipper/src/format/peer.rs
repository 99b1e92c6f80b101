//! Addresses in the messages of sshd and PAM, between text that a client chose.
//!
//! sshd prints `ADDRESS port N`. A user's name stands before that and may hold the same words, so it matters which of several
//! places is meant: [`Peer::first`] where nothing foreign stands before, [`Peer::at_end`] where nothing stands behind,
//! [`Peer::last`] where only sshd's own words do.

use super::address::{Endpoint, Version, is_port};
use super::record::{Record, Side};

/// What sshd prints, with port 65535, of a connection that is gone already: it stands where an address does.
pub(super) const UNKNOWN: &[u8] = b"UNKNOWN";

/// An address in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer<'a> {
    /// What stands before the address, without the blank.
    pub(super) before: &'a [u8],
    pub(super) host: &'a [u8],
    /// Digits.
    pub(super) port: Option<&'a [u8]>,
    /// What stands behind the port, or behind the address if there is no port.
    pub(super) behind: &'a [u8],
}

impl<'a> Peer<'a> {
    /// The address with which a text begins: `A port N…`, `A: …` or `A`.
    pub(super) fn first(text: &'a [u8]) -> Option<Self> {
        let end = memchr::memchr(b' ', text).unwrap_or(text.len());
        let (token, behind) = text.split_at(end);
        if is_place(token)
            && let Some(rest) = behind.strip_prefix(b" port ")
        {
            let digits = rest.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
            if is_port(&rest[..digits]) {
                return Some(Self {
                    before: &text[..0],
                    host: token,
                    port: Some(&rest[..digits]),
                    behind: &rest[digits..],
                });
            }
        }
        let host = token.strip_suffix(b":").unwrap_or(token);
        is_place(host).then(|| Self { before: &text[..0], host, port: None, behind: &text[host.len()..] })
    }

    /// The address with which a text ends: `… A port N` or `… A`.
    pub(super) fn at_end(text: &'a [u8]) -> Option<Self> {
        let behind = &text[text.len()..];
        let digits = text.iter().rev().take(6).take_while(|byte| byte.is_ascii_digit()).count();
        let (rest, port) = text.split_at(text.len() - digits);
        if is_port(port)
            && let Some(rest) = rest.strip_suffix(b" port ")
        {
            let (before, host) = last_token(rest);
            return is_place(host).then_some(Self { before, host, port: Some(port), behind });
        }
        let (before, host) = last_token(text);
        is_place(host).then_some(Self { before, host, port: None, behind })
    }

    /// The address with which a text ends, behind ` from`. Some builds print their own end too: `A port N on B port M`.
    pub(super) fn named_end(text: &'a [u8]) -> Option<Self> {
        let peer = Self::at_end(text)?;
        match peer.before.strip_suffix(b" on") {
            Some(before) => Self::at_end(before).filter(|peer| peer.before.ends_with(b"from")),
            None => Some(peer),
        }
    }

    /// The last `A port N` of a text.
    pub(super) fn last(text: &'a [u8]) -> Option<Self> {
        Self::all(text).next()
    }

    /// Every `A port N` of a text, from the last to the first; at most [`MOST`](Self::MOST) places are looked at.
    pub(super) fn all(text: &'a [u8]) -> impl Iterator<Item = Self> {
        let mut end = text.len();
        let mut tries = 0;
        std::iter::from_fn(move || {
            while tries < Self::MOST {
                tries += 1;
                let at = memchr::memmem::rfind(&text[..end], b" port ")?;
                end = at;
                let rest = &text[at + 6..];
                let digits = rest.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
                // Names are no longer than 255 bytes.
                let from = at.saturating_sub(256);
                let start = memchr::memrchr(b' ', &text[from..at]).map_or(from, |blank| from + blank + 1);
                let host = &text[start..at];
                if is_port(&rest[..digits]) && is_place(host) {
                    let before = &text[..start.saturating_sub(1)];
                    return Some(Self { before, host, port: Some(&rest[..digits]), behind: &rest[digits..] });
                }
            }
            None
        })
    }

    /// So many places of one text are looked at: a line can be long, and a client can repeat himself.
    pub(super) const MOST: usize = 16;

    /// Sets the source of the connection.
    pub(super) fn set(&self, record: &mut Record<'a>) {
        source(record, self.host, self.port);
    }
}

/// Sets the source of a connection from an address or a host's name.
pub(super) fn source<'a>(record: &mut Record<'a>, host: &'a [u8], port: Option<&'a [u8]>) {
    if host == UNKNOWN {
        return;
    }
    // A link-local address is followed by its interface.
    let bare = memchr::memchr(b'%', host).map_or(host, |at| &host[..at]);
    let version = Version::of(bare);
    let host = if version.is_some() { bare } else { host };
    record.endpoint(Side::Source, &Endpoint { transport: None, host, port, version });
}

/// Whether a token can be an address or the name of a host.
pub(super) fn is_host(token: &[u8]) -> bool {
    !token.is_empty()
        && token.len() <= 255
        && token.iter().all(|byte| byte.is_ascii_alphanumeric() || b".:-_%".contains(byte))
        && !token.iter().all(u8::is_ascii_digit)
        && token != UNKNOWN
}

/// Whether a token can stand in the place of an address.
fn is_place(token: &[u8]) -> bool {
    token == UNKNOWN || is_host(token)
}

/// Splits before the last token.
fn last_token(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b' ', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (&text[..0], text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(peer: Option<Peer<'_>>) -> Option<[String; 4]> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        peer.map(|peer| [peer.before, peer.host, peer.port.unwrap_or_default(), peer.behind].map(text))
    }

    #[test]
    fn places() {
        let found = |parts: [&str; 4]| Some(parts.map(str::to_owned));
        assert_eq!(
            parts(Peer::first(b"192.0.2.1 port 5:11: x 1.1.1.1 port 2")),
            found(["", "192.0.2.1", "5", ":11: x 1.1.1.1 port 2"])
        );
        assert_eq!(parts(Peer::first(b"192.0.2.1: 11: x")), found(["", "192.0.2.1", "", ": 11: x"]));
        assert_eq!(
            parts(Peer::at_end(b"a 1.1.1.1 port 2 2001:db8::1 port 22")),
            found(["a 1.1.1.1 port 2", "2001:db8::1", "22", ""])
        );
        assert_eq!(parts(Peer::at_end(b"x from host.test")), found(["x from", "host.test", "", ""]));
        assert_eq!(
            parts(Peer::last(b"a 1.1.1.1 port 2 2.2.2.2 port 3 [preauth]")),
            found(["a 1.1.1.1 port 2", "2.2.2.2", "3", " [preauth]"])
        );
        assert_eq!(parts(Peer::first(b"UNKNOWN port 65535:11: x")), found(["", "UNKNOWN", "65535", ":11: x"]));
        assert_eq!(parts(Peer::at_end(b"x port 70000")), None);
        assert_eq!(parts(Peer::last(b"1.1.1.1 port x")), None);
        assert_eq!(Peer::all(" 1.1.1.1 port 2".repeat(99).as_bytes()).count(), Peer::MOST);
    }
}
