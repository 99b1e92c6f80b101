//! What container runtimes wrap around a line.
//!
//! CRI (kubernetes/enhancements, "CRI logging"): `TIME SP stream SP TAGS SP text`, where the first tag is `P` if the line goes on
//! in the next piece and `F` if it ends here. Docker's `json-file` driver: one JSON object a piece, whose `log` ends with a newline
//! if the line ends there.

use std::borrow::Cow;

use serde::Deserialize;

/// A container's two outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Output {
    /// The name that runtimes write.
    pub fn name(self) -> &'static [u8] {
        match self {
            Self::Stdout => b"stdout",
            Self::Stderr => b"stderr",
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"stdout" => Some(Self::Stdout),
            b"stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// A piece of a line, unwrapped.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// RFC 3339, as the runtime wrote it.
    pub time: Cow<'a, [u8]>,
    /// Where the program wrote it.
    pub output: Output,
    /// The line ends with this piece.
    pub ends: bool,
    /// What the program wrote, without a newline.
    pub text: Cow<'a, [u8]>,
}

/// The wrapping of a source's lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Envelope {
    /// The lines are the program's own.
    #[default]
    None,
    /// containerd, CRI-O.
    Cri,
    /// Docker's `json-file`.
    Docker,
}

impl Envelope {
    /// The number in [`crate::state::entry::StreamRecord::envelope`].
    pub fn number(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Cri => 1,
            Self::Docker => 2,
        }
    }

    /// Reads that number.
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Cri,
            2 => Self::Docker,
            _ => Self::None,
        }
    }

    /// Takes the wrapping off a line; `None` if the line is not wrapped like this.
    pub fn unwrap(self, line: &[u8]) -> Option<Piece<'_>> {
        match self {
            Self::None => None,
            Self::Cri => cri(line),
            Self::Docker => docker(line),
        }
    }
}

fn cri(line: &[u8]) -> Option<Piece<'_>> {
    let (time, rest) = split_once(line, b' ')?;
    let (output, rest) = split_once(rest, b' ')?;
    // An empty text may come with or without the last blank.
    let (tags, text) = split_once(rest, b' ').unwrap_or((rest, &[]));
    let ends = match tags.split(|b| *b == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let dated = time.len() >= 20 && time[4] == b'-' && time[10] == b'T';
    dated.then_some(Piece { time: time.into(), output: Output::from_name(output)?, ends, text: text.into() })
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(separator, bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[derive(Deserialize)]
struct DockerLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

fn docker(line: &[u8]) -> Option<Piece<'_>> {
    let line: DockerLine<'_> = serde_json::from_slice(line).ok()?;
    let output = Output::from_name(line.stream.as_bytes())?;
    let ends = line.log.ends_with('\n');
    let text = match line.log {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_suffix('\n').unwrap_or(text).as_bytes()),
        Cow::Owned(mut text) => {
            if ends {
                text.pop();
            }
            Cow::Owned(text.into_bytes())
        }
    };
    let time = match line.time {
        Cow::Borrowed(time) => Cow::Borrowed(time.as_bytes()),
        Cow::Owned(time) => Cow::Owned(time.into_bytes()),
    };
    Some(Piece { time, output, ends, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(envelope: Envelope, line: &str) -> Option<(String, bool)> {
        envelope.unwrap(line.as_bytes()).map(|p| (String::from_utf8_lossy(&p.text).into_owned(), p.ends))
    }

    #[test]
    fn cri_lines() {
        let full = "2026-11-21T22:31:45.343475123Z stdout F hello  world";
        assert_eq!(text(Envelope::Cri, full), Some(("hello  world".into(), true)));
        assert_eq!(text(Envelope::Cri, "2026-11-21T22:31:45.3+01:00 stderr P:x part "), Some(("part ".into(), false)));
        assert_eq!(text(Envelope::Cri, "2026-11-21T22:31:45.3Z stdout F "), Some((String::new(), true)));
        assert_eq!(text(Envelope::Cri, "2026-11-21T22:31:45.3Z stdout F"), Some((String::new(), true)));
        assert_eq!(text(Envelope::Cri, "2026-11-21T22:31:45.3Z stdin F x"), None);
        assert_eq!(text(Envelope::Cri, "plain text that is not wrapped"), None);
    }

    #[test]
    fn docker_lines() {
        let line = r#"{"log":"a \"b\"\n","stream":"stdout","attrs":{"x":"y"},"time":"2026-11-21T22:31:45.343475123Z"}"#;
        assert_eq!(text(Envelope::Docker, line), Some(("a \"b\"".into(), true)));
        let part = r#"{"log":"abc","stream":"stderr","time":"2026-11-21T22:31:45Z"}"#;
        assert_eq!(text(Envelope::Docker, part), Some(("abc".into(), false)));
        assert_eq!(text(Envelope::Docker, r#"{"log":1}"#), None);
    }
}
