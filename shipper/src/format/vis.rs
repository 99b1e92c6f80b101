//! Undoes the escapes that sshd writes into its messages (`strnvis` of OpenSSH's `openbsd-compat/vis.c`).

/// Whether there is anything to undo.
pub(super) fn is_escaped(text: &[u8]) -> bool {
    memchr::memchr(b'\\', text).is_some()
}

/// Takes the escapes out: three octal digits, or one letter as in C. Other backslashes stay.
pub(super) fn unescape(text: &mut Vec<u8>) {
    let (mut from, mut to) = (0, 0);
    while let Some(&byte) = text.get(from) {
        let (plain, taken) = match (byte, text.get(from + 1..).unwrap_or_default()) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), 4)
            }
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'a', ..]) => (7, 2),
            (b'\\', [b'b', ..]) => (8, 2),
            (b'\\', [b'v', ..]) => (11, 2),
            (b'\\', [b'f', ..]) => (12, 2),
            (b'\\', [b's', ..]) => (b' ', 2),
            (b'\\', [b'0', ..]) => (0, 2),
            _ => (byte, 1),
        };
        text[to] = plain;
        to += 1;
        from += taken;
    }
    text.truncate(to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        for (text, plain) in [
            (r"plain", "plain"),
            (r"\303\274n\303\257", "ünï"),
            (r"nl\nx\tt\\b\033[31m", "nl\nx\tt\\b\u{1b}[31m"),
            (r"CORP\\alice", r"CORP\alice"),
            (r"end\", r"end\"),
            (r"\q\12", r"\q\12"),
            (r"\0x", "\0x"),
        ] {
            let mut out = text.as_bytes().to_vec();
            unescape(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), plain);
        }
    }
}
