//! The members of a JSON line, and those of them that nobody knows, kept.
//!
//! Of members with the same name the last one counts, as it does for Go, JavaScript and Python; the record then says
//! `duplicate_keys`. Names that an index could not take (empty, not ASCII, with quotes, beginning or ending with a dot) are kept
//! in the list `unnamed`, as text. Values inside of which such names or duplicates occur are kept as the text that they are.

use std::ops::Range;

use super::escape::{decoded, inner, plain};
use super::object::{key, string};
use super::scan::{Scanner, Type, Value};

/// More members than this, and the line is taken as text.
const MOST: usize = 256;
/// More bytes of unknown members than this are left out; `event.original` still has them.
const ROOM: usize = 32 * 1024;
/// Values are kept as JSON down to this depth.
const DEEPEST: u32 = 8;
/// An object inside with more members than this is kept as text.
const WIDEST: usize = 64;
/// Longer names go to `unnamed`.
const LONGEST_NAME: usize = 128;
/// Names that are written for other purposes.
const TAKEN: [&[u8]; 5] = [b"unnamed", b"truncated", b"duplicate_keys", b"event", b"resource"];

/// One member of an object.
#[derive(Debug, Clone)]
struct Member {
    key: Range<usize>,
    /// See [`sign`].
    signature: u64,
    value: Value,
    known: bool,
}

/// The members of one line. Keeps its memory for the next.
#[derive(Debug, Default)]
pub(super) struct Members {
    list: Vec<Member>,
    odd: Vec<usize>,
    /// One bit for some signatures: a name whose bit is not set is not there.
    seen: [u64; 4],
    /// A name has an escape, so that signatures say nothing.
    escapes: bool,
    duplicates: bool,
}

impl Members {
    /// Reads a line that is one object.
    pub(super) fn read(&mut self, text: &[u8]) -> Option<()> {
        self.list.clear();
        (self.seen, self.escapes, self.duplicates) = ([0; 4], false, false);
        let mut scanner = Scanner::new(text);
        if !scanner.take(b'{') {
            return None;
        }
        if !scanner.take(b'}') {
            loop {
                let (key, escaped) = scanner.key_and_escape()?;
                let value = scanner.value()?;
                self.add(text, key, escaped, value)?;
                if !scanner.take(b',') {
                    break;
                }
            }
            if !scanner.take(b'}') {
                return None;
            }
        }
        scanner.finished().then_some(())
    }

    fn add(&mut self, text: &[u8], key: Range<usize>, escaped: bool, value: Value) -> Option<()> {
        let name = &text[key.clone()];
        let signature = sign(name);
        self.escapes |= escaped;
        let (word, bit) = place(signature);
        if self.escapes || self.seen[word] & bit != 0 {
            let same = |member: &&mut Member| {
                let other = &text[member.key.clone()];
                if self.escapes { decoded(name).eq(decoded(other)) } else { name == other }
            };
            if let Some(member) = self.list.iter_mut().find(same) {
                member.value = value;
                self.duplicates = true;
                return Some(());
            }
        }
        self.seen[word] |= bit;
        if self.list.len() == MOST {
            return None;
        }
        self.list.push(Member { key, signature, value, known: false });
        Some(())
    }

    /// Where a member is.
    fn find(&self, text: &[u8], name: &[u8]) -> Option<usize> {
        if self.escapes {
            return self.list.iter().position(|member| decoded(&text[member.key.clone()]).eq(name.iter().copied()));
        }
        let signature = sign(name);
        let (word, bit) = place(signature);
        if self.seen[word] & bit == 0 {
            return None;
        }
        self.list.iter().position(|member| member.signature == signature && &text[member.key.clone()] == name)
    }

    /// The value of a member.
    pub(super) fn get(&self, text: &[u8], name: &[u8]) -> Option<&Value> {
        self.find(text, name).map(|index| &self.list[index].value)
    }

    /// The value of a member that is not null, which is then no longer unknown.
    pub(super) fn take<'a>(&mut self, text: &'a [u8], name: &[u8]) -> Option<(Type, &'a [u8])> {
        let index = self.find(text, name)?;
        let member = &mut self.list[index];
        member.known = true;
        (member.value.kind != Type::Null).then(|| (member.value.kind, member.value.inner(text)))
    }

    /// The text of a member that is a string, which is then no longer unknown.
    pub(super) fn take_text<'a>(&mut self, text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
        let index = self.find(text, name)?;
        let member = &mut self.list[index];
        let text = (member.value.kind == Type::String).then(|| member.value.inner(text));
        member.known |= text.is_some();
        text
    }

    /// Marks a member as unknown again: its value was of no use.
    pub(super) fn give_back(&mut self, text: &[u8], name: &[u8]) {
        if let Some(index) = self.find(text, name) {
            self.list[index].known = false;
        }
    }

    /// Writes the members that nobody took into an object that is open and, if `first` is false, not empty.
    pub(super) fn write_unknown(&mut self, out: &mut Vec<u8>, text: &[u8], mut first: bool) {
        let end = out.len() + ROOM;
        self.odd.clear();
        let mut truncated = false;
        for (index, member) in self.list.iter().enumerate().filter(|(_, member)| !member.known) {
            let name = &text[member.key.clone()];
            if !is_plain_name(name) || TAKEN.contains(&name) {
                self.odd.push(index);
                continue;
            }
            if out.len() + name.len() + member.value.span.len() > end {
                truncated = true;
                continue;
            }
            out.extend_from_slice(if first { b"\"" } else { b",\"" });
            first = false;
            out.extend_from_slice(name);
            out.extend_from_slice(b"\":");
            value(out, text, &member.value);
        }
        if !self.odd.is_empty() {
            separate(out, &mut first);
            key(out, "unnamed");
            out.push(b'[');
            let mut none = true;
            for member in self.odd.iter().map(|index| &self.list[*index]) {
                let whole = &text[member.key.start - 1..member.value.span.end];
                if out.len() + 2 * whole.len() > end {
                    truncated = true;
                    continue;
                }
                separate(out, &mut none);
                string(out, whole);
            }
            out.push(b']');
        }
        for (name, set) in [("truncated", truncated), ("duplicate_keys", self.duplicates)] {
            if set {
                separate(out, &mut first);
                key(out, name);
                out.extend_from_slice(b"true");
            }
        }
    }
}

/// The bit of a signature in [`Members::seen`].
fn place(signature: u64) -> (usize, u64) {
    let hash = signature.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    (hash as usize >> 6, 1 << (hash & 63))
}

/// Length, first and last bytes of a name: says at once that most names differ.
#[inline]
fn sign(name: &[u8]) -> u64 {
    let ends = match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (Some(first), Some(last)) => u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)),
        _ => name.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    ends.rotate_left(8) ^ name.len() as u64
}

fn separate(out: &mut Vec<u8>, first: &mut bool) {
    if !*first {
        out.push(b',');
    }
    *first = false;
}

/// Whether an index takes this as the name of a field.
fn is_plain_name(name: &[u8]) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && plain(name) == name.len()
        && !matches!(name, [b'.' | b' ', ..] | [.., b'.' | b' '])
        && !(name.contains(&b'.') && memchr::memmem::find(name, b"..").is_some())
}

/// Writes a value as JSON that any reader takes.
pub(super) fn value(out: &mut Vec<u8>, text: &[u8], value: &Value) {
    if is_regular(text, value, 0) {
        copy(out, text, value);
    } else {
        string(out, &text[value.span.clone()]);
    }
}

/// Whether names are plain and unique all the way down.
fn is_regular(text: &[u8], value: &Value, depth: u32) -> bool {
    match value.kind {
        Type::Object | Type::Array if depth == DEEPEST => false,
        Type::Array => elements(text, value.span.start).all(|element| is_regular(text, &element, depth + 1)),
        Type::Object => {
            pairs(text, value.span.start).enumerate().all(|(index, (key, member))| {
                index < WIDEST && is_plain_name(&text[key]) && is_regular(text, &member, depth + 1)
            }) && are_unique(text, value.span.start)
        }
        _ => true,
    }
}

/// Whether no name occurs twice in the object that begins at `at`. Plain names have no escapes.
fn are_unique(text: &[u8], at: usize) -> bool {
    let mut names: [&[u8]; WIDEST] = [&[]; WIDEST];
    pairs(text, at).zip(0..WIDEST).all(|((key, _), index)| {
        names[index] = &text[key];
        !names[..index].contains(&names[index])
    })
}

fn copy(out: &mut Vec<u8>, text: &[u8], value: &Value) {
    match value.kind {
        Type::String => {
            out.push(b'"');
            inner(out, value.inner(text));
            out.push(b'"');
        }
        Type::Number => {
            let number = value.inner(text);
            if is_plain_number(number) { out.extend_from_slice(number) } else { string(out, number) }
        }
        Type::Array => {
            out.push(b'[');
            let mut first = true;
            for element in elements(text, value.span.start) {
                separate(out, &mut first);
                copy(out, text, &element);
            }
            out.push(b']');
        }
        Type::Object => {
            out.push(b'{');
            let mut first = true;
            for (key, member) in pairs(text, value.span.start) {
                separate(out, &mut first);
                string(out, &text[key]);
                out.push(b':');
                copy(out, text, &member);
            }
            out.push(b'}');
        }
        Type::True | Type::False | Type::Null => out.extend_from_slice(value.inner(text)),
    }
}

/// Whether 64 bits hold a number, near enough.
fn is_plain_number(number: &[u8]) -> bool {
    let whole = number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-');
    if whole {
        number.len() <= 19
    } else {
        number.len() <= 40 && !number.iter().any(|byte| matches!(byte, b'e' | b'E')) || is_finite(number)
    }
}

fn is_finite(number: &[u8]) -> bool {
    number.len() <= 40 && std::str::from_utf8(number).is_ok_and(|text| text.parse::<f64>().is_ok_and(f64::is_finite))
}

/// The members of the object that begins at `at`.
pub(super) fn pairs(text: &[u8], at: usize) -> impl Iterator<Item = (Range<usize>, Value)> {
    let mut scanner = Scanner::at(text, at);
    let mut more = scanner.take(b'{') && !scanner.take(b'}');
    std::iter::from_fn(move || {
        let pair = more.then(|| Some((scanner.key()?, scanner.value()?)))??;
        more = scanner.take(b',');
        Some(pair)
    })
}

/// The elements of the list that begins at `at`.
pub(super) fn elements(text: &[u8], at: usize) -> impl Iterator<Item = Value> {
    let mut scanner = Scanner::at(text, at);
    let mut more = scanner.take(b'[') && !scanner.take(b']');
    std::iter::from_fn(move || {
        let value = more.then(|| scanner.value())??;
        more = scanner.take(b',');
        Some(value)
    })
}

/// The member of the object that begins at `at`; the last one of that name.
pub(super) fn member(text: &[u8], at: usize, name: &[u8]) -> Option<Value> {
    pairs(text, at)
        .filter(|(key, _)| decoded(&text[key.clone()]).eq(name.iter().copied()))
        .last()
        .map(|(_, value)| value)
}
