//! Reads `saddr=`: a socket address as it lies in memory.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::fields::is_hex;
use super::found::{Found, Key, Text};

/// Longest path of a socket, and so longest address.
const LONGEST: usize = 128;

/// Adds address and port, or a socket's path, to what was found.
pub(super) fn address(found: &mut Found<'_>, scratch: &mut Vec<u8>) {
    let start = scratch.len();
    let Some(hex) = found.get(Key::Saddr, scratch).filter(|hex| is_hex(hex)) else { return };
    let mut bytes = [0; LONGEST];
    let length = (hex.len() / 2).min(LONGEST);
    for (byte, digits) in bytes.iter_mut().zip(hex.as_chunks::<2>().0) {
        let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
        *byte = digit(digits[0]) << 4 | digit(digits[1]);
    }
    let bytes = &bytes[..length];
    // The family lies in the machine's own order.
    let (family, rest) = match bytes {
        [low, 0, rest @ ..] | [0, low, rest @ ..] => (*low, rest),
        _ => return,
    };
    let written = match (family, rest) {
        (2, [_, _, a, b, c, d, ..]) => write!(scratch, "{}", Ipv4Addr::new(*a, *b, *c, *d)).is_ok(),
        (10, [_, _, _, _, _, _, rest @ ..]) => match rest.first_chunk::<16>() {
            Some(octets) => write!(scratch, "{}", Ipv6Addr::from(*octets)).is_ok(),
            None => false,
        },
        (1, path) => {
            // An abstract name begins with NUL.
            let path = path.strip_prefix(&[0]).unwrap_or(path);
            let end = memchr::memchr(0, path).unwrap_or(path.len());
            scratch.extend_from_slice(&path[..end]);
            end > 0
        }
        _ => false,
    };
    if !written {
        scratch.truncate(start);
        return;
    }
    let end = scratch.len();
    found.set(Key::SocketAddress, Text::Scratch(start, end));
    if let (2 | 10, [high, low, ..]) = (family, rest) {
        scratch.extend_from_slice(itoa::Buffer::new().format(u16::from_be_bytes([*high, *low])).as_bytes());
        found.set(Key::SocketPort, Text::Scratch(end, scratch.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(hex: &str) -> Option<(String, String)> {
        let mut found = Found::default();
        let mut scratch = b"before".to_vec();
        found.set(Key::Saddr, Text::Line(hex.as_bytes()));
        address(&mut found, &mut scratch);
        let text = |key| found.get(key, &scratch).map(|text| String::from_utf8_lossy(text).into_owned());
        Some((text(Key::SocketAddress)?, text(Key::SocketPort).unwrap_or_default()))
    }

    #[test]
    fn families() {
        let found = |address: &str, port: &str| Some((address.to_owned(), port.to_owned()));
        assert_eq!(read("02000050A9FEA9FE0000000000000000"), found("169.254.169.254", "80"));
        assert_eq!(read("00020050A9FEA9FE0000000000000000"), found("169.254.169.254", "80"));
        assert_eq!(read("0A000016000000000000000000000000000000000000000000000000"), found("::", "22"));
        assert_eq!(read("01002F7661722F72756E2F6E7363642F736F636B65740000"), found("/var/run/nscd/socket", ""));
        assert_eq!(read("0100002F746D7000"), found("/tmp", ""));
        for hex in
            ["", "10", "100000000000000000000000", "00000000000000000000000000000000", "0200", "0A0000", "xyz", "0100"]
        {
            assert_eq!(read(hex), None, "{hex}");
        }
    }
}
