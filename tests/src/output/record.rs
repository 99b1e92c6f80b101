//! One line of the sink, taken apart as far as the oracle needs it.

use std::fmt;
use std::time::SystemTime;

use serde_json::Value;

use crate::book::{Hash, hash};
use crate::face;

/// A record id: stream, offset, hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// The stream.
    pub stream: u128,
    /// The offset of the record's first byte.
    pub offset: u64,
    /// The hash of its text.
    pub hash: u64,
}

impl Id {
    /// Reads `32hex-16hex-16hex`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (stream, offset, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let sized = stream.len() == 32 && offset.len() == 16 && hash.len() == 16 && parts.next().is_none();
        let number = |part| u64::from_str_radix(part, 16).ok();
        sized.then_some(())?;
        Some(Self { stream: u128::from_str_radix(stream, 16).ok()?, offset: number(offset)?, hash: number(hash)? })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{:016x}-{:016x}", self.stream, self.offset, self.hash)
    }
}

/// A piece's place in a line that was longer than the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Offset of the line.
    pub line: u64,
    /// 0, 1, 2 …
    pub index: u64,
    /// No more follow.
    pub last: bool,
}

/// The text of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Box<[u8]>);

impl Text {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its hash.
    pub fn hash(&self) -> Hash {
        hash(&self.0)
    }
}

/// A record of a source.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its id.
    pub id: Id,
    /// Its number in its stream.
    pub seq: u64,
    /// The source's name.
    pub source: Box<str>,
    /// `log.file.path`.
    pub path: Box<str>,
    /// The line.
    pub text: Text,
    /// Its writer did not finish it.
    pub partial: bool,
    /// A piece of a long line.
    pub fragment: Option<Fragment>,
    /// Index of the file where it stands.
    pub file: usize,
    /// Line number there.
    pub at: usize,
}

/// A range that the ledger gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The stream.
    pub stream: u128,
    /// Its source.
    pub source: String,
    /// Its path at that time.
    pub path: String,
    /// First byte.
    pub from: u64,
    /// One past the last byte that is known to be missing.
    pub to: u64,
    /// Bytes after it that were never seen may be missing too.
    pub more: bool,
    /// Why.
    pub reason: String,
    /// The lane, or `*`.
    pub lane: String,
}

/// A ledger entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its record id.
    pub id: Id,
    /// `@timestamp`: when what it says happened, as the agent's clock stood.
    pub time: Option<SystemTime>,
    /// `event.action`.
    pub action: String,
    /// `waybill.control`.
    pub details: Value,
    /// The details of a loss.
    pub loss: Option<Loss>,
    /// Index of the file where it stands.
    pub file: usize,
    /// Line number there.
    pub at: usize,
}

/// What a line turned out to be.
pub(super) enum Parsed {
    Record(Record),
    Entry(Entry),
}

impl Parsed {
    pub(super) fn new(value: &Value, file: usize, at: usize) -> Result<Self, String> {
        let string = |name: &str| face::field(value, name).and_then(Value::as_str);
        let number = |name: &str| face::field(value, name).and_then(Value::as_u64);
        let id = string("waybill.id").ok_or("no waybill.id")?;
        let id = Id::parse(id).ok_or_else(|| format!("waybill.id {id:?} is malformed"))?;
        if string("event.dataset") == Some(face::CONTROL) {
            let action = string("event.action").ok_or("a ledger entry without event.action")?.to_owned();
            let details = face::field(value, "waybill.control").cloned().unwrap_or_default();
            let loss = if action == face::LOSS { Some(loss(&details)?) } else { None };
            let time = string("@timestamp").and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(SystemTime::from);
            return Ok(Self::Entry(Entry { id, time, action, details, loss, file, at }));
        }
        let stream = string("waybill.stream").ok_or("no waybill.stream")?;
        if u128::from_str_radix(stream, 16) != Ok(id.stream) || number("waybill.offset") != Some(id.offset) {
            return Err(format!("waybill.id {id} does not agree with waybill.stream and waybill.offset"));
        }
        let text = match (string("event.original"), string("waybill.original_base64")) {
            (Some(text), None) => text.as_bytes().into(),
            // What is not UTF-8 stands there for people, and once more exactly.
            (_, Some(coded)) => base64(coded).ok_or("waybill.original_base64 is malformed")?.into(),
            _ => return Err("neither of event.original and waybill.original_base64".to_owned()),
        };
        let fragment = number("waybill.fragment.line").zip(number("waybill.fragment.index")).map(|(line, index)| {
            let last = face::field(value, "waybill.fragment.last").and_then(Value::as_bool).unwrap_or(false);
            Fragment { line, index, last }
        });
        Ok(Self::Record(Record {
            id,
            seq: number("waybill.seq").ok_or("no waybill.seq")?,
            source: string("waybill.source").ok_or("no waybill.source")?.into(),
            path: string("log.file.path").ok_or("no log.file.path")?.into(),
            text: Text(text),
            partial: face::field(value, "waybill.partial").and_then(Value::as_bool).unwrap_or(false),
            fragment,
            file,
            at,
        }))
    }
}

fn loss(details: &Value) -> Result<Loss, String> {
    let string = |name: &str| details.get(name).and_then(Value::as_str).ok_or_else(|| format!("a loss without {name}"));
    let number = |name: &str| details.get(name).and_then(Value::as_u64).ok_or_else(|| format!("a loss without {name}"));
    let stream = string("stream")?;
    Ok(Loss {
        stream: u128::from_str_radix(stream, 16).map_err(|_| format!("a loss of the stream {stream:?}"))?,
        source: string("source")?.to_owned(),
        path: string("path")?.to_owned(),
        from: number("from")?,
        to: number("to")?,
        more: details.get("more").and_then(Value::as_bool).ok_or("a loss without more")?,
        reason: string("reason")?.to_owned(),
        lane: string("lane")?.to_owned(),
    })
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let value = |letter: u8| {
        Some(match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    };
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::from(value(letter)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_printed() {
        let text = "000000000000000000000000000000ff-000000000000000a-00000000deadbeef";
        assert_eq!(Id::parse(text).unwrap().to_string(), text);
        assert_eq!(Id::parse("ff-0a-00"), None);
        assert_eq!(Id::parse(&format!("{text}-00")), None);
    }

    #[test]
    fn base64_is_read() {
        assert_eq!(base64("AAH/gA=="), Some(vec![0, 1, 255, 128]));
        assert_eq!(base64("aGVsbG8="), Some(b"hello".to_vec()));
        assert_eq!(base64("a b"), None);
    }
}
