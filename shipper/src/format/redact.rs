//! Takes colours and secrets out of a line before it is parsed, so that no field can carry a secret.
//!
//! What V2Ray and Xray print of credentials: the userinfo of a URL that the HTTP inbound was asked for, and the user id of a
//! refused VLESS request (Xray 26.3.27), which may be a customer's key with one digit wrong; and the password that x-ui prints when
//! it refuses a login. A secret becomes `***`, and 24 bits
//! of its hash are kept: enough to see that two secrets are the same, too little to confirm a guess.

use memchr::memmem::Finder;
use xxhash_rust::xxh3::xxh3_64;

const MASK: &[u8] = b"***";

/// Where a secret begins and ends.
type Place = (usize, usize);

/// How the first secret of a kind is found, at or behind a place.
type Find = fn(&Cleaner, &[u8], usize) -> Option<Place>;

const KINDS: [Find; 3] = [Cleaner::next_password, Cleaner::next_id, Cleaner::next_refused];

/// The buffers for lines that have to be changed.
#[derive(Debug)]
pub(super) struct Cleaner {
    slashes: Finder<'static>,
    user_id: Finder<'static>,
    panel: Finder<'static>,
    plain: Vec<u8>,
    redacted: Vec<u8>,
    secrets: Vec<u32>,
}

/// A line after cleaning.
pub(super) struct Clean<'a> {
    /// What to parse: without colours and secrets.
    pub(super) text: &'a [u8],
    /// What to keep as the original: without secrets.
    pub(super) original: &'a [u8],
    /// Short hashes of the secrets.
    pub(super) secrets: &'a [u32],
}

impl Cleaner {
    pub(super) fn new() -> Self {
        Self {
            slashes: Finder::new("//"),
            user_id: Finder::new("request user id: "),
            panel: Finder::new("wrong username"),
            plain: Vec::new(),
            redacted: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Cleans a line.
    pub(super) fn clean<'a>(&'a mut self, line: &'a [u8]) -> Clean<'a> {
        self.secrets.clear();
        let text = if memchr::memchr(0x1b, line).is_some() {
            strip_colours(line, &mut self.plain);
            &self.plain
        } else {
            line
        };
        if [&self.slashes, &self.user_id, &self.panel].iter().all(|mark| mark.find(text).is_none()) {
            return Clean { text, original: line, secrets: &[] };
        }
        self.redacted.clear();
        let mut from = 0;
        let mut next = KINDS.map(|find| find(self, text, 0));
        while let Some((start, end)) = next.iter().flatten().min().copied() {
            self.redacted.extend_from_slice(&text[from..start]);
            self.redacted.extend_from_slice(MASK);
            self.secrets.push((xxh3_64(&text[start..end]) & 0x00ff_ffff) as u32);
            from = end;
            // What is found further on, or nowhere, is not looked for again: a line can hold many secrets.
            for (place, find) in next.iter_mut().zip(KINDS) {
                if place.is_some_and(|(start, _)| start < from) {
                    *place = find(self, text, from);
                }
            }
        }
        if self.secrets.is_empty() {
            return Clean { text, original: line, secrets: &[] };
        }
        self.redacted.extend_from_slice(&text[from..]);
        Clean { text: &self.redacted, original: &self.redacted, secrets: &self.secrets }
    }

    /// The user id that was refused.
    fn next_id(&self, text: &[u8], mut from: usize) -> Option<Place> {
        while let Some(at) = self.user_id.find(&text[from..]) {
            let start = from + at + self.user_id.needle().len();
            let end = token_end(text, start);
            if end > start {
                return Some((start, end));
            }
            from = start;
        }
        None
    }

    /// The password in `wrong username or password: "user" "password"` and in `wrong username: "user", password: "password"`. The
    /// user's name may hold quotes: rather too much is taken than too little.
    fn next_refused(&self, text: &[u8], from: usize) -> Option<Place> {
        let mark = from + self.panel.find(&text[from..])? + self.panel.needle().len();
        let rest = &text[mark..];
        let divider: &[u8] = if rest.starts_with(b" or password: ") { b"\" \"" } else { b"password: \"" };
        let start = memchr::memmem::find(rest, divider)? + divider.len();
        let behind = &rest[start..];
        let end = memchr::memmem::rfind(behind, b"\", IP").or_else(|| memchr::memrchr(b'"', behind))?;
        (end > 0).then_some((mark + start, mark + start + end))
    }

    /// The password in `//user:password@`.
    fn next_password(&self, text: &[u8], mut from: usize) -> Option<Place> {
        while let Some(at) = self.slashes.find(&text[from..]) {
            let start = from + at + 2;
            let end = text[start..]
                .iter()
                .position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'"' | b' ' | b'\t'))
                .map_or(text.len(), |length| start + length);
            let userinfo = memchr::memrchr(b'@', &text[start..end]).map(|length| &text[start..start + length]);
            if let Some(userinfo) = userinfo
                && let Some(colon) = memchr::memchr(b':', userinfo)
                && colon + 1 < userinfo.len()
            {
                return Some((start + colon + 1, start + userinfo.len()));
            }
            from = start;
        }
        None
    }
}

fn token_end(text: &[u8], start: usize) -> usize {
    text[start..].iter().position(u8::is_ascii_whitespace).map_or(text.len(), |length| start + length)
}

/// Copies a line without the sequences `ESC [ … m`.
fn strip_colours(line: &[u8], plain: &mut Vec<u8>) {
    plain.clear();
    let mut rest = line;
    while let Some(at) = memchr::memchr(0x1b, rest) {
        plain.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let length = match rest.strip_prefix(b"\x1b[") {
            Some(behind) => behind.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b';')).count() + 2,
            None => 1,
        };
        if rest.get(length) == Some(&b'm') && length > 1 {
            rest = &rest[length + 1..];
        } else {
            plain.push(0x1b);
            rest = &rest[1..];
        }
    }
    plain.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(line: &str) -> (String, String, Vec<u32>) {
        let mut cleaner = Cleaner::new();
        let clean = cleaner.clean(line.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(clean.text), text(clean.original), clean.secrets.to_vec())
    }

    #[test]
    fn secrets_are_masked_and_equal_ones_can_be_matched() {
        let (text, original, secrets) =
            cleaned("accepted http://user:secret@a.test/x http://v:p@ss@b.test request user id: b831381d-6324");
        assert_eq!(text, "accepted http://user:***@a.test/x http://v:***@b.test request user id: ***");
        assert_eq!(text, original);
        assert_eq!(secrets.len(), 3);
        assert_eq!(cleaned("//other:secret@c.test").2[0], secrets[0]);
        assert!(secrets.iter().all(|secret| *secret < 1 << 24));
    }

    #[test]
    fn a_refused_password_of_a_panel_is_masked() {
        for (line, masked) in [
            (
                r#"INFO - wrong username or password: "bob" "geheim""#,
                r#"INFO - wrong username or password: "bob" "***""#,
            ),
            (
                r#"INFO - wrong username or password: "bob" "ge" heim", IP: 192.0.2.7"#,
                r#"INFO - wrong username or password: "bob" "***", IP: 192.0.2.7"#,
            ),
            (
                r#"WARNING - wrong username: "bob", password: "geheim", IP: "192.0.2.7""#,
                r#"WARNING - wrong username: "bob", password: "***", IP: "192.0.2.7""#,
            ),
            ("wrong username", "wrong username"),
            (r#"wrong username or password: "bob" """#, r#"wrong username or password: "bob" """#),
        ] {
            assert_eq!(cleaned(line).0, masked);
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for line in [
            "//connect.ok.test:443",
            "http://a.test/?q=x:y@z",
            "http://user@a.test",
            "TCP//1.2.3.4:53 got",
            "a@b.test",
            "request user id: ",
            "http://u:@h",
        ] {
            assert_eq!(cleaned(line), (line.to_owned(), line.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn colours_go_and_other_sequences_stay() {
        let (text, original, _) = cleaned("\x1b[31m2026\x1b[0;1m/\x1b[2J\x1bm\x1b[");
        assert_eq!(text, "2026/\x1b[2J\x1bm\x1b[");
        assert!(original.starts_with("\x1b[31m"));
    }
}
