//! Divides an audit record into its fields.
//!
//! ```text
//! field = key "=" ( '"' text '"' | HEX | bare )        and, of user space, msg='field field …'
//! ```
//!
//! Text that someone else chose is quoted if it is printable, else it is upper-case hexadecimal without quotes. Which fields may
//! hold such text is said by the field dictionary of the audit project; of all others `10` is a number.

use super::dictionary::{ENRICHED, is_encoded};

/// Behind this the daemon repeats numbers as names (`log_format = ENRICHED`).
const SEPARATOR: u8 = 0x1d;

/// What readers make of the separator that take it for unprintable, if they do not leave it out: rsyslog, `cat -v`, Python.
const SIGNS: [&[u8]; 3] = [b"#035", b"^]", b"\\x1d"];

/// So many apostrophes are tried, from the last one: names have few.
const MOST_APOSTROPHES: usize = 8;

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

/// So many equals signs of one token are looked at: a field and a pair have two.
const MOST_SIGNS: usize = 3;

/// The fields of a record, and its enriched part. Of a line that is not `interpreted` the part is found, too, where its separator was
/// lost on the way; in one that is, what others wrote is not quoted, and nothing would tell it from that part.
pub(super) fn divide(text: &[u8], interpreted: bool) -> (&[u8], &[u8]) {
    if let Some(at) = memchr::memchr(SEPARATOR, text) {
        return (&text[..at], &text[at + 1..]);
    }
    let line = text.trim_ascii_end();
    match (!interpreted).then(|| appended(line)).flatten() {
        Some(at) => {
            let front = line[..at].trim_ascii_end();
            (SIGNS.iter().find_map(|sign| front.strip_suffix(*sign)).unwrap_or(front), &line[at..])
        }
        None => (text, &text[text.len()..]),
    }
}

/// Where the enriched part begins that has lost its separator. What user space wrote, and others chose, stands in apostrophes: then
/// only what is behind the one that closes it counts. What the kernel wrote has such text in quotes or in hexadecimal.
fn appended(text: &[u8]) -> Option<usize> {
    if !text.starts_with(b"msg='") && memchr::memmem::find(text, b" msg='").is_none() {
        return glued(text).filter(|at| *at > 0);
    }
    memchr::memrchr_iter(b'\'', text).take(MOST_APOSTROPHES).find_map(|apostrophe| {
        let behind = text[apostrophe + 1..].trim_ascii_start();
        let at = glued(behind)?;
        let sign = &behind[..at];
        (sign.is_empty() || SIGNS.contains(&sign)).then_some(text.len() - behind.len() + at)
    })
}

/// Where the enriched pairs begin that fill a text to its end: the first at the front, or right behind a value.
fn glued(text: &[u8]) -> Option<usize> {
    let mut begins = None;
    let mut at = 0;
    while at < text.len() {
        if text[at] == b' ' {
            at += 1;
            continue;
        }
        let (end, pair) = token(text, at);
        begins = match pair {
            Some(pair) if pair == at && begins.is_some() => begins,
            // A blank is no separator: what stands in front would have to be a pair as well.
            Some(pair) if pair > at || at == 0 => Some(pair),
            _ => None,
        };
        at = end;
    }
    begins
}

/// Where the token ends that begins at `start`, and where in it an enriched pair begins that reaches to that end.
fn token(text: &[u8], start: usize) -> (usize, Option<usize>) {
    let (mut pair, mut signs) = (None, 0);
    let mut at = start;
    while let Some(offset) = text[at..].iter().position(|byte| matches!(byte, b' ' | b'"' | b'=' | b'{')) {
        let found = at + offset;
        at = found + 1;
        let rest = &text[at..];
        let close = match text[found] {
            b' ' => return (found, pair),
            b'=' => {
                signs += 1;
                let length = (signs <= MOST_SIGNS).then(|| enriched_name(&text[start..found])).flatten();
                pair = length.map(|length| found - length);
                continue;
            }
            b'"' => memchr::memchr(b'"', rest),
            // The last brace closes: a path may hold others.
            _ if found > start && text[found - 1] == b'=' => {
                memchr::memrchr(b'}', &rest[..rest.len().min(LONGEST_BRACES)])
            }
            _ => continue,
        };
        let Some(close) = close else { return (text.len(), None) };
        at += close + 1;
        if text.get(at).is_some_and(|byte| *byte != b' ') {
            pair = None;
        }
    }
    (text.len(), pair)
}

/// Length of the enriched part's name that stands at the end of what is before an equals sign: alone, or behind a field.
fn enriched_name(before: &[u8]) -> Option<usize> {
    before.last().filter(|byte| byte.is_ascii_uppercase())?;
    let names = ENRICHED.iter().map(|(name, _)| *name).filter(|name| before.ends_with(name));
    // "41AUID" is 41 and AUID, "4AUID" is 4A and UID.
    names.filter(|name| is_whole(&before[..before.len() - name.len()])).map(<[u8]>::len).max()
}

/// Whether a field can end here: nothing, a sign, or `name=value`, where encoded text is whole.
fn is_whole(field: &[u8]) -> bool {
    let sign = SIGNS.iter().find_map(|sign| field.strip_suffix(*sign));
    let field = sign.unwrap_or(field);
    match memchr::memchr(b'=', field) {
        None => field.is_empty(),
        Some(at) => {
            let (name, value) = (&field[..at], &field[at + 1..]);
            let quoted = value.len() > 1 && value.starts_with(b"\"") && value.ends_with(b"\"");
            quoted || !is_encoded(name) || is_hex(value) || matches!(value, b"(null)" | b"(none)" | b"?")
        }
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
                // The last one: the path of a socket may hold others.
                let end = memchr::memrchr(b'}', &self.rest[..self.rest.len().min(LONGEST_BRACES)])?;
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
                let end = match key {
                    b"proctitle" => None,
                    b"op" => words(self.rest),
                    _ => memchr::memchr(b' ', self.rest),
                };
                let end = end.unwrap_or(self.rest.len());
                let (value, rest) = self.rest.split_at(end);
                self.rest = rest;
                (bare(value), false)
            });
            return Some(Pair { key, value, quoted, old });
        }
    }
}

/// Where the words end with which a text begins: before the next field. Some programs write an operation in words.
fn words(text: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b' ', text).find(|blank| {
        let next = text[blank + 1..].iter().find(|byte| matches!(byte, b' ' | b'=' | b'('));
        next.is_some_and(|byte| *byte != b' ')
    })
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
        assert_eq!(
            pairs("op=adding user to shadow group acct=\"x\" op=changing password"),
            expected(&[
                ("op", "adding user to shadow group", false),
                ("acct", "x", true),
                ("op", "changing password", false)
            ])
        );
        assert_eq!(
            pairs("SADDR={ saddr_fam=local path=/x } AUID=\"root\" }"),
            expected(&[("SADDR", "saddr_fam=local path=/x } AUID=\"root\"", true)])
        );
        assert_eq!(pairs("proctitle=sshd: a [priv]"), expected(&[("proctitle", "sshd: a [priv]", false)]));
        let old: Vec<bool> = Pairs::new(b"old auid=1 new auid=2").map(|pair| pair.old).collect();
        assert_eq!(old, [true, false]);
    }

    /// What is left of an enriched line whose separator was lost.
    #[test]
    fn a_lost_separator() {
        for (text, main, enriched) in [
            (
                "pid=1 msg='op=x res=success'UID=\"a\" AUID=\"a b\"",
                "pid=1 msg='op=x res=success'",
                "UID=\"a\" AUID=\"a b\"",
            ),
            ("msg='op=x res=1'#035UID=\"o'brien\" ID=\"x\"", "msg='op=x res=1'", "UID=\"o'brien\" ID=\"x\""),
            ("pid=1 msg='res=1' UID=\"a\" ", "pid=1 msg='res=1'", "UID=\"a\""),
            (" ses=3 res=1UID=\"root\" OLD-AUID=\"unset\"", " ses=3 res=1", "UID=\"root\" OLD-AUID=\"unset\""),
            (" ses=3 res=1^]UID=\"root\"", " ses=3 res=1", "UID=\"root\""),
            (" cap_frootid=0OUID=\"root\" OGID=root", " cap_frootid=0", "OUID=\"root\" OGID=root"),
            (" key=(null)ARCH=x86_64 SYSCALL=execve", " key=(null)", "ARCH=x86_64 SYSCALL=execve"),
            (" key=\"a\"ARCH=x86_64", " key=\"a\"", "ARCH=x86_64"),
            (" key=41AUID=\"x\"", " key=41", "AUID=\"x\""),
            (" data=6C0AUID=\"x\"", " data=6C0A", "UID=\"x\""),
            (
                " saddr=0200SADDR={ saddr_fam=local path=/x } UID=\"root\" }",
                " saddr=0200",
                "SADDR={ saddr_fam=local path=/x } UID=\"root\" }",
            ),
        ] {
            assert_eq!(divide(text.as_bytes(), false), (main.as_bytes(), enriched.as_bytes()), "{text}");
        }
        for text in [
            "",
            "'",
            "{",
            " a=\"",
            " ses=3 res=1",
            // What someone chose.
            "pid=1 msg='op=x acct=\"a'UID=0\" exe=\"/x\" res=failed'",
            "pid=1 msg='op=x acct=\"a'AUID=\" exe=\"/x\" hostname=? res=failed'",
            "pid=1 msg='op=x acct=\"aUID=0\" res=failedUID=0'",
            " comm=\"xUID=0\"",
            " comm=\"UID=0\" exe=\"/AUID=0\"",
            " comm=xAUID=root",
            " name=x AUID=root",
            " table=xUID=0 family=2",
        ] {
            assert_eq!(divide(text.as_bytes(), false), (text.as_bytes(), &b""[..]), "{text}");
        }
        let interpreted = " a1=xAUID=root";
        assert_eq!(divide(interpreted.as_bytes(), true), (interpreted.as_bytes(), &b""[..]));
    }

    #[test]
    fn hexadecimal() {
        assert!(is_hex(b"2F62") && !is_hex(b"2f62") && !is_hex(b"2F6") && !is_hex(b"") && !is_hex(b"(null)"));
        let mut out = Vec::new();
        unhex(b"2F62696E00FF", &mut out);
        assert_eq!(out, b"/bin\0\xff");
    }
}
