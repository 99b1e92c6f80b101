//! Writes `waybill.audit`: the fields of a record under their own names, decoded, and what `ENRICHED` says of numbers.

use super::super::object::Object;
use super::dictionary::{COUNT, ENRICHED, is_encoded, known};
use super::fields::{Pair, Pairs, is_hex, unhex};
use super::flood::Fate;
use super::found::{Found, Key, Text, blank};

/// So many fields without a known name are kept, of so many bytes each.
const OTHERS: usize = 16;
const LONGEST_OTHER: usize = 256;

/// Reads the fields, and writes them as `data`; those without a known name as `other`.
pub(super) fn fields<'a>(
    waybill: &mut Object<'_>,
    text: &'a [u8],
    execve: bool,
    found: &mut Found<'a>,
    scratch: &mut Vec<u8>,
) {
    let mut seen = [0u64; COUNT.div_ceil(64)];
    let mut others = 0;
    {
        let mut data = waybill.object("data");
        let mut arguments = None;
        let mut each = |pair: Pair<'a>, found: &mut Found<'a>, scratch: &mut Vec<u8>| {
            if execve && argument(pair, &mut arguments, scratch) {
                return;
            }
            let Some(value) = value(pair, scratch) else { return };
            if pair.old {
                return;
            }
            found.take(pair.key, value);
            match known(pair.key) {
                Some((index, name)) => {
                    let bit = 1 << (index % 64);
                    if seen[index / 64] & bit == 0 && pair.key != b"proctitle" {
                        seen[index / 64] |= bit;
                        let text = match value {
                            Text::Line(text) => text,
                            Text::Scratch(start, end) => &scratch[start..end],
                        };
                        data.text(name, text);
                    }
                }
                None => others += 1,
            }
        };
        for pair in Pairs::new(text) {
            if pair.key == b"msg" && pair.quoted {
                found.set(Key::Nested, Text::Line(pair.value));
                if let Some(id) = counted(pair.value) {
                    found.set(Key::Target, Text::Line(id));
                }
                for pair in Pairs::new(pair.value) {
                    each(pair, found, scratch);
                }
            } else {
                each(pair, found, scratch);
            }
        }
        if let Some(start) = arguments {
            found.set(Key::Arguments, Text::Scratch(start, scratch.len()));
        }
    }
    if others > 0 {
        self::others(waybill, text);
    }
    found.command_line(scratch);
}

/// Whom PAM's counters of failed logins are about: `pam_faillock uid=1000 …`. The record's own `uid=` is that of the process.
fn counted(message: &[u8]) -> Option<&[u8]> {
    let (module, rest) = super::super::sshd::split(message, b" uid=")?;
    let id = &rest[..memchr::memchr(b' ', rest).unwrap_or(rest.len())];
    (module.starts_with(b"pam_") && module.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'))
        .then_some(id)
}

/// Fields that the dictionary does not have.
fn others(waybill: &mut Object<'_>, text: &[u8]) {
    let nested =
        Pairs::new(text).filter(|pair| pair.key == b"msg" && pair.quoted).flat_map(|pair| Pairs::new(pair.value));
    let unknown = Pairs::new(text)
        .filter(|pair| pair.key != b"msg" || !pair.quoted)
        .chain(nested)
        .filter(|pair| known(pair.key).is_none() && !pair.old);
    let out = waybill.value("other");
    out.push(b'[');
    for (index, pair) in unknown.take(OTHERS).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        // Key, sign and value stand side by side in the line, but for the quotes.
        out.push(b'"');
        super::super::escape::text(out, &pair.key[..pair.key.len().min(LONGEST_OTHER)]);
        out.push(b'=');
        super::super::escape::text(out, &pair.value[..pair.value.len().min(LONGEST_OTHER)]);
        out.push(b'"');
    }
    out.push(b']');
}

/// The value of a field, decoded; `None` if it says that there is none.
fn value<'a>(pair: Pair<'a>, scratch: &mut Vec<u8>) -> Option<Text<'a>> {
    if matches!(pair.value, b"(null)" | b"(none)" | b"?" | b"") {
        return None;
    }
    if pair.quoted || !is_encoded(pair.key) || !is_hex(pair.value) {
        return Some(Text::Line(pair.value));
    }
    let start = scratch.len();
    unhex(pair.value, scratch);
    if pair.key == b"proctitle" {
        while scratch.len() > start && scratch.last() == Some(&0) {
            scratch.pop();
        }
        blank(&mut scratch[start..]);
    }
    Some(Text::Scratch(start, scratch.len()))
}

/// Takes an argument of EXECVE: `a0="nft"`, `a1=2F…`, or a piece of a long one, `a1[0]=23…`. Arguments are divided by NUL.
fn argument(pair: Pair<'_>, start: &mut Option<usize>, scratch: &mut Vec<u8>) -> bool {
    let Some(rest) = pair.key.strip_prefix(b"a").filter(|rest| rest.first().is_some_and(u8::is_ascii_digit)) else {
        return false;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (index, piece) = rest.split_at(digits);
    if piece.first() == Some(&b'_') {
        // Its length.
        return true;
    }
    start.get_or_insert(scratch.len());
    let first_piece = piece.is_empty() || piece == b"[0]";
    if first_piece && index != b"0" {
        scratch.push(0);
    }
    if pair.quoted || !is_hex(pair.value) {
        scratch.extend_from_slice(pair.value);
    } else {
        unhex(pair.value, scratch);
    }
    true
}

/// Reads what the daemon added, and writes it as `names`.
pub(super) fn names<'a>(waybill: &mut Object<'_>, text: &'a [u8], found: &mut Found<'a>) {
    if text.is_empty() {
        return;
    }
    let mut names = waybill.object("names");
    let mut seen = 0u32;
    for pair in Pairs::new(text) {
        match pair.key {
            b"AUID" => found.first(Key::LoginName, pair.value),
            // The names stand in the order of the fields.
            b"UID" if found.has(Key::UserName) && found.has(Key::Target) => found.first(Key::TargetName, pair.value),
            b"UID" => found.first(Key::UserName, pair.value),
            b"ID" => found.first(Key::TargetName, pair.value),
            _ => {}
        }
        if let Some(index) = ENRICHED.iter().position(|(known, _)| *known == pair.key)
            && !ENRICHED[index].1.is_empty()
            && seen & 1 << index == 0
        {
            seen |= 1 << index;
            names.text(ENRICHED[index].1, pair.value);
        }
    }
}

/// Writes what a change of the firewall changed.
pub(super) fn netfilter(waybill: &mut Object<'_>, found: &Found<'_>, scratch: &[u8], fate: Fate) {
    let mut netfilter = waybill.object("netfilter");
    if let Some(table) = found.get(Key::Table, scratch) {
        // Since 5.9 with a generation or a handle: "filter:2".
        let colon = memchr::memchr(b':', table).unwrap_or(table.len());
        netfilter.text("table", &table[..colon]);
        if colon < table.len() {
            netfilter.text("generation", &table[colon + 1..]);
        }
    }
    if let Some(family) = found.get(Key::Family, scratch) {
        let name: &[u8] = match family {
            b"0" => b"unspecified",
            b"1" => b"inet",
            b"2" => b"ipv4",
            b"3" => b"arp",
            b"5" => b"netdev",
            b"7" => b"bridge",
            b"10" => b"ipv6",
            other => other,
        };
        netfilter.text("family", name);
    }
    if let Some(op) = found.get(Key::Op, scratch) {
        netfilter.text("operation", op);
    }
    if let Some(entries) = found.get(Key::Entries, scratch) {
        netfilter.text("entries", entries);
    }
    let (name, count) = match fate {
        Fate::Tells(count) => ("repeats", count),
        Fate::TellsLast(count) => ("repeats_last_minute", count),
        Fate::Ships | Fate::Repeats => return,
    };
    netfilter.value(name).extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
}
