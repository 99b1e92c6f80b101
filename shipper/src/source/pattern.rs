//! Path patterns: globs with captures.
//!
//! `*` and `?` match within a component, `**` as a whole component crosses folders, `[a-z]` and `[!a-z]` are classes, and
//! `{hub}` matches like `*` and keeps what it matched under its name. Everything works on bytes: a path need not be UTF-8.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It must begin with `/`.
    #[error("path pattern {0:?} is not absolute")]
    Relative(String),
    /// A `[` or `{` has no end, a capture has no proper name, or `..` occurs.
    #[error("path pattern {0:?}: {1}")]
    Syntax(String, &'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Any,
    Capture(String),
    Class { negated: bool, ranges: Vec<(u8, u8)> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Component {
    Literal(Vec<u8>),
    Glob(Vec<Token>),
    Folders,
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    prefix: PathBuf,
    rest: Vec<Component>,
}

/// What a pattern's captures matched, in the order of the pattern.
pub type Captures = Vec<(String, String)>;

impl Pattern {
    /// Compiles a pattern.
    pub fn new(text: &str) -> Result<Self, Error> {
        if !text.starts_with('/') {
            return Err(Error::Relative(text.to_owned()));
        }
        let mut components = Vec::new();
        for part in text.split('/').filter(|p| !p.is_empty() && *p != ".") {
            components.push(component(part).map_err(|what| Error::Syntax(text.to_owned(), what))?);
        }
        let literal = components.iter().take_while(|c| matches!(c, Component::Literal(_))).count();
        // The last component is always matched, never part of the folder to start from.
        let split = literal.min(components.len().saturating_sub(1));
        let rest = components.split_off(split);
        let mut prefix = PathBuf::from("/");
        for component in components {
            if let Component::Literal(name) = component {
                prefix.push(OsStr::from_bytes(&name));
            }
        }
        Ok(Self { text: text.to_owned(), prefix, rest })
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folder in which everything lies that can match: the pattern's components before the first that is not literal.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Whether a path matches, and what was captured.
    pub fn matches(&self, path: &Path) -> Option<Captures> {
        let below = path.strip_prefix(&self.prefix).ok()?;
        let parts: Vec<&[u8]> = below.components().map(|c| c.as_os_str().as_bytes()).collect();
        let mut captures = Vec::new();
        walk(&self.rest, &parts, &mut captures).then_some(captures)
    }

    /// Whether files that match can lie in `folder` or below it.
    pub fn may_descend(&self, folder: &Path) -> bool {
        let Ok(below) = folder.strip_prefix(&self.prefix) else {
            return self.prefix.starts_with(folder);
        };
        let parts: Vec<&[u8]> = below.components().map(|c| c.as_os_str().as_bytes()).collect();
        let mut rest = self.rest.as_slice();
        for part in parts {
            match rest.split_first() {
                Some((Component::Folders, _)) => return true,
                Some((first, later)) if !later.is_empty() && matches_part(first, part, &mut Vec::new()) => rest = later,
                _ => return false,
            }
        }
        true
    }
}

fn component(part: &str) -> Result<Component, &'static str> {
    if part == "**" {
        return Ok(Component::Folders);
    }
    if part == ".." {
        return Err("`..` is not allowed; write the path without it");
    }
    if part.contains("**") {
        return Err("`**` must be a whole component, as in /var/log/**/*.log");
    }
    let mut tokens = Vec::new();
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        tokens.push(match byte {
            b'*' => Token::Any,
            b'?' => Token::One,
            b'\\' => Token::Byte(bytes.next().ok_or("`\\` stands at the end")?),
            b'{' => {
                let name: Vec<u8> = bytes.by_ref().take_while(|b| *b != b'}').collect();
                let proper = name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
                    && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
                let name = String::from_utf8(name).unwrap_or_default();
                if !proper || !part.contains(&format!("{{{name}}}")) {
                    return Err("a capture is written {name}, with letters, digits and `_`");
                }
                Token::Capture(name)
            }
            b'[' => class(&mut bytes)?,
            other => Token::Byte(other),
        });
    }
    if tokens.iter().all(|t| matches!(t, Token::Byte(_))) {
        let literal = tokens.into_iter().filter_map(|t| if let Token::Byte(b) = t { Some(b) } else { None }).collect();
        return Ok(Component::Literal(literal));
    }
    Ok(Component::Glob(tokens))
}

fn class(bytes: &mut std::str::Bytes<'_>) -> Result<Token, &'static str> {
    const OPEN: &str = "a `[` has no `]`";
    let mut inside = Vec::new();
    let mut negated = false;
    let mut first = true;
    loop {
        match bytes.next().ok_or(OPEN)? {
            b'!' | b'^' if first && !negated => {
                negated = true;
                continue;
            }
            b']' if !first => break,
            byte => inside.push(byte),
        }
        first = false;
    }
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&from) = inside.get(at) {
        match (inside.get(at + 1), inside.get(at + 2)) {
            (Some(b'-'), Some(&to)) => {
                ranges.push((from, to));
                at += 3;
            }
            _ => {
                ranges.push((from, from));
                at += 1;
            }
        }
    }
    Ok(Token::Class { negated, ranges })
}

fn walk(rest: &[Component], parts: &[&[u8]], captures: &mut Captures) -> bool {
    let Some((first, later)) = rest.split_first() else {
        return parts.is_empty();
    };
    if *first == Component::Folders {
        // Hidden folders are crossed too: an audit log in one is still an audit log.
        return (0..parts.len()).any(|skip| {
            let kept = captures.len();
            walk(later, &parts[skip..], captures) || {
                captures.truncate(kept);
                false
            }
        });
    }
    let Some((part, others)) = parts.split_first() else {
        return false;
    };
    let kept = captures.len();
    if matches_part(first, part, captures) && walk(later, others, captures) {
        return true;
    }
    captures.truncate(kept);
    false
}

fn matches_part(component: &Component, part: &[u8], captures: &mut Captures) -> bool {
    match component {
        Component::Literal(name) => name == part,
        Component::Folders => true,
        Component::Glob(tokens) => {
            // A leading dot is matched by a dot only, as shells do.
            if part.first() == Some(&b'.') && tokens.first() != Some(&Token::Byte(b'.')) {
                return false;
            }
            tokens_match(tokens, part, captures)
        }
    }
}

/// Linear for patterns without captures: only the last `*` is ever tried again. A capture takes as little as lets the rest match.
fn tokens_match(tokens: &[Token], text: &[u8], captures: &mut Captures) -> bool {
    let (mut t, mut at) = (0, 0);
    let mut spans: Vec<(usize, usize, usize)> = Vec::new();
    let mut star: Option<(usize, usize)> = None;
    loop {
        match tokens.get(t) {
            Some(Token::Any | Token::Capture(_)) => {
                spans.retain(|(token, ..)| *token < t);
                spans.push((t, at, at));
                star = Some((t, at));
                t += 1;
                continue;
            }
            Some(token) if at < text.len() && single(token, text[at]) => {
                t += 1;
                at += 1;
                continue;
            }
            None if at == text.len() => break,
            _ => {}
        }
        let Some((token, from)) = star else {
            return false;
        };
        if from >= text.len() {
            return false;
        }
        star = Some((token, from + 1));
        spans.retain(|(other, ..)| *other <= token);
        if let Some(span) = spans.last_mut() {
            span.2 = from + 1;
        }
        t = token + 1;
        at = from + 1;
    }
    for (token, from, to) in spans {
        if let Some(Token::Capture(name)) = tokens.get(token) {
            captures.push((name.clone(), String::from_utf8_lossy(&text[from..to]).into_owned()));
        }
    }
    true
}

fn single(token: &Token, byte: u8) -> bool {
    match token {
        Token::Byte(b) => *b == byte,
        Token::One => true,
        Token::Class { negated, ranges } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&byte)) != *negated,
        Token::Any | Token::Capture(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(pattern: &str, path: &str) -> Option<Captures> {
        Pattern::new(pattern).unwrap().matches(Path::new(path))
    }

    #[test]
    fn globs() {
        assert!(hit("/var/log/*.log", "/var/log/a.log").is_some());
        assert!(hit("/var/log/*.log", "/var/log/a/b.log").is_none());
        assert!(hit("/var/log/*.log", "/var/log/.hidden.log").is_none());
        assert!(hit("/var/log/**/*.log", "/var/log/b.log").is_some());
        assert!(hit("/var/log/**/*.log", "/var/log/a/b/c.log").is_some());
        assert!(hit("/a/[!x-z]?[0-9]", "/a/bc5").is_some());
        assert!(hit("/a/[!x-z]?[0-9]", "/a/yc5").is_none());
        assert!(hit("/a/b", "/a/b").is_some());
        assert!(hit("/a/*a*b*c", "/a/xxaxxbxxc").is_some());
        assert!(hit("/a/*a*b*c", "/a/xxaxxcxx").is_none());
        assert!(hit("/a/\\*", "/a/*").is_some());
    }

    #[test]
    fn captures_say_what_they_matched() {
        let hub = hit(
            "/var/log/softether/security_log/{hub}/sec_*.log",
            "/var/log/softether/security_log/CORP/sec_20261121.log",
        );
        assert_eq!(hub.unwrap(), [("hub".to_owned(), "CORP".to_owned())]);
        assert_eq!(
            hit("/l/{a}-{b}.log", "/l/x-y-z.log").unwrap(),
            [("a".into(), "x".into()), ("b".into(), "y-z".into())]
        );
    }

    #[test]
    fn descends_only_where_something_can_match() {
        let pattern = Pattern::new("/var/log/pods/*_*/*/*.log").unwrap();
        assert_eq!(pattern.prefix(), Path::new("/var/log/pods"));
        assert!(pattern.may_descend(Path::new("/var/log/pods/a_b")));
        assert!(pattern.may_descend(Path::new("/var/log/pods/a_b/c")));
        assert!(!pattern.may_descend(Path::new("/var/log/pods/ab")));
        assert!(!pattern.may_descend(Path::new("/var/log/pods/a_b/c/d")));
    }

    #[test]
    fn mistakes_are_named() {
        for bad in ["var/log", "/a/../b", "/a/**b", "/a/[b", "/a/{", "/a/{1x}", "/a/b\\"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_matches_itself(text in "[a-z*?.]{1,12}", name in "[a-z.]{1,12}") {
            let pattern = Pattern::new(&format!("/d/{text}"));
            if let Ok(pattern) = pattern {
                let _ = pattern.matches(Path::new(&format!("/d/{name}")));
            }
            if let Ok(literal) = Pattern::new(&format!("/d/{name}")) {
                let path = format!("/d/{name}");
                proptest::prop_assert!(literal.matches(Path::new(&path)).is_some() || name == "." || name == "..");
            }
        }
    }
}
