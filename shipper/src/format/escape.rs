//! The insides of JSON strings, for any bytes.
//!
//! Beside what JSON demands, everything is escaped that a terminal, an editor or a line splitter obeys: DEL, the C1 controls
//! (U+0080–U+009F), U+2028 and U+2029, and the bidirectional overrides. Invalid UTF-8 becomes U+FFFD.

/// Copy it, escape it, or look at the bytes that follow.
const PLAIN: u8 = 0;
const ESCAPE: u8 = 1;
const BACKSLASH: u8 = 2;
const LEAD: u8 = 3;

/// What a byte of valid UTF-8 asks for. `LEAD` marks the first bytes of the characters that may need an escape.
const CLASS: [u8; 256] = {
    let mut class = [PLAIN; 256];
    let mut byte = 0;
    while byte < 0x20 {
        class[byte] = ESCAPE;
        byte += 1;
    }
    class[0x7f] = ESCAPE;
    class[b'"' as usize] = ESCAPE;
    class[b'\\' as usize] = BACKSLASH;
    class[0xc2] = LEAD;
    class[0xe2] = LEAD;
    class
};

/// Writes any bytes as the inside of a JSON string. Says whether they were valid UTF-8.
pub(super) fn text(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let (head, tail) = bytes.split_at(plain(bytes));
    out.extend_from_slice(head);
    tail.is_empty() || slow(out, tail, false)
}

/// Writes the inside of a JSON string that [`scan`](super::scan) has accepted. Escapes are kept, but a lone surrogate becomes
/// U+FFFD.
pub(super) fn inner(out: &mut Vec<u8>, bytes: &[u8]) {
    let (head, tail) = bytes.split_at(plain(bytes));
    out.extend_from_slice(head);
    if !tail.is_empty() {
        slow(out, tail, true);
    }
}

/// Whether a byte of ASCII stands in a JSON string as it is.
fn is_plain(byte: u8) -> bool {
    byte.wrapping_sub(0x20) < 0x5f && byte != b'"' && byte != b'\\'
}

/// Length of the part in front that is copied as it is. Whole blocks are tried first, the last one overlapping; only text that
/// is not plain is counted byte by byte.
#[inline]
pub(super) fn plain(bytes: &[u8]) -> usize {
    let clean = if let Some(last) = bytes.last_chunk::<16>() {
        bytes.as_chunks::<16>().0.iter().all(all_plain) && all_plain(last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        is_plain_word(u64::from_le_bytes(*first)) && is_plain_word(u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        is_plain_word(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)))
    } else {
        bytes.iter().all(|byte| is_plain(*byte))
    };
    if clean { bytes.len() } else { plain_prefix(bytes) }
}

#[cold]
fn plain_prefix(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_plain(**byte)).count()
}

/// Without a branch, so that it becomes SIMD.
#[inline]
fn all_plain(chunk: &[u8; 16]) -> bool {
    let mut bad = 0;
    for byte in chunk {
        bad |= u8::from(byte.wrapping_sub(0x20) >= 0x5f) | u8::from(*byte == b'"') | u8::from(*byte == b'\\');
    }
    bad == 0
}

/// Whether eight bytes stand in a JSON string as they are.
#[inline]
fn is_plain_word(word: u64) -> bool {
    marks(word) == 0
}

/// Marks the bytes of a word that are not plain, in their highest bit. A borrow can mark a byte too many behind one that is
/// marked rightly, so the first mark is right.
#[inline]
fn marks(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let named = zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c)) | zeros(word ^ (ONES * 0x7f));
    (word | control | named) & (ONES << 7)
}

/// Writes ASCII of which some is not plain, such as a line of JSON. A word is written whole and then cut at its first mark.
fn ascii(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(word) = rest.first_chunk::<8>() {
        out.extend_from_slice(word);
        let marks = marks(u64::from_le_bytes(*word));
        if marks == 0 {
            rest = &rest[8..];
            continue;
        }
        let taken = marks.trailing_zeros() as usize / 8;
        out.truncate(out.len() - 8 + taken);
        match word[taken & 7] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => escape(out, u16::from(byte)),
        }
        rest = &rest[taken + 1..];
    }
    for byte in rest {
        if is_plain(*byte) { out.push(*byte) } else { escape(out, u16::from(*byte)) }
    }
}

fn slow(out: &mut Vec<u8>, bytes: &[u8], inner: bool) -> bool {
    if !inner && bytes.is_ascii() {
        ascii(out, bytes);
        return true;
    }
    let mut valid = true;
    for chunk in bytes.utf8_chunks() {
        characters(out, chunk.valid().as_bytes(), inner);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
            valid = false;
        }
    }
    valid
}

/// Writes valid UTF-8.
fn characters(out: &mut Vec<u8>, bytes: &[u8], inner: bool) {
    let mut from = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let (taken, code) = match CLASS[usize::from(byte)] {
            PLAIN => {
                let word = bytes[at..].first_chunk::<8>().map(|word| marks(u64::from_le_bytes(*word)));
                at += word.map_or(1, |marks| (marks.trailing_zeros() as usize / 8).max(1));
                continue;
            }
            BACKSLASH if inner => match escape_length(&bytes[at..]) {
                Ok(length) => {
                    at += length;
                    continue;
                }
                Err(length) => (length, 0xfffd),
            },
            LEAD => {
                let Some(code) = hidden(&bytes[at..]) else {
                    at += 1;
                    continue;
                };
                (if code < 0x800 { 2 } else { 3 }, code)
            }
            _ => (1, u16::from(byte)),
        };
        out.extend_from_slice(&bytes[from..at]);
        escape(out, code);
        at += taken;
        from = at;
    }
    out.extend_from_slice(&bytes[from..]);
}

/// The code of a character that must not be shown as it is.
fn hidden(bytes: &[u8]) -> Option<u16> {
    match *bytes {
        [0xc2, low @ 0x80..=0x9f, ..] => Some(u16::from(low)),
        [0xe2, 0x80, low @ (0xa8..=0xae), ..] => Some(0x2000 | u16::from(low & 0x3f)),
        [0xe2, 0x81, low @ (0xa6..=0xa9), ..] => Some(0x2040 | u16::from(low & 0x3f)),
        _ => None,
    }
}

fn escape(out: &mut Vec<u8>, code: u16) {
    let short = match code {
        0x22 => b'"',
        0x5c => b'\\',
        0x0a => b'n',
        0x0d => b'r',
        0x09 => b't',
        _ => {
            out.extend_from_slice(b"\\u");
            super::base::hex(out, &code.to_be_bytes());
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Length of the escape that begins here; as an error if it is a surrogate without its partner.
fn escape_length(bytes: &[u8]) -> Result<usize, usize> {
    match code_unit(bytes) {
        None => Ok(2),
        Some(0xd800..=0xdbff) => match bytes.get(6..).and_then(code_unit) {
            Some(0xdc00..=0xdfff) => Ok(12),
            _ => Err(6),
        },
        Some(0xdc00..=0xdfff) => Err(6),
        Some(_) => Ok(6),
    }
}

/// The value of `\uXXXX`.
fn code_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0u16, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)? as u16))
}

/// The text that the inside of a JSON string stands for, byte by byte.
pub(super) struct Decoded<'a> {
    rest: &'a [u8],
    pending: [u8; 4],
    at: usize,
    length: usize,
}

/// Decodes the inside of a JSON string that [`scan`](super::scan) has accepted.
pub(super) fn decoded(inner: &[u8]) -> Decoded<'_> {
    Decoded { rest: inner, pending: [0; 4], at: 0, length: 0 }
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.at < self.length {
            self.at += 1;
            return Some(self.pending[self.at - 1]);
        }
        let (&first, rest) = self.rest.split_first()?;
        if first != b'\\' {
            self.rest = rest;
            return Some(first);
        }
        let (taken, character) = match (escape_length(self.rest), code_unit(self.rest)) {
            (Ok(12), Some(high)) => {
                let low = self.rest.get(6..).and_then(code_unit).unwrap_or(0xdc00);
                let code = 0x10000 + (u32::from(high - 0xd800) << 10) + u32::from(low - 0xdc00);
                (12, char::from_u32(code))
            }
            (Ok(length), Some(unit)) => (length, char::from_u32(u32::from(unit))),
            (Ok(length), None) => (length, rest.first().map(|letter| short(*letter))),
            (Err(length), _) => (length, None),
        };
        self.rest = self.rest.get(taken..).unwrap_or_default();
        self.length = character.unwrap_or('\u{fffd}').encode_utf8(&mut self.pending).len();
        self.at = 1;
        Some(self.pending[0])
    }
}

fn short(letter: u8) -> char {
    match letter {
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        other => char::from(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        text(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    fn copied(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        inner(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_json_a_terminal_or_a_line_splitter_obeys_is_escaped() {
        assert_eq!(written(b"plain text of more than sixteen bytes"), "plain text of more than sixteen bytes");
        assert_eq!(written(b"a\"b\\c\n\r\t\x1b[2J\x7f\0"), r#"a\"b\\c\n\r\t\u001b[2J\u007f\u0000"#);
        assert_eq!(
            written("µ\u{9b}31m\u{85}\u{2028}\u{2029}\u{202e}\u{2066}é…".as_bytes()),
            r"µ\u009b31m\u0085\u2028\u2029\u202e\u2066é…"
        );
        assert_eq!(written(b"ok\xff\xc3("), "ok\u{fffd}\u{fffd}(");
        let mut out = Vec::new();
        assert!(!text(&mut out, b"0123456789abcdef\xff"));
        assert!(text(&mut out, "0123456789abcdefé".as_bytes()));
    }

    #[test]
    fn insides_keep_their_escapes_but_not_lone_surrogates() {
        assert_eq!(copied(br"a\u003cb\n\\\u0041"), r"a\u003cb\n\\\u0041");
        assert_eq!(copied(br"\ud83d\ude00"), r"\ud83d\ude00");
        assert_eq!(copied(br"x\ud83dy"), r"x\ufffdy");
        assert_eq!(copied(br"\ude00\ud83d\u0041"), r"\ufffd\ufffd\u0041");
        assert_eq!(copied(b"\\\"\xff"), "\\\"\u{fffd}");
    }

    #[test]
    fn decoding_agrees_with_serde_json() {
        for text in [r"a\u003cb\n\\\/\b\f\t\r\u0041", r"\ud83d\ude00 é", r#"\"quoted\""#] {
            let expected: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(decoded(text.as_bytes()).collect::<Vec<u8>>(), expected.as_bytes());
        }
        assert_eq!(decoded(br"\ud83d.").collect::<Vec<u8>>(), "\u{fffd}.".as_bytes());
    }
}
