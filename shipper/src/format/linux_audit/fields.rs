//! Divides an audit record into its fields.
//!
//! ```text
//! field = key "=" ( '"' text '"' | HEX | bare )        and, of user space, msg='field field …'
//! ```
//!
//! Text that someone else chose is quoted if it is printable, else it is upper-case hexadecimal without quotes. Which fields may
//! hold such text is said by the field dictionary of the audit project; of all others `10` is a number.

/// Behind this the daemon repeats numbers as names (`log_format = ENRICHED`).
const SEPARATOR: u8 = 0x1d;

/// No socket address takes more than this between its braces.
const LONGEST_BRACES: usize = 1024;

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) quoted: bool,
    /// `old` or `new` stood before the key, as in `old auid=…` of old kernels.
    pub(super) old: bool,
}

/// The fields of a record, and its enriched part.
pub(super) fn divide(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(SEPARATOR, text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &text[text.len()..]),
    }
}

/// Reads fields from the front. What is no field is passed over.
#[derive(Debug, Clone)]
pub(super) struct Pairs<'a> {
    rest: &'a [u8],
    old: bool,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text, old: false }
    }

    /// Takes a value off: quoted, in apostrophes to the last one of the record, in braces, or up to the next blank.
    fn value(&mut self, key: &[u8]) -> Option<(&'a [u8], bool)> {
        match self.rest.first() {
            Some(b'"') => {
                let end = memchr::memchr(b'"', &self.rest[1..])?;
                let value = &self.rest[1..=end];
                self.rest = &self.rest[end + 2..];
                Some((value, true))
            }
            Some(b'{') => {
                let end = memchr::memchr(b'}', &self.rest[..self.rest.len().min(LONGEST_BRACES)])?;
                let value = &self.rest[1..end];
                self.rest = &self.rest[end + 1..];
                Some((value.trim_ascii(), true))
            }
            Some(b'\'') if key == b"msg" => {
                let end = memchr::memrchr(b'\'', &self.rest[1..]).map_or(self.rest.len(), |at| at + 1);
                let value = &self.rest[1..end];
                self.rest = &self.rest[(end + 1).min(self.rest.len())..];
                Some((value, true))
            }
            _ => None,
        }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        loop {
            let from = self.rest.iter().position(|byte| !matches!(byte, b' ' | b',' | b'('))?;
            self.rest = &self.rest[from..];
            let end = self.rest.iter().position(|byte| matches!(byte, b' ' | b'=' | b',')).unwrap_or(self.rest.len());
            let (key, rest) = self.rest.split_at(end);
            if rest.first() != Some(&b'=') || key.is_empty() {
                self.old = key == b"old";
                self.rest = &self.rest[end.max(1).min(self.rest.len())..];
                continue;
            }
            self.rest = &rest[1..];
            let old = std::mem::take(&mut self.old);
            let (value, quoted) = self.value(key).unwrap_or_else(|| {
                // A title stands alone; `ausearch -i` prints it with its blanks.
                let end = memchr::memchr(b' ', self.rest).filter(|_| key != b"proctitle").unwrap_or(self.rest.len());
                let (value, rest) = self.rest.split_at(end);
                self.rest = rest;
                (bare(value), false)
            });
            return Some(Pair { key, value, quoted, old });
        }
    }
}

/// Without what old programs put around and between fields: `(hostname=?, addr=?, terminal=pts/0 res=failed)`.
fn bare(value: &[u8]) -> &[u8] {
    let value = value.strip_suffix(b",").unwrap_or(value);
    match value.strip_suffix(b")") {
        Some(inside) if memchr::memchr(b'(', inside).is_none() => inside,
        _ => value,
    }
}

/// Whether a bare value is the hexadecimal form of a text.
pub(super) fn is_hex(value: &[u8]) -> bool {
    !value.is_empty()
        && value.len().is_multiple_of(2)
        && value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'A'..=b'F'))
}

/// Appends the text that hexadecimal digits stand for.
pub(super) fn unhex(value: &[u8], out: &mut Vec<u8>) {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        other => other.wrapping_sub(b'A').wrapping_add(10) & 15,
    };
    out.extend(value.as_chunks::<2>().0.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, bool)> {
        let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Pairs::new(text.as_bytes()).map(|pair| (text_of(pair.key), text_of(pair.value), pair.quoted)).collect()
    }

    #[test]
    fn every_form() {
        let expected = |list: &[(&str, &str, bool)]| -> Vec<(String, String, bool)> {
            list.iter().map(|(key, value, quoted)| ((*key).to_owned(), (*value).to_owned(), *quoted)).collect()
        };
        assert_eq!(
            pairs("pid=1 comm=\"a b\" key=(null) msg='op=login acct=\"it's\" res=success'"),
            expected(&[
                ("pid", "1", false),
                ("comm", "a b", true),
                ("key", "(null)", false),
                ("msg", "op=login acct=\"it's\" res=success", true)
            ])
        );
        assert_eq!(pairs("avc:  denied  { read } for  pid=7 x"), expected(&[("pid", "7", false)]));
        assert_eq!(pairs(" cwd=\"/\""), expected(&[("cwd", "/", true)]));
        assert_eq!(pairs("auditd start, ver=2.4.1 auid=4"), expected(&[("ver", "2.4.1", false), ("auid", "4", false)]));
        assert_eq!(
            pairs("SADDR={ saddr_fam=inet laddr=192.0.2.1 lport=80 }"),
            expected(&[("SADDR", "saddr_fam=inet laddr=192.0.2.1 lport=80", true)])
        );
        assert_eq!(pairs("a=\"open"), expected(&[("a", "\"open", false)]));
        assert_eq!(pairs("a= b="), expected(&[("a", "", false), ("b", "", false)]));
        assert_eq!(pairs("=x = ,,"), expected(&[]));
        assert_eq!(
            pairs("(hostname=?, addr=192.0.2.7, res=failed)"),
            expected(&[("hostname", "?", false), ("addr", "192.0.2.7", false), ("res", "failed", false)])
        );
        assert_eq!(pairs("proctitle=sshd: a [priv]"), expected(&[("proctitle", "sshd: a [priv]", false)]));
        let old: Vec<bool> = Pairs::new(b"old auid=1 new auid=2").map(|pair| pair.old).collect();
        assert_eq!(old, [true, false]);
    }

    #[test]
    fn hexadecimal() {
        assert!(is_hex(b"2F62") && !is_hex(b"2f62") && !is_hex(b"2F6") && !is_hex(b"") && !is_hex(b"(null)"));
        let mut out = Vec::new();
        unhex(b"2F62696E00FF", &mut out);
        assert_eq!(out, b"/bin\0\xff");
    }
}
