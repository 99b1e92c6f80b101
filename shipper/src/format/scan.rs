//! A pull scanner for JSON: finds where values begin and end, and builds nothing.
//!
//! It is as strict as RFC 8259, except that text need not be valid UTF-8 and that surrogates may be alone: whoever writes text
//! out again deals with both ([`escape::inner`](super::escape::inner)). Nesting is bounded; the scanner does not recurse.

use std::ops::Range;

/// Deeper values are refused.
pub(super) const DEPTH: u32 = 64;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Number,
    True,
    False,
    Null,
    Object,
    Array,
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) kind: Type,
    /// With the quotes of a string.
    pub(super) span: Range<usize>,
}

impl Value {
    /// The value as it stands in the text; of a string, the inside, still escaped.
    pub(super) fn inner<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        match self.kind {
            Type::String => &text[self.span.start + 1..self.span.end - 1],
            _ => &text[self.span.clone()],
        }
    }
}

/// Reads a text from front to back.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Goes on at `at`.
    pub(super) fn at(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    /// Skips white space and takes this byte if it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// Whether only white space is left.
    pub(super) fn finished(&mut self) -> bool {
        self.skip_space();
        self.at == self.text.len()
    }

    /// Reads a key and its colon. Answers where its inside is.
    pub(super) fn key(&mut self) -> Option<Range<usize>> {
        self.key_and_escape().map(|(key, _)| key)
    }

    /// Reads a key and its colon. Answers also whether there is an escape in it.
    pub(super) fn key_and_escape(&mut self) -> Option<(Range<usize>, bool)> {
        self.skip_space();
        let start = self.at + 1;
        let escaped = self.string()?;
        let end = self.at - 1;
        self.take(b':').then_some((start..end, escaped))
    }

    /// Reads a whole value.
    pub(super) fn value(&mut self) -> Option<Value> {
        self.skip_space();
        let start = self.at;
        let kind = self.scalar()?;
        if matches!(kind, Type::Object | Type::Array) {
            self.nested()?;
        }
        Some(Value { kind, span: start..self.at })
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    /// Reads a scalar, or the bracket that opens an object or a list.
    fn scalar(&mut self) -> Option<Type> {
        match self.text.get(self.at)? {
            b'"' => self.string().map(|_| Type::String),
            b'{' => {
                self.at += 1;
                Some(Type::Object)
            }
            b'[' => {
                self.at += 1;
                Some(Type::Array)
            }
            b't' => self.word(b"true", Type::True),
            b'f' => self.word(b"false", Type::False),
            b'n' => self.word(b"null", Type::Null),
            _ => self.number().map(|()| Type::Number),
        }
    }

    /// Reads what is behind an opening bracket up to the one that closes it.
    fn nested(&mut self) -> Option<()> {
        // One bit a level: set for objects.
        let mut levels = u64::from(self.text[self.at - 1] == b'{');
        let mut depth = 1;
        let mut first = true;
        while depth > 0 {
            let object = levels & 1 == 1;
            if self.take(if object { b'}' } else { b']' }) {
                levels >>= 1;
                depth -= 1;
                first = false;
                continue;
            }
            if !first && !self.take(b',') {
                return None;
            }
            if object {
                self.key()?;
            }
            self.skip_space();
            let kind = self.scalar()?;
            first = false;
            if matches!(kind, Type::Object | Type::Array) {
                if depth == DEPTH {
                    return None;
                }
                levels = levels << 1 | u64::from(kind == Type::Object);
                depth += 1;
                first = true;
            }
        }
        Some(())
    }

    /// Reads a string. Answers whether there is an escape in it.
    fn string(&mut self) -> Option<bool> {
        if self.text.get(self.at) != Some(&b'"') {
            return None;
        }
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at += unescaped(self.text.get(self.at..)?);
            match self.text.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(escaped);
                }
                b'\\' => match self.text.get(self.at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => (self.at, escaped) = (self.at + 2, true),
                    b'u' if self.text.get(self.at + 2..self.at + 6)?.iter().all(u8::is_ascii_hexdigit) => {
                        (self.at, escaped) = (self.at + 6, true);
                    }
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    fn word(&mut self, word: &[u8], kind: Type) -> Option<Type> {
        self.text[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            kind
        })
    }

    fn number(&mut self) -> Option<()> {
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        Some(())
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> Option<()> {
        let count = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }
}

/// Length of the part in front that neither ends a string, nor escapes, nor is a control character. Eight bytes at a time:
/// strings are short.
fn unescaped(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (chunks, rest) = text.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        // A borrow can only mark bytes behind one that is marked rightly, so the first mark is right.
        let found = control | zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let ordinary = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
    text.len() - rest.len() + rest.iter().take_while(ordinary).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &[u8]) -> Option<Value> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value()?;
        scanner.finished().then_some(value)
    }

    #[test]
    fn grammar() {
        for good in [
            "0",
            "-0",
            "-12.5e+10",
            "1E5",
            "true",
            "false",
            "null",
            "\"\"",
            "\"a\\u00e9\\\"\"",
            "[]",
            "{}",
            " [ 1 , [ ] , { } ] ",
            "{\"a\":{\"b\":[1,\"}\"]},\"\":0}",
            "\"\\ud800\"",
        ] {
            assert!(whole(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "tru",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\t\"",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "[}",
            "{]",
            "[",
            "{\"a\":1",
            "1 2",
            "[]]",
            "NaN",
        ] {
            assert!(whole(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(whole(nested(DEPTH as usize).as_bytes()).is_some());
        assert!(whole(nested(DEPTH as usize + 1).as_bytes()).is_none());
        assert!(whole("{\"a\":".repeat(1_000_000).as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{}:,"\\0-9a-ftrulsn.eE+ -]{0,24}"#) {
            let expected = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(whole(text.as_bytes()).is_some(), expected);
        }
    }
}
